"""Which class image files are of: CSV files of paths and labels, and the label files of flat folders."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas.core.files import read_text
from nas.core.text import printable
from nas.data.decode import suffixes
from nas.data.image_files import FileList, listing, source_of, walk
from nas.data.image_set import DatasetSource
from nas.data.split_names import split_in, split_named
from nas.errors import ConfigError, one_line

TABLE_SUFFIXES = ".csv", ".tsv"
PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name"),
    *("image_id", "imageid", "img", "img_path", "id", "name"),
)
"""What a column of paths is called, in lower case; the first that is there."""
LABELS = "label", "class", "class_name", "label_name", "target", "category", "species", "breed", "labels", "y"
"""The same for the column of labels."""
SPLITS = "split", "set", "subset", "fold_name", "partition", "usage"
"""The same for a column that names the split of each row."""
TABLE_HELP = "a table has a row of column names, such as path,label, and a row an image"
MOST_TABLE = 1 << 30
"""Bytes of a table of paths and labels."""
LABEL_SUFFIXES = ".txt", ".csv", ".tsv"
SOLUTION = "LOC_val_solution.csv"
"""The labels of ImageNet's validation images as Kaggle gives them, three folders above the images."""
DEVKIT_LABELS, DEVKIT_META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
"""The same as ImageNet's own development kit gives them: a number a line, whose meaning is in the other file."""
SURE = 3
"""Images a class from which on a class without one is no chance."""
MOST_MISSING = 3
"""Files that an error names."""


@dataclass(frozen=True)
class Row:
    """One image of a table: the path and the label as they are written there, its split ("": not said), its line."""

    path: str
    label: str
    split: str
    line: int


def tables_of(folder: Path) -> dict[str, Path]:
    """Return by split the tables of paths and labels in ``folder``; one that names no split is ``train``."""
    found: dict[str, Path] = {}
    names = sorted(entry.name for entry in listing(folder) if entry.is_file() and not entry.name.startswith("."))
    for name in names:
        if name.lower().endswith(TABLE_SUFFIXES) and _columns(folder / name) is not None:
            split = split_in(name) or "train"
            if split in found:
                told = f"'{found[split].name}' and '{name}'"
                raise ConfigError(f"folder '{folder}' has two tables of labels, {told}; pass one with --data-dir FILE")
            found[split] = folder / name
    return found if "train" in found else {}


def open_tables(folder: Path, tables: Mapping[str, Path], size: int | None, resident_bytes: int) -> DatasetSource:
    """Images of which tables (CSV or TSV) have the paths and the labels, by split.

    Columns are found by their names (:data:`PATHS`, :data:`LABELS`). Paths are relative to ``folder``, or to a folder
    in it, and may lack their suffix. Labels are text, which become classes in the order of the alphabet, or integers,
    which do in their order. A column ``split`` of a single table tells the splits apart. As with folders, a second
    split is what is measured in the end. An image has one row; equal rows are one, others of it are refused.
    """
    rows = {split: _distinct(path, _rows(path)) for split, path in tables.items()}
    if len(tables) == 1:
        by_split: dict[str, list[Row]] = {}
        for row in rows["train"]:
            by_split.setdefault(row.split or "train", []).append(row)
        if "train" not in by_split:
            raise ConfigError(f"file '{tables['train']}': no row is of the split 'train', found {', '.join(by_split)}")
        rows = by_split
    for split, own in rows.items():
        if other := next((row for row in own if row.split not in ("", split)), None):
            rule = f"its split is {other.split}, and the name of the file says {split}"
            raise ConfigError(f"file '{tables[split]}', line {other.line:,}: {rule}")
    if "test" not in rows and "validation" in rows:
        rows["test"], tables = rows.pop("validation"), {**tables, "test": tables.get("validation", tables["train"])}
    names = _class_order({row.label for row in rows["train"]})
    if len(names) < 2:
        raise ConfigError(f"file '{tables['train']}': at least two classes are needed, found only '{names[0]}'")
    index = {name: label for label, name in enumerate(names)}
    there = {os.fsdecode(name) for name in walk(folder, Counter())}
    lists: dict[str, Callable[[], FileList]] = {}
    taken: dict[str, str] = {}
    for split, own in rows.items():
        table = tables.get(split, tables["train"])
        files = _files_of_rows(folder, table, own, there, split)
        for row in own:
            if row.label not in index:
                rule = f"class '{printable(row.label)}', which no training image has"
                raise ConfigError(f"file '{table}', line {row.line:,}: {rule}")
        labels = [index[row.label] for row in own]
        lists[split] = partial(FileList, [os.fsencode(name) for name in files], labels)
        for name, row in zip(files, own, strict=True):
            if taken.setdefault(name, split) != split:
                rule = f"'{printable(name)}' is an image of the {taken[name]} split already"
                raise ConfigError(f"file '{table}', line {row.line:,}: {rule}")

    def files_read() -> Iterator[tuple[str, str]]:
        for path in sorted(set(tables.values())):
            yield path.name, str(path)
        for listed in lists.values():
            for name in map(os.fsdecode, listed().files):
                yield name, f"{folder}/{name}"

    return source_of("folder", folder, size, names, lists, files_read, resident_bytes)


def flat_labels(folder: Path, split: str, classes: Sequence[str]) -> Callable[[], FileList] | None:
    """Return what lists the files of ``folder/split``, which has no folders of classes, by a file of labels.

    Such a file lies in that folder or beside it and has a line a file: its name (with or without its suffix or folder)
    and its class, by the name of the class's folder or its number from 0 in the order of the alphabet. So have
    Kaggle's ``LOC_val_solution.csv`` and Tiny ImageNet's ``val_annotations.txt``; ImageNet's own, a number a line,
    needs ``meta.mat`` of the development kit beside it. None where there is no such file.
    """
    files = sorted(walk(folder / split, Counter()))
    if not files:
        return None
    index = {name: label for label, name in enumerate(classes)}
    for path in _label_files(folder, split):
        devkit = path.name == DEVKIT_LABELS
        labels = _devkit_labels(path, files, index) if devkit else _labels_by_name(path, files, index)
        if labels is not None:
            ordered = [labels[name] for name in files]
            return partial(FileList, [os.fsencode(f"{split}/{name}") for name in files], ordered)
    return None


def _label_files(folder: Path, split: str) -> Iterator[Path]:
    """Yield the files that may have the labels of ``folder/split``, the likeliest first."""
    wanted = split_named(split)
    for place in (folder / split, folder):
        for entry in sorted(listing(place), key=lambda entry: entry.name):
            named = place != folder or split_in(entry.name) == wanted
            if entry.is_file() and entry.name.lower().endswith(LABEL_SUFFIXES) and named:
                yield Path(entry.path)
    for place in (folder, *folder.resolve().parents[:3]):
        for name in (SOLUTION, DEVKIT_LABELS):
            if wanted == "validation" and place != folder and (place / name).is_file():
                yield place / name
        if wanted == "validation" and place in (folder, folder.resolve().parent):
            yield from sorted(place.glob(f"*devkit*/data/{DEVKIT_LABELS}"))


def _labels_by_name(path: Path, files: Sequence[str], index: Mapping[str, int]) -> dict[str, int] | None:
    """Return the labels of a file of names and labels by the names of ``files``; None where it is another kind.

    One that has some of the files and not all, an unknown class, or numbers that seem to count from 1 raises
    :class:`ConfigError`.
    """
    named = _spellings(files)
    texts: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(read_text(path, MOST_TABLE).splitlines(), 1):
        # names may have spaces, labels have none; boxes may follow behind tabs, or behind the class
        cells = line.split("\t") if "\t" in line else line.split(",", 1) if "," in line else line.rsplit(None, 1)
        cells = [cell.strip().strip('"') for cell in cells]
        file = cells[0].replace("\\", "/").removeprefix("./") if cells else ""
        name = named.get(file) or named.get(Path(file).name)
        if name is not None and len(cells) > 1 and cells[1]:  # else the names of columns, or a file that is not there
            texts[name] = (cells[1] if cells[1] in index else cells[1].split()[0].rstrip(",")), number

    # a file has names, or numbers: of classes that are numbers themselves, those, else their places
    wanted: Mapping[str, int] = index
    numbered = any(text not in index for text, _ in texts.values())
    if numbered:
        own = {int(name): label for name, label in index.items() if name.isdecimal()}
        places = own if len(own) == len(index) else {i: i for i in range(len(index))}
        wanted = {text: places[int(text)] for text, _ in texts.values() if text.isdecimal() and int(text) in places}
        numbered = places is not own
    for text, number in texts.values():
        if text not in wanted:
            rule = f"must be a class of the training images or its number from 0 to {len(index) - 1}"
            raise ConfigError(f"file '{path}', line {number:,}: the label {rule}, found '{printable(text)}'")
    found = {name: wanted[text] for name, (text, _) in texts.items()}
    if not found:
        return None
    if missing := [name for name in files if name not in found]:
        shown = ", ".join(missing[:MOST_MISSING])
        raise ConfigError(f"file '{path}' has no label for {len(missing):,} of {len(files):,} images: {shown}")
    if numbered and 0 not in found.values() and len(files) >= SURE * len(index):
        raise ConfigError(
            f"file '{path}' has no label 0, so its labels seem to count from 1; write the names of classes"
        )
    return found


def _spellings(files: Sequence[str]) -> dict[str, str]:
    """Return the files by what tables may call them: path, name, and name without suffix, where it means one alone."""
    named: dict[str, str | None] = {}
    for file in files:
        path = Path(file)
        for text in dict.fromkeys((file, file.removesuffix(path.suffix), path.name, path.stem)):
            named[text] = file if text not in named or text == file else None
    return {text: file for text, file in named.items() if file is not None}


def _devkit_labels(path: Path, files: Sequence[str], index: Mapping[str, int]) -> dict[str, int]:
    """Return the labels of ImageNet's development kit by the names of the files, which it has in their order."""
    meta = path.parent / DEVKIT_META
    if not meta.is_file():
        raise ConfigError(f"file '{path}' numbers the classes by '{meta}', which is missing; copy it there")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        number_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except (KeyError, ValueError, TypeError, OSError, MatReadError) as error:
        raise ConfigError(f"file '{meta}' is not that of ImageNet's development kit: {one_line(error)}") from None
    numbers = read_text(path, MOST_TABLE).split()
    if len(numbers) != len(files):
        raise ConfigError(f"file '{path}' has {len(numbers):,} labels for {len(files):,} images")
    labels = {}
    for name, number in zip(files, numbers, strict=True):
        known = number_of.get(int(number) if number.isdecimal() else 0)
        if known is None or known not in index:
            rule = f"class {printable(number)} ({known}) of '{name}' is none of the training images"
            raise ConfigError(f"file '{path}': {rule}")
        labels[name] = index[known]
    return labels


def _columns(path: Path) -> tuple[str, ...] | None:
    """Return the names of the columns of a table; None where it has none for paths and labels."""
    with path.open("rb") as file:
        head = file.readline(1 << 16).decode("utf-8-sig", "replace")
    names = next(csv.reader([head], delimiter=_delimiter(head)), [])
    lower = [name.strip().lower() for name in names]
    return tuple(names) if {*lower} & {*PATHS} and {*lower} & {*LABELS} else None


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)


def _rows(path: Path) -> list[Row]:
    """Return the images of a table; what is no such table raises :class:`ConfigError`."""
    names = _columns(path)
    if names is None:
        with path.open("rb") as text:
            shown = printable(text.readline(200).decode("utf-8", "replace").strip())
        wanted = f"a column of paths ({', '.join(PATHS[:6])}, ...) and one of labels ({', '.join(LABELS[:3])}, ...)"
        raise ConfigError(f"file '{path}' needs {wanted}, its first line is '{shown}'; {TABLE_HELP}")
    lower = [name.strip().lower() for name in names]
    places = [next((lower.index(name) for name in known if name in lower), -1) for known in (PATHS, LABELS, SPLITS)]
    lines = read_text(path, MOST_TABLE).splitlines()
    found = []
    for number, cells in enumerate(csv.reader(lines, delimiter=_delimiter(lines[0])), 1):
        if number == 1 or not cells:
            continue
        file, label, split = ("" if place < 0 or place >= len(cells) else cells[place].strip() for place in places)
        if not file or not label:
            raise ConfigError(
                f"file '{path}', line {number:,}: a path and a label are needed, found {len(cells)} cells"
            )
        if split and not split_named(split):
            rule = "a split must be train, validation or test"
            raise ConfigError(f"file '{path}', line {number:,}: {rule}, found '{printable(split)}'")
        found.append(Row(file, label, split_named(split), number))
    if not found:
        raise ConfigError(f"file '{path}' has no row; {TABLE_HELP}")
    return found


def _class_order(labels: set[str]) -> list[str]:
    """Return the classes in their order: integers by size, everything else by the alphabet."""
    numbers = all(label.removeprefix("-").isdecimal() for label in labels)
    return sorted(labels, key=lambda label: (int(label), label)) if numbers else sorted(labels)


def _distinct(table: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows, equal ones once; an image with several labels raises :class:`ConfigError`."""
    found: dict[str, Row] = {}
    for row in rows:
        first = found.setdefault(row.path, row)
        if (first.label, first.split) != (row.label, row.split):
            rule = f"'{printable(row.path)}' has another label or split in line {first.line:,}; one label an image"
            raise ConfigError(f"file '{table}', line {row.line:,}: {rule}")
    return list(found.values())


def _files_of_rows(folder: Path, table: Path, rows: Sequence[Row], there: set[str], split: str) -> list[str]:
    """Return the path of every row's image of ``split`` below ``folder``, where ``there`` are those of all images.

    The paths of a table may be relative to a folder beside it, absolute, or without a suffix: all in the same way,
    which the first row that is found tells. A folder that names the split goes first, one of another split is none.
    """
    parents = {f"{parent}/" for name in there if (parent := name.rpartition("/")[0])}
    of_split = {parent: {split_named(part) for part in parent.split("/")} - {""} for parent in parents}
    own = [parent for parent in parents if split in of_split[parent]]
    neutral = [parent for parent in parents if not of_split[parent]]
    ends = ["", *(suffix for suffix in (".jpg", ".jpeg", ".png", *suffixes()))]

    def relative(path: str) -> str:
        path = path.replace("\\", "/").removeprefix("./")
        return path.removeprefix(f"{folder}/") if path.startswith("/") else path

    def way_of(name: str) -> tuple[str, str] | None:
        for starts in ([""], own, neutral):
            ways = [(start, end) for end in ends for start in starts if f"{start}{name}{end}" in there]
            if len({start for start, _ in ways}) > 1:
                shown = " and ".join(f"'{start}{name}{end}'" for start, end in sorted(ways)[:2])
                raise ConfigError(
                    f"file '{table}': '{printable(name)}' may be {shown}; write the folder into the table"
                )
            if ways:
                return ways[0]
        return None

    found: list[str] = []
    missing: list[Row] = []
    way: tuple[str, str] | None = None
    for row in rows:
        name = relative(row.path)
        way = way or way_of(name)
        if way is None or f"{way[0]}{name}{way[1]}" not in there:
            missing.append(row)
        else:
            found.append(f"{way[0]}{name}{way[1]}")
    if missing:
        shown = ", ".join(f"'{printable(row.path)}' (line {row.line:,})" for row in missing[:MOST_MISSING])
        told = f"{len(missing):,} of {len(rows):,} images are not below '{folder}': {shown}"
        raise ConfigError(f"file '{table}': {told}")
    return found
