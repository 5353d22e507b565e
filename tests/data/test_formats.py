"""File formats: pixels where they belong, and one line about every file that is wrong."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nas.data.published_sets import (
    CIFAR10_HELP,
    CIFAR100_HELP,
    FASHION_HELP,
    open_cifar10,
    open_cifar100,
    open_fashion_mnist,
)
from nas.data.splits import DATASETS, DatasetInfo, ImageSet, check_dataset, load_splits
from nas.errors import ConfigError

TRAIN, TEST, RECORDS = 40, 20, 30
FASHION = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def idx(array: np.ndarray) -> bytes:
    """IDX as its definition has it: two zeros, the type 8 (unsigned byte), dimensions, sizes big-endian, bytes."""
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(struct.pack(">i", n) for n in array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like Fashion-MNIST's with few images: image i is i everywhere but 200 in line 3, column 5."""
    for split, count in (("train", TRAIN), ("t10k", TEST)):
        images = np.zeros((count, 28, 28), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None]
        images[:, 3, 5] = 200
        for name, content in (
            (f"{split}-images-idx3-ubyte", idx(images)),
            (f"{split}-labels-idx1-ubyte", idx(np.arange(count) % 10)),
        ):
            if split == "train":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (tmp_path / name).write_bytes(content)
    opener = partial(open_fashion_mnist, counts=(TRAIN, TEST), validation=10)
    monkeypatch.setitem(DATASETS._items, "fashion-mnist", DatasetInfo("few", opener, True, None, FASHION_HELP))
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like CIFAR-10's with few images: record i of file b has bytes that tell file, record and plane."""
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    for b, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        (inner / name).write_bytes(b"".join(cifar_record(i % 10, b, i) for i in range(RECORDS)))
    opener = partial(open_cifar10, records=RECORDS, validation=50)
    monkeypatch.setitem(DATASETS._items, "cifar10", DatasetInfo("few", opener, True, None, CIFAR10_HELP))
    return tmp_path


def cifar_record(label: int, file: int, number: int) -> bytes:
    planes = [bytearray([file * 40 + number]) * 1024 for _ in "rgb"]
    planes[1][32 * 2 + 7] = 255  # green, line 2, column 7
    return bytes([label]) + b"".join(planes)


def test_idx_files_plain_and_gzipped(fashion: Path) -> None:
    splits = load_splits("fashion-mnist", fashion)
    assert splits.train.images.shape == (30, 1, 28, 28)
    assert len(splits.validation) == 10
    assert sorted(splits.validation.labels) == list(range(10))
    for part, count in ((splits.train.joined(splits.validation), TRAIN), (splits.test, TEST)):
        assert sorted(part.images[:, 0, 0, 0]) == list(range(count))
        assert np.array_equal(part.images[:, 0, 27, 27] % 10, part.labels)
        assert set(part.images[:, 0, 3, 5]) == {200}
        assert (part.images == 200).sum() == count
        assert part.images.flags.writeable  # torch warns of arrays that are not


def test_cifar_files(cifar: Path) -> None:
    splits = load_splits("cifar10", cifar)
    assert splits.train.images.shape == (100, 3, 32, 32)
    official = splits.train.joined(splits.validation)
    assert sorted(official.images[:, 0, 0, 0]) == sorted(b * 40 + i for b in range(5) for i in range(RECORDS))
    assert set(splits.test.images[:, 2, 31, 31]) == {200 + i for i in range(RECORDS)}
    for part in (official, splits.test):
        assert np.array_equal((part.images[:, 0, 0, 0] % 40) % 10, part.labels)
        assert set(part.images[:, 1, 2, 7]) == {255}
        assert (part.images[:, 1] == 255).sum() == len(part)
        assert (part.images[:, [0, 2]] < 255).all()


def test_the_inner_folder_is_enough(cifar: Path) -> None:
    assert len(load_splits("cifar10", cifar / "cifar-10-batches-bin").train) == 100


def fails(check: Callable[[], object], *words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", FASHION)
def test_a_missing_idx_file_is_named_with_how_to_get_it(fashion: Path, name: str) -> None:
    for path in fashion.glob(f"{name}*"):
        path.unlink()
    fails(lambda: check_dataset("fashion-mnist", fashion), name, "missing", "dataset-fashion-mnist", "--data-dir")


@pytest.mark.parametrize("name", ["data_batch_4.bin", "test_batch.bin"])
def test_a_missing_cifar_file_is_named_with_how_to_get_it(cifar: Path, name: str) -> None:
    (cifar / "cifar-10-batches-bin" / name).unlink()
    fails(lambda: check_dataset("cifar10", cifar), name, "missing", "cifar-10-binary.tar.gz", "--data-dir")


@pytest.mark.parametrize("change", [-1, 1, -3073, -30 * 3073])
@pytest.mark.parametrize("name", ["data_batch_1.bin", "test_batch.bin"])
def test_a_cifar_file_of_another_size_is_refused(cifar: Path, name: str, change: int) -> None:
    path = cifar / "cifar-10-batches-bin" / name
    content = path.read_bytes()
    path.write_bytes(content + b"0" if change > 0 else content[:change])
    found = f"{30 * 3073 + change:,} are there"
    fails(lambda: check_dataset("cifar10", cifar), name, "truncated or damaged", "92,190 bytes are needed", found)


def cifar100_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like CIFAR-100's: record i has the coarse label 9, the fine label i mod 100 and pixels that tell i."""
    inner = tmp_path / "cifar-100-binary"
    inner.mkdir()
    for name, count in (("train.bin", 400), ("test.bin", 100)):
        records = (bytes([9, i % 100]) + bytes([i % 251]) * 1024 + bytes([7]) * 2048 for i in range(count))
        (inner / name).write_bytes(b"".join(records))
    opener = partial(open_cifar100, counts=(400, 100), validation=100)
    monkeypatch.setitem(DATASETS._items, "cifar100", DatasetInfo("few", opener, True, None, CIFAR100_HELP))
    return tmp_path


def test_cifar100_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cifar100_folder(tmp_path, monkeypatch)
    splits = load_splits("cifar100", folder)
    assert splits.task.classes == 100
    train, validation, test = splits.train, splits.validation, splits.test
    assert isinstance(train, ImageSet)
    assert isinstance(validation, ImageSet)
    assert isinstance(test, ImageSet)
    assert test.labels.tolist() == list(range(100))
    assert sorted(validation.labels) == list(range(100))
    official = train.joined(validation)
    found = sorted(zip(official.labels.tolist(), official.images[:, 0, 31, 31].tolist(), strict=True))
    assert found == sorted((i % 100, i % 251) for i in range(400))
    assert set(official.images[:, 1:].ravel()) == {7}
    path = folder / "cifar-100-binary" / "test.bin"
    path.write_bytes(path.read_bytes()[:-1])
    fails(lambda: check_dataset("cifar100", folder), "test.bin", "307,400 bytes are needed (100 images of 3,074)")
    path.unlink()
    fails(lambda: check_dataset("cifar100", folder), "test.bin", "missing", "cifar-100-binary.tar.gz")


@pytest.mark.parametrize("cut", [0, 3, 15, 16, -1])
@pytest.mark.parametrize("name", [FASHION[2], f"{FASHION[0]}.gz"])
def test_a_truncated_idx_file_is_refused(fashion: Path, name: str, cut: int) -> None:
    path = fashion / name
    path.write_bytes(path.read_bytes()[:cut])
    fails(lambda: check_dataset("fashion-mnist", fashion), name, "truncated")


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_magic_number_is_refused(fashion: Path, packed: bool) -> None:
    labels, images = idx(np.zeros(TRAIN)), fashion / f"{FASHION[0]}{'.gz' if packed else ''}"
    (fashion / f"{FASHION[0]}.gz").unlink()
    content = labels + bytes(50)
    images.write_bytes(gzip.compress(content) if packed else content)
    fails(lambda: check_dataset("fashion-mnist", fashion), FASHION[0], "magic number must be 0x00000803", "0x00000801")


def test_text_under_a_gzip_name_is_refused(fashion: Path) -> None:
    (fashion / f"{FASHION[1]}.gz").write_text("<html>404 Not Found</html>")
    fails(lambda: check_dataset("fashion-mnist", fashion), FASHION[1], "damaged")


def test_idx_files_of_another_number_of_images_are_refused(fashion: Path) -> None:
    (fashion / FASHION[2]).write_bytes(idx(np.zeros((TEST + 1, 28, 28))))
    fails(lambda: check_dataset("fashion-mnist", fashion), FASHION[2], "20 x 28 x 28", "21 x 28 x 28")


def test_damage_inside_a_gzip_file_is_found_when_it_is_read(fashion: Path) -> None:
    path = fashion / f"{FASHION[0]}.gz"
    content = bytearray(path.read_bytes())
    content[-7] ^= 255  # in the CRC
    path.write_bytes(content)
    check_dataset("fashion-mnist", fashion)
    fails(lambda: load_splits("fashion-mnist", fashion), FASHION[0], "damaged")


def test_a_label_out_of_range_is_found_when_it_is_read(cifar: Path, fashion: Path) -> None:
    path = cifar / "cifar-10-batches-bin" / "data_batch_2.bin"
    content = bytearray(path.read_bytes())
    content[3 * 3073] = 10
    path.write_bytes(content)
    fails(lambda: load_splits("cifar10", cifar), "cifar10", "labels must be from 0 to 9", "found 10 at image 33")
    (fashion / f"{FASHION[1]}.gz").write_bytes(gzip.compress(idx(np.full(TRAIN, 255))))
    fails(lambda: load_splits("fashion-mnist", fashion), "fashion-mnist", "found 255 at image 0")


def test_a_wrong_test_label_is_found_before_anything_is_trained(cifar: Path) -> None:
    path = cifar / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    fails(lambda: load_splits("cifar10", cifar), "test split of dataset 'cifar10'", "found 255 at image 0")


def test_a_search_survives_without_reading_test_files(cifar: Path, fashion: Path) -> None:
    for name, folder in (("cifar10", cifar), ("fashion-mnist", fashion)):
        splits = load_splits(name, folder)
        for path in folder.rglob("test_batch.bin" if name == "cifar10" else "t10k*"):
            path.unlink()
        assert len(splits.validation) > 0
        fails(lambda splits=splits: splits.test, "cannot be read", "No such file")  # type: ignore[misc]


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist"])
def test_a_folder_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fails(lambda: check_dataset(name, tmp_path / "nowhere"), f"dataset '{name}'", "nowhere", "does not exist")
    rule = "is no tar archive" if name == "cifar10" else "is not a folder"
    fails(lambda: check_dataset(name, tmp_path / "file"), f"dataset '{name}'", rule)
    fails(lambda: check_dataset(name, tmp_path), f"dataset '{name}'", "missing")


def test_a_dataset_without_a_default_folder_asks_for_one() -> None:
    fails(lambda: check_dataset("cifar10"), "dataset 'cifar10'", "none is given", "--data-dir")


def test_the_default_folder_is_tried(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = DATASETS["fashion-mnist"]
    for folder, found in ((fashion, True), (fashion / "none", False)):
        changed = DatasetInfo(info.description, info.load, True, str(folder), info.help)
        monkeypatch.setitem(DATASETS._items, "fashion-mnist", changed)
        if found:
            check_dataset("fashion-mnist")
        else:
            fails(lambda: check_dataset("fashion-mnist"), "none is given")
