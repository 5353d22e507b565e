"""The names of classes and the normalization of pixels that datasets give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import make_folder

from nas.core.values import ClassCounts, Task
from nas.data.image_set import DatasetSource, ImageSet, Normalization
from nas.data.published_sets import open_cifar10, open_cifar100
from nas.data.splits import check_dataset, class_names_of, load_splits
from nas.errors import ConfigError
from nas.training import evaluation
from nas.training.evaluation import measure

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def save(path: Path, **names: Any) -> Path:
    """Arrays of three classes, with whatever is given beside them."""
    images, labels = np.zeros((60, 4, 4), dtype=np.uint8), np.arange(60) % 3
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez_compressed(path, **arrays, **names)
    return path


@pytest.mark.parametrize(("name", "expected"), [("digits", list("0123456789")), ("fashion-mini", FASHION)])
def test_packaged_datasets_know_their_classes(name: str, expected: list[str]) -> None:
    assert list(class_names_of(name)) == expected
    assert list(load_splits(name).class_names) == expected


def test_a_folder_calls_its_classes_as_its_folders_are_called_in_printable_text(tmp_path: Path) -> None:
    photos = make_folder(tmp_path / "set")
    for split in ("train", "val"):
        for old, new in (("ant", "a,b"), ("bee", "b\x1b[31m\nc"), ("cat", "é")):
            (photos / split / old).rename(photos / split / new)
    assert class_names_of("folder", photos, 8) == ("a,b", "b\\x1b[31m c", "é")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ()),
        ({"class_names": np.array(["cat", "dog", "=1+1"])}, ("cat", "dog", "=1+1")),
        ({"classes": np.array([b"cat", b"d\xe9g", b"cow"])}, ("cat", "d\\xe9g", "cow")),
        ({"class_names": np.array(["a", "b", "c"]), "classes": np.array(["x", "y", "z"])}, ("a", "b", "c")),
        ({"classes": np.arange(3)}, ()),
        ({"class_names": np.array(["n" * 300, "b", "c"])}, None),
    ],
    ids=["none", "text", "bytes", "both", "numbers", "long"],
)
def test_arrays_may_have_names(given: dict[str, Any], expected: tuple[str, ...] | None, tmp_path: Path) -> None:
    found = class_names_of("arrays", save(tmp_path / "a.npz", **given))
    assert found == expected if expected is not None else len(found[0]) == 200


@pytest.mark.parametrize(
    "given", [np.array(["cat", "dog"]), np.array(["cat", "dog", None], dtype=object), np.array([["a"], ["b"], ["c"]])]
)
def test_names_that_are_not_one_a_class_are_one_line(given: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", class_names=given)
    with pytest.raises(ConfigError, match=re.escape(f"'{path}': class_names must be text (3,), a name of")):
        check_dataset("arrays", path)


def test_cifar_takes_the_names_of_its_own_files_where_they_are(tmp_path: Path) -> None:
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (tmp_path / name).write_bytes(bytes(3073))
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(bytes(3074))
    assert open_cifar10(tmp_path, 1).class_names == open_cifar100(tmp_path, (1, 1)).class_names == ()
    names = [f"thing {i}" for i in range(100)]
    (tmp_path / "batches.meta.txt").write_text("\n".join(names[:10]) + "\n\n")
    (tmp_path / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    assert open_cifar10(tmp_path, 1).class_names == tuple(names[:10])
    assert open_cifar100(tmp_path, (1, 1)).class_names == tuple(names)
    (tmp_path / "batches.meta.txt").write_text("nothing of it\n")
    assert open_cifar10(tmp_path, 1).class_names == ()


def test_a_dataset_of_a_plugin_names_every_class_or_none() -> None:
    def never() -> ImageSet:
        raise AssertionError

    with pytest.raises(ConfigError, match="the names of classes must be one for each of 3 classes, found 2"):
        DatasetSource(Task("mine", (1, 4, 4), 3), never, never, class_names=("a", "b"))


def test_normalization_is_that_of_levels_of_0_to_1() -> None:
    levels = np.array([0, 255], dtype=np.uint8)
    images = np.stack([np.broadcast_to(levels[:, None, None], (2, 4, 4)), np.full((2, 4, 4), 51, np.uint8)], axis=1)
    found = Normalization.of(ImageSet(images, np.arange(2)))
    assert found.mean == pytest.approx((0.5, 0.2))
    assert found.std == pytest.approx((0.5, 1 / 255))  # of a constant channel one level
    assert Normalization.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "data",
    [{}, {"mean": [0.5], "std": [0]}, {"mean": [0.5], "std": []}, {"mean": ["a"], "std": [1]}, {"mean": 1, "std": [1]}],
)
def test_a_normalization_of_a_strange_file_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a mean of 0 to 1 and a deviation above 0"):
        Normalization.from_json(data)


def test_images_are_counted_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class AlwaysTwo(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(3)[2].expand(len(x), 3)

    labels = np.array([0, 2, 2, 1, 2, 0] * 200)
    images = ImageSet(np.zeros((1200, 1, 2, 2), dtype=np.uint8), labels)
    found = measure(AlwaysTwo(), images, images)
    assert found.per_class == ClassCounts((0, 0, 600), (400, 200, 600))
    assert found.accuracy == 50
    monkeypatch.setattr(evaluation, "MOST_CLASSES", 2)
    assert measure(AlwaysTwo(), images, images).per_class is None
