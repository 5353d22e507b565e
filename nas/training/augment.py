"""Augmentation of whole batches on the device, driven by random numbers that are drawn an epoch at a time.

The uint8 images stay on the device as they are; a batch is cropped and mirrored as bytes and becomes float32 last.
Every random number comes from the generator given, on the CPU: so all devices see one stream. Nothing here looks at a
tensor's content and all shapes are fixed, so a step may be captured in a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nas.errors import ConfigError
from nas.training.boxes import UNIFORMS, crop_boxes
from nas.training.pixels import crop, cutout, flip, jitter, mix, normalise, resized_crop, select, shift
from nas.types import Shape

__all__ = ["Augmentation", "Draws", "Mixed", "batch", "draw", "finish", "normalise"]

# the principal components of ImageNet's RGB levels of 0..1, of AlexNet's section 4.1; values of fb.resnet.torch
COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
STRENGTHS = (0.2175, 0.0188, 0.0045)


@dataclass(frozen=True)
class Augmentation:
    """Every number of augmentation; 0, false and None are off, wrong values raise :class:`ConfigError`.

    ``crop_padding``: pixels of zeros around an image before it is cropped at random to its size. ``crop_scale``: the
    range of a random-resized crop's share of the image's area (arXiv:1409.4842, section 6), instead of
    ``crop_padding``. ``flip`` mirrors half of the images. ``colour``: brightness, contrast and saturation change by
    factors of 1 - colour to 1 + colour. ``lighting``: deviation of the shift along the principal components of RGB
    (AlexNet, section 4.1, has 0.1). ``cutout``: side in pixels of a square set to the mean, at a random place
    (arXiv:1708.04552). ``mixup``: alpha of the Beta distribution that images and labels are mixed by
    (arXiv:1710.09412).
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    colour: float = 0.0
    lighting: float = 0.0
    crop_scale: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ConfigError(f"augmentation: {name} must be a whole number of at least 0, found {value!r}")
        if type(self.flip) is not bool:
            raise ConfigError(f"augmentation: flip must be true or false, found {self.flip!r}")
        for name in ("mixup", "colour", "lighting"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise ConfigError(f"augmentation: {name} must be a finite number of at least 0, found {value!r}")
        if self.crop_scale is not None:
            self._check_scale()

    def _check_scale(self) -> None:
        scale: Any = self.crop_scale
        pair = isinstance(scale, tuple | list) and len(scale) == 2 and all(_is_number(s) for s in scale)
        if not pair or not 0 < scale[0] <= scale[1] <= 1:
            rule = "two shares of an image's area above 0 and at most 1, the lesser first"
            raise ConfigError(f"augmentation: crop_scale must be {rule}, found {scale!r}")
        if self.crop_padding:
            raise ConfigError(
                f"augmentation: crop_scale and crop_padding both crop; set one of them, found {scale!r} and "
                f"{self.crop_padding}"
            )
        object.__setattr__(self, "crop_scale", (float(scale[0]), float(scale[1])))

    def check(self, shape: Shape) -> None:
        """Refuse what images of ``shape`` (C, H, W) cannot have: colour changes other than of grey or RGB images."""
        if self.lighting and shape[0] != 3:
            raise ConfigError(f"augmentation: lighting shifts the colours of RGB images, found {shape[0]} channels")
        if self.colour and shape[0] not in (1, 3):
            raise ConfigError(f"augmentation: colour needs images of 1 or 3 channels, found {shape[0]}")


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one epoch: the ``order`` (N,) of the images and, by position in this order, the rest.

    ``rows`` and ``columns`` (N,): where crops begin in the padded image; ``boxes`` (N, 4): random-resized crops as top,
    left, height, width; ``flips`` (N,); ``factors`` (N, 3) of brightness, contrast, saturation; ``levels`` (N, 3) to
    add; ``centre_rows`` and ``centre_columns`` (N,): of squares to cut out; ``shares`` (N,): of an image in its
    mixture. What the augmentation has not is None. ``seed`` is for what a stream of files crops by itself.
    """

    order: Tensor
    seed: int
    rows: Tensor | None = None
    columns: Tensor | None = None
    boxes: Tensor | None = None
    flips: Tensor | None = None
    factors: Tensor | None = None
    levels: Tensor | None = None
    centre_rows: Tensor | None = None
    centre_columns: Tensor | None = None
    shares: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there by name."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def to(self, device: torch.device | str) -> Draws:
        """Return the same numbers on ``device``."""
        return Draws(seed=self.seed, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def at(self, span: slice | Tensor) -> Draws:
        """Return the numbers at the positions of ``span``, a slice or int64 (B,)."""
        if isinstance(span, slice):
            found = {name: tensor[span] for name, tensor in self.tensors().items()}
        else:
            found = {name: tensor.index_select(0, span) for name, tensor in self.tensors().items()}
        return Draws(seed=self.seed, **found)

    def copy_(self, other: Draws) -> None:
        """Take the numbers of ``other``, drawn by the same augmentation over as many images, in place; not its seed."""
        tensors = other.tensors()
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


class Mixed(NamedTuple):
    """Targets of mixtures: the loss of an image is ``shares`` times that of ``first`` and the rest that of ``second``.

    Labels are int64 (B,), shares float32 (B,).
    """

    first: Tensor
    second: Tensor
    shares: Tensor


Targets = Tensor | Mixed


def draw(
    count: int,
    augmentation: Augmentation,
    shape: Shape,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Draws:
    """Draw an epoch over ``count`` images of ``shape`` (C, H, W) from ``generator`` (on the CPU), put on ``device``.

    Raises :class:`ConfigError` as :meth:`Augmentation.check` does.
    """
    a = augmentation
    a.check(shape)
    order = torch.randperm(count, generator=generator)
    offsets = torch.randint(0, 2 * a.crop_padding + 1, (2, count), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    found = {"order": order}
    if a.crop_padding:
        found |= {"rows": offsets[0], "columns": offsets[1]}
    if a.flip:
        found["flips"] = flips
    if a.crop_scale is not None:
        uniforms = torch.rand(count, UNIFORMS, generator=generator, dtype=torch.float64).numpy()
        found["boxes"] = torch.from_numpy(crop_boxes(uniforms, shape[1], shape[2], a.crop_scale))
    if a.colour:
        low = max(0.0, 1 - a.colour)
        found["factors"] = low + (1 + a.colour - low) * torch.rand(count, 3, generator=generator)
    if a.lighting:
        weights = a.lighting * torch.randn(count, 3, generator=generator) * torch.tensor(STRENGTHS)
        found["levels"] = 255 * weights @ torch.tensor(COMPONENTS).T
    if a.cutout:
        for name, extent in (("centre_rows", shape[1]), ("centre_columns", shape[2])):
            found[name] = torch.randint(0, extent, (count,), generator=generator)
    if a.mixup:
        found["shares"] = _beta(a.mixup, count, generator)
    # from a copy, so that an epoch's other numbers are the same with and without a stream
    copy = torch.Generator().set_state(generator.get_state())
    return Draws(seed=int(torch.randint(0, 2**62, (), generator=copy)), **found).to(device)


def batch(
    images: Tensor,
    labels: Tensor,
    draws: Draws,
    span: slice | Tensor,
    augmentation: Augmentation,
    mean: Tensor,
    deviation: Tensor,
) -> tuple[Tensor, Targets]:
    """Return the images at the positions of ``span`` in the epoch's order as a network takes them, and their targets.

    ``images`` uint8 (N, C, H, W), fastest in channels_last order, ``labels`` int64 (N,) and ``draws`` are the whole
    epoch's; ``mean`` and ``deviation`` (C,) are in 0..255. The images come as float32 (B, C, H, W) in channels_last
    order; the targets are int64 (B,), or :class:`Mixed` where the augmentation mixes.
    """
    part = draws.at(span)
    with _one_thread(images):
        x = select(images, part.order)
        if part.boxes is not None:
            x = resized_crop(x, part.boxes)
        elif part.rows is not None and part.columns is not None:
            x = crop(x, augmentation.crop_padding, part.rows, part.columns)
        return _finish(x, labels.index_select(0, part.order), part, augmentation, mean, deviation)


def finish(
    images: Tensor, labels: Tensor, part: Draws, augmentation: Augmentation, mean: Tensor, deviation: Tensor
) -> tuple[Tensor, Targets]:
    """Do what follows the crop: mirror, change colours, normalise, cut out and mix, with the numbers of ``part``.

    ``images`` (B, C, H, W) of levels 0..255 and ``labels`` (B,) are one batch's; returns what :func:`batch` does.
    """
    with _one_thread(images):
        return _finish(images, labels, part, augmentation, mean, deviation)


def _finish(
    x: Tensor, labels: Tensor, part: Draws, augmentation: Augmentation, mean: Tensor, deviation: Tensor
) -> tuple[Tensor, Targets]:
    if part.flips is not None:
        x = flip(x, part.flips)
    if part.factors is not None:
        x = jitter(x, part.factors)
    if part.levels is not None:
        x = shift(x, part.levels)
    x = normalise(x, mean, deviation)
    if part.centre_rows is not None and part.centre_columns is not None:
        x = cutout(x, augmentation.cutout, part.centre_rows, part.centre_columns)
    if part.shares is None:
        return x, labels
    return mix(x, part.shares), Mixed(labels, labels.flip(0), part.shares)


@contextmanager
def _one_thread(images: Tensor) -> Iterator[None]:
    """Keep torch to one thread, and a batch the same for any number of them, where ``images`` are on the CPU.

    Measured at 128 images of 3x32x32 on two cores: two threads are no faster on an idle machine (0.36 against 0.34 ms)
    and 30 times slower on a busy one, since every one of many short operations waits for the slower of them.
    """
    threads = torch.get_num_threads()
    if images.device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha): torch draws none from a generator, and RandomState's stream is frozen (NEP 19)."""
    seed = int(torch.randint(0, 2**32, (), generator=generator))
    return torch.from_numpy(np.random.RandomState(seed).beta(alpha, alpha, count).astype(np.float32))
