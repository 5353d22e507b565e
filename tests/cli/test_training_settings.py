"""Recipes, time limits and a user's own images on the command line: what is refused, and what a run is told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.cli.main import main
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunConfig, RunOptions

SEARCH = "search --results-dir {tmp}/results --name new --space darts --width 2 --trials 2"
FLAT = f"{SEARCH} --plugin {{in}}/good.py --evaluator flat --space nb201"
RECIPES = {
    "grey": {"base": "darts-cifar", "cutout": 0, "lighting": 0.1},
    "large": {"cutout": 9},
    "field": {"learning_rat": 0.1},
    "value": {"learning_rate": -1},
    "base": {"base": "darts-cifer"},
    "number_base": {"base": 3},
    "list": [1],
    "views": {"test_size": 16},
}
BAD_RECIPES = [
    ("--recipe darts-cifer", "--recipe darts-cifer: unknown recipe 'darts-cifer'; did you mean 'darts-cifar'?"),
    ("--final-recipe darts-cifer", "--final-recipe darts-cifer: unknown recipe"),
    ("--recipe {tmp}/none.json", "none.json' does not exist"),
    ("--recipe {tmp}/text.json", "text.json' is not JSON"),
    ("--recipe {tmp}/list.json", "must be an object of names and numbers, found list"),
    ("--recipe {tmp}/field.json", "unknown field 'learning_rat'; did you mean 'learning_rate'?"),
    ("--recipe {tmp}/value.json", "learning_rate must be a finite number above 0, found -1"),
    ("--recipe {tmp}/base.json", "did you mean 'darts-cifar'?"),
    ("--recipe {tmp}/number_base.json", "base must be the name of a recipe, found 3"),
    ("--recipe {tmp}/grey.json", "--recipe does not fit dataset 'digits': augmentation: lighting"),
    ("--recipe {tmp}/large.json", "a cutout of 9 would blot out images of 8 x 8"),
    ("--final-recipe darts-cifar", "--final-recipe does not fit dataset 'digits': a cutout of 16"),
    ("--recipe {tmp}/views.json", "test_size 16 is too large for images of 8 x 8"),
    ("--recipe {tmp}/number.json --config {tmp}/number.toml", "--recipe must be text or a table, found 3"),
    ("--time-limit 0", "--time-limit must be at least 1, found 0"),
    ("--time-limit soon", "--time-limit must be an integer"),
    ("--max-trial-seconds 0", "--max-trial-seconds must be at least 0.001, found 0"),
    ("--max-trial-seconds soon", "--max-trial-seconds must be a number, found 'soon'"),
    ("--precision fp8", "--precision must be float32, bf16 or auto, found 'fp8'"),
]
NOT_TRAINED = [
    ("--recipe proxy", "--recipe"),
    ("--final-recipe proxy", "--final-recipe"),
    ("--time-limit 9", "--time"),
    ("--max-trial-seconds 9", "--max-trial-seconds goes with the evaluator 'train'"),
    ("--precision auto", "--precision goes with the evaluator 'train'"),
]
DATA = [
    ("--dataset digits --image-size 8", "its images have a size of their own; image_size is for folder"),
    ("--dataset folder --data-dir {tmp}/good --image-size 0", "--image-size must be at least 1, found 0"),
    ("--dataset folder --data-dir {tmp}/none", "does not exist"),
    ("--dataset folder --data-dir {tmp}/empty", "empty' holds nothing; pass with --data-dir a folder"),
    ("--dataset folder --data-dir {tmp}/class", "class/train/bee' must hold images of its class"),
    (
        "--dataset folder --data-dir {tmp}/damaged --image-size 8",
        "no image of folder '{tmp}/damaged' can be read; the first: {tmp}/damaged/train",
    ),
    ("--dataset arrays", "a folder and none is given"),
    ("--dataset arrays --data-dir {tmp}/none.npz", "none.npz' does not exist"),
    (
        "--dataset arrays --data-dir {tmp}/keys.npz",
        "lacks test_labels; arrays there: test_images, train_images, train_labels",
    ),
    ("--dataset arrays --data-dir {tmp}/float.npz", "train_images must be uint8, levels 0 to 255, found float64"),
    ("--dataset arrays --data-dir {tmp}/label.npz", "train_labels must be at least 0, found -1"),
    ("--dataset arrays --data-dir {tmp}/list.json", "damaged or no .npz file"),
    ("--dataset arrays --data-dir {tmp}/arrays.npz --image-size 8", "image_size is for folder"),
    ("--dataset cifar100", "a folder and none is given"),
    ("--dataset cifar100 --data-dir {tmp}/empty", "train.bin' is missing"),
    ("--dataset cifar100 --data-dir {tmp}/cifar", "labels must be from 0 to 99, found 200 at image 7"),
]


def images(root: Path, classes: tuple[str, ...] = ("ant", "bee"), count: int = 6, damaged: bool = False) -> None:
    """Write ``count`` images a class into train and val, or files that only have the name of one."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                path = root / split / name / f"{i}.png"
                if damaged:
                    path.write_text("no image")
                else:
                    level = rng.integers(0, 100, (12, 10, 3)) + 150 * label
                    Image.fromarray(level.astype(np.uint8)).save(path)


def arrays(label: int = 0, scale: float | None = None) -> dict[str, np.ndarray]:
    """Return grey 8x8 images of two classes, the first of them labelled ``label``."""
    found: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        labels = np.arange(40) % 2
        pixels = (labels[:, None, None] * 150 + np.zeros((1, 8, 8))).astype(np.uint8)
        labels[0] = label
        found |= {f"{split}_images": pixels if scale is None else pixels * scale, f"{split}_labels": labels}
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder of recipes and datasets."""
    folder = tmp_path_factory.mktemp("files")
    for name, recipe in RECIPES.items():
        (folder / f"{name}.json").write_text(json.dumps(recipe))
    (folder / "text.json").write_text("learning_rate: 0.1")
    (folder / "number.toml").write_text("recipe = 3\n")
    (folder / "empty").mkdir()
    images(folder / "good")
    images(folder / "class")
    for path in (folder / "class" / "train" / "bee").iterdir():
        path.unlink()
    images(folder / "damaged", damaged=True)
    np.savez(folder / "arrays.npz", **arrays())
    np.savez(folder / "label.npz", **arrays(-1))
    np.savez(folder / "float.npz", **arrays(scale=1 / 255))
    np.savez(folder / "keys.npz", **{name: a for name, a in arrays().items() if name != "test_labels"})
    (folder / "cifar").mkdir()
    for name, count in (("train.bin", 50_000), ("test.bin", 10_000)):
        records = np.zeros((count, 3_074), dtype=np.uint8)
        records[:, 1] = np.arange(count) % 100
        records[7, 1] = 200
        (folder / "cifar" / name).write_bytes(records.tobytes())
    return folder


def filled(command: str, files: Path, wrong_files: Path) -> list[str]:
    """Return the words of a command with its folders filled in."""
    return command.replace("{tmp}", str(files)).replace("{in}", str(wrong_files)).split()


@pytest.mark.parametrize(
    ("command", "words"),
    [(f"{SEARCH} --dataset digits {flags}", words) for flags, words in BAD_RECIPES]
    + [(f"{SEARCH} {flags}", words) for flags, words in DATA]
    + [(f"{FLAT} {flags}", f"{words}") for flags, words in NOT_TRAINED],
)
def test_refused_with_one_line_before_anything_is_written(command, words, files, wrong_files, capsys):
    if "number.toml" in command:
        command = command.replace(" --recipe {tmp}/number.json", "")
    assert main(filled(command, files, wrong_files)) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words.replace("{tmp}", str(files)) in error
    assert not (files / "results").exists()


@pytest.mark.parametrize(
    ("given", "epochs", "final_epochs"),
    [
        ({}, 3, 10),
        ({"recipe": "nb201-12"}, 12, 12),
        ({"recipe": "nb201-12", "epochs": 2}, 2, 12),
        ({"recipe": "nb201-12", "final_epochs": 5}, 12, 5),
        ({"final_recipe": "nb201-200"}, 3, 200),
        ({"final_recipe": "nb201-200", "final_epochs": 4}, 3, 4),
        ({"recipe": "nb201-12", "final_recipe": "nb201-200"}, 12, 200),
        ({"recipe": {"base": "nb201-12", "epochs": 7}}, 7, 7),
    ],
)
def test_a_named_recipe_brings_its_epochs_and_flags_override_them(given, epochs, final_epochs):
    config = with_defaults(RunOptions.from_json({"trials": 2, **given}))
    assert (config.train.epochs, config.comparison.epochs) == (epochs, final_epochs)
    assert with_defaults(RunOptions.from_json(config.to_json())) == config


def test_every_number_of_a_recipe_reaches_the_jobs():
    config = with_defaults(
        RunOptions.from_json({"recipe": {"base": "nb201-12", "batch_size": 64}, "final_recipe": "proxy"})
    )
    study = build_search(config)
    from nas.training.published_recipes import named_recipe

    assert study.settings.job["recipe"] == {**named_recipe("nb201-12").to_json(), "batch_size": 64}
    assert study.final_job["recipe"] == named_recipe("proxy").to_json()
    assert RunConfig.from_json(tomllib.loads(_toml(config))) == config


def _toml(config: RunConfig) -> str:
    import tomli_w

    return tomli_w.dumps(config.to_json())


def test_a_configuration_of_an_earlier_version_trains_as_it_did():
    old = {"evaluator": "train", "dataset": "digits", "threads": 1, "searcher": "random", "baseline": "none"}
    study = build_search(RunConfig.from_json({"epochs": 3, "final_epochs": 10, **old}))
    from nas.training.recipe import default_recipe

    assert study.settings.job["recipe"] == study.final_job["recipe"] == default_recipe("digits").to_json()
    assert study.settings.job["time_limit"] is None


@pytest.mark.long
def test_a_run_goes_on_without_its_recipe_file(tmp_path, capsys):
    recipe = tmp_path / "mine.json"
    recipe.write_text(json.dumps({"learning_rate": 0.05, "batch_size": 32, "crop_padding": 0, "flip": False}))
    words = f"search --results-dir {tmp_path} --name r --dataset digits --space darts --width 2 --depth 1 --trials 1 "
    assert main([*words.split(), "--epochs=1", "--baseline=none", "--final-seeds=0", "--recipe", str(recipe)]) == 0
    recipe.unlink()
    assert main(f"resume r --results-dir {tmp_path}".split()) == 0
    report = (tmp_path / "r" / "report.md").read_text()
    assert "Trials: `mine.json`, 1 epoch: learning_rate 0.05," in report
    assert "Trained on CPU (" in report
    config = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert config["recipe"]["batch_size"] == 32


@pytest.mark.long
def test_a_trial_over_the_time_limit_fails_as_a_timeout(tmp_path, capsys):
    words = f"search --results-dir {tmp_path} --name t --dataset digits --space darts --width 8 --depth 2 --trials 1 "
    assert main([*words.split(), "--epochs=500", "--baseline", "none", "--final-seeds", "0", "--time-limit", "1"]) == 1
    report = (tmp_path / "t" / "report.md").read_text()
    assert "| 1 | timeout | the training took more than 1 s, in epoch " in report
    assert "A trial fails after 1 s of training." in report


def test_recipes_are_listed_with_their_numbers_and_sources(capsys):
    assert main(["list", "recipes"]) == 0
    lines = " ".join(capsys.readouterr().out.split())
    assert "nb201-12 sgd 0.1, cosine, batches of 256, 12 epochs (arXiv:2001.00326, section 4, H(12))" in lines
    assert "darts-cifar" in lines
