"""Learning rates by step: pure functions of the recipe, the step and the losses so far, so resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.training.recipe import Recipe

LEAST_IMPROVEMENT = 1e-4
"""The share by which an epoch's loss must be below the best so far to count as progress (torch's own default)."""

Decay = Callable[["Recipe", float, float], float]


def rate(recipe: Recipe, step: int, steps_per_epoch: int, epochs: int | None = None, drops: int = 0) -> float:
    """Return the learning rate of ``step`` (from 0) in a run of ``epochs`` (the recipe's by default).

    It is the whole ``learning_rate`` at the last step of the warm-up; schedules that fall to zero would be there at the
    step after the last. ``drops`` is what :func:`plateau_drops` finds; other schedules do not look at it.
    """
    length = recipe.epochs if epochs is None else epochs
    total = steps_per_epoch * length
    warmup = warmup_steps(recipe, steps_per_epoch, total)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "plateau":
        return recipe.learning_rate * recipe.decay_factor**drops
    share = (step - warmup) / (total - warmup)
    epoch = step / steps_per_epoch * recipe.epochs / length
    return recipe.learning_rate * DECAYS[recipe.schedule](recipe, share, epoch)


def warmup_steps(recipe: Recipe, steps_per_epoch: int, total: int) -> int:
    """Return the steps that rise from zero: ``warmup_epochs``, or the share ``rise`` of a one-cycle run.

    A warm-up in epochs never takes more than half of a run.
    """
    if recipe.schedule == "one-cycle":
        return min(round(recipe.rise * total), total - 1)
    return min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """Return how often the rate has dropped after epochs of these mean training ``losses``.

    It drops when ``patience`` epochs in a row have brought no loss below the best; then the count begins anew. The
    training loss decides: a final training has no validation split, and a search must not look at it every epoch.
    """
    best, waited, drops = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - LEAST_IMPROVEMENT):
            best, waited = loss, 0
        else:
            waited += 1
        if waited >= patience:
            waited, drops = 0, drops + 1
    return drops


def _constant(recipe: Recipe, share: float, epoch: float) -> float:
    return 1.0


def _cosine(recipe: Recipe, share: float, epoch: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _linear(recipe: Recipe, share: float, epoch: float) -> float:
    return 1 - share


def _step(recipe: Recipe, share: float, epoch: float) -> float:
    # a multiple of the interval may come out a hair below itself in floating point
    epoch += 1e-9
    if recipe.milestones:
        return recipe.decay_factor ** sum(milestone <= epoch for milestone in recipe.milestones)
    return recipe.decay_factor ** math.floor(epoch / recipe.decay_epochs)


def _exponential(recipe: Recipe, share: float, epoch: float) -> float:
    return math.pow(recipe.decay_factor, epoch / recipe.decay_epochs)


DECAYS: dict[str, Decay] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "one-cycle": _linear,
    "step": _step,
    "exponential": _exponential,
    "plateau": _constant,
}
"""The factor of the learning rate by schedule, from the share of the run after the warm-up, and the recipe's epoch."""
