"""Sets of images that stay where they are and are decoded by worker processes, epoch after epoch.

A batch depends on order and seed, never on the number of workers: a position's crop has a random stream of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.core.activity import advance
from nas.core.text import printable
from nas.core.values import Shape
from nas.data.decode import UNIFORMS, ImageSource, RandomCrop, Span, central, inception_crop, require_pillow
from nas.data.depth import Damaged, Decoding
from nas.data.image_set import Findings, ImageSet, Labels, Moments
from nas.errors import ConfigError, EvaluationError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from nas.data.augment import Augmentation, Targets

IMAGENET_MEAN = 123.675, 116.28, 103.53
IMAGENET_DEVIATION = 58.395, 57.12, 57.375
CROP_SCALE = 0.08, 1.0
TEST_RESIZE = 256 / 224
"""The short side in evaluation, as a multiple of the crop's (arXiv:1512.03385, section 4.1)."""
MOST_WORKERS = 16
TOLD_EVERY = 100
"""Images after which it is told how many are decoded."""
INSIDE = b"//"
"""Stands between the name of an archive and that of a file in it."""
Read = tuple["Tensor", "Tensor", list[str], dict[tuple[str, int], float]]
"""Images and labels of a batch, and what :meth:`Findings.add` takes."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageStream:
    """Images that stay where they are, with their labels, seen as RGB at ``size`` x ``size``.

    They are files below a folder, files within files (of a tar archive), or items of a user's own data.

    Attributes:
        root: the folder, or the name of such data
        files: (N,), paths in bytes relative to ``root``; of files within files with :data:`INSIDE` between both names
        labels: (N,)
        size: side of an image, pixels
        findings: what reading them has found so far; parts of a stream share them
        spans: (N, 2), of files within files where each begins, and its length, in bytes
        item: returns the image of an item by its name in ``files``, of a user's own data
    """

    root: Path
    files: npt.NDArray[np.bytes_]
    labels: Labels
    size: int
    findings: Findings = field(default_factory=Findings)
    spans: Labels | None = None
    item: Callable[[str], Image.Image] | None = None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def damaged(self) -> list[str]:
        """The files that could not be read so far and were left out, each with the reason."""
        return self.findings.damaged

    @property
    def image_shape(self) -> Shape:
        """The shape (3, H, W) of one image as a network sees it."""
        return 3, self.size, self.size

    @property
    def moments(self) -> tuple[Moments, Moments]:
        """Mean and standard deviation of ImageNet's channels, each (3,), in units of 0..255."""
        return np.array(IMAGENET_MEAN, dtype=np.float32), np.array(IMAGENET_DEVIATION, dtype=np.float32)

    def take(self, indices: Labels) -> ImageStream:
        """Return the stream of the files at ``indices``."""
        spans = None if self.spans is None else self.spans[indices]
        return replace(self, files=self.files[indices], labels=self.labels[indices], spans=spans)

    def joined(self, other: ImageStream) -> ImageStream:
        """Return the files of this stream followed by those of ``other``, of the same folder and size."""
        if (self.root, self.size) != (other.root, other.size):
            found = f"'{self.root}' at {self.size}, '{other.root}' at {other.size}"
            raise ConfigError(f"streams of one folder and size can be joined, found {found}")
        files, labels = np.concatenate((self.files, other.files)), np.concatenate((self.labels, other.labels))
        spans = None
        if self.spans is not None and other.spans is not None:
            spans = np.concatenate((self.spans, other.spans))
        return replace(self, files=files, labels=labels, spans=spans, findings=self.findings.merged(other.findings))

    def path(self, index: int) -> Path:
        """Return the path of file ``index``, as messages name it."""
        return self.root / os.fsdecode(bytes(self.files[index]))

    def source(self, index: int) -> ImageSource:
        """Return where image ``index`` is read."""
        if self.item is not None:
            return self.item(os.fsdecode(bytes(self.files[index])))
        if self.spans is not None:
            archive = bytes(self.files[index]).partition(INSIDE)[0]
            return Span(self.root / os.fsdecode(archive), *map(int, self.spans[index]))
        return self.path(index)

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        seed: int | None = None,
        *,
        crop_scale: RandomCrop | None = None,
        workers: int | None = None,
        pin: bool = False,
        size: int | None = None,
        resize: int | None = None,
        rows: slice | None = None,
        first: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, uint8 (B, 3, H, W) in channels_last order, and their labels, int64 (B,), on the CPU.

        With a ``seed``, for training: a random crop of every file in ``order`` (N,), ``crop_scale`` (8 % to all) of its
        area or a square. The next good file replaces a damaged one, and a smaller last batch is dropped, so all batches
        have one shape. Without, for measuring: the centre of every file in turn, scaled so that its short side is
        ``resize`` (256 for a crop of 224); damaged files are left out, so batches may be smaller. ``size`` is the side
        of the crop (the stream's own). ``workers`` processes decode (0: this process; by default one a core that
        torch's threads leave free, and one at least); ``pin``, for a GPU, puts batches into page-locked memory, and all
        cores, 16 at most, decode by default. Of every batch from ``first`` on only the ``rows`` are read (all).

        Raises :class:`EvaluationError` when no file can be read or a worker dies.
        """
        import torch
        from torch.utils.data import DataLoader

        require_pillow()
        size = self.size if size is None else size
        resize = round(size * TEST_RESIZE) if resize is None else resize
        indices = np.arange(len(self)) if order is None else order.cpu().numpy()
        processes = _workers(workers, pin)
        decoding = Decoding(max(1, processes))
        reader = _Reader(self, indices, seed, crop_scale or CROP_SCALE, size, max(size, resize), decoding)
        # the positions of each batch that are read
        count, rows = len(indices), rows or slice(0, batch_size)
        whole = count // batch_size if seed is not None else -(-count // batch_size)
        starts = range(first * batch_size, whole * batch_size, batch_size)
        parts = [range(start + rows.start, min(start + rows.stop, count)) for start in starts]
        loader: DataLoader[Read] = DataLoader(
            reader,  # type: ignore[arg-type]
            batch_sampler=parts,  # type: ignore[arg-type]
            num_workers=processes,
            collate_fn=tuple,  # the reader gives whole batches
            pin_memory=pin,
            generator=torch.Generator(),  # without, the loader draws from the global one
        )
        seen = 0
        try:
            for images, labels, damaged, ranges in loader:
                self.findings.add(damaged, ranges)
                if seed is not None and not len(labels):
                    break
                seen += len(labels)
                if len(labels):
                    yield images.permute(0, 3, 1, 2), labels
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            message = f"a process that decodes images died: {str(error).splitlines()[0]}"
            raise EvaluationError(message, "crashed") from None
        if not seen and parts:
            raise EvaluationError(f"no image of folder '{self.root}' can be read; the first: {self.damaged[0]}")

    def read(self) -> ImageSet:
        """Decode every file once into memory: its short side scaled to ``size``, then its centre.

        Damaged files are left out and named; no readable file raises :class:`ConfigError`.
        """
        images = np.empty((len(self), 3, self.size, self.size), dtype=np.uint8)

        def decode(index: int) -> tuple[list[str], dict[tuple[str, int], float]]:
            decoding = Decoding(_cores())
            try:
                images[index] = central(self.source(index), self.size, self.size, decoding).transpose(2, 0, 1)
            except Damaged as damage:
                return [f"{printable(str(self.path(index)))}: {damage}"], {}
            return [], decoding.ranges

        # threads, since pillow decodes and scales without holding the interpreter's lock
        with ThreadPoolExecutor(_cores()) as pool:
            found_of = []
            for one in pool.map(decode, range(len(self)), chunksize=64):
                found_of.append(one)
                if len(found_of) % TOLD_EVERY == 0:
                    told = f"decoding images, {len(found_of):,} of {len(self):,}"
                    advance(told, len(found_of), len(self))
        good = np.array([not damaged for damaged, _ in found_of], dtype=bool)
        for ranges in (ranges for _, ranges in found_of if ranges):
            self.findings.add((), ranges)
        self.findings.add([line for damaged, _ in found_of for line in damaged], {})
        if not good.any():
            raise ConfigError(f"no image of folder '{self.root}' can be read; the first: {self.damaged[0]}")
        found = ImageSet(images, self.labels, self.findings)
        return found if good.all() else found.take(good)


class StreamedBatches:
    """The batches of a folder that is read and cropped while training; the rest is done on ``device``.

    Of every batch only the ``rows`` are read (None: all); ``beside`` trainings on this machine share its processors.
    A ``balanced`` epoch shows as many images of every class.
    """

    def __init__(
        self,
        images: ImageStream,
        augmentation: Augmentation,
        batch_size: int,
        device: torch.device,
        rows: slice | None = None,
        beside: int = 1,
        balanced: bool = False,
    ) -> None:
        from nas.data.augment import tensor

        self.stream, self.augmentation, self.device, self.beside = images, augmentation, device, beside
        self.balanced = balanced
        self.mean, self.std = (tensor(a).to(device) for a in images.moments)
        self.batch_size = min(batch_size, len(images))
        self.steps = len(images) // self.batch_size
        self.rows = rows or slice(0, self.batch_size)

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``, from batch ``first`` on."""
        import torch

        from nas.data.augment import balanced_order, draw, finish

        # the stream draws its crops itself; over a million images those of here would take a gigabyte
        drawn, pin = replace(self.augmentation, crop_scale=None, crop_resize=None), self.device.type == "cuda"
        draws = draw(len(self.stream), drawn, self.stream.image_shape, generator, self.device)
        labels = torch.from_numpy(self.stream.labels)
        order = balanced_order(labels, generator) if self.balanced else draws.order.cpu()
        scale, workers = self.augmentation.random_crop, _workers(None, pin, self.beside)
        batches = self.stream.batches(
            self.batch_size, order, draws.seed, crop_scale=scale, workers=workers, pin=pin, rows=self.rows, first=first
        )
        for step, (images, labels) in enumerate(batches, first):
            start = step * self.batch_size
            part = draws.at(slice(start + self.rows.start, start + self.rows.stop))
            images, labels = (t.to(self.device, non_blocking=True) for t in (images, labels))
            yield finish(images, labels, part, self.augmentation, self.mean, self.std)


@dataclass(eq=False)
class _Reader:
    """What a worker holds: it decodes the positions that a batch asks for."""

    stream: ImageStream
    indices: npt.NDArray[np.int64]
    seed: int | None
    scale: RandomCrop
    size: int
    resize: int
    decoding: Decoding
    bad: set[int] = field(default_factory=set)

    def __getitems__(self, positions: Sequence[int]) -> Read:
        import torch

        found: list[str] = []
        kept: list[int] = []
        images = np.empty((len(positions), self.size, self.size, 3), dtype=np.uint8)
        for position in positions:
            # in training the next good file takes the place of a damaged one
            first, tries = int(self.indices[position]), 1 if self.seed is None else len(self.stream)
            for index in ((first + step) % len(self.stream) for step in range(tries)):
                if index in self.bad:
                    continue
                out = images[len(kept)]
                try:
                    source = self.stream.source(index)
                    if self.seed is None:
                        out[:] = central(source, self.resize, self.size, self.decoding)
                    else:
                        raw = np.random.PCG64(np.random.SeedSequence([self.seed, position])).random_raw(UNIFORMS)
                        uniforms = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
                        out[:] = inception_crop(source, self.size, self.scale, uniforms, self.decoding)
                except Damaged as damage:
                    self.bad.add(index)
                    found.append(f"{printable(str(self.stream.path(index)))}: {damage}")
                else:
                    kept.append(index)
                    break
        labels = self.stream.labels[np.array(kept, dtype=np.int64)]
        return torch.from_numpy(images[: len(kept)]), torch.from_numpy(labels), found, dict(self.decoding.ranges)


def _workers(count: int | None, pin: bool, beside: int = 1) -> int:
    """Return how many processes decode, ``count`` or by default this one's share with ``beside`` trainings here."""
    if multiprocessing.current_process().daemon:
        return 0  # such a process may not start others
    if count is not None:
        return count
    import torch

    # on a CPU that also trains, threads that wait for each other stand still when others take their cores
    found = min(MOST_WORKERS, _cores() if pin else max(1, _cores() - torch.get_num_threads()))
    return max(1, found // beside)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
