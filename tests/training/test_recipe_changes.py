"""Fields of a recipe that a command line changes: each arrives where it is trained with, the others stay."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from command import nas as command

from nas.errors import ConfigError
from nas.training.config import NamedRecipe
from nas.training.recipe import Recipe

NAMED = NamedRecipe("default", Recipe(learning_rate=0.1, batch_size=128))


def test_fields_are_set_and_named() -> None:
    found = NAMED.changed(
        {"weight_decay": 1e-4, "milestones": "1,2.5", "dropout": "none", "optimiser": "adamw", "nesterov": False}
    )
    recipe = found.recipe
    assert (recipe.weight_decay, recipe.milestones, recipe.dropout, recipe.optimizer) == (1e-4, (1, 2.5), None, "adamw")
    assert recipe.learning_rate == 0.1
    assert found.name.startswith("default with weight_decay=0.0001 milestones=1,2.5")
    assert NAMED.changed({"milestones": 3}).recipe.milestones == (3,)
    assert NAMED.changed({}) == NAMED


def test_the_rate_follows_the_batch_unless_it_is_set() -> None:
    assert NAMED.changed({}, 256).recipe.learning_rate == pytest.approx(0.2)
    both = NAMED.changed({"learning_rate": 0.05}, 256).recipe
    assert (both.learning_rate, both.batch_size) == (0.05, 256)
    assert NAMED.changed({"batch_size": 256}).recipe.learning_rate == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1}, "--set: recipe: unknown field 'learning_rat'; did you mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "--set: recipe: learning_rate must be a finite number above 0, found 'fast'"),
        ({"milestones": "a,b"}, "--set milestones must be numbers with commas between them, found 'a,b'"),
        ({"epochs": 3}, "--set epochs: the epochs of a training have a flag of their own"),
    ],
)
def test_what_is_wrong_names_the_flag(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        NAMED.changed(changes)
    assert message in str(error.value)


@pytest.mark.long
def test_a_search_trains_and_compares_with_the_changed_recipe_and_keeps_its_own_epochs(tmp_path: Path) -> None:
    words = "search --dataset digits --trials 1 --finalists 0 --scheduler none --baseline none --against none"
    words += " --final-seeds 0"
    done = command(
        tmp_path, *words.split(), "--lr", "0.02", "--batch-size", "16", "--train-images", "100", "--name", "a"
    )
    assert done.returncode == 0, done.stderr
    config = tomllib.loads((tmp_path / "results/a/config.toml").read_text())
    plain = command(tmp_path, *words.split(), "--train-images", "100", "--name", "b")
    assert plain.returncode == 0, plain.stderr
    other = tomllib.loads((tmp_path / "results/b/config.toml").read_text())
    assert (config["recipe"]["learning_rate"], config["recipe"]["batch_size"]) == (0.02, 16)
    changed = {name for name in config["recipe"] if config["recipe"][name] != other["recipe"].get(name)}
    assert changed == {"name", "learning_rate", "batch_size"}
    assert {name: value for name, value in config.items() if name != "recipe"} == {
        name: value for name, value in other.items() if name != "recipe"
    }
