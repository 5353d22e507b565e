"""A user's own images as numpy arrays in one .npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError, one_line
from nas.training.datasets import Source
from nas.training.images import ImageSet, Labels
from nas.types import Task

FILE = "data.npz"
MOST_CHANNELS = 4
ARRAYS_HELP = (
    "pass with --data-dir an .npz file, or a folder with data.npz, that holds train_images, train_labels, test_images "
    "and test_labels (numpy.savez_compressed)"
)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def open_arrays(place: Path | None, validation: int | None = None) -> Source:
    """Arrays of an .npz file: ``train_images``, ``test_images`` uint8 (N, H, W) or (N, H, W, C), labels integers (N,).

    C is 1 to 4. Labels are from 0 to the number of classes less one; every class has a training image. The headers of
    all arrays are checked here and the training labels read, since they tell the number of classes.
    """
    assert place is not None
    path = place / FILE if place.is_dir() else place
    if not path.is_file():
        raise ConfigError(f"file '{path}' is missing; {ARRAYS_HELP}")
    headers = _headers(path)
    train, test = (_image_shape(path, f"{split}_images", headers) for split in ("train", "test"))
    if train != test:
        raise ConfigError(f"file '{path}': images of both splits must have one shape, found {train} and {test}")
    for split in ("train", "test"):
        _check_labels(path, split, headers)
    classes = _classes(path)

    def reader(split: str) -> Callable[[], ImageSet]:
        return lambda: ImageSet(_images(path, split), _labels(path, split))

    return Source(Task("arrays", train, classes), reader("train"), reader("test"), validation)


def _headers(path: Path) -> dict[str, _Header]:
    wanted = [f"{split}_{kind}" for split in ("train", "test") for kind in ("images", "labels")]
    with _reading(path), zipfile.ZipFile(path) as file:
        there = {name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")}
        missing = [name for name in wanted if name not in there]
        if missing:
            found = ", ".join(sorted(there)) or "none"
            raise ConfigError(f"file '{path}' lacks {', '.join(missing)}; arrays there: {found}; {ARRAYS_HELP}")
        return {name: _header(file, name) for name in wanted}


def _header(file: zipfile.ZipFile, name: str) -> _Header:
    with file.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return _Header(shape, dtype)


def _image_shape(path: Path, name: str, headers: dict[str, _Header]) -> tuple[int, int, int]:
    shape, dtype = headers[name].shape, headers[name].dtype
    if dtype != np.uint8:
        hint = "; scale levels of 0 to 1 by 255 and round" if dtype.kind == "f" else ""
        raise ConfigError(f"file '{path}': {name} must be uint8, levels 0 to 255, found {dtype}{hint}")
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] > MOST_CHANNELS):
        first = len(shape) == 4 and 1 <= shape[1] <= MOST_CHANNELS
        hint = "; channels come last: images.transpose(0, 2, 3, 1)" if first else ""
        rule = f"(N, H, W) or (N, H, W, C) with C at most {MOST_CHANNELS}"
        raise ConfigError(f"file '{path}': {name} must be {rule}, found {shape}{hint}")
    return shape[3] if len(shape) == 4 else 1, shape[1], shape[2]


def _check_labels(path: Path, split: str, headers: dict[str, _Header]) -> None:
    header, images = headers[f"{split}_labels"], headers[f"{split}_images"].shape[0]
    if header.dtype.kind not in "iu" or header.shape != (images,):
        found = f"{header.dtype} {header.shape}"
        raise ConfigError(f"file '{path}': {split}_labels must be integers ({images},), one an image, found {found}")


def _classes(path: Path) -> int:
    labels = _labels(path, "train")
    if labels.min() < 0:
        raise ConfigError(f"file '{path}': train_labels must be at least 0, found {labels.min()}")
    present = np.unique(labels)
    classes = int(present[-1]) + 1
    if classes < 2:
        raise ConfigError(f"file '{path}': train_labels must have at least two classes, found only 0")
    if len(present) < classes:
        missing = next(i for i, label in enumerate(present) if i != label)
        rule = f"labels must be 0 to {classes - 1} with every class there"
        raise ConfigError(f"file '{path}': train_{rule}, found no training image of class {missing}")
    return classes


def _images(path: Path, split: str) -> npt.NDArray[np.uint8]:
    images = _array(path, f"{split}_images")
    images = images[..., None] if images.ndim == 3 else images
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _labels(path: Path, split: str) -> Labels:
    return _array(path, f"{split}_labels").astype(np.int64)


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    with _reading(path), zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # the checksum is compared at the end of the file
        return array


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        raise ConfigError(f"file '{path}' is damaged or no .npz file: {one_line(error)}; {ARRAYS_HELP}") from None
    except (EOFError, ValueError, zlib.error, NotImplementedError) as error:
        raise ConfigError(f"file '{path}' is damaged: {one_line(error)}; write it anew") from None
    except OSError as error:
        raise ConfigError(f"file '{path}' cannot be read: {error.strerror or error}") from None
