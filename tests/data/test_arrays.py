"""A user's own arrays: what is right is read as it is, what is wrong is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.splits import check_dataset, load_splits, task_of
from nas.errors import ConfigError

RNG = np.random.default_rng(0)


def arrays(channels: int | None = 3, count: int = 60, classes: int = 3) -> dict[str, Any]:
    """The four arrays of a file of images of 5 x 4 pixels."""
    shape = (5, 4) if channels is None else (5, 4, channels)
    images = RNG.integers(0, 256, (count + 12, *shape), dtype=np.uint8)
    labels = np.arange(count + 12, dtype=np.int32) % classes
    return {
        "train_images": images[:count],
        "train_labels": labels[:count],
        "test_images": images[count:],
        "test_labels": labels[count:],
    }


def save(path: Path, **changes: Any) -> Path:
    found = {**arrays(), **changes}
    np.savez_compressed(path, **{name: array for name, array in found.items() if array is not None})
    return path


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_read_as_they_are(tmp_path: Path, channels: int | None, packed: bool) -> None:
    given = arrays(channels)
    (np.savez_compressed if packed else np.savez)(tmp_path / "data.npz", **given)
    splits = load_splits("arrays", tmp_path)
    assert splits.task.input_shape == (channels or 1, 5, 4)
    assert splits.task.classes == 3
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (54, 6, 12)
    expected = given["test_images"].reshape(12, 5, 4, channels or 1).transpose(0, 3, 1, 2)
    assert np.array_equal(splits.test.images, expected)  # type: ignore[union-attr]
    assert splits.test.labels.tolist() == given["test_labels"].tolist()
    official = splits.train.joined(splits.validation)  # type: ignore[arg-type, union-attr]
    rows = {(x.tobytes(), int(y)) for x, y in zip(official.images, official.labels, strict=True)}  # type: ignore[union-attr]
    every = given["train_images"].reshape(60, 5, 4, channels or 1).transpose(0, 3, 1, 2)
    assert rows == {(x.tobytes(), int(y)) for x, y in zip(every, given["train_labels"], strict=True)}


def test_a_file_and_its_folder_are_the_same(tmp_path: Path) -> None:
    path = save(tmp_path / "data.npz")
    assert task_of("arrays", path) == task_of("arrays", tmp_path)


def test_validation_is_a_tenth_but_no_class_goes_without(tmp_path: Path) -> None:
    path = save(tmp_path / "few.npz", **arrays(count=12))
    splits = load_splits("arrays", path)
    assert sorted(splits.validation.labels) == [0, 1, 2]
    assert len(splits.train) == 9


FLOATS = np.zeros((60, 5, 4, 3), dtype=np.float32)
LABELS = np.arange(60) % 3
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"test_labels": None}, "lacks test_labels; arrays there: test_images, train_images, train_labels"),
    ({"train_images": FLOATS}, "train_images must be uint8, levels 0 to 255, found float32; scale levels"),
    ({"train_images": FLOATS.astype(np.int64)}, "train_images must be uint8, levels 0 to 255, found int64"),
    ({"train_images": np.zeros((60, 3, 32, 32), np.uint8)}, "channels come last: images.transpose(0, 2, 3, 1)"),
    ({"train_images": np.zeros((60, 20), np.uint8)}, "must be (N, H, W) or (N, H, W, C) with C at most 4"),
    ({"train_images": np.zeros((0, 5, 4, 3), np.uint8)}, "found (0, 5, 4, 3)"),
    ({"test_images": np.zeros((12, 5, 5, 3), np.uint8)}, "must have one shape, found (3, 5, 4) and (3, 5, 5)"),
    ({"train_labels": LABELS[:59]}, "train_labels must be integers (60,), one an image, found int64 (59,)"),
    ({"train_labels": np.eye(3, dtype=int)[LABELS]}, "found int64 (60, 3); networks here tell one class an image"),
    ({"train_labels": LABELS.astype(float)}, "found float64 (60,)"),
    ({"test_labels": np.array(list("abc") * 4)}, "test_labels must be integers (12,)"),
    ({"train_labels": LABELS - 1}, "train_labels must be at least 0, found -1"),
    ({"train_labels": LABELS * 2}, "labels must be 0 to 4 with every class there, found no training image of class 1"),
    ({"train_labels": LABELS + 1}, "found no training image of class 0"),
    ({"train_labels": LABELS * 0}, "at least two classes"),
    ({"train_labels": np.array([object()] * 60)}, "train_labels must be integers (60,), one an image, found object"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_arrays_are_refused_before_a_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "mine.npz", **changes)
    fails(path, message)


def fails(path: Path, *messages: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_dataset("arrays", path)
    assert "\n" not in str(error.value)
    for message in ("dataset 'arrays'", str(path), *messages):
        assert message in str(error.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no arrays here")
    fails(tmp_path / "text.npz", "is damaged or no .npz file", "savez_compressed")
    np.save(tmp_path / "one.npy", np.zeros(3))
    fails(tmp_path / "one.npy", "is damaged or no .npz file")
    fails(tmp_path / "none.npz", "does not exist")
    fails(tmp_path, "data.npz' is missing")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "cut.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    fails(path, "damaged")


def test_altered_bytes_are_found_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays(count=1_200))
    content = bytearray(path.read_bytes())
    content[50_000] ^= 255  # among the pixels: the archive's checksum tells
    path.write_bytes(content)
    check_dataset("arrays", path)
    with pytest.raises(ConfigError, match="damaged"):
        load_splits("arrays", path)


def test_test_labels_are_looked_at_before_anything_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.npz", test_labels=np.arange(12))
    with pytest.raises(ConfigError, match="test_labels: labels must be from 0 to 2, found 3 at image 3"):
        check_dataset("arrays", path)


def test_a_size_is_refused_where_images_have_their_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its images have a size of their own; image_size is for folder"):
        check_dataset("arrays", save(tmp_path / "a.npz"), image_size=32)
