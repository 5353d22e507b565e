"""Sets of images in memory, and their stratified parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError
from nas.types import Shape

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Moments = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images (N, C, H, W) of 8-bit pixels and their labels (N,); arrays of another kind raise :class:`ConfigError`.

    ``damaged`` names the files that are not among them since they could not be read, each with the reason.
    """

    images: Pixels
    labels: Labels
    damaged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ConfigError(f"images must be uint8 (N, C, H, W), found {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            found = f"{self.labels.dtype} {self.labels.shape}"
            raise ConfigError(f"labels must be int64 and one an image, found {found} for {len(self.images):,} images")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> Shape:
        """The shape (C, H, W) of one image."""
        return tuple(map(int, self.images.shape[1:]))

    def take(self, indices: Labels) -> ImageSet:
        """Return the images at ``indices``, copied."""
        return ImageSet(self.images[indices], self.labels[indices], self.damaged)

    def joined(self, other: ImageSet) -> ImageSet:
        """Return these images followed by those of ``other``."""
        if other.image_shape != self.image_shape:
            raise ConfigError(f"image sets of one shape can be joined, found {self.image_shape}, {other.image_shape}")
        images = np.concatenate((self.images, other.images))
        return ImageSet(images, np.concatenate((self.labels, other.labels)), merged(self.damaged, other.damaged))

    @cached_property
    def moments(self) -> tuple[Moments, Moments]:
        """Mean and deviation of every channel, each (C,), in units of 0..255; a constant channel's deviation is 1."""
        levels = np.arange(256, dtype=np.float64)
        means, deviations = [], []
        for channel in range(self.images.shape[1]):
            # counted image by image, since bincount makes an int64 copy, eight times the pixels
            counts = np.zeros(256, dtype=np.int64)
            for start in range(0, len(self), 1_000):
                counts += np.bincount(self.images[start : start + 1_000, channel].ravel(), minlength=256)
            mean = float(counts @ levels / counts.sum())
            deviation = float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))
            means.append(mean)
            deviations.append(deviation or 1.0)
        return np.array(means, dtype=np.float32), np.array(deviations, dtype=np.float32)


def merged(first: list[str], second: list[str]) -> list[str]:
    """Return the lines of both lists once each; a list that both share stays the same object."""
    return first if first is second else list(dict.fromkeys((*first, *second)))


def stratified(labels: Labels, count: int, seed: int) -> tuple[Labels, Labels]:
    """Return the indices of ``count`` random examples and of all others, both in order.

    Every class gives its share of ``count``, rounded down or up; the largest remainders are rounded up. The same seed
    gives the same parts for good: numpy keeps the streams of its bit generators across versions, which it does not
    promise of a permutation (NEP 19).
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes.astype(np.int64) * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    picks = [order[labels[order] == c][:n] for c, n in zip(classes, shares, strict=True)]
    mask = np.zeros(len(labels), dtype=bool)
    mask[np.concatenate(picks)] = True
    return np.flatnonzero(mask).astype(np.int64), np.flatnonzero(~mask).astype(np.int64)
