"""Images in archives: WebDataset's tar files and the parquet files of Hugging Face's image sets, of a local folder.

The samples of tar archives that are not compressed are read where they lie, by the standard library's ``tarfile``: a
search needs its images in any order, which streaming readers do not give. Parquet files are compressed in pages, so
their encoded images are copied once into a file of the cache, ``~/.cache/nas-toolkit/images`` (``XDG_CACHE_HOME``).
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.activity import doing
from nas.core.files import staged
from nas.core.text import printable
from nas.data.decode import suffixes
from nas.data.image_files import FileList, is_folder, listing, source_of
from nas.data.image_set import DatasetSource
from nas.data.split_names import split_in
from nas.data.streaming import INSIDE
from nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PARQUET = ".parquet"
SHARD_SUFFIXES = (".tar", PARQUET)
IMAGES, LABELS = ("image", "img", "pixel_values"), ("label", "labels", "fine_label", "class", "target")
"""What the columns of a parquet file are called."""
NO_LABEL = "-1"
"""What Hugging Face writes where a label is kept secret."""
LABEL_MEMBERS = "cls", "label", "json"
"""Suffixes of the members of a sample that hold its label, the first that is there."""
MOST_LABEL = 1 << 16
"""Bytes of such a member."""
SHARD_DEPTH = 3
CACHE_HOME = "XDG_CACHE_HOME"
PYARROW_HELP = "parquet files are read with pyarrow, which is not installed; python -m pip install pyarrow"


@dataclass(eq=False)
class Shards:
    """The samples of one split: where each image lies, and its label as it is written there."""

    files: list[bytes] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    unlabelled: int = 0


def shards_of(folder: Path) -> list[str]:
    """Return the paths, relative to ``folder``, of the archives of one kind below it, sorted; parquet goes first."""
    found: dict[str, list[str]] = {suffix: [] for suffix in SHARD_SUFFIXES}
    left = [("", SHARD_DEPTH)]
    while left:
        prefix, depth = left.pop()
        for entry in listing(f"{folder}/{prefix}"):
            if entry.name.startswith("."):
                continue
            if is_folder(entry) and depth:
                left.append((f"{prefix}{entry.name}/", depth - 1))
            elif entry.is_file() and (suffix := Path(entry.name).suffix.lower()) in found:
                found[suffix].append(prefix + entry.name)
    return sorted(found[PARQUET] or found[".tar"])


def open_shards(folder: Path, shards: Sequence[str], size: int | None, resident_bytes: int) -> DatasetSource:
    """Images and labels in ``shards``, tar archives or parquet files below ``folder``, of the splits that they name.

    - WebDataset (https://github.com/webdataset/webdataset): the members of a sample have one name up to its first
      dot; one is an image, one its label: ``.cls`` (a number or a name) or ``.json`` with ``label`` or ``cls``.
    - parquet: a column ``image`` of bytes, or of structs with ``bytes`` as Hugging Face writes them, and a column
      ``label``; the names of classes are those of its ``ClassLabel``.

    Files whose path names no split are training images. Where there is a validation split and no test split, the first
    is measured in the end, as ImageNet's is.
    """
    by_split: dict[str, list[str]] = {}
    for shard in shards:
        by_split.setdefault(split_in(shard) or "train", []).append(shard)
    if "train" not in by_split:
        raise ConfigError(f"folder '{folder}' has no archive of training images, found {', '.join(shards[:3])}")
    parquet = shards[0].lower().endswith(PARQUET)
    state = tuple((shard, (folder / shard).stat().st_size, (folder / shard).stat().st_mtime_ns) for shard in shards)
    found: dict[str, Shards] = {}
    with doing(f"reading the index of {len(shards):,} archive{'' if len(shards) == 1 else 's'}"):
        for split, names in by_split.items():
            own = tuple(row for row in state if row[0] in set(names))
            found[split] = _parquet_index(folder, own) if parquet else _tar_index(folder, own)
    for split in list(found):
        # a test split without labels, as Hugging Face has it, is none
        if not {*found[split].labels} - {NO_LABEL} and split != "train":
            del found[split]
    if "test" not in found and "validation" in found:
        found["test"], by_split["test"] = found.pop("validation"), by_split["validation"]
    if not found["train"].labels:
        raise ConfigError(f"folder '{folder}': no sample of {by_split['train'][0]} has an image and a label")

    # the classes are those of the training images, or those that the files name
    first = folder / by_split["train"][0]
    named = _class_label(first, first.stat().st_size, first.stat().st_mtime_ns) if parquet else ()
    trained = set(found["train"].labels)
    labels = {label for own in found.values() for label in own.labels}
    if named and all(label.isdecimal() for label in labels):
        names = list(named)
    elif all(label.isdecimal() for label in trained):
        names = [str(i) for i in range(len(trained))]
        if gap := next((name for name in names if name not in trained), ""):
            rule = f"must be 0 to {len(trained) - 1} with every class there, found no training image of class {gap}"
            raise ConfigError(f"folder '{folder}': labels that are numbers {rule}")
    else:
        names = sorted(trained)
    numbers = named or all(name.isdecimal() for name in names)
    index = {str(i) if numbers else name: i for i, name in enumerate(names)}
    wrong = next((label for label in sorted(labels) if label not in index), None)
    if wrong is not None:
        split = next(split for split, own in found.items() if wrong in own.labels)
        told = f"label '{printable(wrong)}' of {by_split[split][0]} is of no class of the training images"
        raise ConfigError(f"folder '{folder}': {told}")
    if len(names) < 2:
        raise ConfigError(f"folder '{folder}': at least two classes are needed, found only '{names[0]}'")
    lists: dict[str, Callable[[], FileList]] = {
        split: partial(FileList, own.files, [index[label] for label in own.labels], _passed_over(split, own), own.spans)
        for split, own in found.items()
    }
    root = _cache_folder() if parquet else folder

    def files() -> Iterator[tuple[str, str]]:
        for shard in shards:
            yield shard, f"{folder}/{shard}"

    return source_of("folder", root, size, names, lists, files, resident_bytes)


@cache
def _tar_index(folder: Path, shards: tuple[tuple[str, int, int], ...]) -> Shards:
    """Return where the images of tar archives lie; only the headers of members and the labels are read."""
    found = Shards()
    for shard, *_ in shards:
        members: dict[str, dict[str, tarfile.TarInfo]] = {}
        try:
            with tarfile.open(folder / shard, "r:") as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    place, _, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if not stem:
                        continue
                    parts = members.setdefault(f"{place}/{stem}", {})
                    if suffix.lower() in parts:
                        told = f"'{printable(member.name)}' is there twice"
                        raise ConfigError(f"file '{folder / shard}': {told}; a sample's files have names of their own")
                    parts[suffix.lower()] = member
                for sample, parts in members.items():
                    where = f"file '{folder / shard}', sample '{printable(sample.removeprefix('/'))}'"
                    # a mask, such as 000.seg.png, is no image of its own
                    images = [m for s, m in parts.items() if f".{s}" in suffixes()]
                    images = images or [m for s, m in parts.items() if f".{s.rpartition('.')[2]}" in suffixes()]
                    if len(images) > 1:
                        raise ConfigError(f"{where}: it has {len(images)} images, and one is needed")
                    label = _tar_label(archive, parts, where) if images else None
                    if label is None:
                        found.unlabelled += bool(images)
                        continue
                    found.files.append(os.fsencode(shard) + INSIDE + os.fsencode(images[0].name))
                    found.spans.append((images[0].offset_data, images[0].size))
                    found.labels.append(label)
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            rule = "must be a tar archive that is not compressed"
            raise ConfigError(f"file '{folder / shard}' {rule}: {one_line(error)}") from None
    return found


def _passed_over(split: str, own: Shards) -> str:
    return f"passed over in {split}: {own.unlabelled:,} images without a label" if own.unlabelled else ""


def _tar_label(archive: tarfile.TarFile, parts: Mapping[str, tarfile.TarInfo], where: str) -> str | None:
    """Return the label of a sample, None where none of its members holds one."""
    suffix = next((suffix for suffix in LABEL_MEMBERS if suffix in parts), None)
    if suffix is None:
        return None
    member = parts[suffix]
    file = archive.extractfile(member)
    if file is None or member.size > MOST_LABEL:
        raise ConfigError(f"{where}: its label must be a file of at most {MOST_LABEL:,} bytes, found {member.size:,}")
    text = file.read().decode("utf-8", "replace").strip()
    if suffix != "json":
        return text or None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: its .json is damaged: {one_line(error)}") from None
    label = (
        next((data[name] for name in ("label", "cls", "class") if name in data), None)
        if isinstance(data, dict)
        else None
    )
    if isinstance(label, list):
        raise ConfigError(f"{where}: it has several labels; the networks here tell one class an image")
    return None if label is None else str(label)


@cache
def _parquet_index(folder: Path, shards: tuple[tuple[str, int, int], ...]) -> Shards:
    """Return where the images of parquet files lie in the file of the cache that is made of them once."""
    digest = blake2b(repr((str(folder.resolve()), shards)).encode(), digest_size=12).hexdigest()
    home = _cache_folder()
    kept = home / digest
    if not (kept / "index.json").is_file():
        with doing(f"copying the images of {len(shards):,} parquet file{'' if len(shards) == 1 else 's'}"):
            _copy(folder, [shard for shard, *_ in shards], kept)
    index = json.loads((kept / "index.json").read_text(encoding="utf-8"))
    found = Shards()
    for name, start, length, label in index:
        found.files.append(os.fsencode(f"{digest}/images") + INSIDE + os.fsencode(name))
        found.spans.append((start, length))
        found.labels.append(label)
    return found


def _copy(folder: Path, shards: Sequence[str], kept: Path) -> None:
    """Write the encoded images of parquet files one after the other into the new folder ``kept``, and their index."""
    rows: list[tuple[str, int, int, str]] = []
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        with staged(kept) as place, (place / "images").open("wb") as output:
            for shard in shards:
                for number, (content, label) in enumerate(_parquet_samples(folder / shard)):
                    rows.append((f"{shard}/{number}", output.tell(), len(content), label))
                    output.write(content)
            (place / "index.json").write_text(json.dumps(rows), encoding="utf-8")
    except OSError as error:
        if (kept / "index.json").is_file():  # another process has made the same meanwhile
            return
        raise ConfigError(f"cannot write '{kept}': {error.strerror or one_line(error)}") from None


def _parquet_samples(path: Path) -> Iterator[tuple[bytes, str]]:
    """Yield the encoded images of a parquet file, and their labels."""
    with _parquet(path) as file:
        names = file.schema_arrow.names
        image = next((name for name in IMAGES if name in names), None)
        label = next((name for name in LABELS if name in names), None)
        if image is None or label is None:
            wanted = f"a column of images ({', '.join(IMAGES[:2])}) and one of labels ({', '.join(LABELS[:3])})"
            raise ConfigError(f"file '{path}' needs {wanted}; columns there: {', '.join(map(printable, names))}")
        row = 0
        for batch in file.iter_batches(batch_size=256, columns=[image, label]):
            for found, text in zip(batch.column(image).to_pylist(), batch.column(label).to_pylist(), strict=True):
                content = found.get("bytes") if isinstance(found, dict) else found
                if isinstance(text, list):
                    raise ConfigError(f"file '{path}', row {row:,}: it has several labels; one class an image is told")
                if not isinstance(content, bytes) or text is None:
                    rule = "an image is the bytes of its file, with a label"
                    raise ConfigError(f"file '{path}', row {row:,}: {rule}, found {type(content).__name__}, {text!r}")
                yield content, str(text)
                row += 1


def _parquet(path: Path) -> ParquetFile:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigError(PYARROW_HELP) from None
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise ConfigError(f"file '{path}' is no parquet file: {one_line(error)}") from None


@cache
def _class_label(path: Path, size: int, changed: int) -> tuple[str, ...]:
    """Return the names of classes in the metadata of a parquet file of Hugging Face, known by its size and time."""
    with _parquet(path) as file:
        found = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(found).get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return ()
    own: object = next((features[name] for name in LABELS if name in features), {})
    names = own.get("names") if isinstance(own, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _cache_folder() -> Path:
    """Return the folder of what is copied once."""
    return Path(os.environ.get(CACHE_HOME) or Path.home() / ".cache") / "nas-toolkit" / "images"
