"""The recipe: every number checked, saved, and the learning rate at known steps."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.training.optimizer import learning_rate, plateau_drops
from nas.training.published_recipes import RECIPES, named_recipe
from nas.training.recipe import Recipe, default_recipe


def test_the_learning_rate_warms_up_and_follows_a_cosine_to_zero() -> None:
    recipe = Recipe(learning_rate=0.2, epochs=6, warmup_epochs=1)
    rates = [learning_rate(recipe, step, steps_per_epoch=10) for step in range(60)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[4] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(0.2)
    assert rates[35] == pytest.approx(0.1)  # half of the 50 steps after the warm-up
    assert rates[10 + 25 // 3 * 2] == pytest.approx(0.1 * (1 + math.cos(math.pi * 16 / 50)))
    assert rates[59] == pytest.approx(0.1 * (1 + math.cos(math.pi * 49 / 50)))
    assert learning_rate(recipe, 60, 10) == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_no_warm_up_starts_at_the_whole_rate() -> None:
    recipe = Recipe(epochs=1, warmup_epochs=0)
    assert [learning_rate(recipe, s, 2) for s in range(3)] == pytest.approx([0.1, 0.05, 0.0])


def test_a_short_run_keeps_half_of_its_steps_for_the_decay() -> None:
    recipe = Recipe(epochs=50, warmup_epochs=5)
    rates = [learning_rate(recipe, s, 10, epochs=1) for s in range(10)]
    assert rates[4] == rates[5] == pytest.approx(0.1)
    assert rates[9] < 0.01
    assert learning_rate(recipe, 0, 1, epochs=1) == pytest.approx(0.1)


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
        ({"batch_size": 1}, "batch_size must be an integer of at least 2, found 1"),
        ({"batch_size": 64.0}, "batch_size must be an integer of at least 2, found 64.0"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, found 0"),
        ({"epochs": True}, "epochs must be an integer of at least 1, found True"),
        ({"warmup_epochs": -1}, "warmup_epochs must be a finite number of at least 0, found -1"),
        ({"label_smoothing": 1}, "label_smoothing must be a finite number of at least 0 and below 1, found 1"),
        ({"crop_padding": -1}, "crop_padding must be an integer of at least 0, found -1"),
        ({"flip": "yes"}, "flip must be true or false, found 'yes'"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; did you mean 'adamw'?"),
        ({"optimizer": "adamw"}, "nesterov is for sgd, found adamw; set nesterov to false"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ({"init": "he"}, "unknown init 'he'"),
        ({"test_views": "two"}, "unknown test_views 'two'"),
        ({"milestones": [3, 2]}, "milestones must be rising epochs above 0, found [3, 2]"),
        ({"milestones": 3}, "milestones must be a list of numbers, found 3"),
        ({"decay_factor": 0}, "decay_factor must be a finite number above 0 and at most 1, found 0"),
        ({"decay_epochs": 0}, "decay_epochs must be a finite number above 0, found 0"),
        ({"patience": 0}, "patience must be an integer of at least 1, found 0"),
        ({"pct_start": 1}, "pct_start must be a finite number of at least 0 and below 1, found 1"),
        ({"dropout": 1}, "dropout must be a finite number of at least 0 and below 1, found 1"),
        ({"drop_path": -0.1}, "drop_path must be a finite number of at least 0 and below 1, found -0.1"),
        ({"ema": 1}, "ema must be a finite number of at least 0 and below 1, found 1"),
        ({"eps": 0}, "eps must be a finite number above 0, found 0"),
        ({"aux_weight": -1}, "aux_weight must be a finite number of at least 0, found -1"),
        ({"decay_norms": 1}, "decay_norms must be true or false, found 1"),
        ({"crop_scale": [0.5]}, "crop_scale must be two shares, 0 < least <= greatest <= 1, found [0.5]"),
        ({"crop_scale": [0.5, 1]}, "crop_scale and crop_padding both crop; set crop_padding to 0, found 4"),
        ({"test_size": 9, "test_resize": 8}, "test_size, the crop, cannot exceed test_resize, found 9 of 8"),
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


OLD = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0005,
    "batch_size": 32,
    "epochs": 5,
    "warmup_epochs": 1.0,
    "label_smoothing": 0.0,
    "crop_padding": 0,
    "flip": False,
    "clip_norm": 5.0,
}


def test_recipes_of_earlier_runs_mean_what_they_meant() -> None:
    recipe = Recipe.from_json(OLD)
    assert recipe == default_recipe("digits")
    assert (recipe.optimizer, recipe.schedule, recipe.init) == ("sgd", "cosine", "he_fan_out")
    off = (
        "ema",
        "aux_weight",
        "cutout",
        "mixup",
        "color_jitter",
        "lighting",
        "test_resize",
        "test_size",
        "decay_norms",
    )
    assert not any(getattr(recipe, name) for name in off)
    assert recipe.dropout is recipe.drop_path is recipe.crop_scale is None
    assert recipe.augmentation.crop_padding == 0


@pytest.mark.parametrize("name", list(RECIPES))
def test_named_recipes_have_a_source_and_are_json(name: str) -> None:
    info = RECIPES[name]
    assert info.source
    assert Recipe.from_json(json.loads(json.dumps(info.recipe.to_json()))) == info.recipe
    # flips did not help short trainings to rank: benchmarks/proxy_rank.py
    assert info.recipe.augmentation.flip == (name != "proxy")


def test_named_recipes_have_their_papers_numbers() -> None:
    darts = named_recipe("darts-cifar")
    assert (darts.epochs, darts.batch_size, darts.learning_rate, darts.weight_decay) == (600, 96, 0.025, 3e-4)
    assert (darts.cutout, darts.drop_path, darts.drop_path_by_epoch, darts.aux_weight) == (16, 0.2, True, 0.4)
    for name, epochs in (("nb201-12", 12), ("nb201-200", 200)):
        nb201 = named_recipe(name)
        assert (nb201.epochs, nb201.batch_size, nb201.learning_rate) == (epochs, 256, 0.1)
        assert (nb201.nesterov, nb201.weight_decay, nb201.schedule) == (True, 5e-4, "cosine")
        assert learning_rate(nb201, 0, 100) == 0.1
    # times 0.97 every epoch, and every 2.4 epochs
    assert learning_rate(named_recipe("imagenet-mobile"), 10 * 100, 100) == pytest.approx(0.1 * 0.97**10)
    efficientnet = named_recipe("efficientnet")
    assert learning_rate(efficientnet, 24 * 100, 100) == pytest.approx(0.256 * 0.97**10)
    assert learning_rate(efficientnet, 24 * 100 - 1, 100) == pytest.approx(0.256 * 0.97**9)
    assert named_recipe("alexnet-2012").dropout == 0.5
    with pytest.raises(ConfigError, match="did you mean 'proxy'"):
        named_recipe("proxi")


def test_another_batch_takes_the_rate_along() -> None:
    recipe = named_recipe("efficientnet").for_batch(256)
    assert (recipe.batch_size, recipe.learning_rate) == (256, pytest.approx(0.016))


STEPS = 7


@pytest.mark.parametrize(
    ("recipe", "scheduler"),
    [
        (
            Recipe(schedule="step", milestones=(3, 5), epochs=8, warmup_epochs=0),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3 * STEPS, 5 * STEPS], 0.1),
        ),
        (
            Recipe(schedule="step", decay_epochs=2, decay_factor=0.5, epochs=8, warmup_epochs=0),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 2 * STEPS, 0.5),
        ),
        (
            Recipe(schedule="exponential", decay_epochs=2.4, decay_factor=0.97, epochs=8, warmup_epochs=0),
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.97 ** (1 / 2.4 / STEPS)),
        ),
        (
            Recipe(schedule="linear", epochs=8, warmup_epochs=0),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 8 * STEPS),
        ),
        (
            Recipe(schedule="cosine", epochs=8, warmup_epochs=0),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8 * STEPS),
        ),
    ],
    ids=lambda value: getattr(value, "schedule", ""),
)
def test_schedules_are_those_of_torch(recipe: Recipe, scheduler: object) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = scheduler(optimizer)
    for step in range(8 * STEPS):
        assert learning_rate(recipe, step, STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        theirs.step()


@given(st.lists(st.floats(0.01, 10), max_size=30), st.integers(1, 4))
def test_plateaus_are_those_of_torch(losses: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch lowers the rate at the first epoch beyond its patience
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience - 1, eps=0)
    for loss in losses:
        theirs.step(loss)
    assert 0.5 ** plateau_drops(losses, patience) == optimizer.param_groups[0]["lr"]


def test_one_cycle_rises_and_falls() -> None:
    recipe = Recipe(schedule="one-cycle", pct_start=0.3, epochs=10, learning_rate=1.0)
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates[29] == rates[30] == 1.0
    assert rates[0] == pytest.approx(1 / 30)
    assert rates[65] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 70)


def test_a_run_of_another_length_stretches_the_milestones() -> None:
    recipe = Recipe(schedule="step", milestones=(50, 75), epochs=100, warmup_epochs=0)
    assert [round(learning_rate(recipe, step, 1, epochs=4), 4) for step in range(4)] == [0.1, 0.1, 0.01, 0.001]


def test_recipes_are_read_without_torch() -> None:
    code = "import sys, nas.training.recipe, nas.training.published_recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
