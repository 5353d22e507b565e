"""Published image sets in their own formats: digits, MNIST and its kin, a packaged part of Fashion-MNIST, SVHN, CIFAR.

Formats are IDX (MNIST's, plain or gzipped), MATLAB's files (SVHN) and CIFAR's binary records. The checks read names,
sizes and magic numbers only; the readers read. Every error is a :class:`ConfigError` that names the file.
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
from nas.data.cifar_forms import CifarForm, cifar10_form, cifar100_form, open_archive, open_pickles, pickled_home
from nas.data.image_set import DatasetSource, ImageSet, Labels, Pixels, stratified
from nas.errors import ConfigError, one_line

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
MNIST_HELP = (
    "get the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and"
    " t10k-labels-idx1-ubyte, plain or as .gz, and pass their folder with --data-dir"
)
KMNIST_HELP = f"{MNIST_HELP}; they are at http://codh.rois.ac.jp/kmnist"
SVHN_HELP = (
    "get train_32x32.mat and test_32x32.mat from http://ufldl.stanford.edu/housenumbers and pass their folder with "
    "--data-dir"
)
CIFAR10_HELP = (
    "get cifar-10-binary.tar.gz or cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and pass it,"
    " or the folder it is unpacked in, with --data-dir"
)
CIFAR100_HELP = CIFAR10_HELP.replace("cifar-10-", "cifar-100-")
DIGITS = tuple("0123456789")
FASHION = (*("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),)
"""The names of Fashion-MNIST's classes (arXiv:1708.07747, table 2)."""
KUZUSHIJI = "o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"
"""The hiragana of Kuzushiji-MNIST's classes (arXiv:1812.01718, figure 2)."""
SVHN_FILES = "train_32x32.mat", "test_32x32.mat"
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
    return open_idx(folder, "fashion-mnist", FASHION, FASHION_HELP, counts, validation)


def open_mnist(folder: Path | None, counts: tuple[int, int] = (60_000, 10_000)) -> DatasetSource:
    """MNIST (LeCun, Cortes and Burges 1998) as the IDX files of its authors."""
    return open_idx(folder, "mnist", DIGITS, MNIST_HELP, counts)


def open_kmnist(folder: Path | None, counts: tuple[int, int] = (60_000, 10_000)) -> DatasetSource:
    """Kuzushiji-MNIST (arXiv:1812.01718) as the IDX files of its authors."""
    return open_idx(folder, "kmnist", KUZUSHIJI, KMNIST_HELP, counts)


def open_idx(
    folder: Path | None,
    name: str,
    class_names: Sequence[str],
    help: str,
    counts: tuple[int, int] = (60_000, 10_000),
    validation: int = 5_000,
) -> DatasetSource:
    """Return a dataset of MNIST's kind: four IDX files of 28 x 28 grey pixels in ``folder`` or its folder ``raw``."""
    assert folder is not None
    # torchvision has the folders MNIST/raw, FashionMNIST/raw and KMNIST/raw beside each other
    own = name.replace("-", "")
    inner = [path for path in (folder / "raw", *sorted(folder.glob("*/raw"))) if any(path.glob("*-idx3-ubyte*"))]
    inner = [path for path in inner if path.parent in (folder,) or path.parent.name.lower() == own] or inner[:1]
    home = inner[0] if inner and not any(folder.glob("*-idx3-ubyte*")) else folder
    files = {}
    for split, count in zip(("train", "t10k"), counts, strict=True):
        images = idx_file(home, f"{split}-images-idx3-ubyte", (count, 28, 28), help)
        labels = idx_file(home, f"{split}-labels-idx1-ubyte", (count,), help)
        files[split] = images, labels

    def read(split: str) -> ImageSet:
        images, labels = files[split]
        return ImageSet(read_idx(images)[:, None], read_idx(labels).astype(np.int64))

    def test_labels() -> Labels:
        return read_idx(files["t10k"][1]).astype(np.int64)

    task, named = Task(name, (1, 28, 28), len(class_names)), _named([path for pair in files.values() for path in pair])
    train, test = partial(read, "train"), partial(read, "t10k")
    return DatasetSource(task, train, test, validation, test_labels, lambda: named, tuple(class_names))


def open_svhn(folder: Path | None, validation: int = 6_000) -> DatasetSource:
    """Street View House Numbers (Netzer et al. 2011), cropped digits of 32 x 32: MATLAB's files of its authors.

    Label 10 there is the digit 0. The extra images are not used.
    """
    assert folder is not None
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    paths = {split: folder / name for split, name in zip(("train", "test"), SVHN_FILES, strict=True)}
    for path in paths.values():
        if not path.is_file():
            raise ConfigError(f"file '{path}' is missing; {SVHN_HELP}")
        try:
            shapes = {name: shape for name, shape, _ in whosmat(path)}
        except (MatReadError, ValueError, TypeError, OSError, NotImplementedError) as error:
            raise ConfigError(f"file '{path}' {_state(path)}: {one_line(error)}; get it again") from None
        images, labels = shapes.get("X", ()), shapes.get("y", ())
        if images[:3] != (32, 32, 3) or len(images) != 4 or labels != (images[3], 1):
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
            raise ConfigError(f"file '{path}' must hold X (32, 32, 3, N) and y (N, 1), found {found}; {SVHN_HELP}")

    def part(split: str, name: str) -> Pixels:
        try:
            found: Pixels = loadmat(paths[split], variable_names=[name])[name]
        except (MatReadError, ValueError, TypeError, OSError, KeyError, zlib.error) as error:
            raise ConfigError(
                f"file '{paths[split]}' {_state(paths[split])}: {one_line(error)}; get it again"
            ) from None
        return found

    def labels_of(split: str) -> Labels:
        found = part(split, "y").astype(np.int64).reshape(-1)
        return np.where(found == 10, 0, found)

    def read(split: str) -> ImageSet:
        return ImageSet(np.ascontiguousarray(part(split, "X").transpose(3, 2, 0, 1)), labels_of(split))

    task, named = Task("svhn", (3, 32, 32), 10), _named(list(paths.values()))
    train, test = partial(read, "train"), partial(read, "test")
    return DatasetSource(task, train, test, validation, partial(labels_of, "test"), lambda: named, DIGITS)


def open_cifar10(folder: Path | None, records: int = 10_000, validation: int = 5_000) -> DatasetSource:
    """CIFAR-10 (Krizhevsky 2009): six files of ``records`` images in ``folder`` or its own folder, binary or pickled.

    The .tar.gz of its authors will do, or a folder with it.
    """
    assert folder is not None
    if other := _other_form(folder, cifar10_form(records), validation, CIFAR10_HELP):
        return other
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
    """CIFAR-100 (Krizhevsky 2009), fine labels, as CIFAR-10; ``counts``: training and test images."""
    assert folder is not None
    if other := _other_form(folder, cifar100_form(counts), validation, CIFAR100_HELP):
        return other
    inner = folder / "cifar-100-binary"
    home = inner if inner.is_dir() else folder
    train, test = home / "train.bin", home / "test.bin"
    for path, count in zip((train, test), counts, strict=True):
        check_cifar(path, count, CIFAR100_HELP, 2)
    task = Task("cifar100", (3, 32, 32), 100)
    return _cifar(task, [train], [test], 2, validation, home / "fine_label_names.txt")


def _other_form(place: Path, form: CifarForm, validation: int, help: str) -> DatasetSource | None:
    """Return a dataset of CIFAR that is pickled or in an archive, None where binary files are what is there."""
    if place.is_file():
        return open_archive(place, form, validation, help)
    binary = any((home / f"{name}.bin").is_file() for home in (place, place / form.binary) for name in form.train)
    if binary:
        return None
    if home := pickled_home(place, form):
        return open_pickles(home, form, validation, help)
    number = form.task.name.removeprefix("cifar")
    packed = sorted(place.glob(f"cifar-{number}-*.tar.gz"))
    return open_archive(packed[0], form, validation, help) if packed else None


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
