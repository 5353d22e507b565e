"""Sets of images that stay in their files and are decoded by worker processes, epoch after epoch.

What a batch holds depends on order and seed alone, never on the number of workers: the crop of a position is drawn
from a stream of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError, EvaluationError
from nas.training.boxes import UNIFORMS
from nas.training.decode import Damaged, central, inception_crop, require_pillow
from nas.training.images import ImageSet, Labels, Moments, Pixels, merged
from nas.types import Shape

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = 123.675, 116.28, 103.53
IMAGENET_DEVIATION = 58.395, 57.12, 57.375
CROP_SCALE = 0.08, 1.0
TEST_RESIZE = 256 / 224
"""The short side in evaluation, as a multiple of the crop's (arXiv:1512.03385, section 4.1)."""
MOST_WORKERS = 16


@dataclass(frozen=True, eq=False, repr=False)
class ImageStream:
    """Image files, paths (N,) in bytes relative to ``root``, with their labels (N,), seen at ``size`` x ``size``.

    ``damaged`` names the files that could not be read so far, each with the reason; parts of a stream share it.
    """

    root: Path
    files: npt.NDArray[np.bytes_]
    labels: Labels
    size: int
    damaged: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def image_shape(self) -> Shape:
        """The shape (3, H, W) of one image as a network sees it."""
        return 3, self.size, self.size

    @property
    def moments(self) -> tuple[Moments, Moments]:
        """Mean and deviation of ImageNet's channels, each (3,), in units of 0..255."""
        return np.array(IMAGENET_MEAN, dtype=np.float32), np.array(IMAGENET_DEVIATION, dtype=np.float32)

    def take(self, indices: Labels) -> ImageStream:
        """Return the stream of the files at ``indices``."""
        return ImageStream(self.root, self.files[indices], self.labels[indices], self.size, self.damaged)

    def joined(self, other: ImageStream) -> ImageStream:
        """Return the files of this stream followed by those of ``other``, of the same folder and size."""
        if (self.root, self.size) != (other.root, other.size):
            found = f"'{self.root}' at {self.size}, '{other.root}' at {other.size}"
            raise ConfigError(f"streams of one folder and size can be joined, found {found}")
        files, labels = np.concatenate((self.files, other.files)), np.concatenate((self.labels, other.labels))
        return ImageStream(self.root, files, labels, self.size, merged(self.damaged, other.damaged))

    def path(self, index: int) -> Path:
        """Return the path of file ``index``."""
        return self.root / os.fsdecode(bytes(self.files[index]))

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        seed: int | None = None,
        crop_scale: tuple[float, float] | None = None,
        workers: int | None = None,
        pin: bool = False,
        size: int | None = None,
        resize: int | None = None,
        rows: slice | None = None,
        first: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, uint8 (B, 3, H, W) in channels_last order, and their labels, int64 (B,), on the CPU.

        With a ``seed``, for training: a random-resized crop of every file in ``order`` (N,), of ``crop_scale`` (8 % to
        all) of its area. A damaged file is replaced by the next good one, and the last batch is dropped where it is
        smaller, so all batches have one shape. Without, for measuring: every file in turn, scaled so that its short
        side is ``resize`` (256 for a crop of 224), and its centre; damaged files are left out, so batches may be
        smaller. ``size`` is the side of the crop (the stream's own). ``workers`` processes decode (0: this process; by
        default one a core that torch's threads leave free, and one at least); ``pin``, for a GPU, puts batches into
        page-locked memory, and all cores, 16 at most, decode by default. Of every batch only the ``rows`` are read and
        yielded (all), beginning with batch ``first``.

        Raises :class:`EvaluationError` when no file can be read or a worker dies.
        """
        size = self.size if size is None else size
        resize = round(size * TEST_RESIZE) if resize is None else resize
        indices = np.arange(len(self)) if order is None else order.cpu().numpy()
        reader = _Reader(self, indices, seed, crop_scale or CROP_SCALE, size, max(size, resize))
        seen = 0
        parts = _parts(len(reader), batch_size, rows or slice(0, batch_size), first, seed is not None)
        for images, labels, found in _loaded(reader, parts, _workers(workers, pin), pin):
            self._note(found)
            if seed is not None and not len(labels):
                break
            seen += len(labels)
            if len(labels):
                yield images.permute(0, 3, 1, 2), labels
        if not seen and parts:
            raise EvaluationError(f"no image of folder '{self.root}' can be read; the first: {self.damaged[0]}")

    def read(self) -> ImageSet:
        """Decode every file once into memory: its short side scaled to ``size``, then its centre.

        Damaged files are left out and named; no readable file raises :class:`ConfigError`.
        """
        images = np.empty((len(self), 3, self.size, self.size), dtype=np.uint8)

        def decode(index: int) -> str | None:
            try:
                images[index] = central(self.path(index), self.size, self.size).transpose(2, 0, 1)
            except Damaged as damage:
                return _line(self.path(index), damage)
            return None

        # threads, since pillow decodes and scales without holding the interpreter's lock
        with ThreadPoolExecutor(_cores()) as pool:
            lines = list(pool.map(decode, range(len(self)), chunksize=64))
        self._note([line for line in lines if line is not None])
        good = np.array([line is None for line in lines], dtype=bool)
        if not good.any():
            raise ConfigError(f"no image of folder '{self.root}' can be read; the first: {self.damaged[0]}")
        if good.all():
            return ImageSet(images, self.labels, self.damaged)
        return ImageSet(images[good], self.labels[good], self.damaged)

    def _note(self, lines: list[str]) -> None:
        self.damaged.extend(line for line in dict.fromkeys(lines) if line not in self.damaged)


class _Reader:
    """What a worker holds: it decodes the positions that a batch asks for."""

    def __init__(
        self,
        stream: ImageStream,
        indices: npt.NDArray[np.int64],
        seed: int | None,
        scale: tuple[float, float],
        size: int,
        resize: int,
    ) -> None:
        require_pillow()
        self.stream, self.indices, self.seed, self.scale = stream, indices, seed, scale
        self.size, self.resize = size, resize
        self.bad: set[int] = set()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, positions: Sequence[int]) -> tuple[Pixels, Labels, list[str]]:
        found: list[str] = []
        images = np.empty((len(positions), self.size, self.size, 3), dtype=np.uint8)
        kept: list[int] = []
        for position in positions:
            index = self.decode(position, images[len(kept)], found)
            if index is not None:
                kept.append(index)
        return images[: len(kept)], self.stream.labels[np.array(kept, dtype=np.int64)], found

    def decode(self, position: int, out: Pixels, found: list[str]) -> int | None:
        """Write the image at ``position`` to ``out`` and return its index, None where there is none to show."""
        first = int(self.indices[position])
        tries = 1 if self.seed is None else len(self.stream)
        for index in ((first + step) % len(self.stream) for step in range(tries)):
            if index in self.bad:
                continue
            path = self.stream.path(index)
            try:
                out[:] = self.image(path, position)
            except Damaged as damage:
                self.bad.add(index)
                found.append(_line(path, damage))
            else:
                return index
        return None

    def image(self, path: Path, position: int) -> Pixels:
        """Return the pixels (size, size, 3) of a file as seen at ``position``."""
        if self.seed is None:
            return central(path, self.resize, self.size)
        raw = np.random.PCG64(np.random.SeedSequence([self.seed, position])).random_raw(UNIFORMS)
        return inception_crop(path, self.size, self.scale, (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _parts(count: int, batch_size: int, rows: slice, first: int, drop_last: bool) -> list[range]:
    """Return the positions of each batch that are read."""
    batches = count // batch_size if drop_last else -(-count // batch_size)
    starts = range(first * batch_size, batches * batch_size, batch_size)
    return [range(start + rows.start, min(start + rows.stop, count)) for start in starts]


def _loaded(reader: _Reader, parts: list[range], workers: int, pin: bool) -> Iterator[Any]:
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        reader,  # type: ignore[arg-type]
        batch_sampler=parts,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_tensors,
        pin_memory=pin,
        generator=torch.Generator(),  # without, the loader draws from the global one
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        message = f"a process that decodes images died: {str(error).splitlines()[0]}"
        raise EvaluationError(message, "crashed") from None


def _tensors(batch: Any) -> tuple[Tensor, Tensor, list[str]]:
    import torch

    images, labels, found = batch
    return torch.from_numpy(images), torch.from_numpy(labels), found


def default_workers(pin: bool, beside: int = 1) -> int:
    """Return how many processes decode where nobody says it, with ``beside`` trainings on this machine."""
    found = _workers(None, pin)
    return found and max(1, found // beside)


def _workers(count: int | None, pin: bool) -> int:
    if multiprocessing.current_process().daemon:
        return 0  # such a process may not start others
    if count is not None:
        return count
    import torch

    # on a CPU that also trains, threads that wait for each other stand still when others take their cores
    return min(MOST_WORKERS, _cores() if pin else max(1, _cores() - torch.get_num_threads()))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(path: Path, damage: Damaged) -> str:
    return f"{path}: {damage}"
