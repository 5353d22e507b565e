"""Which dataset lies in a folder or file that a user names without saying so."""

from __future__ import annotations

from pathlib import Path

from nas.data.arrays import FILE
from nas.data.published_sets import SVHN_FILES
from nas.errors import ConfigError

IDX_NAMES = ("fashion", "fashion-mnist"), ("kmnist", "kmnist"), ("mnist", "mnist")
"""Words in the folder of IDX files that tell which they are: MNIST and its kin have the same file names."""
CIFAR100_FILES = "train", "test", "meta"
"""The pickles of CIFAR-100, as torchvision unpacks them."""


def recognized(place: str | Path) -> str:
    """Return the name of the dataset that ``place`` holds; ``folder``, image files, for whatever is nothing else.

    Only names are looked at, and nothing is read; who opens the dataset says what is missing. Several published sets
    in one folder raise :class:`ConfigError`.
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
    found = []
    if {"data_batch_1", "data_batch_1.bin"} & names or any(one.startswith("cifar-10-") for one in names):
        found.append("cifar10")
    pickles = {*CIFAR100_FILES} <= names and all((path / one).is_file() for one in CIFAR100_FILES)
    if any(one.startswith("cifar-100-") for one in names) or {"train.bin", "test.bin"} <= names or pickles:
        found.append("cifar100")
    if {*SVHN_FILES} & names:
        found.append("svhn")
    for home in (path, path / "raw", *path.glob("*/raw")):
        if any(home.glob("*-idx3-ubyte*")):
            found.append(_kin_of_mnist(home.resolve()))
    if len(found := sorted(set(found))) > 1:
        raise ConfigError(f"'{path}' holds {' and '.join(found)}; say which is meant with --dataset NAME")
    return found[0] if found else "arrays" if FILE in names else "folder"


def _kin_of_mnist(home: Path) -> str:
    """Return which dataset the IDX files in ``home`` are, by its name or, of a folder 'raw', that of the one above."""
    word = (home.parent if home.name == "raw" else home).name.lower()
    return next((dataset for known, dataset in IDX_NAMES if known in word), "mnist")
