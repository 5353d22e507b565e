"""The recipe: every number checked, saved, and the learning rate at known steps."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest

from nas.errors import ConfigError
from nas.training.recipe import Recipe, default_recipe


def test_the_learning_rate_warms_up_and_follows_a_cosine_to_zero() -> None:
    recipe = Recipe(learning_rate=0.2, epochs=6, warmup_epochs=1)
    rates = [recipe.rate(step, steps_per_epoch=10) for step in range(60)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[4] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(0.2)
    assert rates[35] == pytest.approx(0.1)  # half of the 50 steps after the warm-up
    assert rates[10 + 25 // 3 * 2] == pytest.approx(0.1 * (1 + math.cos(math.pi * 16 / 50)))
    assert rates[59] == pytest.approx(0.1 * (1 + math.cos(math.pi * 49 / 50)))
    assert recipe.rate(60, 10) == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_no_warm_up_starts_at_the_whole_rate() -> None:
    recipe = Recipe(epochs=1, warmup_epochs=0)
    assert [recipe.rate(s, 2) for s in range(3)] == pytest.approx([0.1, 0.05, 0.0])


def test_a_short_run_keeps_half_of_its_steps_for_the_decay() -> None:
    recipe = Recipe(epochs=50, warmup_epochs=5)
    rates = [recipe.rate(s, 10, epochs=1) for s in range(10)]
    assert rates[4] == rates[5] == pytest.approx(0.1)
    assert rates[9] < 0.01
    assert recipe.rate(0, 1, epochs=1) == pytest.approx(0.1)


def test_a_recipe_is_json() -> None:
    recipe = Recipe(learning_rate=0.05, batch_size=32, nesterov=False, momentum=0.0)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert set(recipe.to_json()) == {f.name for f in fields(Recipe)}
    assert Recipe.from_json({}) == Recipe()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rat": 1}, "unknown field 'learning_rat'; did you mean 'learning_rate'?"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, found 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0, found nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number above 0, found inf"),
        ({"learning_rate": 10**400}, "learning_rate must be a finite number above 0, found 1000"),
        ({"learning_rate": "0.1"}, "learning_rate must be a finite number above 0, found '0.1'"),
        ({"momentum": 1}, "momentum must be a finite number of at least 0 and below 1, found 1"),
        ({"momentum": 0}, "nesterov needs a momentum above 0"),
        ({"nesterov": 1}, "nesterov must be true or false, found 1"),
        ({"weight_decay": -1e-4}, "weight_decay must be a finite number of at least 0, found -0.0001"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2, found 1"),
        ({"batch_size": 64.0}, "batch_size must be a whole number of at least 2, found 64.0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, found True"),
        ({"warmup_epochs": -1}, "warmup_epochs must be a finite number of at least 0, found -1"),
        ({"label_smoothing": 1}, "label_smoothing must be a finite number of at least 0 and below 1, found 1"),
        ({"crop_padding": -1}, "crop_padding must be a whole number of at least 0, found -1"),
        ({"flip": "yes"}, "flip must be true or false, found 'yes'"),
        ({"clip_norm": -5}, "clip_norm must be a finite number of at least 0, found -5"),
    ],
)
def test_a_wrong_number_is_refused_with_its_rule(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Recipe.from_json(change)
    assert words in str(error.value)
    assert str(error.value).startswith("recipe: ")


def test_a_recipe_is_an_object() -> None:
    with pytest.raises(ConfigError, match="found list"):
        Recipe.from_json([1])


def test_defaults_fit_their_dataset() -> None:
    assert not default_recipe("digits").flip
    assert default_recipe("cifar10").flip
    assert default_recipe("cifar10").crop_padding == 4
    assert default_recipe("cifar10").batch_size == 128
    assert default_recipe("a-users-own") == default_recipe("cifar10")
