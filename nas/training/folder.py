"""Folders of image files in ImageNet's layout: train/CLASS/FILE and val/CLASS/FILE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nas.errors import ConfigError
from nas.training.datasets import Source
from nas.training.decode import require_pillow
from nas.training.images import ImageSet
from nas.training.stream import ImageStream
from nas.types import Task

SUFFIXES = ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"
DEFAULT_SIZE = 224
RESIDENT_BYTES = 2 << 30
"""Splits of no more pixels are decoded once and stay in memory; larger ones stream from their files."""
FOLDER_HELP = "pass with --data-dir a folder that holds train/CLASS/FILE and val/CLASS/FILE, as ImageNet's does"


def open_folder(folder: Path | None, image_size: int | None = None, resident_bytes: int = RESIDENT_BYTES) -> Source:
    """Image files in ``folder``, seen as RGB at ``image_size`` x ``image_size`` (224); val is the test split.

    Classes are the folders in train, sorted by name; their files lie in them at any depth. Hidden files and files of
    other suffixes are passed over. A class that val lacks is not measured; one that train lacks is refused, as is a
    class without an image in train. A split of up to ``resident_bytes`` is an :class:`ImageSet`, a larger one an
    :class:`ImageStream`.
    """
    assert folder is not None
    size = DEFAULT_SIZE if image_size is None else image_size
    require_pillow()
    classes, measured = _classes(folder / "train"), _classes(folder / "val")
    if len(classes) < 2:
        raise ConfigError(f"folder '{folder / 'train'}' must hold at least two class folders, found {len(classes)}")
    for name in classes:
        if not any(_walk(folder / "train" / name)):
            found = f"no file of {', '.join(SUFFIXES)}"
            raise ConfigError(f"folder '{folder / 'train' / name}' must hold images of its class, found {found}")
    strange = [name for name in measured if name not in set(classes)]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ConfigError(f"folder '{folder / 'val'}' has class '{strange[0]}'{more}, which train lacks")
    if not any(any(_walk(folder / "val" / name)) for name in measured):
        raise ConfigError(f"folder '{folder / 'val'}' holds no image in a class folder; {FOLDER_HELP}")

    def read(split: str) -> ImageSet | ImageStream:
        stream = _stream(folder / split, classes, size)
        return stream.read() if len(stream) * 3 * size * size <= resident_bytes else stream

    return Source(Task("folder", (3, size, size), len(classes)), lambda: read("train"), lambda: read("val"))


def _stream(root: Path, classes: list[str], size: int) -> ImageStream:
    files: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if (root / name).is_dir():
            found = sorted(os.fsencode(f"{name}/{file}") for file in _walk(root / name))
            files += found
            labels += [label] * len(found)
    return ImageStream(root, np.array(files, dtype=np.bytes_), np.array(labels, dtype=np.int64), size)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        state = "is no folder" if folder.exists() else "is missing"
        raise ConfigError(f"folder '{folder}' {state}; {FOLDER_HELP}")
    with _listing(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _walk(folder: Path | str, prefix: str = "") -> Iterator[str]:
    """Yield the paths of images below ``folder``, relative to it, in no order; links to folders are not followed."""
    with _listing(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.lower().endswith(SUFFIXES):
                yield prefix + entry.name


def _listing(folder: Path | str) -> os._ScandirIterator[str]:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise ConfigError(f"folder '{folder}' cannot be read: {error.strerror or error}") from None
