"""Image sets: what networks are trained on, validated on and, at the end, tested on.

Images are uint8 arrays (N, C, H, W), labels int64 arrays (N,). A dataset is registered in :data:`DATASETS` by a
function that finds its files and checks their sizes; pixels are read when asked for, those of the test split last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError
from nas.registry import Registry
from nas.training.formats import check_cifar, check_idx, idx_file, read_cifar, read_idx
from nas.types import Shape, Task

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Moments = npt.NDArray[np.float32]

DIGITS_TEST_SHARE = 0.2
FASHION_HELP = (
    "install Debian's package dataset-fashion-mnist, or get the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist and pass their folder with --data-dir"
)
CIFAR10_HELP = (
    "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and pass its folder with "
    "--data-dir"
)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images (N, C, H, W) of 8-bit pixels and their labels (N,); arrays of another kind raise :class:`ConfigError`."""

    images: Pixels
    labels: Labels

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

    def take(self, indices: npt.NDArray[np.int64]) -> ImageSet:
        """Return the images at ``indices``, copied."""
        return ImageSet(self.images[indices], self.labels[indices])

    def joined(self, other: ImageSet) -> ImageSet:
        """Return these images followed by those of ``other``."""
        if other.image_shape != self.image_shape:
            raise ConfigError(f"image sets of one shape can be joined, found {self.image_shape}, {other.image_shape}")
        return ImageSet(np.concatenate((self.images, other.images)), np.concatenate((self.labels, other.labels)))

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


Reader = Callable[[], ImageSet]


@dataclass(frozen=True)
class Source:
    """A dataset whose files were found and have the right sizes, none read yet.

    ``train`` and ``test`` read the official splits; ``validation`` is the default number of validation images.
    """

    task: Task
    train: Reader
    test: Reader
    validation: int


@dataclass(frozen=True)
class DatasetInfo:
    """A registered dataset: ``load`` finds and checks its files in a folder (None where it needs none).

    ``default_folder`` is tried when the user names none; ``help`` says how to get the files.
    """

    description: str
    load: Callable[[Path | None], Source]
    needs_folder: bool
    default_folder: str | None = None
    help: str = ""


DATASETS: Registry[DatasetInfo] = Registry("dataset")


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits of a dataset. A search sees ``train`` and ``validation``; ``test`` is read on first access."""

    name: str
    train: ImageSet
    validation: ImageSet
    read_test: Reader
    classes: int

    @cached_property
    def test(self) -> ImageSet:
        """The official test split, for finalists only; wrong pixels or labels raise :class:`ConfigError`."""
        return _checked(self.read_test(), f"test split of dataset '{self.name}'", self.task)

    @property
    def task(self) -> Task:
        """What a network must do for this dataset."""
        return Task(self.name, self.train.image_shape, self.classes)


def load_splits(
    name: str,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    validation: int | None = None,
    train_images: int | None = None,
) -> Splits:
    """Read the training set of dataset ``name`` and part it into train and validation; the test split stays on disk.

    Validation is a stratified random part of the official training set: ``validation`` images (the dataset's own number
    by default), drawn from ``split_seed`` alone; of the rest, ``train_images`` are kept in the same way (all by
    default). Raises :class:`ConfigError` as :func:`check_dataset` does, and for a label out of range, a seed below 0,
    or a validation set that leaves a class without an image.
    """
    if type(split_seed) is not int or split_seed < 0:
        raise ConfigError(f"split seed must be a whole number of at least 0, found {split_seed!r}")
    source = _open(name, data_dir)
    official = _checked(source.train(), f"training split of dataset '{name}'", source.task)
    count = source.validation if validation is None else validation
    most = len(official) - source.task.classes
    if type(count) is not int or not source.task.classes <= count <= most:
        allowed = f"a whole number from {source.task.classes} to {most:,}"
        raise ConfigError(f"dataset '{name}': the number of validation images must be {allowed}, found {count!r}")
    chosen, rest = stratified(official.labels, count, split_seed)
    if train_images is not None:
        rest = _fewer(name, official.labels, rest, train_images, source.task.classes, split_seed)
    return Splits(name, official.take(rest), official.take(chosen), source.test, source.task.classes)


def _fewer(name: str, labels: Labels, rest: Labels, count: int, classes: int, seed: int) -> Labels:
    if type(count) is not int or not classes <= count <= len(rest):
        allowed = f"a whole number from {classes} to {len(rest):,}"
        raise ConfigError(f"dataset '{name}': the number of training images must be {allowed}, found {count!r}")
    kept, _ = stratified(labels[rest], count, seed)
    return rest[kept]


def check_dataset(name: str, data_dir: str | Path | None = None) -> None:
    """Refuse a dataset that cannot be loaded, without reading it.

    Raises :class:`ConfigError` for an unknown name, a missing folder or file, a wrong magic number or size. Labels are
    checked by :func:`load_splits`.
    """
    _open(name, data_dir)


def task_of(name: str, data_dir: str | Path | None = None) -> Task:
    """Return the task of dataset ``name``, after the checks of :func:`check_dataset`."""
    return _open(name, data_dir).task


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


def _open(name: str, data_dir: str | Path | None) -> Source:
    info = DATASETS[name]
    try:
        return info.load(_folder(name, info, data_dir))
    except ConfigError as error:
        raise ConfigError(f"dataset '{name}': {error}") from None


def _folder(name: str, info: DatasetInfo, data_dir: str | Path | None) -> Path | None:
    if not info.needs_folder:
        return None
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            state = "is not a folder" if folder.exists() else "does not exist"
            raise ConfigError(f"folder '{folder}' {state}; {info.help}")
        return folder
    if info.default_folder is not None and Path(info.default_folder).is_dir():
        return Path(info.default_folder)
    raise ConfigError(f"it is read from a folder and none is given; {info.help}")


def _checked(images: ImageSet, what: str, task: Task) -> ImageSet:
    if images.image_shape != task.input_shape:
        raise ConfigError(f"{what}: images must be {task.input_shape}, found {images.image_shape}")
    wrong = np.flatnonzero((images.labels < 0) | (images.labels >= task.classes))
    if len(wrong):
        found = f"{images.labels[wrong[0]]} at image {wrong[0]:,}"
        raise ConfigError(f"{what}: labels must be from 0 to {task.classes - 1}, found {found}; get the files anew")
    return images


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
    inner = folder / "cifar-10-batches-bin"
    home = inner if inner.is_dir() else folder
    train, test = [home / f"data_batch_{i}.bin" for i in range(1, 6)], [home / "test_batch.bin"]
    for path in train + test:
        check_cifar(path, records, CIFAR10_HELP)

    def read(paths: list[Path]) -> ImageSet:
        images, labels = read_cifar(paths)
        return ImageSet(images, labels.astype(np.int64))

    return Source(Task("cifar10", (3, 32, 32), 10), lambda: read(train), lambda: read(test), validation)


DATASETS.add("digits", DatasetInfo("1,797 grey 8x8 digits, part of scikit-learn", open_digits, False))
DATASETS.add(
    "fashion-mnist",
    DatasetInfo(
        "70,000 grey 28x28 pictures of clothes",
        open_fashion_mnist,
        True,
        "/usr/share/datasets/fashion-mnist",
        FASHION_HELP,
    ),
)
DATASETS.add("cifar10", DatasetInfo("60,000 colour 32x32 photos", open_cifar10, True, None, CIFAR10_HELP))
