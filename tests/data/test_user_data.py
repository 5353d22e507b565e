"""Images as Python objects: any dataset of (image, label), and arrays of both, become the same splits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layouts import flat_pictures
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import nas
from nas.data.image_set import ImageSet
from nas.data.levels import Depth, pixels_of
from nas.data.splits import DATASETS, load_splits
from nas.data.streaming import ImageStream
from nas.data.user_data import register_dataset
from nas.errors import ConfigError

PICTURES = flat_pictures()
LABELS = PICTURES.train_labels


class Photos(Dataset[tuple[object, int]]):
    """A dataset whose images are made by ``form`` of pixels (H, W, 3)."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, form: Callable[[np.ndarray], object]) -> None:
        self.pixels, self.labels, self.form = pixels, labels, form

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.form(self.pixels[index]), int(self.labels[index])


FORMS: dict[str, Callable[[np.ndarray], object]] = {
    "pillow": Image.fromarray,
    "array": lambda pixels: pixels,
    "channels first": lambda pixels: pixels.transpose(2, 0, 1),
    "tensor": lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
    "ToTensor": lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255,
    "int64": lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1).copy()).long(),
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 257,
    "palette": lambda pixels: Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_an_image_gives_the_same_pixels(form: str) -> None:
    data = nas.Data(Photos(PICTURES.train, LABELS, FORMS[form]), classes=["ant", "bee", "cat"])
    images = data.source().train()
    assert isinstance(images, ImageSet)
    assert np.array_equal(images.images, PICTURES.train.transpose(0, 3, 1, 2))
    assert np.array_equal(images.labels, LABELS)
    splits = load_splits(data.name)
    assert splits.class_names == ("ant", "bee", "cat")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 24


ARRAYS: dict[str, Callable[[np.ndarray], object]] = {
    "channels last": lambda pixels: pixels,
    "channels first": lambda pixels: pixels.transpose(0, 3, 1, 2),
    "tensor": lambda pixels: torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()),
    "floats": lambda pixels: torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).double() / 255,
}


@pytest.mark.parametrize("form", list(ARRAYS))
def test_pairs_of_arrays_are_read_alike(form: str) -> None:
    labels = torch.from_numpy(LABELS) if form == "tensor" else LABELS
    images = nas.Data((ARRAYS[form](PICTURES.train), labels)).source().train()
    assert isinstance(images, ImageSet)
    assert np.array_equal(images.images, PICTURES.train.transpose(0, 3, 1, 2))
    assert np.array_equal(images.labels, LABELS)


def test_grey_images_keep_one_channel_and_tensordatasets_are_read() -> None:
    grey = PICTURES.train[..., 0]
    for part in ((grey, LABELS), TensorDataset(torch.from_numpy(grey.copy()), torch.from_numpy(LABELS))):
        assert nas.Data(part).task.input_shape == (1, 16, 16)  # type: ignore[arg-type]


@given(st.integers(0, 65_535))
def test_levels_of_sixteen_bits_are_scaled_to_the_nearest(level: int) -> None:
    found = pixels_of(np.full((2, 2), level, np.uint16), "image", Depth())
    assert found.tolist() == [[[round(level * 255 / 65_535)] * 2] * 2]


def test_the_three_splits_are_those_that_are_given() -> None:
    part = (PICTURES.train, LABELS)
    data = nas.Data(part, (PICTURES.train[::3], LABELS[::3]), (PICTURES.test, PICTURES.test_labels))
    splits = load_splits(data.name)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (24, 8, 9)
    assert np.array_equal(splits.test.images, PICTURES.test.transpose(0, 3, 1, 2))  # type: ignore[union-attr]


def test_images_of_many_sizes_are_scaled_to_one() -> None:
    items = [(Image.new("RGB", (20 + i, 30), (10 * i, 0, 0)), i % 2) for i in range(8)]
    with pytest.raises(ConfigError, match=r"found \(3, 30, 21\) at item 1 after \(3, 30, 20\); image_size=N scales"):
        nas.Data(items)  # type: ignore[arg-type]
    images = nas.Data(items, image_size=16).source().train()  # type: ignore[arg-type]
    assert isinstance(images, ImageSet)
    assert images.images.shape == (8, 3, 16, 16)
    assert images.images[:, 0, 8, 8].tolist() == [10 * i for i in range(8)]


def test_what_does_not_fit_is_streamed_with_the_same_pixels() -> None:
    photos = Photos(PICTURES.train, LABELS, FORMS["ToTensor"])
    data = nas.Data(photos, test=photos, image_size=16, resident_bytes=0)
    splits = load_splits(data.name)
    assert isinstance(splits.train, ImageStream)
    pixels = np.concatenate([images.numpy() for images, _ in splits.test.batches(5, workers=2)])  # type: ignore[union-attr]
    assert np.array_equal(pixels, PICTURES.train.transpose(0, 3, 1, 2))
    labels = [y for _, batch in splits.train.batches(4, seed=3, workers=0) for y in batch.tolist()]
    assert len(labels) == len(splits.train) // 4 * 4


def test_items_of_a_stream_that_fail_are_named_and_left_out() -> None:
    def form(pixels: np.ndarray) -> np.ndarray:
        if pixels[0, 0, 0] == 5:
            raise OSError("disk")
        return pixels

    data = nas.Data(Photos(PICTURES.train, LABELS, form), image_size=16, resident_bytes=0)
    (split,) = [part for part in (data.source().train(),) if isinstance(part, ImageStream)]
    assert sum(len(labels) for _, labels in split.batches(4, workers=0)) == 23
    assert any("item 5: OSError: disk" in line for line in split.damaged)


WRONG: list[tuple[object, str]] = [
    (3, "must hold (image, label) by index and have a length, or be a pair of arrays"),
    ([], "holds no image"),
    ([1, 2, 3], "item 0: an item must be (image, label), found int"),
    ([(PICTURES.train[0], 0, 1)], "found tuple of 3"),
    ([(PICTURES.train[0], "ant"), (PICTURES.train[0], 1), (PICTURES.train[0], 1)], "must be one integer of at least 0"),
    ([(PICTURES.train[0], 1.5)] * 3, "must be one integer of at least 0, found 1.5"),
    ([(torch.randn(3, 8, 8), 0)] * 3, "without Normalize among the transforms"),
    ([(np.zeros((9, 9, 9)), 0)] * 3, "an image must be (C, H, W), (H, W, C) or (H, W) with C at most 4"),
    ((PICTURES.train, LABELS[:5]), "labels must be integers (24,), one class an image, found int64 (5,)"),
    ((PICTURES.train, np.eye(3)[LABELS]), "found float64 (24, 3)"),
    ((PICTURES.train, LABELS - 1), "labels must be at least 0, found -1"),
    ((PICTURES.train, LABELS * 2), "every class among the training images, found none of class 1"),
    ((PICTURES.train, LABELS * 0), "at least two classes are needed, found 1"),
    ((PICTURES.train * np.nan, LABELS), "pixels are from nan to nan"),
    ((np.zeros((4, 9, 9, 9), np.uint8), [0, 1, 0, 1]), "images must have at most 4 channels"),
]


@pytest.mark.parametrize(("part", "message"), WRONG)
def test_what_is_no_data_is_refused_in_one_line(part: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        nas.Data(part)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("nas.Data 'data'")


def test_names_that_are_taken_and_class_names_that_do_not_fit_are_refused() -> None:
    part = (PICTURES.train, LABELS)
    with pytest.raises(ConfigError, match="a dataset of that name is registered already, found 'digits'"):
        nas.Data(part, name="digits")
    with pytest.raises(ConfigError, match=r"labels must be 0 to 1 .* found label 2"):
        nas.Data(part, classes=["a", "b"])
    with pytest.raises(ConfigError, match=r"labels must be 0 to 3 .* found none of class 3"):
        nas.Data(part, classes=list("abcd"))


def test_data_is_known_by_its_content() -> None:
    part = (PICTURES.train, LABELS)
    same, other = nas.Data(part), nas.Data((PICTURES.train ^ np.uint8(1), LABELS))
    assert nas.Data(part).name == same.name != other.name
    assert DATASETS[same.name].load(None).digest == same.name.rpartition("-")[2]


def test_a_plugin_registers_data(tmp_path: Path) -> None:
    calls: list[Path] = []

    @register_dataset("planted")
    def planted(folder: Path) -> nas.Data:
        """Pictures of one level each."""
        calls.append(folder)
        return nas.Data((PICTURES.train, LABELS), test=(PICTURES.test, PICTURES.test_labels))

    try:
        splits = [load_splits("planted", tmp_path) for _ in range(2)]
        assert calls == [tmp_path]
        assert splits[0].task.name == "planted"
        assert len(splits[1].test) == 9
        assert DATASETS["planted"].description == "Pictures of one level each"
        with pytest.raises(ConfigError, match="it is read by a function of a plugin that takes its folder"):
            load_splits("planted")
    finally:
        del DATASETS._items["planted"]


@pytest.mark.parametrize(
    ("body", "message"), [("return 3", "must return nas.Data, found int"), ("raise OSError('x')", "OSError: x")]
)
def test_a_function_that_returns_no_data_is_named(body: str, message: str) -> None:
    code = f"""
import nas
from nas.data.splits import load_splits
@nas.register_dataset("wrong")
def mine():
    {body}
try:
    load_splits("wrong")
except nas.NasError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dataset 'wrong': function mine")
    assert message in done.stdout


def test_labels_of_a_stream_are_those_of_its_items() -> None:
    photos = Photos(PICTURES.train, LABELS, lambda pixels: pixels)
    photos.targets = (LABELS + 1) % 3  # type: ignore[attr-defined]  # what a target_transform changes
    data = nas.Data(photos, image_size=16, resident_bytes=0)
    assert np.array_equal(data.source().train().labels, LABELS)


def test_streams_of_other_pixels_have_other_names() -> None:
    names = {
        nas.Data(Photos(pixels, LABELS, lambda one: one), image_size=16, resident_bytes=0).name
        for pixels in (PICTURES.train, PICTURES.train ^ np.uint8(1), PICTURES.train)
    }
    assert len(names) == 2
