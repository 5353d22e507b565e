"""Image files below a folder: which count, what is passed over, and the splits that are made of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.core.text import printable
from nas.core.values import Task
from nas.data.decode import opened, suffixes
from nas.data.depth import Damaged
from nas.data.image_set import DatasetSource, Findings, Images
from nas.data.streaming import ImageStream
from nas.errors import ConfigError

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
SMALLER = 2
"""Images whose side is this many times smaller than the default size are told of."""
LOOKED_AT = 16
"""Images of which the size is looked at."""
RESIDENT_BYTES = 2 << 30
"""Splits of no more pixels are decoded once and stay in memory; larger ones stream from their files."""


@dataclass(frozen=True)
class FileList:
    """The image files of one split.

    Attributes:
        files: paths relative to the folder of the dataset, or of archives and files in them
        labels: one a file
        passed_over: what of the folder is no image of a class, in words
        spans: of files in archives where each begins, and its length, in bytes
    """

    files: Sequence[bytes]
    labels: Sequence[int]
    passed_over: str = ""
    spans: Sequence[tuple[int, int]] | None = None

    def stream(self, root: Path, size: int, split: str) -> ImageStream:
        """Return the images, not read yet."""
        findings = Findings(passed_over={split: self.passed_over} if self.passed_over else {})
        spans = None if self.spans is None else np.array(self.spans, dtype=np.int64).reshape(-1, 2)
        paths, labels = np.array(self.files, dtype=np.bytes_), np.array(self.labels, dtype=np.int64)
        return ImageStream(root, paths, labels, size, findings, spans)


def source_of(
    name: str,
    root: Path,
    size: int | None,
    class_names: Sequence[str],
    splits: Mapping[str, Callable[[], FileList]],
    files: Callable[[], Iterator[tuple[str, str]]],
    resident_bytes: int = RESIDENT_BYTES,
) -> DatasetSource:
    """Return the dataset ``name`` of image files below ``root``, seen as RGB at ``size`` x ``size`` (224).

    ``splits`` lists the files of ``train`` and, where they are there, of ``validation`` and ``test``. A split of up to
    ``resident_bytes`` is an :class:`ImageSet`, a larger one an :class:`ImageStream`; training and validation images,
    which final trainings join, are both the one or the other.
    """
    side = DEFAULT_SIZE if size is None else size

    def reader(split: str) -> Callable[[], Images] | None:
        """Return what reads a split, None where it is not there."""
        if split not in splits:
            return None

        def read() -> Images:
            listed = splits[split]()
            joined = [name for name in ("train", "validation") if name in splits and split not in (name, "test")]
            most = max(len(listed.files), *(len(splits[name]().files) for name in joined), 0)
            stream = listed.stream(root, side, split)
            if split == "train" and size is None and 0 < (own := typical_side(stream)) <= side // SMALLER:
                # trainings at the usual size of photos would take many times as long, for nothing
                stream.findings.told["size"] = (
                    f"images of about {own:,} pixels are scaled up to {side:,}, the default; --image-size {own:,} costs"
                    f" about {round((side / own) ** 2):,} times less"
                )
            return stream.read() if most * 3 * side * side <= resident_bytes else stream

        return read

    train, test = reader("train"), reader("test")
    assert train is not None
    labels = None if test is None else lambda: np.array(splits["test"]().labels, dtype=np.int64)
    task = Task(name, (3, side, side), len(class_names))
    names, validation = tuple(class_names), reader("validation")
    return DatasetSource(task, train, test, None, labels, files, names, validation)


def typical_side(stream: ImageStream) -> int:
    """Return the median of the short sides of a few images, in pixels; 0 where none of them can be opened."""
    sides = []
    for index in np.linspace(0, len(stream) - 1, LOOKED_AT).astype(int).tolist() if len(stream) else ():
        with suppress(Damaged), opened(stream.source(index)) as image:
            sides.append(min(image.size))
    return int(np.median(sides)) if sides else 0


def walk(folder: Path, others: Counter[str]) -> Iterator[str]:
    """Yield the paths of images below ``folder``, relative to it, in no order; links to folders are not followed.

    ``others`` counts what is passed over on the way.
    """
    left = [""]
    while left:
        prefix = left.pop()
        for entry in listing(f"{folder}/{prefix}"):
            own = entry.name.lower()
            if own in SYSTEM or own.startswith("."):
                others[kind_of_entry(entry)] += 1
            elif entry.is_dir(follow_symlinks=False):
                left.append(f"{prefix}{entry.name}/")
            elif own.endswith(suffixes()):
                yield prefix + entry.name
            else:
                others[kind_of_entry(entry)] += 1


def kind_of_entry(entry: os.DirEntry[str]) -> str:
    """Return as what an entry that is passed over is counted: its name where a system gave it, else its suffix."""
    own = entry.name.lower()
    if own in SYSTEM or own.startswith("."):
        return printable(entry.name) if own in SYSTEM else "hidden"
    if entry.is_symlink() and is_folder(entry):
        return "link to a folder"
    return printable(Path(own).suffix) or "without a suffix"


def counted(others: Counter[str], start: str) -> str:
    """Return ``start`` and how many of each kind there are, nothing where there are none."""
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{number:,} {kind}" for kind, number in ordered[:MOST_SUFFIXES]]
    more = sum(number for _, number in ordered[MOST_SUFFIXES:])
    return start + ", ".join(shown + ([f"{more:,} of other kinds"] if more else [])) if others else ""


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def listing(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder; one that cannot be read raises :class:`ConfigError`."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise ConfigError(f"folder '{folder}' cannot be read: {error.strerror or error}") from None
