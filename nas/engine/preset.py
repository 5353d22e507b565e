"""The search of a user who names no space: shapes at one budget of MACs, briefly trained."""

from __future__ import annotations

from nas.core.values import Json, Task
from nas.data.config import DEFAULT_DATASET, DataConfig, actual_dataset
from nas.schedulers.rungs import ETA

MACS_A_VALUE, LEAST_MACS = 1_000, 1_000_000
"""Multiply-accumulates for each number of an image, and the least: 1 M at 28x28 grey, 3 M at 32x32 RGB, 12 M at 64."""
SPACE = "macro"
TRIALS, FINALISTS = 15, 2
EPOCHS = {"epochs": 2, "finalist_epochs": 3, "final_epochs": 4}
"""What the trials, the finalists and the networks of the comparison are trained for: minutes on two cores.

Measured in benchmarks/RESULTS.md, "Whether searches pay".
"""


def preset(settings: Json) -> Json:
    """Return what a search that names no space has beside ``settings``, which go before it.

    A table is searched as it is, and for an evaluator of the user's own only the space is chosen. Otherwise the
    networks have a budget unless their width is set, and few epochs unless any number of epochs or a recipe is.
    """
    if settings.get("table") is not None:
        return {"space": "table"}
    if settings.get("evaluator", "train") != "train":
        return {"space": SPACE}
    found: Json = {"space": SPACE, "trials": TRIALS}
    found["finalists"] = min(FINALISTS, int(settings.get("trials", TRIALS)) // 4)
    if not {"budget_macs", "budget_params", "width"} & settings.keys():
        found["budget_macs"] = default_budget(_task(settings))
    if not {*EPOCHS, "recipe", "final_recipe"} & settings.keys():
        found |= EPOCHS
    if not found["finalists"]:
        found.pop("finalist_epochs", None)
    # halving wants two rungs at least; a recipe's epochs are many
    epochs = int({**EPOCHS, **found, **settings}["epochs"])
    if not {"scheduler", "scheduler_args"} & settings.keys() and epochs > 1:
        found["scheduler"] = "halving"
        if epochs < ETA and "recipe" not in settings:
            found["scheduler_args"] = {"eta": epochs}
    return found


def default_budget(task: Task) -> int:
    """Return the multiply-accumulates of every network where neither a budget nor a width is named."""
    channels, height, width = task.input_shape
    return max(LEAST_MACS, MACS_A_VALUE * channels * height * width)


def _task(settings: Json) -> Task:
    known = actual_dataset({"dataset": DEFAULT_DATASET, **settings})
    return DataConfig(**{name: known.get(name) for name in ("dataset", "data_dir", "image_size")}).task()
