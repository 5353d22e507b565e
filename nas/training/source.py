"""Where batches come from: image sets that lie on the device, or streams that are read while training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nas.training.augment import Augmentation, Targets, batch, draw, finish
from nas.training.parallel import Group
from nas.training.pixels import tensor
from nas.training.recipe import Recipe
from nas.training.stream import ImageStream, default_workers

if TYPE_CHECKING:
    from nas.training.data import Images
    from nas.training.images import ImageSet


class Source(Protocol):
    """Gives the batches of an epoch; the last is left out where it is smaller than the others."""

    batch_size: int
    steps: int

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, Targets]]:
        """Yield images (B, C, H, W) as float32 in channels_last order, and their targets, from batch ``first`` on.

        An epoch of ``steps`` batches is drawn whole from ``generator``. In a group every process draws the same epoch
        and gets its own rows of each batch.
        """
        ...


class Resident:
    """An image set whose pixels lie on the device as uint8; see :func:`nas.training.augment.batch`."""

    def __init__(self, images: ImageSet, recipe: Recipe, device: torch.device, group: Group | None = None) -> None:
        arrays = images.images, images.labels, *images.moments
        pixels, self.labels, self.mean, self.deviation = (tensor(a).to(device) for a in arrays)
        self.images = pixels.contiguous(memory_format=torch.channels_last)
        self.shape, self.augmentation = images.image_shape, recipe.augmentation
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size
        self.rows = _rows(self.batch_size, group)

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``, from batch ``first`` on."""
        draws = draw(len(self.labels), self.augmentation, self.shape, generator, self.labels.device)
        for step in range(first, self.steps):
            span = _span(self.rows, step * self.batch_size)
            yield batch(self.images, self.labels, draws, span, self.augmentation, self.mean, self.deviation)


class Streamed:
    """A folder that is read and cropped while training; the rest is done on the device."""

    def __init__(self, images: ImageStream, recipe: Recipe, device: torch.device, group: Group | None = None) -> None:
        self.stream, self.device = images, device
        self.mean, self.deviation = (tensor(a).to(device) for a in images.moments)
        self.augmentation: Augmentation = recipe.augmentation
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size
        self.rows, self.beside = _rows(self.batch_size, group), group.local if group else 1

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``, from batch ``first`` on."""
        shape, pin = self.stream.image_shape, self.device.type == "cuda"
        # the stream draws its crops itself; over a million images those of here would take a gigabyte
        drawn = replace(self.augmentation, crop_scale=None)
        draws = draw(len(self.stream), drawn, shape, generator, self.device)
        order, scale = draws.order.cpu(), self.augmentation.crop_scale
        workers = default_workers(pin, self.beside)
        batches = self.stream.batches(
            self.batch_size, order, draws.seed, scale, workers, pin, rows=self.rows, first=first
        )
        for step, (images, labels) in enumerate(batches, first):
            part = draws.at(_span(self.rows, step * self.batch_size))
            images, labels = (t.to(self.device, non_blocking=True) for t in (images, labels))
            yield finish(images, labels, part, self.augmentation, self.mean, self.deviation)


def _rows(batch: int, group: Group | None) -> slice:
    return slice(0, batch) if group is None else group.rows(batch)


def _span(rows: slice, start: int) -> slice:
    return slice(start + rows.start, start + rows.stop)


def source_of(images: Images, recipe: Recipe, device: torch.device, group: Group | None = None) -> Source:
    """Return the batches of ``images`` under ``recipe``, or in a ``group`` this process's share of them."""
    if isinstance(images, ImageStream):
        return Streamed(images, recipe, device, group)
    return Resident(images, recipe, device, group)
