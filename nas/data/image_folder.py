"""A user's own image files in one of the layouts that folders of images have: see :func:`open_folder`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from nas.core.file_kinds import kind_of_file
from nas.data.decode import require_pillow, suffixes
from nas.data.image_files import (
    RESIDENT_BYTES,
    SYSTEM,
    FileList,
    counted,
    is_folder,
    kind_of_entry,
    listing,
    source_of,
    walk,
)
from nas.data.image_set import DatasetSource
from nas.data.image_tables import TABLE_SUFFIXES, flat_labels, open_tables, tables_of
from nas.data.shards import SHARD_SUFFIXES, open_shards, shards_of
from nas.data.split_names import split_named
from nas.errors import ConfigError

KAGGLE = Path("ILSVRC", "Data", "CLS-LOC")
"""Where Kaggle's copy of ImageNet has its images."""
FOLDER_HELP = (
    "pass with --data-dir a folder that holds train/CLASS/FILE and val/CLASS/FILE, or another layout of docs/data.md"
)
MOST_NAMED = 5
"""Entries of a folder that an error names."""


def open_folder(
    place: Path | None, image_size: int | None = None, resident_bytes: int = RESIDENT_BYTES
) -> DatasetSource:
    """Image files in the folder ``place``, seen as RGB at ``image_size`` x ``image_size`` (224).

    - ``train/CLASS/FILE`` with ``val/CLASS/FILE``, as ImageNet's: ``val`` is the test split, or with a ``test`` folder
      of classes the validation split. Names such as ``valid`` or ``testing`` will do, see
      :mod:`nas.data.split_names`. A ``val`` of files without folders needs a file of labels, as ImageNet's devkit,
      Kaggle and Tiny ImageNet have one, see :func:`nas.data.image_tables.flat_labels`.
    - ``CLASS/FILE``, or ``train`` alone: there is no test split.
    - a table of paths and labels, see :func:`nas.data.image_tables.open_tables`.
    - WebDataset's tar archives and Hugging Face's parquet files, see :func:`nas.data.shards.open_shards`.

    Classes are the folders in train, sorted by name; their files lie in them at any depth. Hidden files, those of
    systems (:data:`nas.data.image_files.SYSTEM`) and suffixes that pillow does not read are passed over at any depth,
    and counted. A class that the test split lacks is not measured; one without an image in train is refused.
    """
    assert place is not None
    require_pillow()
    if place.is_file():
        if place.suffix.lower() in TABLE_SUFFIXES:
            return open_tables(place.parent, {"train": place}, image_size, resident_bytes)
        if place.suffix.lower() in SHARD_SUFFIXES:
            return open_shards(place.parent, [place.name], image_size, resident_bytes)
        kind, ends = kind_of_file(place), ", ".join((*TABLE_SUFFIXES, *SHARD_SUFFIXES))
        found = "is no folder" if kind is None else f"is {kind}, no folder"
        raise ConfigError(f"file '{place}' {found} and does not end in {ends}; {FOLDER_HELP}")
    folder = place / KAGGLE if (place / KAGGLE).is_dir() else place
    entries = {entry.name: entry for entry in listing(folder)}
    splits: dict[str, str] = {}
    for name in sorted(name for name, entry in entries.items() if is_folder(entry)):
        split = split_named(name)
        if split and split in splits:
            raise ConfigError(f"folder '{folder}' has two folders of {split} images, '{splits[split]}' and '{name}'")
        splits[split] = name
    train = splits.get("train")
    others = [name for name in class_folders(folder) if not split_named(name)]
    if train is not None and len(class_folders(folder / train)) > 1:
        if len(splits) == 1 + ("" in splits) and any(any(walk(folder / name, Counter())) for name in others):
            told = f"'{train}' with folders in it beside '{others[0]}', and no folder of another split"
            raise ConfigError(f"folder '{folder}' has {told}: name a class otherwise, or take '{others[0]}' away")
        return _open_splits(folder, {name: found for name, found in splits.items() if name}, image_size, resident_bytes)
    # folders of classes go before archives and tables beside them, and a table that fits them too is refused
    tables = tables_of(folder)
    if len(others) > 1 and any(any(walk(folder / name, Counter())) for name in others):
        if tables:
            table = next(iter(tables.values())).name
            told = f"has folders of classes ('{others[0]}', ...) and the table '{table}'"
            raise ConfigError(f"folder '{folder}' {told}: pass the table by --data-dir, or take it away")
    elif shards := shards_of(folder):
        return open_shards(folder, shards, image_size, resident_bytes)
    elif tables:
        return open_tables(folder, tables, image_size, resident_bytes)
    if train is not None:
        count = len(class_folders(folder / train))
        rule = f"must hold at least two class folders, found {count}"
        raise ConfigError(f"folder '{folder / train}' {rule}; {FOLDER_HELP}")
    classes = class_folders(folder)
    if len(classes) < 2 or not any(any(walk(folder / name, Counter())) for name in classes):
        raise ConfigError(f"folder '{folder}' {_found(folder)}; {FOLDER_HELP}")
    if alone := next((name for split, name in splits.items() if split), None):
        raise ConfigError(f"folder '{folder}' has '{alone}' and no folder 'train'; {FOLDER_HELP}")
    _check_classes(folder, classes)
    lists = {"train": partial(_listed, folder, "", classes)}
    return source_of("folder", folder, image_size, classes, lists, _files(folder, {"": classes}), resident_bytes)


def _open_splits(folder: Path, splits: dict[str, str], size: int | None, resident_bytes: int) -> DatasetSource:
    """Return the dataset of a folder of ``splits``, by ``train``, ``validation`` and ``test`` the folder of each."""
    train = splits["train"]
    classes = class_folders(folder / train)
    _check_classes(folder / train, classes)
    lists: dict[str, Callable[[], FileList]] = {"train": partial(_listed, folder, train, classes)}
    measured, passed_over = {train: classes}, {}
    for split in ("validation", "test"):
        if split not in splits:
            continue
        name, own = splits[split], class_folders(folder / splits[split])
        # classes of this split alone would have no output of the network
        strange = [found for found in own if found not in set(classes)]
        if own and not (len(own) == 1 and strange):
            if strange:
                more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
                raise ConfigError(f"folder '{folder / name}' has class '{strange[0]}'{more}, which {train} lacks")
            if not any(any(walk(folder / name / found, Counter())) for found in own):
                raise ConfigError(f"folder '{folder / name}' holds no image in a class folder; {FOLDER_HELP}")
            lists[split], measured[name] = partial(_listed, folder, name, classes), own
            continue
        # files without folders of classes, or all in one such as 'images'
        labelled = flat_labels(folder, name, classes)
        if labelled is not None:
            lists[split], measured[name] = labelled, [""]
        elif split == "test":
            passed_over[name] = f"passed over: {name}, which has no labels"
        else:
            rule = "no folder of a class and no file of labels was found for it"
            raise ConfigError(f"folder '{folder / name}' holds no image in a class folder, and {rule}; {FOLDER_HELP}")
    # as with ImageNet, a second split is what is measured in the end
    if "test" not in lists and "validation" in lists:
        lists["test"] = lists.pop("validation")
    if passed_over:
        first = lists["train"]
        told = "; ".join(passed_over.values())
        lists["train"] = lambda: _with_remark(first(), told)
    return source_of("folder", folder, size, classes, lists, _files(folder, measured), resident_bytes)


def _with_remark(found: FileList, told: str) -> FileList:
    text = f"{found.passed_over}; {told}" if found.passed_over else told
    return FileList(found.files, found.labels, text, found.spans)


def class_folders(folder: Path, others: Counter[str] | None = None) -> list[str]:
    """Return the names of the folders in ``folder``, sorted; ``others`` counts what else is there."""
    found = []
    for entry in listing(folder):
        if entry.name.lower() not in SYSTEM and not entry.name.startswith(".") and is_folder(entry):
            found.append(entry.name)
        elif others is not None:
            others[kind_of_entry(entry)] += 1
    return sorted(found)


def _check_classes(folder: Path, classes: Sequence[str]) -> None:
    """Refuse a training split of one class, or with a class that has no image."""
    if len(classes) < 2:
        raise ConfigError(f"folder '{folder}' must hold at least two class folders, found {len(classes)}")
    for name in classes:
        passed: Counter[str] = Counter()
        if not any(walk(folder / name, passed)):
            found = (
                f"no file of .jpg, .png, .tif or another suffix that pillow reads{counted(passed, '; passed over: ')}"
            )
            raise ConfigError(f"folder '{folder / name}' must hold images of its class, found {found}")


def _listed(folder: Path, split: str, classes: Sequence[str]) -> FileList:
    """Return the images in the folders of ``classes`` in ``split`` ("": the folder itself)."""
    files: list[bytes] = []
    labels: list[int] = []
    others: Counter[str] = Counter()
    there, start = set(class_folders(folder / split, others)), f"{split}/" if split else ""
    for label, name in enumerate(classes):
        if name in there:
            found = sorted(os.fsencode(f"{start}{name}/{file}") for file in walk(folder / split / name, others))
            files += found
            labels += [label] * len(found)
    return FileList(files, labels, counted(others, f"passed over in {split}: " if split else "passed over: "))


def _files(folder: Path, measured: dict[str, list[str]]) -> Callable[[], Iterator[tuple[str, str]]]:
    """Return what yields the files of ``measured``, class folders by split, as names and paths."""

    def files() -> Iterator[tuple[str, str]]:
        for split, names in measured.items():
            for name in names:
                inner = "/".join(part for part in (split, name) if part)
                for file in walk(folder / inner, Counter()):
                    yield f"{inner}/{file}", f"{folder}/{inner}/{file}"

    return files


def _found(folder: Path) -> str:
    """Say what a folder holds that has no layout of images."""
    others: Counter[str] = Counter()
    folders = class_folders(folder, others)
    named = ", ".join(folders[:MOST_NAMED]) + (", ..." if len(folders) > MOST_NAMED else "")
    found = [f"{len(folders):,} folder{'' if len(folders) == 1 else 's'} ({named})"] if folders else []
    images = sum(number for suffix, number in others.items() if suffix in suffixes())
    if images:
        found.append(f"{images:,} image{'' if images == 1 else 's'} without a label")
    rest = Counter({suffix: number for suffix, number in others.items() if suffix not in suffixes()})
    if rest:
        found.append(counted(rest, "files: "))
    return "holds " + (" and ".join(found) if found else "nothing")
