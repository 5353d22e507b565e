"""A user's own images as numpy arrays in one .npz file, also under the names that Keras and MedMNIST give them."""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.core.file_kinds import ZIP, kind_of_file
from nas.core.memory import require_memory
from nas.core.npz import Header, array_header
from nas.core.values import Task
from nas.data.image_set import DatasetSource, ImageSet, Labels, check_labels
from nas.errors import ConfigError, one_line

FILE = "data.npz"
NAMES = "class_names", "classes"
"""The arrays of names of classes that an .npz file may have, the first that is there."""
STYLES = (
    # what is in the file, then its training, validation and test split
    ("{}_images", "{}_labels", ("train", "val", "test")),
    ("x_{}", "y_{}", ("train", "val", "test")),
    ("X_{}", "y_{}", ("train", "val", "test")),
)
"""How the arrays of images and of labels are called: numpy users' and MedMNIST's names, Keras's and scikit-learn's."""
MOST_NAME_BYTES = 4_000
"""Bytes of a name there, four a character."""
MOST_CHANNELS = 4
TYPE_HINTS = {
    "f": "; scale levels of 0 to 1 by 255 and round",
    "u2": "; divide levels of 16 bits by 257, of 12 bits by 16, and round",
    "b": "; multiply by 255",
}
"""How images of a kind of numpy's types, or of one type, become 8 bits."""
ARRAYS_HELP = (
    "pass with --data-dir an .npz file of train_images, train_labels, test_images and test_labels"
    " (numpy.savez_compressed; docs/data.md)"
)


def open_arrays(location: Path | None, validation: int | None = None) -> DatasetSource:
    """Arrays of an .npz file: ``train_images``, ``test_images`` uint8 (N, H, W) or (N, H, W, C), labels integers (N,).

    C is 1 to 4; labels (N, 1) will do. They may have other names, see :data:`STYLES`. With ``val_images`` and
    ``val_labels`` the validation split is those, without arrays of a test split that is a share of the training images.
    Labels are from 0 to the number of classes less one; every class has a training image. The names of classes are
    read of ``class_names`` or ``classes``, an array of text, where that is there. The headers of all arrays are checked
    here and the training labels read, since they tell the number of classes.
    """
    assert location is not None
    path = location / FILE if location.is_dir() else location
    if not path.is_file():
        raise ConfigError(f"file '{path}' is missing; {ARRAYS_HELP}")

    # all that the headers tell is checked before any pixel is read
    headers: dict[str, Header] = {}
    with _reading(path), zipfile.ZipFile(path) as file:
        there = {name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")}
        arrays = _splits_there(path, there)
        for name in (name for pair in arrays.values() for name in pair):
            shape, dtype = headers[name] = array_header(file, file.getinfo(f"{name}.npy"), f"file '{path}'")
            # a copy is made in another order of channels or type
            require_memory(2 * math.prod(shape) * dtype.itemsize, f"file '{path}': {name}, {dtype} {shape}")
        names_header = {n: array_header(file, file.getinfo(f"{n}.npy"), f"file '{path}'") for n in NAMES if n in there}
    shapes = {name: _image_shape(path, name, headers[name]) for name, _ in arrays.values()}
    if len(found := set(shapes.values())) > 1:
        raise ConfigError(
            f"file '{path}': images of all splits must have one shape, found {' and '.join(map(str, sorted(found)))}"
        )
    for images, called in arrays.values():
        count, (found_shape, dtype) = headers[images][0][0], headers[called]
        if dtype.kind not in "iu" or found_shape not in ((count,), (count, 1)):
            hint = "; networks here tell one class an image" if len(found_shape) == 2 else ""
            rule = f"must be integers ({count},), one an image, found {dtype} {found_shape}{hint}"
            raise ConfigError(f"file '{path}': {called} {rule}")

    def read_labels(split: str) -> Labels:
        return _array(path, arrays[split][1]).astype(np.int64).reshape(-1)

    # the training labels tell the classes
    labels, called = read_labels("train"), arrays["train"][1]
    if labels.min() < 0:
        raise ConfigError(f"file '{path}': {called} must be at least 0, found {labels.min()}")
    present = np.unique(labels)
    classes = int(present[-1]) + 1
    if classes < 2:
        raise ConfigError(f"file '{path}': {called} must have at least two classes, found only 0")
    if len(present) < classes:
        gap = next(i for i, label in enumerate(present) if i != label)
        rule = f"must be 0 to {classes - 1} with every class there"
        raise ConfigError(f"file '{path}': {called} {rule}, found no training image of class {gap}")
    task = Task("arrays", shapes[arrays["train"][0]], classes)
    for split in ("val", "test"):
        if split in arrays:
            what = f"file '{path}': {arrays[split][1]}"
            check_labels(read_labels(split), what, task, f"the classes are those of {called}")
    class_names = _class_names(path, names_header, classes)

    def read(split: str) -> ImageSet:
        images = _array(path, arrays[split][0])
        images = (images[..., None] if images.ndim == 3 else images).transpose(0, 3, 1, 2)
        return ImageSet(np.ascontiguousarray(images), read_labels(split))

    def reader(split: str) -> partial[ImageSet] | None:
        return partial(read, split) if split in arrays else None

    files, test = [(FILE, str(path))], reader("test")
    test_labels = None if test is None else partial(read_labels, "test")
    return DatasetSource(
        task, partial(read, "train"), test, validation, test_labels, lambda: files, class_names, reader("val")
    )


def _splits_there(path: Path, there: set[str]) -> dict[str, tuple[str, str]]:
    """Return by split the names of its arrays of images and of labels; one without the other is refused."""
    for images, labels, splits in STYLES:
        found = {split: (images.format(split), labels.format(split)) for split in splits}
        if not {name for pair in found.values() for name in pair} & there:
            continue
        # where there is no array of a split at all, the file has no such split
        kept = {split: pair for split, pair in found.items() if there & {*pair} or split == "train"}
        missing = [name for pair in kept.values() for name in pair if name not in there]
        if not missing:
            return kept
        names = ", ".join(sorted(there))
        raise ConfigError(f"file '{path}' lacks {', '.join(missing)}; arrays there: {names}; {ARRAYS_HELP}")
    names = ", ".join(sorted(there)) or "none"
    raise ConfigError(f"file '{path}' lacks train_images and train_labels; arrays there: {names}; {ARRAYS_HELP}")


def _class_names(path: Path, headers: Mapping[str, Header], classes: int) -> tuple[str, ...]:
    """Return what the file calls its classes; ``headers`` are those of its arrays of such a name."""
    # an array 'classes' of numbers is something else of the user's
    name = next((n for n in NAMES if n in headers and (n == NAMES[0] or headers[n][1].kind in "US")), None)
    if name is None:
        return ()
    shape, dtype = headers[name]
    if shape != (classes,) or dtype.kind not in "US" or dtype.itemsize > MOST_NAME_BYTES:
        rule = f"must be text ({classes},), a name of at most {MOST_NAME_BYTES // 4:,} characters for each class"
        raise ConfigError(f"file '{path}': {name} {rule}, found {dtype} {shape}; numpy.array(['cat', 'dog'])")
    return tuple(os.fsdecode(one) if isinstance(one, bytes) else str(one) for one in _array(path, name).tolist())


def _image_shape(path: Path, name: str, header: Header) -> tuple[int, int, int]:
    shape, dtype = header
    if dtype != np.uint8:
        hint = TYPE_HINTS.get(dtype.str[1:], TYPE_HINTS.get(dtype.kind, ""))
        raise ConfigError(f"file '{path}': {name} must be uint8, levels 0 to 255, found {dtype}{hint}")
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] > MOST_CHANNELS):
        first = len(shape) == 4 and 1 <= shape[1] <= MOST_CHANNELS
        hint = "; channels come last: images.transpose(0, 2, 3, 1)" if first else ""
        rule = f"(N, H, W) or (N, H, W, C) with C at most {MOST_CHANNELS}"
        raise ConfigError(f"file '{path}': {name} must be {rule}, found {shape}{hint}")
    return shape[3] if len(shape) == 4 else 1, shape[1], shape[2]


def _array(path: Path, name: str) -> npt.NDArray[np.generic]:
    with _reading(path), zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as member:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # the checksum is compared at the end of the file
        return array


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        kind = kind_of_file(path)
        found = one_line(error) if kind in (None, ZIP) else f"it is {kind}"
        raise ConfigError(f"file '{path}' is damaged or no .npz file: {found}; {ARRAYS_HELP}") from None
    # what zipfile and numpy's reading of headers raise for altered bytes
    except (EOFError, ValueError, TypeError, SyntaxError, OverflowError, MemoryError, struct.error) as error:
        raise ConfigError(f"file '{path}' is damaged: {one_line(error)}; write it again") from None
    except (RecursionError, NotImplementedError, zlib.error, tokenize.TokenError) as error:
        raise ConfigError(f"file '{path}' is damaged: {one_line(error)}; write it again") from None
    except (OSError, RuntimeError) as error:  # a RuntimeError: it is encrypted
        raise ConfigError(f"file '{path}' cannot be read: {getattr(error, 'strerror', '') or error}") from None
