"""The labels of all splits are looked at before anything is trained."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from command import nas, one_error

from nas.data import published_sets
from nas.data.image_set import check_labels
from nas.data.splits import load_splits
from nas.errors import ConfigError

SEARCH = ("search", "--name=r", "--space=nb201", "--depth=1", "--searcher=random", "--dataset=arrays", "--trials=2")


@pytest.mark.long
@pytest.mark.parametrize("label", [2, -1, 2**63])
def test_a_class_that_only_the_test_split_has_is_told_before_the_first_trial(label, tmp_path):
    labels = np.arange(20) % 2
    images = np.zeros((20, 8, 8), np.uint8)
    wrong = labels.astype(np.uint64 if label > 2**62 else np.int64)
    wrong[7] = label
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=wrong)
    done = nas(tmp_path, *SEARCH, "--epochs=1", "--data-dir=d.npz", "--final-seeds=1", "--baseline=none")
    line = one_error(done)
    assert "test_labels" in line
    assert "0 to 1" in line
    assert not (tmp_path / "results" / "r").exists()


def test_float_labels_of_the_test_split_are_refused(tmp_path):
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    path = tmp_path / "d.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels / 2)
    with pytest.raises(ConfigError, match="test_labels must be integers"):
        load_splits("arrays", path)


def test_labels_of_cifar_are_checked_in_both_splits(tmp_path, monkeypatch):
    train = np.zeros((20, 3073), np.uint8)
    train[:, 0] = np.arange(20) % 10
    test = train.copy()
    test[3, 0] = 11
    for i in range(1, 6):
        train.tofile(tmp_path / f"data_batch_{i}.bin")
    test.tofile(tmp_path / "test_batch.bin")
    source = published_sets.open_cifar10(tmp_path, records=20)
    assert source.test_labels is not None
    with pytest.raises(ConfigError, match="labels must be from 0 to 9, found 11 at image 3"):
        check_labels(source.test_labels(), "test", source.task)


def test_labels_of_idx_files_are_read_alone(tmp_path):
    for split, count in (("train", 6), ("t10k", 4)):
        for kind, magic, shape in (("images-idx3", 0x803, (count, 28, 28)), ("labels-idx1", 0x801, (count,))):
            body = struct.pack(f">I{len(shape)}I", magic, *shape) + bytes([9] * int(np.prod(shape)))
            with gzip.open(tmp_path / f"{split}-{kind}-ubyte.gz", "wb") as file:
                file.write(body)
    source = published_sets.open_fashion_mnist(tmp_path, counts=(6, 4))
    assert source.test_labels is not None
    assert source.test_labels().tolist() == [9] * 4
    assert source.files is not None
    assert len([*source.files()]) == 4
