"""Splits: a fixed partition of what is on disk, with the test split read last."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_examples import bright_or_dark, forbidden

from nas.core.values import Task
from nas.data.splits import (
    DATASETS,
    DatasetInfo,
    DatasetSource,
    ImageSet,
    check_dataset,
    load_splits,
    stratified,
    task_of,
)
from nas.errors import ConfigError


def rows(*sets: ImageSet) -> list[tuple[int, bytes]]:
    return sorted((int(y), x.tobytes()) for s in sets for x, y in zip(s.images, s.labels, strict=True))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=80), st.data())
def test_a_stratified_part_takes_every_class_by_its_share(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(labels)))
    array = np.array(labels, dtype=np.int64)
    part, rest = stratified(array, count, data.draw(st.integers(0, 99)))
    assert len(part) == count
    assert sorted([*part, *rest]) == list(range(len(labels)))
    for c in set(labels):
        share = labels.count(c) * count / len(labels)
        assert abs(int((array[part] == c).sum()) - share) < 1


def test_digits_are_parted_without_loss_or_overlap() -> None:
    from sklearn.datasets import load_digits

    splits = load_splits("digits")
    original = load_digits()
    pixels = np.floor(original.images * 255 / 16 + 0.5).astype(np.uint8)
    every = ImageSet(pixels.reshape(-1, 1, 8, 8), original.target.astype(np.int64))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1150, 288, 359)
    assert rows(splits.train, splits.validation, splits.test) == rows(every)
    # the first digit is a zero whose first line is 0 0 5 13 9 1 0 0 of 16
    assert (0, np.array([0, 0, 80, 207, 143, 16, 0, 0], dtype=np.uint8).tobytes()) in [
        (y, x[:8]) for y, x in rows(every)
    ]


def test_digits_are_stratified() -> None:
    splits = load_splits("digits")
    for part, share in ((splits.train, 0.64), (splits.validation, 0.16), (splits.test, 0.2)):
        counts = np.bincount(part.labels, minlength=10)
        total = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])  # UCI's own table of optdigits.tes
        assert np.abs(counts - share * total).max() < 2


def test_a_split_depends_on_its_seed_alone() -> None:
    first, again, other = load_splits("digits"), load_splits("digits"), load_splits("digits", split_seed=1)
    assert rows(first.validation) == rows(again.validation)
    assert np.array_equal(first.train.images, again.train.images)
    assert rows(first.validation) != rows(other.validation)
    assert rows(first.test) == rows(other.test)


def test_a_split_stays_what_it_was() -> None:
    # a change of these numbers changes every published result: it needs a new dataset name
    part, _ = stratified(np.arange(100, dtype=np.int64) % 10, 10, 0)
    assert part.tolist() == [3, 11, 17, 20, 48, 55, 59, 64, 92, 96]


def test_the_number_of_validation_images_can_be_chosen() -> None:
    assert len(load_splits("digits", validation=100).validation) == 100


@pytest.mark.parametrize("count", [0, 9, 1429, 5000, -1, 2.5, True])
def test_a_validation_set_that_leaves_no_image_of_a_class_is_refused(count: object) -> None:
    with pytest.raises(ConfigError, match=r"validation images must be an integer from 10 to 1,428, found"):
        load_splits("digits", validation=count)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_split_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ConfigError, match="split seed must be an integer of at least 0"):
        load_splits("digits", split_seed=seed)  # type: ignore[arg-type]


def test_the_task_is_known_without_reading() -> None:
    assert task_of("digits") == Task("digits", (1, 8, 8), 10) == load_splits("digits").task


def test_checking_a_dataset_reads_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = DatasetSource(Task("toy", (1, 6, 6), 2), forbidden, forbidden, 4)
    monkeypatch.setitem(DATASETS._items, "toy", DatasetInfo("toy", lambda folder: source, False))
    check_dataset("toy")
    assert task_of("toy").classes == 2


def test_loading_does_not_read_the_test_split(register: Callable[..., None]) -> None:
    reads: list[int] = []

    def read_test() -> ImageSet:
        reads.append(1)
        return bright_or_dark(8)

    register("toy", read_test)
    splits = load_splits("toy")
    assert splits.task.classes == 2
    assert reads == []
    assert len(splits.test) == len(splits.test) == 8
    assert reads == [1]


def test_an_unknown_dataset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown dataset 'cifar'; did you mean 'cifar10'\?"):
        check_dataset("cifar")


def test_a_plugins_images_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    good = bright_or_dark(40)
    bad_label = ImageSet(good.images, good.labels + np.int64(1))
    for train, message in ((bad_label, "labels must be from 0 to 1, found 2 at image 1"), (good, "must be (1, 9, 9)")):
        shape = (1, 6, 6) if train is bad_label else (1, 9, 9)
        source = DatasetSource(Task("toy", shape, 2), lambda train=train: train, forbidden, 10)  # type: ignore[misc]
        monkeypatch.setitem(DATASETS._items, "toy", DatasetInfo("toy", lambda folder, s=source: s, False))  # type: ignore[misc]
        with pytest.raises(ConfigError) as error:
            load_splits("toy")
        assert message in str(error.value)


def test_wrong_arrays_are_refused() -> None:
    pixels, labels = np.zeros((3, 1, 2, 2), np.uint8), np.zeros(3, np.int64)
    for images, targets in ((pixels.astype(np.float32), labels), (pixels[0], labels), (pixels, labels[:2])):
        with pytest.raises(ConfigError, match="must be"):
            ImageSet(images, targets)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one shape"):
        ImageSet(pixels, labels).joined(bright_or_dark(2))


def test_moments_are_those_of_all_pixels() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2_345, 3, 5, 4)).astype(np.uint8)
    images[:, 2] = 7
    mean, deviation = ImageSet(images, np.zeros(2_345, np.int64)).moments
    assert np.allclose(mean, images.mean((0, 2, 3)), rtol=1e-6)
    assert np.allclose(deviation[:2], images[:, :2].std((0, 2, 3)), rtol=1e-6)
    assert deviation[2] == 1.0


def test_importing_data_recipe_and_evaluator_is_quick_and_free_of_torch_and_sklearn() -> None:
    code = (
        "import sys, nas.data.splits, nas.training.recipe, nas.evaluators.train, nas.evaluators.test_split\n"
        "nas.data.splits.task_of('digits')\n"
        "sys.exit(len({'torch', 'sklearn', 'safetensors'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


@pytest.fixture(scope="session")
def cifar10_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool = shared_data.parent / "tools" / "materialize.py"
    if not tool.is_file():
        pytest.skip(f"the real CIFAR-10 is not here: no file {tool}")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(tool), "cifar10", str(folder)], check=True, timeout=300)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_the_real_cifar10(cifar10_folder: Path, inner: str) -> None:
    check_dataset("cifar10", cifar10_folder / inner)
    splits = load_splits("cifar10", cifar10_folder / inner)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (45_000, 5_000, 10_000)
    for part in (splits.train, splits.validation, splits.test):
        assert set(np.bincount(part.labels)) == {len(part) // 10}
    assert splits.test.labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, plane, frog
    mean, deviation = splits.train.joined(splits.validation).moments
    # the training set's known moments; these images went through JPEG once
    assert np.allclose(mean, [125.3, 123.0, 113.9], atol=1)
    assert np.allclose(deviation, [63.0, 62.1, 66.7], atol=1)


@pytest.mark.long
def test_the_real_fashion_mnist() -> None:
    folder = Path(os.environ.get("NAS_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    if not folder.is_dir():
        pytest.skip(f"the real Fashion-MNIST is not here: no folder {folder}; set NAS_FASHION_MNIST to it")
    splits = load_splits("fashion-mnist", folder)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (55_000, 5_000, 10_000)
    for part in (splits.train, splits.validation, splits.test):
        assert set(np.bincount(part.labels)) == {len(part) // 10}
    assert splits.test.labels[:5].tolist() == [9, 2, 1, 1, 6]
    mean, deviation = splits.train.joined(splits.validation).moments
    assert np.allclose(mean / 255, 0.2860, atol=1e-4)
    assert np.allclose(deviation / 255, 0.3530, atol=1e-4)


def test_a_repr_tells_the_sizes_in_one_line_and_reads_no_test_split():
    splits = load_splits("digits", train_images=500, validation=200)
    assert repr(splits) == "Splits(digits, train 500, validation 200, test 359, images of 1x8x8, 10 classes)"
    assert repr(splits.train) == "ImageSet(500 images of 1x8x8)"
    assert "test" not in splits.__dict__
