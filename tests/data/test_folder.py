"""Folders of images: what is a class and an image, what is refused, and what is left out but named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import make_folder, picture, spoil

from nas.data.image_folder import open_folder
from nas.data.splits import DATASETS, DatasetInfo, ImageSet, ImageStream, check_dataset, load_splits, task_of
from nas.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "set")


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are streams, however small."""
    info = DatasetInfo("few", lambda place, size: open_folder(place, size, 0), True, takes_size=True)
    monkeypatch.setitem(DATASETS._items, "folder", info)


def red(images: ImageSet) -> list[tuple[int, int]]:
    return sorted((int(y), int(x[0, 3, 3])) for x, y in zip(images.images, images.labels, strict=True))


def test_a_small_folder_is_decoded_once(folder: Path) -> None:
    splits = load_splits("folder", folder, image_size=8)
    assert splits.task.input_shape == (3, 8, 8)
    assert splits.task.classes == 3
    train, validation, test = splits.train, splits.validation, splits.test
    assert isinstance(train, ImageSet)
    assert isinstance(validation, ImageSet)
    assert isinstance(test, ImageSet)
    assert red(train.joined(validation)) == [(c, 80 * c + i) for c in range(3) for i in range(8)]
    assert red(test) == [(c, 80 * c + i) for c in range(3) for i in range(3)]
    assert sorted(validation.labels) == [0, 1, 2]
    assert splits.damaged == ()


def test_the_default_size_is_that_of_imagenet(folder: Path) -> None:
    assert task_of("folder", folder).input_shape == (3, 224, 224)


@pytest.mark.usefixtures("streamed")
def test_a_large_folder_is_a_stream_with_the_same_split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = load_splits("folder", folder, image_size=8)
    assert isinstance(stream.train, ImageStream)
    assert isinstance(stream.validation, ImageStream)
    assert isinstance(stream.test, ImageStream)
    monkeypatch.undo()
    resident = load_splits("folder", folder, image_size=8)
    for name in ("train", "validation", "test"):
        part, expected = getattr(stream, name), getattr(resident, name)
        assert np.array_equal(part.read().images, expected.images)
        assert np.array_equal(part.labels, expected.labels)
        assert part.image_shape == expected.image_shape
    assert stream.task == resident.task


def test_the_limit_counts_the_pixels_of_a_split(folder: Path) -> None:
    pixels = 24 * 3 * 8 * 8
    assert isinstance(open_folder(folder, 8, pixels).train(), ImageSet)
    assert isinstance(open_folder(folder, 8, pixels - 1).train(), ImageStream)
    assert isinstance(open_folder(folder, 8, pixels - 1).test(), ImageSet)


def test_hidden_and_other_files_are_passed_over_and_links_and_subfolders_followed(folder: Path) -> None:
    cat = folder / "train" / "cat"
    (cat / ".hidden.png").write_bytes(b"")
    (cat / "._000.png").write_bytes(b"")
    (cat / "notes.txt").write_text("none")
    (cat / "Thumbs.db").write_bytes(b"")
    (folder / "train" / ".git").mkdir()
    (folder / "train" / "readme.md").write_text("none")
    (cat / "more").mkdir()
    picture(250).save(cat / "more" / "X.PNG")
    (cat / "link.JPEG").symlink_to(cat / "more" / "X.PNG")
    (folder / "train" / "dog").symlink_to(cat)
    (cat / "loop").symlink_to(cat)
    source = open_folder(folder, 8)
    assert source.task.classes == 4
    images = source.train()
    assert isinstance(images, ImageSet)
    expected = [160 + i for i in range(8)] + [250, 250]
    assert red(images)[16:] == [(c, level) for c in (2, 3) for level in expected]
    assert images.damaged == []


@pytest.mark.parametrize("stream", [False, True])
def test_damaged_files_are_named_and_left_out(folder: Path, stream: bool, request: pytest.FixtureRequest) -> None:
    reasons = spoil(folder / "train" / "bee")
    (folder / "val" / "cat" / "text.bmp").write_text("none")
    if stream:
        request.getfixturevalue("streamed")
    splits = load_splits("folder", folder, image_size=8)
    parts = [splits.train, splits.validation]
    if stream:
        assert splits.damaged == ()  # nobody looked yet
        seen = [y for part in parts for _, labels in part.batches(4, workers=0) for y in labels.tolist()]  # type: ignore[union-attr]
    else:
        seen = [y for part in parts for y in part.labels.tolist()]
    assert sorted(seen) == sorted([0, 1, 2] * 8)
    assert len(splits.damaged) == len(reasons)
    for name, reason in reasons.items():
        (line,) = [line for line in splits.damaged if name in line]
        assert line.startswith(str(folder / "train" / "bee" / name))
        assert reason in line.lower()
    assert len(list(splits.test.batches(4, workers=0)) if stream else splits.test) == (3 if stream else 9)  # type: ignore[union-attr]
    assert any("text.bmp" in line for line in splits.damaged)


def test_a_class_without_test_images_is_not_measured(folder: Path) -> None:
    for path in (folder / "val" / "bee").iterdir():
        path.unlink()
    (folder / "val" / "bee").rmdir()
    splits = load_splits("folder", folder, image_size=8)
    assert sorted(set(splits.test.labels.tolist())) == [0, 2]
    assert splits.task.classes == 3


def empty(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


def spoiled(folder: Path, name: str) -> None:
    for path in (folder / name).rglob("*.png"):
        path.write_text("none")


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda f: (f / "train").rename(f / "learn"),
        "has 'val' and no folder 'train'; pass with --data-dir a folder that",
    ),
    (lambda f: empty(f / "val"), "holds no image in a class folder"),
    (lambda f: empty(f / "train" / "bee"), "bee' must hold images of its class, found no file of .jpg"),
    (lambda f: empty(f / "train"), "must hold at least two class folders, found 0"),
    (lambda f: (f / "val" / "bee").rename(f / "val" / "wasp"), "has class 'wasp', which train lacks"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_folders_are_refused_before_a_run(folder: Path, change: Callable[[Path], object], message: str) -> None:
    change(folder)
    with pytest.raises(ConfigError) as error:
        check_dataset("folder", folder, 8)
    assert message in str(error.value)
    assert str(error.value).startswith("dataset 'folder': ")
    assert "\n" not in str(error.value)


def test_a_folder_of_damaged_files_alone_is_refused(folder: Path) -> None:
    spoiled(folder, "train")
    with pytest.raises(ConfigError, match=r"no image of folder .* can be read; the first: .*train.*000\.png: it is no"):
        load_splits("folder", folder, image_size=8)


@pytest.mark.parametrize("size", [0, -3, 8.0, True])
def test_wrong_sizes_are_refused(folder: Path, size: int) -> None:
    with pytest.raises(ConfigError, match="image_size must be an integer of at least 1"):
        check_dataset("folder", folder, size)


def test_a_search_survives_without_reading_test_files(folder: Path) -> None:
    spoiled(folder, "val")
    splits = load_splits("folder", folder, image_size=8)
    assert len(splits.train) == 21
    with pytest.raises(ConfigError, match=r"no image of folder .*; the first: .*val"):
        _ = splits.test


def test_names_that_are_no_text_are_read(folder: Path) -> None:
    (folder / "train" / "ant" / "000.png").rename(folder / "train" / "ant" / "gr\udcfcn ü.png")
    images = open_folder(folder, 8).train()
    assert isinstance(images, ImageSet)
    assert len(images) == 24


def test_datasets_can_be_listed_without_torch_and_pillow() -> None:
    code = "import sys, nas.data.splits; print(*[m for m in ('torch', 'PIL', 'sklearn') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def materialized(shared_data: Path, name: str, folder: Path) -> Path:
    tool = shared_data.parent / "tools" / "materialize.py"
    subprocess.run([sys.executable, str(tool), name, str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("name", "size", "train", "test"),
    [
        ("imagenette224", 32, 300, 150),
        pytest.param("imagenette64", 64, 9_469, 3_925, marks=pytest.mark.long),
    ],
)
def test_real_images_are_all_read(
    tmp_path: Path, shared_data: Path, name: str, size: int, train: int, test: int
) -> None:
    splits = load_splits("folder", materialized(shared_data, name, tmp_path), image_size=size)
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (train, test)
    assert splits.task.classes == 10
    assert splits.damaged == ()
