"""The search of a user who names no space: shapes at one budget of MACs, briefly trained."""

from __future__ import annotations

from nas.core.values import Json, Task
from nas.data.config import DEFAULT_DATASET, DataConfig, actual_dataset
from nas.engine.config import EPOCHS as UNSAID
from nas.schedulers.rungs import ETA
from nas.training.config import NamedRecipe

MACS_A_VALUE, LEAST_MACS = 1_000, 1_000_000
"""Multiply-accumulates for each number of an image, and the least: 1 M at 28x28 grey, 3 M at 32x32 RGB, 12 M at 64."""
SPACE = "macro"
FRONT, BOHB = "nsga2", "bohb"
"""A searcher of several objectives, and one that has a scheduler of its own."""
TRIALS, FINALISTS = 15, 2
EPOCHS = {"epochs": 2, "finalist_epochs": 3, "final_epochs": 4}
"""What the trials, the finalists and the networks of the comparison are trained for: minutes on two cores.

Measured in benchmarks/RESULTS.md, "Whether searches pay".
"""


def preset(settings: Json) -> Json:
    """Return what a search that names no space has beside ``settings``, which go before it.

    A table is searched as it is, and for an evaluator of the user's own only the space is chosen. Otherwise the
    networks have a budget unless their width or a limit of their size is set, and few epochs unless any number of
    epochs, a recipe or a scheduler is.
    """
    if settings.get("table") is not None:
        return {"space": "table"}
    if settings.get("evaluator", "train") != "train":
        return {"space": SPACE}
    found: Json = {"space": SPACE, "trials": TRIALS}
    front, given = settings.get("searcher") == FRONT, settings.keys()
    # networks of one size make no front, and a limit is another size than the usual one
    if not front and not {"budget_macs", "budget_params", "width", "max_macs", "max_params"} & given:
        found["budget_macs"] = default_budget(_task(settings))

    # epochs, and who spreads them
    scheduled = "scheduler" in given or settings.get("searcher") == BOHB
    if not scheduled and not {*EPOCHS, "recipe", "final_recipe", "scheduler_args"} & given:
        found |= EPOCHS
    epochs = _epochs({**found, **settings})
    if not scheduled and not front and epochs > 1:
        found["scheduler"] = "halving"
        if epochs < ETA and "scheduler_args" not in given:
            found["scheduler_args"] = {"eta": epochs}

    # a second stage: not of a search for a front, and not of one that ends by the clock
    usual = 0 if front or "max_seconds" in given else min(FINALISTS, settings.get("trials", TRIALS) // 4)
    found["finalists"] = usual
    if not settings.get("finalists", usual):
        found.pop("finalist_epochs", None)
    return found


def _epochs(settings: Json) -> int:
    """Return the most epochs of a trial."""
    if settings.get("epochs") is None and settings.get("recipe") is not None:
        return NamedRecipe.of(settings["recipe"], "--recipe", settings.get("dataset") or DEFAULT_DATASET).recipe.epochs
    return int(settings.get("epochs", UNSAID["epochs"]))


def default_budget(task: Task) -> int:
    """Return the multiply-accumulates of every network where neither a budget nor a width is named."""
    channels, height, width = task.input_shape
    return max(LEAST_MACS, MACS_A_VALUE * channels * height * width)


def _task(settings: Json) -> Task:
    known = actual_dataset(settings, DEFAULT_DATASET)
    return DataConfig(**{name: known.get(name) for name in ("dataset", "data_dir", "image_size")}).task()
