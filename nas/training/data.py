"""Datasets: what networks are trained on, validated on and, at the end, tested on.

A dataset is registered in :data:`DATASETS` by a function that finds its files and checks their sizes; pixels are read
when asked for, those of the test split last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nas.errors import ConfigError
from nas.registry import Registry
from nas.training.arrays import ARRAYS_HELP, open_arrays
from nas.training.datasets import (
    CIFAR10_HELP,
    CIFAR100_HELP,
    FASHION_HELP,
    DatasetInfo,
    Images,
    Reader,
    Source,
    open_cifar10,
    open_cifar100,
    open_digits,
    open_fashion_mnist,
)
from nas.training.folder import FOLDER_HELP, open_folder
from nas.training.images import ImageSet, Labels, stratified
from nas.training.stream import ImageStream
from nas.types import Task

__all__ = [
    "DATASETS",
    "DatasetInfo",
    "ImageSet",
    "ImageStream",
    "Images",
    "Source",
    "Splits",
    "check_dataset",
    "images_named",
    "load_splits",
    "stratified",
    "task_of",
]

MOST_VALIDATION = 50_000
OWN = ("arrays", "folder")
"""The datasets that are whatever lies in ``data_dir``."""

DATASETS: Registry[DatasetInfo] = Registry("dataset")


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits of a dataset. A search sees ``train`` and ``validation``; ``test`` is read on first access."""

    name: str
    train: Images
    validation: Images
    read_test: Reader
    classes: int

    @cached_property
    def test(self) -> Images:
        """The official test split, for finalists only; wrong pixels or labels raise :class:`ConfigError`."""
        return _checked(self.read_test(), f"test split of dataset '{self.name}'", self.task)

    @property
    def damaged(self) -> tuple[str, ...]:
        """The files that could not be read so far and were left out, each with the reason."""
        test = self.__dict__.get("test")  # not read for this
        parts = [part for part in (self.train, self.validation, test) if part is not None]
        return tuple(dict.fromkeys(line for part in parts for line in part.damaged))

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
    image_size: int | None = None,
) -> Splits:
    """Read the training set of dataset ``name`` and part it into train and validation; the test split stays on disk.

    Validation is a stratified random part of the official training set: ``validation`` images (the dataset's own number
    by default), drawn from ``split_seed`` alone; of the rest, ``train_images`` are kept in the same way (all by
    default). ``image_size`` is the side of the images of a dataset of files. Raises :class:`ConfigError` as
    :func:`check_dataset` does, and for a label out of range, a seed below 0, or a validation set that leaves a class
    without an image.
    """
    if type(split_seed) is not int or split_seed < 0:
        raise ConfigError(f"split seed must be a whole number of at least 0, found {split_seed!r}")
    source = _open(name, data_dir, image_size)
    official = _checked(source.train(), f"training split of dataset '{name}'", source.task)
    classes = source.task.classes
    most = len(official) - classes
    count = validation
    if count is None:
        count = (
            max(classes, min(len(official) // 10, MOST_VALIDATION)) if source.validation is None else source.validation
        )
    if type(count) is not int or not classes <= count <= most:
        allowed = f"a whole number from {classes} to {most:,}"
        raise ConfigError(f"dataset '{name}': the number of validation images must be {allowed}, found {count!r}")
    chosen, rest = stratified(official.labels, count, split_seed)
    if train_images is not None:
        rest = _fewer(name, official.labels, rest, train_images, classes, split_seed)
    return Splits(name, official.take(rest), official.take(chosen), source.test, classes)


def _fewer(name: str, labels: Labels, rest: Labels, count: int, classes: int, seed: int) -> Labels:
    if type(count) is not int or not classes <= count <= len(rest):
        allowed = f"a whole number from {classes} to {len(rest):,}"
        raise ConfigError(f"dataset '{name}': the number of training images must be {allowed}, found {count!r}")
    kept, _ = stratified(labels[rest], count, seed)
    return rest[kept]


def check_dataset(name: str, data_dir: str | Path | None = None, image_size: int | None = None) -> None:
    """Refuse a dataset that cannot be loaded, without reading it.

    Raises :class:`ConfigError` for an unknown name, a missing folder or file, a wrong magic number or size, and an
    ``image_size`` where the dataset has its own. Labels are checked by :func:`load_splits`.
    """
    _open(name, data_dir, image_size)


def images_named(name: str, data_dir: str | Path | None = None) -> str:
    """Return what tells the images of dataset ``name`` from others: its name, with the place of ones of the user's own.

    Nothing is read; the place is that after symbolic links.
    """
    return f"{name} {Path(data_dir).expanduser().resolve()}" if name in OWN and data_dir is not None else name


def task_of(name: str, data_dir: str | Path | None = None, image_size: int | None = None) -> Task:
    """Return the task of dataset ``name``, after the checks of :func:`check_dataset`."""
    return _open(name, data_dir, image_size).task


def _open(name: str, data_dir: str | Path | None, image_size: int | None) -> Source:
    info = DATASETS[name]
    if image_size is not None and not info.takes_size:
        sized = ", ".join(known for known in DATASETS if DATASETS[known].takes_size)
        raise ConfigError(f"dataset '{name}': its images have a size of their own; image_size is for {sized}")
    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise ConfigError(f"dataset '{name}': image_size must be a whole number of at least 1, found {image_size!r}")
    try:
        place = _place(info, data_dir)
        return info.load(place, image_size) if info.takes_size else info.load(place)
    except ConfigError as error:
        raise ConfigError(f"dataset '{name}': {error}") from None


def _place(info: DatasetInfo, data_dir: str | Path | None) -> Path | None:
    if not info.needs_folder:
        return None
    if data_dir is not None:
        place = Path(data_dir).expanduser()
        if place.is_dir() or (info.takes_file and place.is_file()):
            return place
        kind = "file or folder" if info.takes_file else "folder"
        state = "is not a folder" if place.exists() else "does not exist"
        raise ConfigError(f"{kind} '{place}' {state}; {info.help}")
    if info.default_folder is not None and Path(info.default_folder).is_dir():
        return Path(info.default_folder)
    raise ConfigError(f"it is read from a folder and none is given; {info.help}")


def _checked(images: Images, what: str, task: Task) -> Images:
    if images.image_shape != task.input_shape:
        raise ConfigError(f"{what}: images must be {task.input_shape}, found {images.image_shape}")
    wrong = np.flatnonzero((images.labels < 0) | (images.labels >= task.classes))
    if len(wrong):
        found = f"{images.labels[wrong[0]]} at image {wrong[0]:,}"
        raise ConfigError(f"{what}: labels must be from 0 to {task.classes - 1}, found {found}; get the files anew")
    return images


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
DATASETS.add(
    "cifar100", DatasetInfo("60,000 colour 32x32 photos, 100 classes", open_cifar100, True, None, CIFAR100_HELP)
)
DATASETS.add(
    "arrays",
    DatasetInfo("your own images as numpy arrays, an .npz file", open_arrays, True, None, ARRAYS_HELP, takes_file=True),
)
DATASETS.add(
    "folder",
    DatasetInfo("your own image files, as ImageNet's", open_folder, True, None, FOLDER_HELP, takes_size=True),
)
