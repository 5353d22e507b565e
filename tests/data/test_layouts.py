"""The layouts that users' images have: every picture arrives with its label, and what is wrong is told in one line."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from layouts import CLASSES, LAYOUTS, Pictures, cifar_pickles, flat_pictures, idx, parquet, svhn_files, webdataset

from nas.data import published_sets
from nas.data.config import actual_dataset
from nas.data.image_folder import open_folder
from nas.data.image_set import Images, ImageSet
from nas.data.recognize import recognized
from nas.data.split_names import split_in
from nas.data.splits import DATASETS, DatasetInfo, check_dataset, class_names_of, load_splits
from nas.errors import ConfigError

PICTURES = flat_pictures()
OFFICIAL = ("train-valid-test", "medmnist.npz")
"""The layouts with a validation split of their own, every third training picture."""
NAMELESS = ("webdataset", "keras.npz", "medmnist.npz")
"""Those that number their classes."""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def seen(images: Images) -> list[tuple[int, int]]:
    """The level and the label of every picture, by their order."""
    assert isinstance(images, ImageSet)
    assert (images.images == images.images[:, :, :1, :1]).all()
    return sorted(zip(images.images[:, 0, 0, 0].tolist(), images.labels.tolist(), strict=True))


def expected(pixels: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
    return sorted(zip(pixels[:, 0, 0, 0].tolist(), labels.tolist(), strict=True))


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_is_recognized_and_every_picture_arrives_with_its_label(tmp_path: Path, layout: str) -> None:
    place = LAYOUTS[layout](tmp_path / "set", PICTURES)
    dataset = recognized(place)
    size = 16 if DATASETS[dataset].takes_size else None
    splits = load_splits(dataset, place, image_size=size)
    train = seen(splits.train.joined(splits.validation))  # type: ignore[arg-type]
    if layout == "no-split":
        # a fifth of each class is the test split, the same for every seed
        assert sorted(train + seen(splits.test)) == expected(*PICTURES.split("train"))
        assert np.bincount(splits.test.labels).tolist() == [2, 2, 1]
        assert seen(load_splits(dataset, place, 1, image_size=size).test) == seen(splits.test)
        assert "the dataset has no test split: 5 of its images" in splits.remarks["test split"]
    else:
        assert train == expected(*PICTURES.split("train"))
        assert seen(splits.test) == expected(*PICTURES.split("test"))
        assert "test split" not in splits.remarks
    if layout in OFFICIAL:
        third = np.arange(len(PICTURES.train)) % 3 == 0
        assert seen(splits.validation) == expected(PICTURES.train[third], PICTURES.train_labels[third])
    names = class_names_of(dataset, place, size)
    assert names == (("0", "1", "2") if layout == "webdataset" else () if layout in NAMELESS else CLASSES)
    assert splits.damaged == ()


@pytest.mark.parametrize("layout", ["devkit", "csv", "webdataset", "parquet", "train-valid-test"])
def test_streams_show_what_memory_shows(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = LAYOUTS[layout](tmp_path / "set", PICTURES)
    resident = load_splits("folder", place, image_size=16)
    info = DatasetInfo("few", lambda path, size: open_folder(path, size, 0), True, takes_file=True, takes_size=True)
    monkeypatch.setitem(DATASETS._items, "folder", info)
    stream = load_splits("folder", place, image_size=16)
    for name in ("train", "validation", "test"):
        part = getattr(stream, name)
        assert not isinstance(part, ImageSet)
        pixels = np.concatenate([images.numpy() for images, _ in part.batches(4, workers=0)])
        labels = np.concatenate([labels.numpy() for _, labels in part.batches(4, workers=0)])
        assert seen(ImageSet(pixels, labels)) == seen(getattr(resident, name))
    joined = stream.train.joined(stream.validation)  # type: ignore[arg-type]
    assert sum(len(labels) for _, labels in joined.batches(5, seed=1, workers=0)) == 20


def test_a_share_validates_and_tests(tmp_path: Path) -> None:
    place = LAYOUTS["no-split"](tmp_path / "set", PICTURES)
    splits = load_splits("folder", place, image_size=16, val_share=0.5, test_share=0.25)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 9, 6)
    assert np.bincount(splits.test.labels).tolist() == [2, 2, 2]


SHARES = [
    ("no-split", {"test_share": 0.9}, "the test share must be from 0.125 to 0.75 of 24 images, found 0.9"),
    ("no-split", {"val_share": 0.01}, "the validation share must be from 0.158 to 0.842 of 19 images, found 0.01"),
    ("imagenet", {"test_share": 0.2}, "it has a test split of its own"),
    ("train-valid-test", {"val_share": 0.2}, "it has a validation split of its own; --validation-images"),
]


@pytest.mark.parametrize(("layout", "shares", "message"), SHARES)
def test_wrong_shares_are_refused(tmp_path: Path, layout: str, shares: dict[str, float], message: str) -> None:
    place = LAYOUTS[layout](tmp_path / "set", PICTURES)
    with pytest.raises(ConfigError) as error:
        load_splits("folder", place, image_size=16, **shares)  # type: ignore[arg-type]
    assert message in str(error.value)


def _drop(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


def _write(path: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_text(text)


def _edit(path: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_text((folder / path).read_text().replace(old, new, 1))


LABELS_OF_DEVKIT = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
WRONG = [
    ("devkit", _drop("ILSVRC2012_devkit_t12/data/meta.mat"), "meta.mat', which is missing; copy it there"),
    ("devkit", _write(LABELS_OF_DEVKIT, "1\n2\n"), "has 2 labels for 9 images"),
    ("devkit", _write(LABELS_OF_DEVKIT, "9\n" * 9), "class 9 (None) of 'ILSVRC2012_val_00000001.png' is none of the"),
    ("devkit", _write("ILSVRC2012_devkit_t12/data/meta.mat", "none"), "is not that of ImageNet's development kit"),
    ("devkit", _drop(LABELS_OF_DEVKIT), "val' holds no image in a class folder, and no folder of a class and no file"),
    (
        "kaggle",
        _edit("LOC_val_solution.csv", "n02102040", "n99"),
        "must be a class of the training images or its number",
    ),
    ("val.txt", _edit("val.txt", "ILSVRC2012_val_00000003.png", "x.png"), "has no label for 1 of 9 images: ILSVRC2012"),
    ("val.txt", _edit("val.txt", ".png 0", ".png 7"), "from 0 to 2, found '7'"),
    ("csv", _drop("images/train_3.png"), "1 of 24 images are not below"),
    ("csv", _edit("labels.csv", ",test", ",later"), "a split must be train, validation or test, found 'later'"),
    ("csv", _edit("labels.csv", "filename,label", "filename,amount"), "(images) and files: 1 .csv; pass with"),
    ("csv", _write("more.csv", "path,label\na.png,x\n"), "has two tables of labels, 'labels.csv' and 'more.csv'"),
    ("webdataset", _write("set-train-000000.tar", "none"), "must be a tar archive that is not compressed"),
    ("parquet", _write("data/train-00000-of-00001.parquet", "none"), "is no parquet file"),
]


@pytest.mark.parametrize(("layout", "change", "message"), WRONG)
def test_what_is_wrong_with_a_layout_is_told(
    tmp_path: Path, layout: str, change: Callable[[Path], object], message: str
) -> None:
    place = LAYOUTS[layout](tmp_path / "set", PICTURES)
    change(place)
    with pytest.raises(ConfigError) as error:
        check_dataset("folder", place, 16)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


FOUND: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: None, "holds nothing"),
    (lambda folder: [(folder / f"{i}.png").write_bytes(b"") for i in range(3)], "holds 3 images without a label"),
    (lambda folder: (folder / "one").mkdir(), "holds 1 folder (one)"),
    (lambda folder: (folder / "a.zip").write_bytes(b""), "holds files: 1 .zip"),
    (lambda folder: [(folder / f"{i}").mkdir() for i in range(7)], "holds 7 folders (0, 1, 2, 3, 4, ...)"),
]


@pytest.mark.parametrize(("fill", "message"), FOUND)
def test_a_folder_without_a_layout_says_what_is_there(
    tmp_path: Path, fill: Callable[[Path], object], message: str
) -> None:
    fill(tmp_path)
    with pytest.raises(ConfigError) as error:
        check_dataset("folder", tmp_path, 16)
    assert message in str(error.value)
    assert "pass with --data-dir a folder that holds train/CLASS/FILE and val/CLASS/FILE" in str(error.value)


# --- published sets in their other forms


def cifar_batches(records: int = 30) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Batches whose record ``i`` of batch ``b`` has level 40 b + i and label i mod 10."""
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    labels = np.arange(records) % 10
    return {
        name: (np.repeat(np.arange(records, dtype=np.uint8) + 40 * b, 3072).reshape(records, 3072), labels)
        for b, name in enumerate(names)
    }


@pytest.fixture
def few_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 has 30 images a file."""
    opener = partial(published_sets.open_cifar10, records=30, validation=50)
    help = published_sets.CIFAR10_HELP
    monkeypatch.setitem(DATASETS._items, "cifar10", DatasetInfo("few", opener, True, help=help, takes_file=True))


def packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


@pytest.mark.usefixtures("few_cifar")
@pytest.mark.parametrize("form", ["folder", "parent", "python 2", "tar", "folder of tar", "binary tar"])
def test_cifar_is_read_as_torchvision_leaves_it_and_in_its_archives(tmp_path: Path, form: str) -> None:
    batches = cifar_batches()
    home = cifar_pickles(tmp_path / "cifar-10-batches-py", batches)
    names = [f"thing {i}" for i in range(10)]
    (home / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in names]}, protocol=2))
    place = home
    if form == "python 2":
        for path in home.iterdir():
            path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    elif form == "binary tar":
        binary = tmp_path / "cifar-10-batches-bin"
        binary.mkdir()
        for name, (pixels, labels) in batches.items():
            records = np.concatenate([labels[:, None].astype(np.uint8), pixels], 1)
            (binary / f"{name}.bin").write_bytes(records.tobytes())
        (binary / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
        place = packed(binary, tmp_path / "cifar-10-binary.tar.gz")
    elif form in ("tar", "folder of tar"):
        (tmp_path / "download").mkdir()
        place = packed(home, tmp_path / "download" / "cifar-10-python.tar.gz")
    place = {"parent": tmp_path, "folder of tar": tmp_path / "download"}.get(form, place)
    assert recognized(place) == "cifar10"
    splits = load_splits("cifar10", place)
    assert splits.class_names == tuple(names)
    train = seen(splits.train.joined(splits.validation))  # type: ignore[arg-type]
    assert train == sorted((40 * b + i, i % 10) for b in range(5) for i in range(30))
    assert seen(splits.test) == sorted((200 + i, i % 10) for i in range(30))


@pytest.mark.usefixtures("few_cifar")
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    home = cifar_pickles(tmp_path / "cifar-10-batches-py", cifar_batches())
    (home / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil()}, protocol=2))
    with pytest.raises(ConfigError, match=r"data_batch_3' is no pickle of CIFAR: it asks for (posix|os)\.system"):
        load_splits("cifar10", home)
    assert not (tmp_path / "ran").exists()


BATCHES: list[tuple[bytes, str]] = [
    (
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0]}),
        "must hold 'data', an array uint8 (30, 3,072); get it again",
    ),
    (pickle.dumps({b"data": np.zeros((30, 3072), np.uint8), b"labels": [0] * 29}), "must hold 'labels', 30 integers"),
    (pickle.dumps([1]), "it holds list"),
    (b"\x80\x02}", "is no pickle of CIFAR"),
    (b"", "is no pickle of CIFAR"),
]


@pytest.mark.usefixtures("few_cifar")
@pytest.mark.parametrize(("content", "message"), BATCHES)
def test_a_wrong_batch_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    home = cifar_pickles(tmp_path / "cifar-10-batches-py", cifar_batches())
    (home / "data_batch_2").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_splits("cifar10", home)
    assert "data_batch_2' " in str(error.value)
    assert message in str(error.value)


@pytest.mark.usefixtures("few_cifar")
def test_archives_that_are_none_or_lack_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(b"none" * 1000))
    with pytest.raises(ConfigError, match="is no tar archive, truncated or damaged"):
        check_dataset("cifar10", path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme").write_text("none")
    packed(tmp_path / "other", path)
    with pytest.raises(ConfigError, match=r"lacks data_batch_1, .* it holds readme; get cifar-10-binary"):
        check_dataset("cifar10", path)
    home = cifar_pickles(tmp_path / "cifar-10-batches-py", cifar_batches())
    packed(home, path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ConfigError, match="truncated or damaged"):
        load_splits("cifar10", path)


def test_cifar100_has_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = partial(published_sets.open_cifar100, counts=(400, 100), validation=100)
    monkeypatch.setitem(DATASETS._items, "cifar100", DatasetInfo("few", opener, True, takes_file=True))
    batches = {}
    for name, count in (("train", 400), ("test", 100)):
        labels = np.arange(count) % 100
        batches[name] = np.repeat(labels.astype(np.uint8), 3072).reshape(count, 3072), labels
    home = cifar_pickles(tmp_path / "cifar-100-python", batches, "fine_labels")
    (home / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"x%d" % i for i in range(100)]}, protocol=2))
    assert [recognized(place) for place in (home, tmp_path)] == ["cifar100"] * 2
    splits = load_splits("cifar100", tmp_path)
    assert seen(splits.test) == [(i, i) for i in range(100)]
    assert splits.class_names[7] == "x7"


@pytest.mark.parametrize("name", ["mnist", "kmnist", "fashion-mnist"])
def test_kin_of_mnist_is_told_by_its_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / {"mnist": "MNIST", "kmnist": "KMNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 40), ("t10k", 20)):
        levels = np.arange(count, dtype=np.uint8)
        images = gzip.compress(idx(np.broadcast_to(levels[:, None, None], (count, 28, 28))))
        (raw / f"{split}-images-idx3-ubyte.gz").write_bytes(images)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(levels % 10))
    info = DATASETS[name]
    few = partial(info.load, counts=(40, 20), **({"validation": 10} if name == "fashion-mnist" else {}))
    monkeypatch.setitem(DATASETS._items, name, DatasetInfo("few", few, True))
    assert [recognized(place) for place in (raw, raw.parent)] == [name] * 2
    splits = load_splits(name, raw.parent, validation=10)
    assert seen(splits.test) == sorted((i, i % 10) for i in range(20))
    assert len(splits.class_names) == 10


def svhn(folder: Path, train: np.ndarray | None = None) -> Path:
    """Files of SVHN: 30 and 20 digits of one level each."""
    splits = {}
    for name, count in (("train", 30), ("test", 20)):
        levels = np.arange(count, dtype=np.uint8)
        splits[name] = np.broadcast_to(levels, (32, 32, 3, count)), np.arange(count) % 10
    if train is not None:
        splits["train"] = train, splits["train"][1]
    return svhn_files(folder, splits)


def test_svhn_is_read_of_its_mat_files(tmp_path: Path) -> None:
    svhn(tmp_path)
    assert recognized(tmp_path) == "svhn"
    splits = load_splits("svhn", tmp_path, validation=10)
    assert seen(splits.train.joined(splits.validation)) == sorted((i, i % 10) for i in range(30))  # type: ignore[arg-type]
    assert seen(splits.test) == sorted((i, i % 10) for i in range(20))
    svhn(tmp_path, np.zeros((32, 32, 30), np.uint8))
    with pytest.raises(ConfigError, match=r"must hold X \(32, 32, 3, N\) and y \(N, 1\), found X \(32, 32, 30\)"):
        check_dataset("svhn", tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"train_32x32\.mat' is truncated or damaged"):
        check_dataset("svhn", tmp_path)
    (tmp_path / "train_32x32.mat").unlink()
    with pytest.raises(ConfigError, match=r"train_32x32\.mat' is missing; get train_32x32"):
        check_dataset("svhn", tmp_path)


# --- what the command line makes of --data-dir


def test_a_dataset_is_what_lies_in_its_folder_and_no_name_is_needed(tmp_path: Path) -> None:
    place = str(LAYOUTS["keras.npz"](tmp_path / "keras", PICTURES))
    assert actual_dataset({"data_dir": place}, "digits") == {"data_dir": place, "dataset": "arrays"}
    assert actual_dataset({"data_dir": str(tmp_path)})["dataset"] == "folder"
    assert actual_dataset({}, "digits") == {"dataset": "digits"}
    assert actual_dataset({"dataset": "digits"}, "cifar10") == {"dataset": "digits"}


def test_parquet_needs_pyarrow_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = parquet(tmp_path / "set", PICTURES)
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="which is not installed; python -m pip install pyarrow"):
        check_dataset("folder", place, 16)


def test_a_damaged_member_of_an_archive_is_named(tmp_path: Path) -> None:
    pictures = Pictures(PICTURES.train, PICTURES.train_labels, PICTURES.test, PICTURES.test_labels)
    place = webdataset(tmp_path / "set", pictures)
    with tarfile.open(place / "set-train-000002.tar", "w") as archive:
        for name, content in (("7.png", b"no image"), ("7.cls", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    splits = load_splits("folder", place, image_size=16)
    (line,) = splits.damaged
    assert "set-train-000002.tar/7.png: it is no JPEG" in line


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{stem} {label}\n", ""),
        ("{stem}.png,{name}\r\n", ""),
        ('"val/{stem}.png","{name}"\n', ""),
        (".\\{stem}.png\t{name}\t0\t0\n", ""),
        ("{stem}.png {after}\n", "has no label 0, so its labels seem to count from 1; write the names of classes"),
    ],
)
def test_label_files_are_read_in_many_spellings(tmp_path: Path, rows: str, message: str) -> None:
    """Names with spaces, suffixes or folders, other line ends, quotes, and numbers that begin at 1."""
    place = LAYOUTS["imagenet"](tmp_path / "set", PICTURES)
    lines = []
    for label, name in enumerate(CLASSES):
        for i, path in enumerate(sorted((place / "val" / name).iterdir())):
            stem = f"a photo {label} {i}"
            path.rename(place / "val" / f"{stem}.png")
            lines.append(rows.format(stem=stem, label=label, name=name, after=min(label + 1, 2)))
        (place / "val" / name).rmdir()
    (place / "val.txt").write_text("\ufefffile label\n" + "".join(lines), encoding="utf-8", newline="")
    if message:
        with pytest.raises(ConfigError, match=message):
            check_dataset("folder", place, 16)
    else:
        assert seen(load_splits("folder", place, image_size=16).test) == expected(*PICTURES.split("test"))


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    place = LAYOUTS["imagenet"](tmp_path / "set", PICTURES)
    lines = []
    for label, name in enumerate(CLASSES):
        (place / "val" / name).rename(place / "val" / f"batch{label}")
        for i, path in enumerate(sorted((place / "val" / f"batch{label}").iterdir())):
            lines.append(f"batch{label}/{path.rename(path.with_name(f'{i}.png')).name},{name}")
    (place / "val.csv").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="has class 'batch0' and 2 more, which train lacks"):
        check_dataset("folder", place, 16)  # folders are classes
    (place / "val" / "images").mkdir()
    for label in range(3):
        (place / "val" / f"batch{label}").rename(place / "val" / "images" / f"batch{label}")
    (place / "val.csv").write_text("\n".join(f"images/{line}" for line in lines))
    assert seen(load_splits("folder", place, image_size=16).test) == expected(*PICTURES.split("test"))
    (place / "val.csv").write_text("\n".join(line.partition("/")[2] for line in lines))
    with pytest.raises(ConfigError, match="no folder of a class and no file of labels was found"):
        check_dataset("folder", place, 16)


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    place = LAYOUTS["imagenet"](tmp_path / "set", PICTURES)
    (place / "valid").mkdir()
    with pytest.raises(ConfigError, match="has two folders of validation images, 'val' and 'valid'"):
        check_dataset("folder", place, 16)


def test_the_split_of_a_file_is_in_its_name_before_its_folder() -> None:
    names = {
        "data/train-00000-of-00001.parquet": "train",
        "my-test-set/train-0.tar": "train",
        "validation/0000.parquet": "validation",
        "shard-000.tar": "",
        "trainval.tar": "",
    }
    assert {name: split_in(name) for name in names} == names
