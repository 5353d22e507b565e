"""The packaged dataset: what it holds, that a build has it and its licence, and that it is the default."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from nas.core.values import Task
from nas.data import published_sets
from nas.data.image_set import Images
from nas.data.splits import check_dataset, load_splits, task_of
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.errors import ConfigError
from nas.graph import BatchNorm, Conv, Flatten, Graph, GraphBuilder, Linear, Relu
from nas.runs.inputs import data_input, training_versions
from nas.training.recipe import default_recipe
from nas.training.trainer import train
from nas.workflows.compare.settings import settings_from as comparison_from
from nas.workflows.train.settings import settings_from as training_from

ROOT = Path(__file__).resolve().parents[2]
NAME = "fashion-mini"
PACKAGED = ("fashion_mnist_10k.npz", "LICENSE.fashion_mnist_10k.txt")


def small_network() -> Graph:
    b = GraphBuilder((1, 28, 28))
    x = b.input
    for width in (8, 16):
        x = b(Relu(), b(BatchNorm(), b(Conv(width, 3, stride=2, padding=1), x)))
    return b.build(logits=b(Linear(10), b(Flatten(), x)))


def rows(images: Images) -> set[bytes]:
    return {image.tobytes() for image in images.images}  # type: ignore[union-attr]


def test_its_splits_are_balanced_disjoint_and_the_same_for_every_run() -> None:
    splits = load_splits(NAME)
    parts = splits.train, splits.validation, splits.test
    assert [np.bincount(part.labels).tolist() for part in parts] == [[600] * 10, [200] * 10, [200] * 10]
    assert task_of(NAME) == splits.task == Task(NAME, (1, 28, 28), 10)
    official = published_sets.open_fashion_mini().train()
    # ten thousand images are as many different ones: no image is in two parts
    assert sum(len(rows(part)) for part in parts) == 10_000 == len(set().union(*map(rows, parts)))
    assert rows(splits.train) | rows(splits.validation) == rows(official)
    assert rows(load_splits(NAME).validation) == rows(splits.validation)


def test_its_images_are_those_of_fashion_mnist() -> None:
    splits = load_splits(NAME)
    mean, deviation = splits.train.joined(splits.validation).moments  # type: ignore[union-attr, arg-type]
    # the known moments of all 60,000 training images, within what a sample of 8,000 differs
    assert np.allclose([mean / 255, deviation / 255], [[0.2860], [0.3530]], atol=4e-3)
    assert splits.test.labels[:5].tolist() == [9, 2, 1, 1, 6]  # the published test split begins so


def test_the_file_is_the_one_that_was_published(shared_data: Path) -> None:
    source = shared_data / PACKAGED[0]
    if not source.is_file():
        pytest.skip(f"no file {source}")

    def digest(path: Path) -> str:
        with np.load(path) as arrays:
            return sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays.files))).hexdigest()

    assert digest(source) == digest(published_sets.FASHION_MINI)


def test_a_file_that_is_damaged_or_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = tmp_path / "x.npz", bytearray(published_sets.FASHION_MINI.read_bytes())
    monkeypatch.setattr(published_sets, "FASHION_MINI", path)
    with pytest.raises(ConfigError, match=r"dataset 'fashion-mini': file '.*x.npz' is missing; install"):
        check_dataset(NAME)
    content[2_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x.npz' is not as it was packaged; install"):
        load_splits(NAME)


def test_the_version_of_the_toolkit_says_which_images_they_are() -> None:
    assert data_input(NAME, None) == {}  # as those of digits, which the version of scikit-learn says
    assert "nas-toolkit" in training_versions(NAME)
    assert "scikit-learn" not in training_versions(NAME)


def test_it_is_trained_on_one_thread_by_its_own_recipe() -> None:
    config = with_defaults(RunOptions(dataset=NAME))
    assert config.train.threads == 1
    assert config.train.recipe is not None
    assert config.train.recipe.recipe == default_recipe(NAME)
    given = {"dataset": NAME}
    compared, trained = (
        comparison_from(("a", "b"), given),
        training_from("train", None, {"target": "resnet18", **given}),
    )
    assert (compared.dataset, compared.threads) == (trained.dataset, trained.threads) == (NAME, 1)


def test_an_epoch_teaches_a_small_network_most_of_it() -> None:
    recipe = default_recipe(NAME)
    assert (recipe.flip, recipe.crop_padding) == (False, 0)
    # percent, of a third of the images; guessing gives 10
    assert train(small_network(), load_splits(NAME, train_images=2_000), recipe, 0, 1).accuracy > 50


def test_the_project_names_both_files_for_a_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    package, found = ROOT / "nas", project["tool"]["setuptools"]["package-data"]["nas"]
    data = {path.name for pattern in found for path in package.glob(pattern)}
    licences = {path.name for pattern in project["project"]["license-files"] for path in ROOT.glob(pattern)}
    assert data >= set(PACKAGED)
    assert licences == {"LICENSE", PACKAGED[1]}
    text = (package / "data" / "packaged" / PACKAGED[1]).read_text("utf-8")
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in text
    assert "Permission is hereby granted, free of charge" in text


@pytest.mark.long
def test_wheel_and_sdist_hold_both_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77")
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    listed = ("LICENSE", "README.md", "pyproject.toml", "nas", "search_spaces")
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in listed), str(source)], check=True)
    built.mkdir()
    code = f"import setuptools.build_meta as b; b.build_sdist({str(built)!r}); b.build_wheel({str(built)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as other:
        inside, beside = archive.namelist(), other.getnames()
        assert archive.read(f"nas/data/packaged/{PACKAGED[0]}") == published_sets.FASHION_MINI.read_bytes()
    for name in PACKAGED:
        assert f"nas/data/packaged/{name}" in inside
        assert any(path.endswith(f"/nas/data/packaged/{name}") for path in beside)
    assert any(path.endswith(f".dist-info/licenses/nas/data/packaged/{PACKAGED[1]}") for path in inside)
