"""Augmentation of whole batches on the device, driven by random numbers that are drawn an epoch at a time.

The uint8 images stay on the device as they are; a batch is cropped and mirrored as bytes and becomes float32 last.
Every random number comes from the generator given, on the CPU: so all devices see one stream. Nothing here looks at a
tensor's content and all shapes are fixed, so a step may be captured in a CUDA graph.

Inside, a batch is a contiguous array (B, H, W, C), torch's channels_last order: a line of a crop is then one run of
W * C bytes, which a look-up copies as a whole, and numbers by channel are repeated along such a line, since a
broadcast over three channels runs in steps of three. Measured at 128 images of 3x32x32 on one thread: crop, flip and
normalize take 0.34 ms, with views of all crops, ``where`` and plain broadcasts 1.9 ms.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.core.values import Shape
from nas.data.decode import UNIFORMS, RandomCrop, SquareCrop, crop_boxes
from nas.errors import ConfigError

# the principal components of ImageNet's RGB levels of 0..1, of AlexNet's section 4.1; values of fb.resnet.torch
COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
STRENGTHS = (0.2175, 0.0188, 0.0045)
GREY = 0.2989, 0.587, 0.114


@dataclass(frozen=True)
class Augmentation:
    """Every number of augmentation; 0, false and None are off, wrong values raise :class:`ConfigError`.

    Attributes:
        crop_padding: pixels of zeros around an image before it is cropped at random to its size
        flip: whether half of the images are mirrored
        cutout: side in pixels of a square set to the mean, at a random place (arXiv:1708.04552)
        mixup: alpha of the Beta distribution that images and labels are mixed by (arXiv:1710.09412)
        color_jitter: brightness, contrast and saturation change by factors of 1 - color_jitter to 1 + color_jitter
        lighting: standard deviation of the shift along the principal components of RGB (AlexNet, section 4.1: 0.1)
        crop_scale: the range of a random-resized crop's share of the area (arXiv:1409.4842, section 6), unpadded
        crop_resize: the range of an image's short side, in sides of the squares that are cropped from it, unpadded
        crop_central: whether those squares are cut from the image's central square alone
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    color_jitter: float = 0.0
    lighting: float = 0.0
    crop_scale: tuple[float, float] | None = None
    crop_resize: tuple[float, float] | None = None
    crop_central: bool = False

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ConfigError(f"augmentation: {name} must be an integer of at least 0, found {value!r}")
        for name in ("flip", "crop_central"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"augmentation: {name} must be true or false, found {getattr(self, name)!r}")
        for name in ("mixup", "color_jitter", "lighting"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise ConfigError(f"augmentation: {name} must be a finite number of at least 0, found {value!r}")
        for name, least, most, rule in (
            ("crop_scale", 0.0, 1.0, "two shares of an image's area above 0 and at most 1, the lesser first"),
            ("crop_resize", 1.0, math.inf, "two multiples of a crop's side, of at least 1, the lesser first"),
        ):
            pair = getattr(self, name)
            if pair is None:
                continue
            # a file may hold anything here
            numbers = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(_is_number, pair))
            if not numbers or not 0 < pair[0] <= pair[1] <= most or pair[0] < least:
                raise ConfigError(f"augmentation: {name} must be {rule}, found {pair!r}")
            for other in ("crop_padding", "crop_scale"):
                if other != name and getattr(self, other):
                    found = f"set one of them, found {pair!r} and {getattr(self, other)}"
                    raise ConfigError(f"augmentation: {name} and {other} both crop; {found}")
            object.__setattr__(self, name, (float(pair[0]), float(pair[1])))

    @property
    def random_crop(self) -> RandomCrop | None:
        """How images are cropped that are not padded."""
        return self.crop_scale if self.crop_resize is None else SquareCrop(self.crop_resize, self.crop_central)

    def check(self, shape: Shape) -> None:
        """Refuse what images of ``shape`` (C, H, W) cannot have: colour changes other than of grey or RGB images."""
        if self.lighting and shape[0] != 3:
            raise ConfigError(f"augmentation: lighting shifts the colours of RGB images, found {shape[0]} channels")
        if self.color_jitter and shape[0] not in (1, 3):
            raise ConfigError(f"augmentation: color_jitter needs images of 1 or 3 channels, found {shape[0]}")


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one epoch; but for ``order`` they go by position in this order. What is off is None.

    Attributes:
        order: (N,) the order of the images
        seed: for what a stream of files crops by itself
        rows, columns: (N,) where crops begin in the padded image
        boxes: (N, 4) random crops of an unpadded image as top, left, height, width
        flips: (N,) whether an image is mirrored
        factors: (N, 3) of brightness, contrast, saturation
        levels: (N, 3) to add to the channels
        centre_rows, centre_columns: (N,) of squares to cut out
        shares: (N,) of an image in its mixture
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

    def at(self, span: slice | Tensor) -> Draws:
        """Return the numbers at the positions of ``span``, a slice or int64 (B,)."""
        return Draws(seed=self.seed, **{name: tensor[span] for name, tensor in self.tensors().items()})


class Mixed(NamedTuple):
    """Targets of mixtures: ``shares``, float32 (B,), of the loss go by the labels ``first``, the rest by ``second``."""

    first: Tensor
    second: Tensor
    shares: Tensor


Targets = Tensor | Mixed


def draw(
    count: int, augmentation: Augmentation, shape: Shape, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Draws:
    """Draw an epoch of ``count`` images (C, H, W) from a CPU ``generator``; raises as :meth:`Augmentation.check`."""
    a = augmentation
    a.check(shape)
    order = torch.randperm(count, generator=generator)
    # drawn also where they are off, so that what is drawn after them stays the same
    offsets = torch.randint(0, 2 * a.crop_padding + 1, (2, count), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    found = {"order": order}
    if a.crop_padding:
        found |= {"rows": offsets[0], "columns": offsets[1]}
    if a.flip:
        found["flips"] = flips
    if a.random_crop is not None:
        uniforms = torch.rand(count, UNIFORMS, generator=generator, dtype=torch.float64).numpy()
        found["boxes"] = torch.from_numpy(crop_boxes(uniforms, shape[1], shape[2], a.random_crop))
    if a.color_jitter:
        low = max(0.0, 1 - a.color_jitter)
        found["factors"] = low + (1 + a.color_jitter - low) * torch.rand(count, 3, generator=generator)
    if a.lighting:
        weights = a.lighting * torch.randn(count, 3, generator=generator) * torch.tensor(STRENGTHS)
        found["levels"] = 255 * weights @ torch.tensor(COMPONENTS).T
    if a.cutout:
        for name, extent in (("centre_rows", shape[1]), ("centre_columns", shape[2])):
            found[name] = torch.randint(0, extent, (count,), generator=generator)
    if a.mixup:
        # torch draws no Beta numbers from a generator, and RandomState's stream is frozen (NEP 19)
        numbers = np.random.RandomState(int(torch.randint(0, 2**32, (), generator=generator)))
        found["shares"] = torch.from_numpy(numbers.beta(a.mixup, a.mixup, count).astype(np.float32))
    # from a copy, so that an epoch's other numbers are the same with and without a stream
    copy = torch.Generator().set_state(generator.get_state())
    seed = int(torch.randint(0, 2**62, (), generator=copy))
    return Draws(seed=seed, **{name: tensor.to(device) for name, tensor in found.items()})


def balanced_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the order (N,) of an epoch of as many images as there are ``labels`` (N,), as many of every class.

    Where N is no multiple of the classes, some drawn ones are shown once more. The images of a class come in random
    order, again from the first where they are fewer than its share.
    """
    labels = labels.cpu()
    classes = torch.unique(labels)
    share, rest = divmod(len(labels), len(classes))
    more = set(torch.randperm(len(classes), generator=generator)[:rest].tolist())
    parts = []
    for place, label in enumerate(classes):
        own = torch.nonzero(labels == label).flatten()
        wanted = share + (place in more)
        drawn = [own[torch.randperm(len(own), generator=generator)] for _ in range(-(-wanted // len(own)))]
        parts.append(torch.cat(drawn)[:wanted])
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]


def batch(
    images: Tensor,
    labels: Tensor,
    draws: Draws,
    span: slice | Tensor,
    augmentation: Augmentation,
    mean: Tensor,
    std: Tensor,
) -> tuple[Tensor, Targets]:
    """Return the images at the positions of ``span`` in the epoch's order as a network takes them, and their targets.

    ``images`` uint8 (N, C, H, W), fastest in channels_last order, ``labels`` int64 (N,) and ``draws`` are the whole
    epoch's; ``mean`` and ``std`` (C,) are in 0..255. The images come as float32 (B, C, H, W) in channels_last
    order; the targets are int64 (B,), or :class:`Mixed` where the augmentation mixes.
    """
    # the crop is taken from bytes, a quarter of the memory of floats
    part = draws.at(span)
    with _one_thread(images):
        x = select(images, part.order)
        if part.boxes is not None:
            x = resized_crop(x, part.boxes)
        elif part.rows is not None and part.columns is not None:
            x = crop(x, augmentation.crop_padding, part.rows, part.columns)
        return finish(x, labels.index_select(0, part.order), part, augmentation, mean, std)


def finish(
    images: Tensor, labels: Tensor, part: Draws, augmentation: Augmentation, mean: Tensor, std: Tensor
) -> tuple[Tensor, Targets]:
    """Do what follows the crop: mirror, change colours, normalize, cut out and mix, with the numbers of ``part``.

    ``images`` (B, C, H, W) of levels 0..255 and ``labels`` (B,) are one batch's; returns what :func:`batch` does.
    """
    with _one_thread(images):
        x = images if part.flips is None else flip(images, part.flips)
        if part.factors is not None:
            x = jitter(x, part.factors)
        if part.levels is not None:
            x = shift(x, part.levels)
        x = normalize(x, mean, std)
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Return ``array`` as a tensor over the same memory, which is only read: several processes may share it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def select(images: Tensor, indices: Tensor) -> Tensor:
    """Return the images at ``indices`` (B,) in channels_last order, fastest from images that have this order."""
    lines = images.permute(0, 2, 3, 1)
    if lines.is_contiguous():
        return lines.index_select(0, indices).permute(0, 3, 1, 2)
    return images.index_select(0, indices).contiguous(memory_format=torch.channels_last)


def crop(images: Tensor, padding: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Put ``padding`` zeros around images (B, C, H, W) and cut them to H x W again at ``rows`` and ``columns`` (B,)."""
    if padding == 0:
        return images
    count, channels, height, width = images.shape
    x = F.pad(_lines(images), (0, 0, padding, padding, padding, padding))
    across = width + 2 * padding
    size = (height + 2 * padding) * across * channels
    starts = torch.arange(count, device=x.device) * size + (rows * across + columns) * channels
    # a view of every stretch of bytes in which a crop could begin, of which the look-up copies one an image
    reach = ((height - 1) * across + width) * channels
    windows = x.as_strided((count * size - reach + 1, height, width * channels), (1, across * channels, 1))
    return windows.index_select(0, starts).view(count, height, width, channels).permute(0, 3, 1, 2)


def resized_crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Return the ``boxes`` (B, 4) of top, left, height, width stretched to the images' size, float32, bilinear."""
    height, width = images.shape[2:]
    top, left, tall, wide = boxes.to(torch.float32).unbind(1)
    ys = _sampled(top, tall, height)[:, :, None].expand(-1, -1, width)
    xs = _sampled(left, wide, width)[:, None, :].expand(-1, height, -1)
    x = images.to(torch.float32, memory_format=torch.channels_last)
    return F.grid_sample(x, torch.stack((xs, ys), 3), "bilinear", "border", align_corners=False)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left and right those images (B, C, H, W) whose ``mask`` (B,) is true."""
    x = _lines(images)
    count = len(x)
    choice = torch.arange(count, device=x.device) + count * mask
    return torch.cat((x, x.flip(2))).index_select(0, choice).permute(0, 3, 1, 2)


def jitter(images: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast and saturation, in this order, by ``factors`` (B, 3); 1 leaves as is.

    Images have one or three channels; the result is float32 within 0..255. The steps are torchvision's ``ColorJitter``.
    """
    x = _lines(images).to(torch.float32)
    shape = x.shape
    brightness, contrast, saturation = (f.view(-1, 1) for f in factors.unbind(1))
    x = (x.flatten(1) * brightness).clamp_(0, 255)
    mean = _grey(x.view(shape)).mean((1, 2)).view(-1, 1)
    x = torch.lerp(mean.expand_as(x), x, contrast).clamp_(0, 255)
    if shape[3] == 3:
        grey = _grey(x.view(shape))[..., None].expand(shape).flatten(1)
        x = torch.lerp(grey, x, saturation).clamp_(0, 255)
    return x.view(shape).permute(0, 3, 1, 2)


def shift(images: Tensor, levels: Tensor) -> Tensor:
    """Add ``levels`` (B, C) to all pixels of an image's channels; returns float32, which may leave 0..255."""
    x = _lines(images)
    lines = levels.repeat(1, x.shape[2])[:, None]
    return (x.view(len(x), x.shape[1], -1) + lines).view(x.shape).permute(0, 3, 1, 2)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (images - mean) / std by channel as float32 in channels_last order; both are (C,), in 0..255."""
    x = _lines(images)
    count, height, width, channels = x.shape
    lines = x.view(count * height, width * channels).sub(mean.repeat(width)).div_(std.repeat(width))
    return lines.view(x.shape).permute(0, 3, 1, 2)


def cutout(images: Tensor, side: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Set squares of ``side`` pixels around (rows, columns), each (B,), to 0 in place (arXiv:1708.04552, section 3.2).

    A square, of ``side // 2`` pixels before its centre, is cut off at the edges. Images are in channels_last order.
    """
    x = images.permute(0, 2, 3, 1)
    count, height, width, channels = x.shape
    ys = torch.arange(height, device=x.device) - rows[:, None] + side // 2
    xs = torch.arange(width, device=x.device) - columns[:, None] + side // 2
    tall, wide = (ys >= 0) & (ys < side), (xs >= 0) & (xs < side)
    # the product of numbers takes a fifth of the time of a mask's
    inside = tall.float()[:, :, None] * wide.repeat_interleave(channels, 1).float()[:, None, :]
    x.view(count, height, width * channels).mul_(1 - inside)
    return images


def mix(images: Tensor, shares: Tensor) -> Tensor:
    """Return ``shares`` (B,) of every image and the rest of its partner, which is the batch's in reverse order."""
    return torch.lerp(images.flip(0), images, shares.view(-1, 1, 1, 1))


def _lines(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous()


def _sampled(start: Tensor, length: Tensor, count: int) -> Tensor:
    """Return where ``count`` samples of stretches (B,) lie, from -1 to 1, the image's edges."""
    middles = (torch.arange(count, device=start.device) + 0.5) / count
    return 2 * (start[:, None] + length[:, None] * middles) / count - 1


def _grey(x: Tensor) -> Tensor:
    return x @ x.new_tensor(GREY) if x.shape[3] == 3 else x[..., 0]
