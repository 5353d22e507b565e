"""Folders that look like one layout and are another, and what would be read wrong without a word."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import CLASSES, LAYOUTS, cifar_pickles, flat_pictures, idx, parquet, png, write

import nas
from nas.data import published_sets
from nas.data.image_folder import open_folder
from nas.data.image_set import ImageSet
from nas.data.recognize import recognized
from nas.data.splits import DATASETS, DatasetInfo, class_names_of, images_named, load_splits
from nas.data.streaming import ImageStream
from nas.errors import ConfigError

PICTURES = flat_pictures()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def flat(level: int) -> np.ndarray:
    return np.full((16, 16, 3), level, np.uint8)


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_splits("folder", folder, image_size=16)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


# --- tables


def test_the_training_table_is_not_read_of_the_test_images(tmp_path: Path) -> None:
    """Kaggle: train.csv of numbers, train/ and an unlabelled test/ with the same names."""
    for i in range(20):
        write(tmp_path, f"train/{i}.png", flat(200))
        write(tmp_path, f"test/{i}.png", flat(10))
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)))
    splits = load_splits("folder", tmp_path, image_size=16)
    assert {int(part.images.max()) for part in (splits.train, splits.validation, splits.test)} == {200}  # type: ignore[union-attr]


def test_a_path_that_may_be_two_files_is_refused(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write(tmp_path, f"{place}/0.png", flat(9))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "t.csv").write_text("file,label\n0.png,a\n1.png,b\n")
    (tmp_path / "more" / "t.csv").rename(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match=r"has folders of classes .* and the table 't.csv': pass the table"):
        load_splits("folder", tmp_path, image_size=16)
    with pytest.raises(ConfigError, match=r"may be 'one/0\.png' and 'two/0\.png'; write the folder into the table"):
        load_splits("folder", tmp_path / "t.csv", image_size=16)


def table(tmp_path: Path, rows: str, name: str = "labels.csv", count: int = 12) -> Path:
    for i in range(count):
        write(tmp_path, f"images/{i}.png", flat(5 * i))
    (tmp_path / name).write_text(rows)
    return tmp_path


def test_an_image_has_one_row_and_one_split(tmp_path: Path) -> None:
    boxes = "filename,class\n" + "".join(f"{i}.png,{c}\n" for i in range(12) for c in "ab")
    refused(table(tmp_path / "boxes", boxes), "'0.png' has another label or split in line 2; one label an image")
    twice = "filename,class\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" * 2 for i in range(12))
    splits = load_splits("folder", table(tmp_path / "twice", twice), image_size=16)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 12
    rows = "path,label,split\n" + "".join(f"{i}.png,{'ab'[i % 2]},{'train' if i < 9 else 'test'}\n" for i in range(12))
    (two := table(tmp_path / "two", rows, "train.csv") / "test.csv").write_text("path,label\n10.png,a\n11.png,b\n")
    refused(two.parent, "train.csv', line 11: its split is test, and the name of the file says train")
    again = "path,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(12))
    (same := table(tmp_path / "same", again, "train.csv") / "test.csv").write_text("path,label\n3.png,b\n")
    refused(same.parent, "'images/3.png' is an image of the test split already")


def test_a_second_split_is_measured_in_the_end_whether_it_is_a_folder_or_a_table(tmp_path: Path) -> None:
    rows = "path,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8))
    (two := table(tmp_path, rows, "train.csv") / "val.csv").write_text(
        "path,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8, 12))
    )
    splits = load_splits("folder", two.parent, image_size=16)
    assert (len(splits.test), splits.drawn_test) == (4, False)


def test_classes_that_are_numbers_are_told_by_their_value(tmp_path: Path) -> None:
    lines = []
    for c in range(1, 11):
        for i in range(2):
            write(tmp_path, f"train/{c:02}/{i}.png", flat(20 * c))
        write(tmp_path, f"val/p{c}.png", flat(20 * c))
        lines.append(f"p{c}.png {c}\n")
    (tmp_path / "val.txt").write_text("".join(lines))
    test = load_splits("folder", tmp_path, image_size=16).test
    assert isinstance(test, ImageSet)
    assert sorted(zip(test.images[:, 0, 0, 0].tolist(), test.labels.tolist(), strict=True)) == [
        (20 * c, c - 1) for c in range(1, 11)
    ]


# --- folders


def test_layouts_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for kind in ("bus", "car", "train"):
        for time in ("day", "night"):
            write(tmp_path / "vehicles", f"{kind}/{time}/0.png", flat(9))
    refused(tmp_path / "vehicles", "has 'train' with folders in it beside 'bus', and no folder of another split")
    place = LAYOUTS["no-split"](tmp_path / "both", PICTURES)
    (place / "info.csv").write_text("image,label\n0000.png,1\n")
    refused(place, f"has folders of classes ('{CLASSES[0]}', ...) and the table 'info.csv'")
    (place / "info.csv").unlink()
    (place / "backup.tar").write_bytes(b"none")  # beside classes it is no layout
    assert len(load_splits("folder", place, image_size=16).train) == 16


def test_training_images_in_one_folder_are_those_of_the_table(tmp_path: Path) -> None:
    for i in range(8):
        write(tmp_path, f"train/images/{i}.png", flat(9))
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(8)))
    assert load_splits("folder", tmp_path, image_size=16).classes == 2


def test_train_and_validation_are_both_streams_or_neither(tmp_path: Path) -> None:
    place = LAYOUTS["train-valid-test"](tmp_path / "set", PICTURES)
    for limit, kind in ((16 * 3 * 16 * 16, ImageSet), (15 * 3 * 16 * 16, ImageStream)):
        source = open_folder(place, 16, limit)
        assert source.official_validation is not None
        train, validation = source.train(), source.official_validation()
        assert (type(train), type(validation)) == (kind, kind)
        assert len(train.joined(validation)) == 24  # type: ignore[arg-type]


# --- archives


def tar(folder: Path, members: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "train-0.tar", "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.removeprefix("again:"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return folder


def samples(count: int = 12) -> dict[str, bytes]:
    pairs = [(f"{i}.png", png(flat(9 * i)), f"{i}.cls", b"%d" % (i % 2)) for i in range(count)]
    return {name: content for a, x, b, y in pairs for name, content in ((a, x), (b, y))}


def test_samples_that_are_no_samples_are_refused_or_counted(tmp_path: Path) -> None:
    refused(tar(tmp_path / "twice", {**samples(), "again:3.png": png(flat(1))}), "'3.png' is there twice")
    refused(
        tar(tmp_path / "two", {**samples(), "3.jpg": png(flat(1))}), "sample '3': it has 2 images, and one is needed"
    )
    masks = {f"{i}.seg.png": png(flat(250)) for i in range(12)}
    splits = load_splits("folder", tar(tmp_path / "masks", {**masks, **samples()}), image_size=16)
    assert max(int(part.images.max()) for part in (splits.train, splits.validation, splits.test)) == 99  # type: ignore[union-attr]
    some = {name: content for name, content in samples().items() if name not in ("4.cls", "5.cls")}
    splits = load_splits("folder", tar(tmp_path / "some", some), image_size=16)
    assert "2 images without a label" in splits.remarks["passed over, train"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda label: label + 1, "found no training image of class 0"),
        (lambda label: label * 5_000_000, "must be 0 to 1 with every class there"),
    ],
)
def test_numbers_have_no_gaps(tmp_path: Path, change: Callable[[int], int], words: str) -> None:
    members = {
        name: b"%d" % change(int(content)) if name.endswith("cls") else content for name, content in samples().items()
    }
    refused(tar(tmp_path, members), words)


def test_a_test_split_without_labels_is_passed_over_and_names_are_not_stale(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    place = parquet(tmp_path / "set", PICTURES)
    images = [{"bytes": png(flat(3)), "path": None}] * 4
    pq.write_table(pa.table({"image": images, "label": [-1] * 4}), place / "data" / "test-00000-of-00001.parquet")
    splits = load_splits("folder", place, image_size=16)
    assert len(splits.test) == 9  # the validation split
    assert class_names_of("folder", place, 16) == CLASSES
    for path in place.rglob("train*.parquet"):
        found = pq.read_table(path)
        turned = {k: v.replace(CLASSES[0].encode(), b"first") for k, v in (found.schema.metadata or {}).items()}
        pq.write_table(found.replace_schema_metadata(turned), path)
    assert class_names_of("folder", place, 16) == ("first", *CLASSES[1:])


# --- published sets


def test_kin_of_mnist_beside_each_other_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, level in (("FashionMNIST", 77), ("MNIST", 11)):
        raw = tmp_path / "fashion-lab" / kind / "raw"
        raw.mkdir(parents=True)
        for split, count in (("train", 40), ("t10k", 20)):
            (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(np.full((count, 28, 28), level)))
            (raw / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count) % 10)))
    place = tmp_path / "fashion-lab"
    with pytest.raises(ConfigError, match="holds fashion-mnist and mnist; say which is meant with --dataset NAME"):
        recognized(place)
    assert [recognized(place / kind) for kind in ("MNIST", "FashionMNIST")] == ["mnist", "fashion-mnist"]
    found = published_sets.open_mnist(place, (40, 20)).train()
    assert isinstance(found, ImageSet)
    assert found.images.max() == 11


class _Says:
    """Pickles as a call of ``called`` and a state, whatever they are."""

    def __init__(self, called: object, arguments: tuple[object, ...], state: object) -> None:
        self.parts = called, arguments, state

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


def test_a_pickle_cannot_tell_numpy_what_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type whose flags say that it has no objects makes numpy take bytes for pointers, if numpy is asked."""
    from functools import partial

    opener = partial(published_sets.open_cifar10, records=4, validation=20)
    monkeypatch.setitem(DATASETS._items, "cifar10", DatasetInfo("few", opener, True, takes_file=True))
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    batches = {name: (np.zeros((4, 3072), np.uint8), np.arange(4)) for name in names}
    home = cifar_pickles(tmp_path / "cifar-10-batches-py", batches)
    kind = _Says(np.dtype, ("O8",), (3, "|", None, None, None, -1, -1, 0))
    reconstruct = np.empty(0).__reduce__()[0]
    evil = _Says(reconstruct, (np.ndarray, (0,), b"b"), (1, (4,), kind, False, b"A" * 32))
    for key in (b"labels", b"data"):
        data = {b"data": np.zeros((4, 3072), np.uint8), b"labels": [0] * 4, key: evil}
        (home / "data_batch_1").write_bytes(pickle.dumps(data, protocol=2))
        with pytest.raises(ConfigError, match="data_batch_1' must hold"):
            load_splits("cifar10", home)


# --- data in Python


def test_sixteen_bits_that_hold_eight_are_refused_and_other_integers_are_levels() -> None:
    labels = np.arange(8) % 2
    dim = np.full((8, 4, 4), 200, np.uint16)
    for part in ((dim, labels), [(one, int(y)) for one, y in zip(dim, labels, strict=True)]):
        with pytest.raises(ConfigError, match="none of these is over 200; give levels of 8 bits as uint8"):
            nas.Data(part)  # type: ignore[arg-type]
    found = nas.Data((dim.astype(np.int16), labels)).source().train()
    assert isinstance(found, ImageSet)
    assert found.images.max() == 200


def test_streams_of_train_and_validation_are_joined_with_their_own_pixels() -> None:
    part = (PICTURES.train, PICTURES.train_labels)
    items = [(image, int(label)) for image, label in zip(*part, strict=True)]
    data = nas.Data(items, (PICTURES.test, PICTURES.test_labels), image_size=16, resident_bytes=0)  # type: ignore[arg-type]
    splits = load_splits(data.name)
    joined = splits.train.joined(splits.validation)  # type: ignore[arg-type]
    pixels = np.concatenate([images.numpy() for images, _ in joined.batches(4, workers=0)])  # type: ignore[union-attr]
    kept = splits.train.read().images  # type: ignore[union-attr]
    assert np.array_equal(pixels, np.concatenate((kept, PICTURES.test.transpose(0, 3, 1, 2))))


ODD: list[tuple[object, str]] = [
    ((PICTURES.train, PICTURES.train_labels * 10**12), "every class among the training images, found none of class 1"),
    ([(object(), 0), (object(), 1)], "or a PIL image, found object ()"),
    (([[1, 2], [3]], [0, 1]), "is no array"),
]


@pytest.mark.parametrize(("part", "words"), ODD)
def test_odd_objects_are_refused_in_one_line(part: object, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        nas.Data(part)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_tensors_of_bfloat16_and_items_that_are_lists_are_read() -> None:
    image = torch.full((1, 4, 4), 0.5, dtype=torch.bfloat16)
    for items in ([[image, 0], [image, 1]], [(image, 0), (image, 1)] * 2):
        found = nas.Data(items).source().train()  # type: ignore[arg-type]
        assert isinstance(found, ImageSet)
        assert set(found.images.ravel().tolist()) == {128}


def test_a_class_that_would_have_no_training_image_is_named() -> None:
    labels = np.append(np.repeat(np.arange(10), 4), 10)
    data = nas.Data((np.zeros((41, 4, 4), np.uint8), labels))
    with pytest.raises(ConfigError, match="class 10 has no training image left"):
        load_splits(data.name, test_share=0.3)


def test_folders_of_a_plugin_dataset_are_told_apart(tmp_path: Path) -> None:
    @nas.register_dataset("planted_too")
    def planted(folder: Path) -> nas.Data:
        level = int(folder.name)
        return nas.Data((np.full((8, 4, 4), level, np.uint8), np.arange(8) % 2))

    try:
        for name in ("7", "9"):
            (tmp_path / name).mkdir()
        assert len({images_named("planted_too", tmp_path / name) for name in ("7", "9")}) == 2
    finally:
        del DATASETS._items["planted_too"]


def test_small_images_that_are_scaled_up_are_told_of(tmp_path: Path) -> None:
    place = LAYOUTS["imagenet"](tmp_path / "set", flat_pictures(2, 1, 28))
    told = load_splits("folder", place).remarks["size"]
    assert told == (
        "images of about 28 pixels are scaled up to 224, the default; --image-size 28 costs about 64 times less"
    )
    assert "size" not in load_splits("folder", place, image_size=64).remarks
