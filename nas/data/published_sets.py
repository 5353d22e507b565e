"""Published image sets in their own formats: digits, Fashion-MNIST and a packaged part of it, CIFAR-10 and CIFAR-100.

Formats are IDX (MNIST's, plain or gzipped) and the binary records of CIFAR. The checks read names, sizes and magic
numbers only; the readers read. Every error is a :class:`ConfigError` that names the file.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nas.core.file_kinds import GZIP, kind_of_file
from nas.core.values import Task
from nas.data.image_set import DatasetSource, ImageSet, Labels, Pixels, stratified
from nas.errors import ConfigError

IDX_UBYTE = 0x08
CIFAR_PIXELS = 3 * 32 * 32
DIGITS_TEST_SHARE = 0.2
FASHION_MINI = Path(__file__).parent / "packaged" / "fashion_mnist_10k.npz"
FASHION_MINI_SHA256 = "bb2614f61c9f81b17cb02d28a6fce1bd4b32808808ed1c33d1b1b1c6a2ef8fd0"
FASHION_MINI_HELP = "install the toolkit again"
FASHION_HELP = (
    "install Debian's package dataset-fashion-mnist, or get the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist and pass their folder with --data-dir"
)
CIFAR10_HELP = (
    "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and pass its folder with "
    "--data-dir"
)
CIFAR100_HELP = CIFAR10_HELP.replace("cifar-10-", "cifar-100-")
DIGITS = tuple("0123456789")
FASHION = (*("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),)
"""The names of Fashion-MNIST's classes (arXiv:1708.07747, table 2)."""
MOST_META = 64 << 10
"""Bytes of a file of names."""


def open_digits(folder: Path | None = None) -> DatasetSource:
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

    train, test = partial(part, 1), partial(part, 0)
    return DatasetSource(Task("digits", (1, 8, 8), 10), train, test, 288, lambda: part(0).labels, class_names=DIGITS)


def open_fashion_mini(folder: Path | None = None) -> DatasetSource:
    """The first 800 training and 200 test images of each class of Fashion-MNIST, part of this package.

    The file is the one that this version was made with, or it is refused: the version says which images they are.
    """

    def part(split: str) -> ImageSet:
        with _reading(FASHION_MINI):
            content = FASHION_MINI.read_bytes()
        if sha256(content).hexdigest() != FASHION_MINI_SHA256:
            raise ConfigError(f"file '{FASHION_MINI}' is not as it was packaged; {FASHION_MINI_HELP}")
        with np.load(io.BytesIO(content)) as arrays:
            return ImageSet(arrays[f"{split}_images"][:, None], arrays[f"{split}_labels"].astype(np.int64))

    if not FASHION_MINI.is_file():
        raise ConfigError(f"file '{FASHION_MINI}' is missing; {FASHION_MINI_HELP}")
    task = Task("fashion-mini", (1, 28, 28), 10)
    train, test = partial(part, "train"), partial(part, "test")
    return DatasetSource(task, train, test, 2_000, lambda: part("test").labels, class_names=FASHION)


def open_fashion_mnist(
    folder: Path | None, counts: tuple[int, int] = (60_000, 10_000), validation: int = 5_000
) -> DatasetSource:
    """Fashion-MNIST (arXiv:1708.07747) as the IDX files of its authors, gzipped or plain; ``counts``: train, test."""
    assert folder is not None
    files = {}
    for split, count in zip(("train", "t10k"), counts, strict=True):
        images = idx_file(folder, f"{split}-images-idx3-ubyte", (count, 28, 28), FASHION_HELP)
        labels = idx_file(folder, f"{split}-labels-idx1-ubyte", (count,), FASHION_HELP)
        files[split] = images, labels

    def read(split: str) -> ImageSet:
        images, labels = files[split]
        return ImageSet(read_idx(images)[:, None], read_idx(labels).astype(np.int64))

    def test_labels() -> Labels:
        return read_idx(files["t10k"][1]).astype(np.int64)

    task, named = Task("fashion-mnist", (1, 28, 28), 10), _named([path for pair in files.values() for path in pair])
    train, test = partial(read, "train"), partial(read, "t10k")
    return DatasetSource(task, train, test, validation, test_labels, lambda: named, FASHION)


def open_cifar10(folder: Path | None, records: int = 10_000, validation: int = 5_000) -> DatasetSource:
    """CIFAR-10 (Krizhevsky 2009), six binary files of ``records`` images in ``folder`` or its cifar-10-batches-bin."""
    assert folder is not None
    inner = folder / "cifar-10-batches-bin"
    home = inner if inner.is_dir() else folder
    train, test = [home / f"data_batch_{i}.bin" for i in range(1, 6)], [home / "test_batch.bin"]
    for path in train + test:
        check_cifar(path, records, CIFAR10_HELP)
    task = Task("cifar10", (3, 32, 32), 10)
    return _cifar(task, train, test, 1, validation, home / "batches.meta.txt")


def open_cifar100(
    folder: Path | None, counts: tuple[int, int] = (50_000, 10_000), validation: int = 5_000
) -> DatasetSource:
    """CIFAR-100 (Krizhevsky 2009), fine labels, as CIFAR-10 in cifar-100-binary; ``counts``: images by file."""
    assert folder is not None
    inner = folder / "cifar-100-binary"
    home = inner if inner.is_dir() else folder
    train, test = home / "train.bin", home / "test.bin"
    for path, count in zip((train, test), counts, strict=True):
        check_cifar(path, count, CIFAR100_HELP, 2)
    task = Task("cifar100", (3, 32, 32), 100)
    return _cifar(task, [train], [test], 2, validation, home / "fine_label_names.txt")


def _cifar(
    task: Task, train: Sequence[Path], test: Sequence[Path], labels: int, validation: int, names: Path
) -> DatasetSource:
    """Return the dataset of the files; the one of ``names`` has a line for each class, where it is there."""
    class_names: list[str] = []
    if names.is_file():
        with _reading(names), names.open("rb") as file:
            class_names = [line.strip() for line in os.fsdecode(file.read(MOST_META)).splitlines() if line.strip()]
    known = tuple(class_names) if len(class_names) == task.classes else ()
    named = _named([*train, *test])
    read = partial(read_cifar, labels=labels)
    test_labels = partial(cifar_labels, test, labels)
    return DatasetSource(task, partial(read, train), partial(read, test), validation, test_labels, lambda: named, known)


def _named(paths: Sequence[Path]) -> list[tuple[str, str]]:
    return [(path.name, str(path)) for path in paths]


def idx_file(folder: Path, name: str, shape: Sequence[int], help: str) -> Path:
    """Return the file ``name`` or ``name.gz`` in ``folder``, by its header and size an IDX file of bytes of ``shape``.

    Format: http://yann.lecun.com/exdb/mnist. Nothing is unpacked but the header.
    """
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise ConfigError(f"file '{folder / name}' is missing, also as .gz; {help}")
    header = 4 + 4 * len(shape)
    with _reading(path):
        with _open(path) as file:
            head = file.read(header)
        size = path.stat().st_size
        if path.suffix == ".gz":
            with path.open("rb") as file:
                file.seek(-4, 2)  # the size of the content (RFC 1952, section 2.3.1)
                size = int(struct.unpack("<I", file.read())[0])
    if len(head) < header:
        raise ConfigError(f"file '{path}' is truncated: {len(head)} bytes, its header alone has {header}; get it again")
    # the last byte of the magic number tells the number of dimensions
    magic, dims = struct.unpack(">I", head[:4])[0], struct.unpack(f">{len(shape)}I", head[4:])
    expected = IDX_UBYTE << 8 | len(shape)
    if magic != expected:
        rule = f"its magic number must be 0x{expected:08x} (bytes in {len(shape)} dimensions)"
        raise ConfigError(f"file '{path}' is no IDX file of the right kind: {rule}, found 0x{magic:08x}")
    if dims != tuple(shape):
        raise ConfigError(f"file '{path}' must hold {_times(shape)} bytes, its header says {_times(dims)}")
    if size != header + prod(shape):
        rule = f"{header + prod(shape):,} bytes are needed"
        raise ConfigError(f"file '{path}' {_state(path)}: {rule}, {size:,} are there; get it again")
    return path


def read_idx(path: Path) -> Pixels:
    """Return the array of an IDX file of unsigned bytes; the file must have passed :func:`idx_file`."""
    with _reading(path), _open(path) as file:
        count = file.read(4)[3]
        shape = struct.unpack(f">{count}I", file.read(4 * count))
        # no more than one byte beyond, at whose place gzip compares its checksum: it may hold any number of bytes
        data = file.read(prod(shape) + 1)
    if len(data) != prod(shape):
        raise ConfigError(f"file '{path}' is truncated or damaged: {_times(shape)} bytes are needed; get it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape).copy()


def check_cifar(path: Path, records: int, help: str, labels: int = 1) -> None:
    """Refuse a CIFAR binary file that is missing or has not exactly ``records`` records.

    A record is ``labels`` bytes (CIFAR-10: one; CIFAR-100: coarse and fine) and 3,072 of pixels.
    """
    if not path.is_file():
        raise ConfigError(f"file '{path}' is missing; {help}")
    with _reading(path):
        size = path.stat().st_size
    record = labels + CIFAR_PIXELS
    if size != records * record:
        rule = f"{records * record:,} bytes are needed ({records:,} images of {record:,})"
        raise ConfigError(f"file '{path}' {_state(path)}: {rule}, {size:,} are there; get it again")


def read_cifar(paths: Sequence[Path], labels: int = 1) -> ImageSet:
    """Return the images, and a record's last label for each, of CIFAR binary files that passed the check."""
    images = np.concatenate([records[:, labels:] for records in _records(paths, labels)]).reshape(-1, 3, 32, 32)
    return ImageSet(images, cifar_labels(paths, labels))


def cifar_labels(paths: Sequence[Path], labels: int = 1) -> Labels:
    """Return the last label of every record of CIFAR binary files that passed the check."""
    return np.concatenate([records[:, labels - 1] for records in _records(paths, labels)]).astype(np.int64)


def _records(paths: Sequence[Path], labels: int) -> Iterator[Pixels]:
    for path in paths:
        with _reading(path):
            yield np.fromfile(path, dtype=np.uint8).reshape(-1, labels + CIFAR_PIXELS)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _state(path: Path) -> str:
    """Say what a file is that is not as it should be."""
    kind = kind_of_file(path)
    return "is truncated or damaged" + ("" if kind in (None, GZIP) else f" (it is {kind})")


def _times(shape: Sequence[int]) -> str:
    return " x ".join(f"{extent:,}" for extent in shape)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"file '{path}' {_state(path)}: {error}; get it again") from None
    except OSError as error:
        raise ConfigError(f"file '{path}' cannot be read: {error.strerror or error}") from None
