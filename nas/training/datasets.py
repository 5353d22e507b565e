"""Where image sets come from: the datasets with files of their own formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.training.formats import check_cifar, check_idx, idx_file, read_cifar, read_idx
from nas.training.images import ImageSet, stratified
from nas.training.stream import ImageStream
from nas.types import Task

Images = ImageSet | ImageStream
Reader = Callable[[], Images]

DIGITS_TEST_SHARE = 0.2
FASHION_HELP = (
    "install Debian's package dataset-fashion-mnist, or get the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist and pass their folder with --data-dir"
)
CIFAR10_HELP = (
    "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and pass its folder with "
    "--data-dir"
)
CIFAR100_HELP = CIFAR10_HELP.replace("cifar-10-", "cifar-100-")


@dataclass(frozen=True)
class Source:
    """A dataset whose files were found and have the right sizes, none read yet.

    ``train`` and ``test`` read the official splits; ``validation`` is the default number of validation images, None for
    a tenth of the training images.
    """

    task: Task
    train: Reader
    test: Reader
    validation: int | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """A registered dataset: ``load`` finds and checks its files in a folder (None where it needs none).

    ``default_folder`` is tried when the user names none; ``help`` says how to get the files. A dataset that
    ``takes_file`` may be one file in place of a folder; for one that ``takes_size`` the user chooses the images' size:
    ``load`` gets it, or None, as a second argument.
    """

    description: str
    load: Callable[..., Source]
    needs_folder: bool
    default_folder: str | None = None
    help: str = ""
    takes_file: bool = False
    takes_size: bool = False


def open_digits(folder: Path | None = None) -> Source:
    """Scikit-learn's 1,797 grey 8x8 digits, levels 0..16 scaled to 0..255.

    They have no official test split: a stratified 20 %, the same for every split seed, is the test split.
    """

    def part(index: int) -> ImageSet:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        every = ImageSet(pixels, digits.target.astype(np.int64))
        count = round(len(every) * DIGITS_TEST_SHARE)
        return every.take(stratified(every.labels, count, 0)[index])

    return Source(Task("digits", (1, 8, 8), 10), lambda: part(1), lambda: part(0), 288)


def open_fashion_mnist(
    folder: Path | None, counts: tuple[int, int] = (60_000, 10_000), validation: int = 5_000
) -> Source:
    """Fashion-MNIST (arXiv:1708.07747) as the IDX files of its authors, gzipped or plain; ``counts``: train, test."""
    assert folder is not None
    files = {}
    for split, count in zip(("train", "t10k"), counts, strict=True):
        images = idx_file(folder, f"{split}-images-idx3-ubyte", FASHION_HELP)
        labels = idx_file(folder, f"{split}-labels-idx1-ubyte", FASHION_HELP)
        check_idx(images, (count, 28, 28))
        check_idx(labels, (count,))
        files[split] = images, labels

    def read(split: str) -> ImageSet:
        images, labels = files[split]
        return ImageSet(read_idx(images)[:, None], read_idx(labels).astype(np.int64))

    task = Task("fashion-mnist", (1, 28, 28), 10)
    return Source(task, lambda: read("train"), lambda: read("t10k"), validation)


def open_cifar10(folder: Path | None, records: int = 10_000, validation: int = 5_000) -> Source:
    """CIFAR-10 (Krizhevsky 2009) in the official binary layout, in ``folder`` or in its cifar-10-batches-bin.

    ``records`` is the number of images in each of the six files.
    """
    assert folder is not None
    home = _inner(folder, "cifar-10-batches-bin")
    train, test = [home / f"data_batch_{i}.bin" for i in range(1, 6)], [home / "test_batch.bin"]
    for path in train + test:
        check_cifar(path, records, CIFAR10_HELP)
    return Source(Task("cifar10", (3, 32, 32), 10), _cifar(train, 1), _cifar(test, 1), validation)


def open_cifar100(folder: Path | None, counts: tuple[int, int] = (50_000, 10_000), validation: int = 5_000) -> Source:
    """CIFAR-100 (Krizhevsky 2009) with its fine labels, laid out as CIFAR-10, in ``folder`` or its cifar-100-binary.

    ``counts``: images in train.bin and test.bin.
    """
    assert folder is not None
    home = _inner(folder, "cifar-100-binary")
    train, test = home / "train.bin", home / "test.bin"
    for path, count in zip((train, test), counts, strict=True):
        check_cifar(path, count, CIFAR100_HELP, 2)
    return Source(Task("cifar100", (3, 32, 32), 100), _cifar([train], 2), _cifar([test], 2), validation)


def _inner(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


def _cifar(paths: list[Path], label_bytes: int) -> Reader:
    def read() -> ImageSet:
        images, labels = read_cifar(paths, label_bytes)
        return ImageSet(images, labels.astype(np.int64))

    return read
