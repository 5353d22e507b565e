"""A user's own images: numpy arrays in one .npz file, and folders of image files in ImageNet's layout."""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.core.file_kinds import ZIP, kind_of_file
from nas.core.memory import require_memory
from nas.core.npz import Header, array_header
from nas.core.text import printable
from nas.core.values import Task
from nas.data.decode import require_pillow, suffixes
from nas.data.image_set import DatasetSource, Findings, ImageSet, Labels, check_labels
from nas.data.streaming import ImageStream
from nas.errors import ConfigError, one_line

FILE = "data.npz"
NAMES = "class_names", "classes"
"""The arrays of names of classes that an .npz file may have, the first that is there."""
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
    "pass with --data-dir an .npz file, or a folder with data.npz, that holds train_images, train_labels, test_images "
    "and test_labels (numpy.savez_compressed)"
)
SYSTEM = frozenset((
    *("@eadir", "@tmp", "@recycle", "@__thumb", "@recently-snapshot", "@sharesnap", "#recycle", "#snapshot"),
    *("~snapshot", "__macosx", "icon\r", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("$recycle.bin", "recycler", "system volume information", "found.000", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("lost+found", "__pycache__"),
))  # fmt: skip
"""What NAS devices, macOS, Windows and file systems put into folders, in lower case; names with a dot are hidden."""
DEFAULT_SIZE = 224
MOST_SUFFIXES = 8
"""Suffixes that a sentence counts at most."""
RESIDENT_BYTES = 2 << 30
"""Splits of no more pixels are decoded once and stay in memory; larger ones stream from their files."""
FOLDER_HELP = "pass with --data-dir a folder that holds train/CLASS/FILE and val/CLASS/FILE, as ImageNet's does"


def open_arrays(location: Path | None, validation: int | None = None) -> DatasetSource:
    """Arrays of an .npz file: ``train_images``, ``test_images`` uint8 (N, H, W) or (N, H, W, C), labels integers (N,).

    C is 1 to 4. Labels are from 0 to the number of classes less one; every class has a training image. The names of
    classes are read of ``class_names`` or ``classes``, an array of text, where that is there. The headers of all arrays
    are checked here and the training labels read, since they tell the number of classes.
    """
    assert location is not None
    path = location / FILE if location.is_dir() else location
    if not path.is_file():
        raise ConfigError(f"file '{path}' is missing; {ARRAYS_HELP}")

    def read_labels(split: str) -> Labels:
        return _array(path, f"{split}_labels").astype(np.int64)

    # all that the headers tell is checked before any pixel is read
    wanted = [f"{split}_{kind}" for split in ("train", "test") for kind in ("images", "labels")]
    headers: dict[str, Header] = {}
    with _reading(path), zipfile.ZipFile(path) as file:
        there = {name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")}
        missing = [name for name in wanted if name not in there]
        if missing:
            names = ", ".join(sorted(there)) or "none"
            raise ConfigError(f"file '{path}' lacks {', '.join(missing)}; arrays there: {names}; {ARRAYS_HELP}")
        for name in wanted:
            shape, dtype = headers[name] = array_header(file, file.getinfo(f"{name}.npy"), f"file '{path}'")
            # a copy is made in another order of channels or type
            require_memory(2 * math.prod(shape) * dtype.itemsize, f"file '{path}': {name}, {dtype} {shape}")
        names_header = {n: array_header(file, file.getinfo(f"{n}.npy"), f"file '{path}'") for n in NAMES if n in there}
    shape, other = (_image_shape(path, name, headers[name]) for name in ("train_images", "test_images"))
    if shape != other:
        raise ConfigError(f"file '{path}': images of both splits must have one shape, found {shape} and {other}")
    for split in ("train", "test"):
        count, (found, dtype) = headers[f"{split}_images"][0][0], headers[f"{split}_labels"]
        if dtype.kind not in "iu" or found != (count,):
            rule = f"must be integers ({count},), one an image, found {dtype} {found}"
            raise ConfigError(f"file '{path}': {split}_labels {rule}")
    # the training labels tell the classes
    labels = read_labels("train")
    if labels.min() < 0:
        raise ConfigError(f"file '{path}': train_labels must be at least 0, found {labels.min()}")
    present = np.unique(labels)
    classes = int(present[-1]) + 1
    if classes < 2:
        raise ConfigError(f"file '{path}': train_labels must have at least two classes, found only 0")
    if len(present) < classes:
        gap = next(i for i, label in enumerate(present) if i != label)
        rule = f"labels must be 0 to {classes - 1} with every class there"
        raise ConfigError(f"file '{path}': train_{rule}, found no training image of class {gap}")
    task = Task("arrays", shape, classes)
    advice = "the classes are those of train_labels"
    check_labels(read_labels("test"), f"file '{path}': test_labels", task, advice)
    class_names = _class_names(path, names_header, classes)

    def read(split: str) -> ImageSet:
        images = _array(path, f"{split}_images")
        images = (images[..., None] if images.ndim == 3 else images).transpose(0, 3, 1, 2)
        return ImageSet(np.ascontiguousarray(images), read_labels(split))

    files = [(FILE, str(path))]
    train, test = partial(read, "train"), partial(read, "test")
    return DatasetSource(task, train, test, validation, lambda: read_labels("test"), lambda: files, class_names)


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


def open_folder(
    folder: Path | None, image_size: int | None = None, resident_bytes: int = RESIDENT_BYTES
) -> DatasetSource:
    """Image files in ``folder``, seen as RGB at ``image_size`` x ``image_size`` (224); val is the test split.

    Classes are the folders in train, sorted by name; their files lie in them at any depth. Hidden files, those of
    systems (:data:`SYSTEM`) and suffixes that pillow does not read are passed over at any depth, and counted. A class
    that val lacks is not measured; one without an image in train is refused. A split of up to ``resident_bytes`` is an
    :class:`ImageSet`, a larger one an :class:`ImageStream`.
    """
    assert folder is not None
    size = DEFAULT_SIZE if image_size is None else image_size
    require_pillow()
    classes, measured = _classes(folder / "train"), _classes(folder / "val")
    if len(classes) < 2:
        raise ConfigError(f"folder '{folder / 'train'}' must hold at least two class folders, found {len(classes)}")
    for name in classes:
        passed: Counter[str] = Counter()
        if not any(_walk(folder / "train" / name, passed)):
            found = (
                f"no file of .jpg, .png, .tif or another suffix that pillow reads{_counted(passed, '; passed over: ')}"
            )
            raise ConfigError(f"folder '{folder / 'train' / name}' must hold images of its class, found {found}")
    # classes of the test split alone would have no output of the network
    strange = [name for name in measured if name not in set(classes)]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ConfigError(f"folder '{folder / 'val'}' has class '{strange[0]}'{more}, which train lacks")
    if not any(any(_walk(folder / "val" / name, Counter())) for name in measured):
        raise ConfigError(f"folder '{folder / 'val'}' holds no image in a class folder; {FOLDER_HELP}")

    def listed(split: str) -> ImageStream:
        """Return the images of a split in their files."""
        files: list[bytes] = []
        labels: list[int] = []
        others: Counter[str] = Counter()
        there = set(_classes(folder / split, others))
        for label, name in enumerate(classes):
            if name in there:
                found = sorted(os.fsencode(f"{name}/{file}") for file in _walk(folder / split / name, others))
                files += found
                labels += [label] * len(found)
        paths, numbers = np.array(files, dtype=np.bytes_), np.array(labels, dtype=np.int64)
        passed_over = {split: text} if (text := _counted(others, f"passed over in {split}: ")) else {}
        findings = Findings(passed_over=passed_over)
        return ImageStream(folder / split, paths, numbers, size, findings)

    def read(split: str) -> ImageSet | ImageStream:
        """Return the images of a split, streamed where they are too many to be kept."""
        stream = listed(split)
        return stream.read() if len(stream) * 3 * size * size <= resident_bytes else stream

    def files() -> Iterator[tuple[str, str]]:
        for split, names in (("train", classes), ("val", measured)):
            for name in names:
                for file in _walk(folder / split / name, Counter()):
                    yield f"{split}/{name}/{file}", f"{folder}/{split}/{name}/{file}"

    task = Task("folder", (3, size, size), len(classes))
    train, test = partial(read, "train"), partial(read, "val")
    return DatasetSource(task, train, test, None, lambda: listed("val").labels, files, tuple(classes))


def _classes(folder: Path, others: Counter[str] | None = None) -> list[str]:
    """Return the names of the folders of classes, sorted; ``others`` counts what else is there."""
    if not folder.is_dir():
        state = "is no folder" if folder.exists() else "is missing"
        raise ConfigError(f"folder '{folder}' {state}; {FOLDER_HELP}")
    found = []
    for entry in _listing(folder):
        if entry.name.lower() not in SYSTEM and not entry.name.startswith(".") and _is_folder(entry):
            found.append(entry.name)
        elif others is not None:
            others[_kind(entry)] += 1
    return sorted(found)


def _walk(folder: Path, others: Counter[str]) -> Iterator[str]:
    """Yield the paths of images below ``folder``, relative to it, in no order; links to folders are not followed.

    ``others`` counts what is passed over on the way.
    """
    left = [""]
    while left:
        prefix = left.pop()
        for entry in _listing(f"{folder}/{prefix}"):
            own = entry.name.lower()
            if own in SYSTEM or own.startswith("."):
                others[_kind(entry)] += 1
            elif entry.is_dir(follow_symlinks=False):
                left.append(f"{prefix}{entry.name}/")
            elif own.endswith(suffixes()):
                yield prefix + entry.name
            else:
                others[_kind(entry)] += 1


def _kind(entry: os.DirEntry[str]) -> str:
    """Return as what an entry that is passed over is counted: its name where a system gave it, else its suffix."""
    own = entry.name.lower()
    if own in SYSTEM or own.startswith("."):
        return printable(entry.name) if own in SYSTEM else "hidden"
    if entry.is_symlink() and _is_folder(entry):
        return "link to a folder"
    return printable(Path(own).suffix) or "without a suffix"


def _counted(others: Counter[str], start: str) -> str:
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{number:,} {kind}" for kind, number in ordered[:MOST_SUFFIXES]]
    more = sum(number for _, number in ordered[MOST_SUFFIXES:])
    return start + ", ".join(shown + ([f"{more:,} of other kinds"] if more else [])) if others else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _listing(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise ConfigError(f"folder '{folder}' cannot be read: {error.strerror or error}") from None
