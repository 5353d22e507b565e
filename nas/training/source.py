"""Where batches come from: image sets that lie on the device, or streams that are read while training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nas.training.augment import Augmentation, Targets, batch, draw, finish
from nas.training.recipe import Recipe
from nas.training.stream import ImageStream

if TYPE_CHECKING:
    from nas.training.data import Images
    from nas.training.images import ImageSet


class Source(Protocol):
    """Gives the batches of an epoch; the last is left out where it is smaller than the others."""

    batch_size: int
    steps: int

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Targets]]:
        """Yield ``steps`` times images (B, C, H, W) as float32 in channels_last order, and their targets."""
        ...


class Resident:
    """An image set whose pixels lie on the device as uint8; see :func:`nas.training.augment.batch`."""

    def __init__(self, images: ImageSet, recipe: Recipe, device: torch.device) -> None:
        arrays = images.images, images.labels, *images.moments
        pixels, self.labels, self.mean, self.deviation = (torch.from_numpy(a).to(device) for a in arrays)
        self.images = pixels.contiguous(memory_format=torch.channels_last)
        self.shape, self.augmentation = images.image_shape, recipe.augmentation
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``."""
        draws = draw(len(self.labels), self.augmentation, self.shape, generator, self.labels.device)
        for step in range(self.steps):
            span = slice(step * self.batch_size, (step + 1) * self.batch_size)
            yield batch(self.images, self.labels, draws, span, self.augmentation, self.mean, self.deviation)


class Streamed:
    """A folder that is read and cropped while training; the rest is done on the device."""

    def __init__(self, images: ImageStream, recipe: Recipe, device: torch.device) -> None:
        self.stream, self.device = images, device
        self.mean, self.deviation = (torch.from_numpy(a).to(device) for a in images.moments)
        self.augmentation: Augmentation = recipe.augmentation
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``."""
        shape, pin = self.stream.image_shape, self.device.type == "cuda"
        # the stream draws its crops itself; over a million images those of here would take a gigabyte
        drawn = replace(self.augmentation, crop_scale=None)
        draws = draw(len(self.stream), drawn, shape, generator, self.device)
        order, scale = draws.order.cpu(), self.augmentation.crop_scale
        batches = self.stream.batches(self.batch_size, order, draws.seed, scale, pin=pin)
        for step, (images, labels) in enumerate(batches):
            part = draws.at(slice(step * self.batch_size, (step + 1) * self.batch_size))
            images, labels = (t.to(self.device, non_blocking=True) for t in (images, labels))
            yield finish(images, labels, part, self.augmentation, self.mean, self.deviation)


def source_of(images: Images, recipe: Recipe, device: torch.device) -> Source:
    """Return the batches of ``images`` under ``recipe``."""
    return Streamed(images, recipe, device) if isinstance(images, ImageStream) else Resident(images, recipe, device)
