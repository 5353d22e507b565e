"""Names of earlier versions: read everywhere, written nowhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_examples import convnet, toy_splits

from nas.core.files import read_toml
from nas.engine.config import RunConfig
from nas.errors import ConfigError
from nas.training import checkpoint as checkpoints
from nas.training.published_recipes import named_recipe, recipe_of, recipe_table
from nas.training.recipe import LATER, OLD_NAMES, Recipe, default_recipe
from nas.training.trainer import train

RUNS = Path(__file__).resolve().parents[1] / "golden" / "runs"
CHANGED = Recipe(
    optimizer="rmsprop",
    nesterov=False,
    pct_start=0.4,
    drop_path_by_epoch=True,
    init="truncated_normal",
    init_std=0.03,
    color_jitter=0.2,
)


def in_old_names(data: dict[str, Any]) -> dict[str, Any]:
    old = {new: name for name, new in OLD_NAMES.items()}
    return {old.get(name, name): value for name, value in data.items()}


def test_a_recipe_of_old_names_is_the_same_recipe() -> None:
    old = in_old_names(CHANGED.to_json())
    assert set(OLD_NAMES) <= set(old)
    assert Recipe.from_json(old) == CHANGED
    assert not set(OLD_NAMES) & set(CHANGED.to_json())
    assert recipe_of({"name": "mine", **old}, "digits") == CHANGED


def test_a_file_of_old_names_changes_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"base": "proxy", "rise": 0.5, "initialisation": "xavier"}))
    table = recipe_table(str(path), "--recipe", "digits")
    assert recipe_of(table, "digits") == replace(named_recipe("proxy"), pct_start=0.5, init="xavier")
    assert not set(OLD_NAMES) & set(table)


def test_a_field_under_both_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="optimiser and optimizer are one field; keep optimizer"):
        Recipe.from_json({"optimizer": "sgd", "optimiser": "sgd"})


def test_recorded_runs_of_old_names_have_the_recipe_of_today() -> None:
    config = RunConfig.from_json(read_toml(RUNS / "digits-random" / "config.toml"))
    header = json.loads((RUNS / "training" / "journal.jsonl").read_text().splitlines()[0])
    assert config.train.recipe.recipe == default_recipe("digits")
    assert "optimiser" in (RUNS / "digits-random" / "config.toml").read_text()
    assert recipe_of(header["settings"]["recipe"], "digits") == default_recipe("digits")


def test_a_digest_of_a_recipe_is_that_of_earlier_versions() -> None:
    # fields that earlier versions had not are left out where they are off
    told = {n: v for n, v in CHANGED.to_json().items() if n not in ("epochs", *LATER)}
    assert CHANGED.fingerprint() == in_old_names(told)


def test_a_checkpoint_of_old_names_goes_on(tmp_path: Path) -> None:
    from safetensors.torch import load, save

    splits, recipe = toy_splits(), Recipe(batch_size=8, epochs=4, crop_padding=1)
    graph = convnet(splits.task)
    train(graph, splits, recipe, 0, epochs=2, checkpoint=tmp_path)
    numbers, content = checkpoints.read(tmp_path)
    tensors = {name.replace("optimizer:", "optimiser:"): t for name, t in load(content).items()}
    data = json.loads(numbers)
    data["identity"]["recipe"] = in_old_names(data["identity"]["recipe"])
    content = save(tensors)
    data["digest"] = checkpoints.digest_of(content)
    checkpoints.write(json.dumps(data).encode(), content, tmp_path)
    assert train(graph, splits, recipe, 0, resume=tmp_path).epochs_trained == 2
