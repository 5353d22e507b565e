"""Datasets: what networks are trained on, validated on and, at the end, tested on.

A dataset in :data:`DATASETS` finds and checks its files; pixels are read when asked for, those of the test split last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.core.files import real_path
from nas.core.registry import Registry
from nas.core.values import Task
from nas.data import published_sets as published
from nas.data.arrays import ARRAYS_HELP, open_arrays
from nas.data.config import DEFAULT_TEST_SHARE
from nas.data.image_folder import FOLDER_HELP, open_folder
from nas.data.image_set import (
    DatasetSource,
    Images,
    ImageSet,
    Normalization,
    Splits,
    check_labels,
    checked,
    stratified,
)
from nas.data.streaming import ImageStream
from nas.errors import ConfigError

__all__ = [
    "DATASETS", "DatasetInfo", "DatasetSource", "ImageSet", "ImageStream", "Images", "Normalization", "Splits",
    "check_dataset", "class_names_of", "digest_of", "files_of", "images_named", "load_splits", "stratified", "task_of",
]  # fmt: skip

MOST_VALIDATION = 50_000
TEST_SEED = 0
"""Of the draw of a test split, which no other seed may change."""
PYTHON_NAME = re.compile(r"(\S+)-[0-9a-f]{8}")
"""What data in Python is called: its name and a digest."""
OWN = ("arrays", "folder")
"""The datasets that are whatever lies in ``data_dir``."""


@dataclass(frozen=True)
class DatasetInfo:
    """A registered dataset: ``load`` finds and checks its files in a folder (None where it needs none).

    ``default_folder`` is tried when the user names none; ``help`` says how to get the files. One that ``takes_file``
    may be a file in place of a folder; where it ``takes_size``, ``load`` gets the images' size, or None, too. One that
    is ``in_python`` is told by a digest of its images.
    """

    description: str
    load: Callable[..., DatasetSource]
    needs_folder: bool
    default_folder: str | None = None
    help: str = ""
    takes_file: bool = False
    takes_size: bool = False
    in_python: bool = False


DATASETS: Registry[DatasetInfo] = Registry("dataset")


def load_splits(
    name: str,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    validation: int | None = None,
    train_images: int | None = None,
    image_size: int | None = None,
    val_share: float | None = None,
    test_share: float | None = None,
) -> Splits:
    """Read the training set of dataset ``name`` and part it into train and validation; the test split stays on disk.

    Validation is the dataset's own split where it has one, else a stratified random part of the official training set:
    ``validation`` images or ``val_share`` of them (the dataset's own number by default), drawn from ``split_seed``
    alone; of the rest, ``train_images`` are kept in the same way (all by default). Of a dataset without a test split
    that is ``test_share`` of its images (20 %), drawn first and the same for every seed. ``image_size`` is the side of
    the images of a dataset of files. Raises :class:`ConfigError` as :func:`check_dataset`, and for a label out of
    range, a seed below 0, or a part without an image of every class.
    """
    if type(split_seed) is not int or split_seed < 0:
        raise ConfigError(f"split seed must be an integer of at least 0, found {split_seed!r}")
    source = _open(name, data_dir, image_size)
    classes = source.task.classes
    official = checked(source.train(), f"training split of dataset '{name}'", source.task)
    read_test, tested = source.test, None
    if read_test is None:
        share = DEFAULT_TEST_SHARE if test_share is None else test_share
        count = _share(f"dataset '{name}': the test share", share, len(official), classes, 2 * classes)
        for_test, rest = stratified(official.labels, count, TEST_SEED)
        kept, tested = official.take(for_test), len(for_test)
        official, read_test = official.take(rest), lambda: kept
    elif test_share is not None:
        raise ConfigError(f"dataset '{name}': it has a test split of its own; a test share is for one without")
    elif source.test_labels is not None:  # no image of the test split is read for it
        labels = source.test_labels()
        check_labels(labels, f"test split of dataset '{name}'", source.task)
        tested = len(labels)
    if source.official_validation is not None:
        train, chosen = _official_validation(source, name, official, validation, val_share, split_seed)
    else:
        train, chosen = _drawn_validation(source, name, official, validation, val_share, split_seed)
    if train_images is not None:
        if type(train_images) is not int or not classes <= train_images <= len(train):
            allowed = f"an integer from {classes} to {len(train):,}, found {train_images!r}"
            raise ConfigError(f"dataset '{name}': the number of training images must be {allowed}")
        train = train.take(stratified(train.labels, train_images, split_seed)[0])
    counts = np.bincount(train.labels, minlength=classes)
    if not counts.all():
        label = int(counts.argmin())
        named = f"class '{source.class_names[label]}'" if source.class_names else f"class {label}"
        rule = "every class needs one to train on, one for validation, and one to test on where the test split is drawn"
        raise ConfigError(f"dataset '{name}': {named} has no training image left; {rule}")
    return Splits(name, train, chosen, read_test, classes, source.class_names, tested, source.test is None)


def _drawn_validation(
    source: DatasetSource, name: str, official: Images, count: int | None, share: float | None, seed: int
) -> tuple[Images, Images]:
    """Part the official training images; validation goes first, so that it does not change with those of training."""
    classes = source.task.classes
    # both parts need an image of every class
    most = len(official) - classes
    if most < classes:
        rule = f"every one of {classes:,} classes needs an image to train on and one for validation"
        raise ConfigError(f"dataset '{name}': {len(official):,} training images are too few: {rule}")
    if share is not None:
        count = _share(f"dataset '{name}': the validation share", share, len(official), classes, classes)
    count = source.validation if count is None else count
    if count is None:
        count = max(classes, min(len(official) // 10, MOST_VALIDATION))
    if type(count) is not int or not classes <= count <= most:
        allowed = f"an integer from {classes} to {most:,}"
        raise ConfigError(f"dataset '{name}': the number of validation images must be {allowed}, found {count!r}")
    chosen, rest = stratified(official.labels, count, seed)
    return official.take(rest), official.take(chosen)


def _official_validation(
    source: DatasetSource, name: str, official: Images, count: int | None, share: float | None, seed: int
) -> tuple[Images, Images]:
    """Return the training images and the dataset's own validation images, or ``count`` of these."""
    assert source.official_validation is not None
    if share is not None:
        rule = "it has a validation split of its own; --validation-images takes a part of that"
        raise ConfigError(f"dataset '{name}': {rule}")
    classes = source.task.classes
    chosen = checked(source.official_validation(), f"validation split of dataset '{name}'", source.task)
    if count is not None:
        if type(count) is not int or not classes <= count <= len(chosen):
            allowed = f"an integer from {classes} to {len(chosen):,}"
            raise ConfigError(f"dataset '{name}': the number of validation images must be {allowed}, found {count!r}")
        chosen = chosen.take(stratified(chosen.labels, count, seed)[0])
    return official, chosen


def _share(what: str, share: float, images: int, least: int, left: int) -> int:
    """Return the images of a ``share`` of them; ``least`` are taken and ``left`` stay, or :class:`ConfigError`."""
    count = round(share * images)
    if not least <= count <= images - left:
        low, high = least / images, (images - left) / images
        allowed = f"must be from {low:.3g} to {high:.3g} of {images:,} images"
        raise ConfigError(
            f"{what} {allowed}, found {share:g}" if low <= high else f"{what}: {images:,} images are too few"
        )
    return count


def check_dataset(name: str, data_dir: str | Path | None = None, image_size: int | None = None) -> None:
    """Raise :class:`ConfigError` where a dataset's name, files or ``image_size`` are wrong; labels are not read."""
    _open(name, data_dir, image_size)


def files_of(
    name: str, data_dir: str | Path | None = None, image_size: int | None = None
) -> tuple[str | None, Iterable[tuple[str, str]]]:
    """Return where dataset ``name`` lies, None for one without files, and the files that are read: names and paths.

    Of a dataset of a plugin that does not tell them they are all in its folder that are not hidden.
    """
    source, location = _open(name, data_dir, image_size), _location(name, data_dir)
    if location is None:
        return None, ()
    if source.files is not None:
        return str(location), source.files()
    if location.is_file():
        return str(location), [("", str(location))]
    visible = (path for path in location.rglob("[!.]*") if path.is_file())
    return str(location), ((str(path.relative_to(location)), str(path)) for path in visible)


def digest_of(name: str, data_dir: str | Path | None = None) -> str:
    """Return the digest of the images of a dataset that is a Python object, "" of one that its files tell."""
    # others are not opened for it, which may mean to look at every file
    return _open(name, data_dir, None).digest if name not in DATASETS or DATASETS[name].in_python else ""


def images_named(name: str, data_dir: str | Path | None = None) -> str:
    """Return what tells the images of dataset ``name`` from others: its name, and a user's own by path or digest."""
    if name in DATASETS and DATASETS[name].in_python and (digest := digest_of(name, data_dir)):
        return f"{name} {digest}"
    own = name in OWN or (name not in DATASETS and data_dir is not None)
    return f"{name} {real_path(data_dir)}" if own and data_dir is not None else name


def task_of(name: str, data_dir: str | Path | None = None, image_size: int | None = None) -> Task:
    """Return the task of dataset ``name``, after the checks of :func:`check_dataset`."""
    return _open(name, data_dir, image_size).task


def class_names_of(name: str, data_dir: str | Path | None = None, image_size: int | None = None) -> tuple[str, ...]:
    """Return the names of the classes of dataset ``name`` by label, none where it has none; no pixels are read."""
    return _open(name, data_dir, image_size).class_names


def _open(name: str, data_dir: str | Path | None, image_size: int | None) -> DatasetSource:
    if name not in DATASETS and (made := PYTHON_NAME.fullmatch(name)):
        told = (
            f"dataset '{name}' is data given in Python: make the same nas.Data named '{made[1]}' again in this process"
        )
        raise ConfigError(f"{told} and go on there, or register it in a plugin with @nas.register_dataset")
    info = DATASETS[name]
    if image_size is not None and not info.takes_size:
        resizable = ", ".join(known for known in DATASETS if DATASETS[known].takes_size)
        raise ConfigError(f"dataset '{name}': its images have a size of their own; image_size is for {resizable}")
    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise ConfigError(f"dataset '{name}': image_size must be an integer of at least 1, found {image_size!r}")
    try:
        location = _location(name, data_dir)
        if location is not None and data_dir is not None:
            if not location.is_dir() and not (info.takes_file and location.is_file()):
                kind = "file or folder" if info.takes_file else "folder"
                state = "is not a folder" if location.exists() else "does not exist"
                raise ConfigError(f"{kind} '{location}' {state}; {info.help}")
        elif info.needs_folder and (location is None or not location.is_dir()):
            raise ConfigError(f"it is read from a folder and none is given; {info.help}")
        return info.load(location, image_size) if info.takes_size else info.load(location)
    except ConfigError as error:
        raise ConfigError(f"dataset '{name}': {error}") from None


def _location(name: str, data_dir: str | Path | None) -> Path | None:
    info = DATASETS[name]
    place = (data_dir or info.default_folder) if info.needs_folder else None
    return None if place is None else Path(place).expanduser()


DATASETS.add("digits", DatasetInfo("1,797 grey 8x8 digits, part of scikit-learn", published.open_digits, False))
# fmt: off
DATASETS.add("fashion-mini", DatasetInfo(
    "10,000 grey 28x28 pictures of clothes, part of Fashion-MNIST and of this package",
    published.open_fashion_mini, False,
))
DATASETS.add("fashion-mnist", DatasetInfo(
    "70,000 grey 28x28 pictures of clothes", published.open_fashion_mnist, True,
    default_folder="/usr/share/datasets/fashion-mnist", help=published.FASHION_HELP,
))
DATASETS.add("mnist", DatasetInfo(
    "70,000 grey 28x28 digits", published.open_mnist, True, help=published.MNIST_HELP,
))
DATASETS.add("kmnist", DatasetInfo(
    "70,000 grey 28x28 Japanese letters", published.open_kmnist, True, help=published.KMNIST_HELP,
))
DATASETS.add("svhn", DatasetInfo(
    "99,289 colour 32x32 photos of house numbers", published.open_svhn, True, help=published.SVHN_HELP,
))
DATASETS.add("cifar10", DatasetInfo(
    "60,000 colour 32x32 photos", published.open_cifar10, True, help=published.CIFAR10_HELP, takes_file=True,
))
DATASETS.add("cifar100", DatasetInfo(
    "60,000 colour 32x32 photos, 100 classes", published.open_cifar100, True, help=published.CIFAR100_HELP,
    takes_file=True,
))
DATASETS.add("arrays", DatasetInfo(
    "your own images as numpy arrays, an .npz file", open_arrays, True, help=ARRAYS_HELP, takes_file=True,
))
DATASETS.add("folder", DatasetInfo(
    "your own image files: folders of classes, tables of labels, .tar shards, .parquet", open_folder, True,
    help=FOLDER_HELP, takes_file=True, takes_size=True,
))
# fmt: on
