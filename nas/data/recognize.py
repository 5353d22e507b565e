"""Which dataset lies in a folder or file that a user names without saying so."""

from __future__ import annotations

from pathlib import Path

from nas.data.arrays import FILE
from nas.data.published_sets import SVHN_FILES

IDX_NAMES = ("fashion", "fashion-mnist"), ("kmnist", "kmnist"), ("mnist", "mnist")
"""Words in the path of IDX files that tell which they are: MNIST, Fashion-MNIST and KMNIST have the same file names."""
CIFAR100_FILES = "train", "test", "meta"
"""The pickles of CIFAR-100, as torchvision unpacks them."""


def recognized(place: str | Path) -> str:
    """Return the name of the dataset that ``place`` holds; ``folder``, image files, for whatever is nothing else.

    Only names are looked at, and nothing is read; who opens the dataset says what is missing.
    """
    path = Path(place).expanduser()
    name = path.name.lower()
    if path.suffix.lower() == ".npz":
        return "arrays"
    if name.startswith(("cifar-100", "cifar-10")) and not path.is_dir():
        return "cifar100" if name.startswith("cifar-100") else "cifar10"
    if not path.is_dir():
        return "folder"
    names = {entry.name for entry in path.iterdir()}
    if {"data_batch_1", "data_batch_1.bin"} & names or any(one.startswith("cifar-10-") for one in names):
        return "cifar10"
    if any(one.startswith("cifar-100-") for one in names) or {"train.bin", "test.bin"} <= names:
        return "cifar100"
    if {*CIFAR100_FILES} <= names and all((path / one).is_file() for one in CIFAR100_FILES):
        return "cifar100"
    if {*SVHN_FILES} & names:
        return "svhn"
    if idx := [*path.glob("*-idx3-ubyte*"), *path.glob("raw/*-idx3-ubyte*"), *path.glob("*/raw/*-idx3-ubyte*")]:
        words = str(idx[0].resolve().parent).lower()
        return next((dataset for word, dataset in IDX_NAMES if word in words), "mnist")
    return "arrays" if FILE in names else "folder"
