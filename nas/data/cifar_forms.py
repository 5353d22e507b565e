"""CIFAR-10 and CIFAR-100 as torchvision leaves them, pickles of Python 2, and inside their authors' .tar.gz files."""

from __future__ import annotations

import io
import math
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from nas.core.files import read_bytes
from nas.core.values import Task
from nas.data.image_set import DatasetSource, ImageSet, Labels, Pixels
from nas.errors import ConfigError, one_line

PIXELS = 3 * 32 * 32
MOST_BATCH = 512 << 20
"""Bytes of a file of a batch; CIFAR-100's training images take 155 million."""


@dataclass(frozen=True)
class CifarForm:
    """How the files of one of the two datasets are called and what they hold.

    Attributes:
        task: what networks for it must do
        binary: the folder of the binary files in an archive
        pickled: the folder of the pickles
        train: the pickles of training images, and the number of images in each
        test: the same of test images
        names: the file of the names of classes, and its key
        labels: the key of the labels in a batch
        label_bytes: bytes before the pixels of a binary record; the last is the label
    """

    task: Task
    binary: str
    pickled: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    names: tuple[str, str]
    labels: str
    label_bytes: int = 1


def cifar10_form(records: int) -> CifarForm:
    """Return CIFAR-10's form, ``records`` images a file."""
    train, task = {f"data_batch_{i}": records for i in range(1, 6)}, Task("cifar10", (3, 32, 32), 10)
    names = ("batches.meta", "label_names")
    return CifarForm(
        task, "cifar-10-batches-bin", "cifar-10-batches-py", train, {"test_batch": records}, names, "labels"
    )


def cifar100_form(counts: tuple[int, int]) -> CifarForm:
    """Return CIFAR-100's form with fine labels, ``counts`` training and test images."""
    task, names = Task("cifar100", (3, 32, 32), 100), ("meta", "fine_label_names")
    parts = {"train": counts[0]}, {"test": counts[1]}
    return CifarForm(task, "cifar-100-binary", "cifar-100-python", *parts, names, "fine_labels", 2)


def pickled_home(place: Path, form: CifarForm) -> Path | None:
    """Return the folder of the pickles in ``place`` or its own folder for them, None where there are none."""
    homes = (place / form.pickled, place)
    return next((home for home in homes if any((home / name).is_file() for name in form.train)), None)


def open_pickles(home: Path, form: CifarForm, validation: int, help: str) -> DatasetSource:
    """Return the dataset of the pickles in the folder ``home``, of which only the names are looked at here."""
    for name in (*form.train, *form.test):
        if not (home / name).is_file():
            raise ConfigError(f"file '{home / name}' is missing; {help}")

    def contents(wanted: Iterable[str]) -> dict[str, bytes]:
        return {name: read_bytes(home / name, MOST_BATCH) for name in wanted}

    names: tuple[str, ...] = ()
    meta, key = form.names
    if (home / meta).is_file():
        names = _names(read_bytes(home / meta, MOST_BATCH), f"file '{home / meta}'", key)
    files = [(name, str(home / name)) for name in (*form.train, *form.test)]
    return _source(form, validation, f"file '{home}/", contents, False, files, names)


def open_archive(path: Path, form: CifarForm, validation: int, help: str) -> DatasetSource:
    """Return the dataset in a .tar.gz file, of pickles or binary files, which is read through at each split."""
    sizes = _members(path, path.stat().st_size, path.stat().st_mtime_ns)
    binary = f"{next(iter(form.train))}.bin" in sizes
    there = {name: f"{name}.bin" if binary else name for name in (*form.train, *form.test)}
    missing = [name for name in there.values() if name not in sizes]
    if missing:
        found = ", ".join(sorted(sizes)[:6]) or "nothing"
        raise ConfigError(f"file '{path}' lacks {', '.join(missing)}, it holds {found}; {help}")
    record = form.label_bytes + PIXELS
    for name, count in {**form.train, **form.test}.items():
        if binary and sizes[there[name]] != count * record:
            rule = f"{count * record:,} bytes are needed, {sizes[there[name]]:,} are there"
            raise ConfigError(f"file '{path}', member '{there[name]}': {rule}; {help}")

    def contents(wanted: Iterable[str]) -> dict[str, bytes]:
        by_member = _extract(path, [there[name] for name in wanted])
        return {name: by_member[there[name]] for name in wanted}

    meta, key = form.names
    text = {"batches.meta": "batches.meta.txt", "meta": "fine_label_names.txt"}[meta]
    names: tuple[str, ...] = ()
    if binary and text in sizes:
        lines = _extract(path, [text])[text].decode("utf-8", "replace").split("\n")
        names = tuple(line.strip() for line in lines if line.strip())
    elif not binary and meta in sizes:
        names = _names(_extract(path, [meta])[meta], f"file '{path}', member '{meta}'", key)
    return _source(form, validation, f"file '{path}', member '", contents, binary, [(path.name, str(path))], names)


def _source(
    form: CifarForm,
    validation: int,
    where: str,
    contents: Callable[[Iterable[str]], Mapping[str, bytes]],
    binary: bool,
    files: list[tuple[str, str]],
    names: tuple[str, ...],
) -> DatasetSource:
    """Return the dataset whose ``contents`` are the files of names, binary records or pickles."""

    def read(split: Mapping[str, int]) -> ImageSet:
        parts = []
        for name, content in contents(list(split)).items():
            if binary:
                records = np.frombuffer(content, np.uint8).reshape(-1, form.label_bytes + PIXELS)
                pixels, labels = records[:, form.label_bytes :], records[:, form.label_bytes - 1].astype(np.int64)
            else:
                pixels, labels = _batch(content, f"{where}{name}'", form.labels, split[name])
            parts.append((pixels, labels))
        images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
        return ImageSet(images, np.concatenate([labels for _, labels in parts]))

    known = names if len(names) == form.task.classes else ()
    train, test = partial(read, form.train), partial(read, form.test)
    return DatasetSource(form.task, train, test, validation, lambda: test().labels, lambda: files, known)


class _Array:
    """What a pickle says of an array of numpy, kept as it is: numpy itself believes what such a file says of memory."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def bytes_of(self, shape: tuple[int, ...]) -> Pixels | None:
        """Return the array where it is of unsigned bytes in ``shape``, in the usual order; None where it is not."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, found, kind, fortran, content = self.state
        content = content.encode("latin-1") if isinstance(content, str) else content
        of_bytes = isinstance(kind, _Kind) and kind.name in ("u1", "|u1", "uint8") and not fortran
        if found != shape or not of_bytes or not isinstance(content, bytes) or len(content) != math.prod(shape):
            return None
        return np.frombuffer(content, np.uint8).reshape(shape)


class _Kind:
    """What a pickle says of the type of an array: its name."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name = name.decode("latin-1") if isinstance(name, bytes) else name

    def __setstate__(self, state: object) -> None:
        """Nothing of it is needed."""


def _new_array(*_: object) -> _Array:
    return _Array()


def _encode(text: object, *_: object) -> bytes:
    """Return the bytes that Python 3 wrote as text for Python 2."""
    return text.encode("latin-1") if isinstance(text, str) else b""


class _Unpickler(pickle.Unpickler):
    """Reads lists, numbers, text and what is said of arrays: what the pickles of CIFAR hold, and nothing that runs."""

    ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Kind,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> object:
        """Return what takes the place of a thing of the allow-list; anything else is refused."""
        if (module, name) in self.ALLOWED:
            return self.ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of CIFAR does")


def _unpickled(content: bytes, where: str) -> dict[str, object]:
    """Return a pickled dictionary by text keys; anything else raises :class:`ConfigError`."""
    try:
        data = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    # what unpickling altered bytes raises
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ConfigError(f"{where} is no pickle of CIFAR: {one_line(error)}; get it again") from None
    except (MemoryError, OverflowError, ImportError, LookupError) as error:
        raise ConfigError(f"{where} is no pickle of CIFAR: {one_line(error)}; get it again") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is no pickle of CIFAR: it holds {type(data).__name__}; get it again")
    return {
        key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): value for key, value in data.items()
    }


def _batch(content: bytes, where: str, key: str, count: int) -> tuple[Pixels, Labels]:
    """Return pixels (N, 3072) and labels (N,) of a batch of ``count`` images."""
    data = _unpickled(content, where)
    array, labels = data.get("data"), data.get(key)
    pixels = array.bytes_of((count, PIXELS)) if isinstance(array, _Array) else None
    if pixels is None:
        raise ConfigError(f"{where} must hold 'data', an array uint8 ({count:,}, {PIXELS:,}); get it again")
    # anything above is a wrong label, which is told as such
    if (
        not isinstance(labels, list)
        or len(labels) != count
        or not all(type(n) is int and abs(n) < 1 << 31 for n in labels)
    ):
        raise ConfigError(f"{where} must hold '{key}', {count:,} integers; get it again")
    return pixels, np.array(labels, dtype=np.int64)


def _names(content: bytes, where: str, key: str) -> tuple[str, ...]:
    found = _unpickled(content, where).get(key)
    names = found if isinstance(found, list) else []
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)


@cache
def _members(path: Path, size: int, changed: int) -> dict[str, int]:
    """Return the bytes of the files in an archive by their last names; the file is known by its size and time."""
    with _reading(path) as archive:
        return {member.name.rpartition("/")[2]: member.size for member in archive if member.isfile()}


def _extract(path: Path, names: list[str]) -> dict[str, bytes]:
    """Return the content of members by their last names, in the order of ``names``."""
    found: dict[str, bytes] = {}
    with _reading(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in names and member.isfile() and member.size <= MOST_BATCH:
                file = archive.extractfile(member)
                found[name] = b"" if file is None else file.read()
            if len(found) == len(names):
                break
    return {name: found[name] for name in names}


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive; what is wrong with it, also later, raises :class:`ConfigError`."""
    try:
        with tarfile.open(path, "r:*") as archive:
            yield archive
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"file '{path}' is no tar archive, truncated or damaged: {one_line(error)}; get it again"
        ) from None
