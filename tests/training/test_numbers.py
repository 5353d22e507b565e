"""Every number of the recipe: trainings with it are those written by hand, and others than without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from reference import every_kind, train_by_hand
from torch import Tensor
from training_examples import toy_splits

from nas.training.recipe import Recipe
from nas.training.trainer import TrainResult, train

BASE = Recipe(
    learning_rate=0.1,
    weight_decay=0.05,
    batch_size=8,
    epochs=4,
    warmup_epochs=0,
    crop_padding=0,
    flip=False,
    clip_norm=0,
    schedule="constant",
)
RMSPROP = {"optimizer": "rmsprop", "nesterov": False, "learning_rate": 0.003, "square_average": 0.9, "eps": 0.01}
ADAMW = {"optimizer": "adamw", "nesterov": False, "learning_rate": 0.01, "square_average": 0.99, "eps": 1e-3}
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "learning_rate": {"learning_rate": 0.05},
    "momentum": {"momentum": 0.5},
    "no momentum": {"momentum": 0.0, "nesterov": False},
    "nesterov": {"nesterov": False},
    "weight_decay": {"weight_decay": 0.1},
    "decay_norms": {"decay_norms": True},
    "decay_biases": {"decay_biases": True},
    "decay_depthwise": {"decay_depthwise": False},
    "batch_size": {"batch_size": 16},
    "epochs": {"epochs": 3},
    "warmup_epochs": {"warmup_epochs": 1.5},
    "label_smoothing": {"label_smoothing": 0.2},
    "clip_norm": {"clip_norm": 0.05},
    "rmsprop": RMSPROP,
    "rmsprop square_average": {**RMSPROP, "square_average": 0.5},
    "rmsprop eps": {**RMSPROP, "eps": 0.1},
    "rmsprop momentum": {**RMSPROP, "momentum": 0.2},
    "rmsprop weight_decay": {**RMSPROP, "weight_decay": 0.5},
    "adamw": ADAMW,
    "adamw square_average": {**ADAMW, "square_average": 0.5},
    "adamw eps": {**ADAMW, "eps": 0.1},
    "adamw momentum": {**ADAMW, "momentum": 0.2},
    "adamw weight_decay": {**ADAMW, "weight_decay": 1.0},
    "cosine": {"schedule": "cosine"},
    "cosine after a warm-up": {"schedule": "cosine", "warmup_epochs": 1.0},
    "linear": {"schedule": "linear"},
    "one-cycle": {"schedule": "one-cycle", "pct_start": 0.5},
    "one-cycle rise": {"schedule": "one-cycle", "pct_start": 0.25},
    "step": {"schedule": "step", "decay_epochs": 1.5},
    "step decay_factor": {"schedule": "step", "decay_epochs": 1.5, "decay_factor": 0.5},
    "step decay_epochs": {"schedule": "step", "decay_epochs": 2.0},
    "milestones": {"schedule": "step", "milestones": (1.0, 2.5)},
    "exponential": {"schedule": "exponential", "decay_epochs": 2.0},
    "exponential decay_factor": {"schedule": "exponential", "decay_epochs": 2.0, "decay_factor": 0.7},
    "exponential decay_epochs": {"schedule": "exponential", "decay_epochs": 3.0},
    "aux_weight": {"aux_weight": 0.4},
    "heavier aux_weight": {"aux_weight": 0.8},
    "ema": {"ema": 0.5},
    "slower ema": {"ema": 0.9},
    "mixup": {"mixup": 0.5},
}


def trained(recipe: Recipe) -> dict[str, Tensor]:
    return weights(train(every_kind(), toy_splits(), recipe, 3))


def weights(found: TrainResult) -> dict[str, Tensor]:
    return {name: t for name, t in found.module.state_dict().items() if not name.endswith("tracked")}


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize("name", CHANGES)
def test_a_training_is_the_one_written_by_hand(name: str) -> None:
    recipe = replace(BASE, **CHANGES[name])
    by_hand = train_by_hand(every_kind(), toy_splits().train, recipe, 3)
    assert distance(trained(recipe), by_hand) < 2e-4


@pytest.mark.long
def test_no_number_is_without_effect() -> None:
    found = {name: trained(replace(BASE, **change)) for name, change in CHANGES.items()}
    names = list(found)
    for i, first in enumerate(names):
        for second in names[:i]:
            assert distance(found[first], found[second]) > 1e-3, (first, second)


def test_a_plateau_lowers_the_rate_after_its_patience() -> None:
    plateau = {"schedule": "plateau", "patience": 1, "decay_factor": 0.05, "learning_rate": 0.4, "nesterov": False}
    recipe = replace(BASE, **plateau, epochs=4)
    splits = toy_splits()
    # nothing is held out, so that the training loss is followed
    splits = replace(splits, read_test=lambda: splits.validation)

    def on_all(recipe: Recipe) -> TrainResult:
        return train(every_kind(), splits, recipe, 3, train_on=("train", "validation"), measure_on="test")

    by_hand = train_by_hand(every_kind(), splits.train.joined(splits.validation), recipe, 3)
    losses = on_all(recipe).history
    assert losses[2] > losses[1]
    assert distance(weights(on_all(recipe)), by_hand) < 2e-4
    for other in ({"patience": 2}, {"decay_factor": 0.5}):
        assert distance(weights(on_all(recipe)), weights(on_all(replace(recipe, **other)))) > 1e-3


def test_images_are_changed_as_the_recipe_says() -> None:
    base = trained(BASE)
    for change in (
        {"crop_padding": 2},
        {"flip": True},
        {"cutout": 3},
        {"color_jitter": 0.3},
        {"crop_scale": (0.5, 0.9)},
    ):
        assert distance(base, trained(replace(BASE, **change))) > 1e-3, change
    assert torch.equal(trained(BASE)["fc.weight"], base["fc.weight"])
