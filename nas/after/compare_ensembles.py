"""Ensembles: the accuracy of the mean of several networks' probabilities, from what their own tests have kept.

The test split is not read again for them. The members of an ensemble of candidates are those of the best mean test
accuracy: where there are more candidates than members, that choice itself used the test split, and the result says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.after.statistics import mean_interval, paired
from nas.evaluators.predictions import Labels, Probabilities

if TYPE_CHECKING:
    from nas.after.compare_result import CompareView


def ensemble_accuracy(members: Sequence[tuple[Probabilities, Labels]]) -> float | None:
    """Return the accuracy in percent of the mean of the members' probabilities; None where they saw other images."""
    labels = members[0][1]
    if any(len(other) != len(labels) or (other != labels).any() for _, other in members):
        return None
    mean = np.mean([probabilities for probabilities, _ in members], axis=0, dtype=np.float64)
    return 100 * int((mean.argmax(1) == labels).sum()) / len(labels)


def ensembles(view: CompareView) -> list[dict[str, Any]]:
    """Return the ensembles of a comparison as JSON data, as far as its trainings are there.

    Each is ``{of, recipe, members, scores, mean, interval, best, gain, chosen}``. ``of`` is ``candidates``: one score
    for every seed, whose members are trained with it; or ``seeds``: one score for a candidate, of its networks of
    several seeds. ``best`` is the best single member's mean, ``gain`` the paired difference to it (of candidates), or
    the plain one to the members' mean. ``chosen``: the members were chosen by their test accuracies among more.
    """
    count = view.settings.ensemble
    if count is None:
        return []
    found = []
    for place, recipe in enumerate(view.settings.recipe_names):
        found += [*_of_candidates(view, recipe, place, count), *_of_seeds(view, recipe, place, count)]
    return found


def _of_candidates(view: CompareView, recipe: str, place: int, count: int) -> list[dict[str, Any]]:
    ledger, folder = view.ledger, view.folder
    scores = {index: ledger.scores(index, recipe) for index in range(len(view.candidates))}
    trained = [index for index in scores if scores[index]]
    ranked = sorted(trained, key=lambda index: -statistics.fmean(scores[index].values()))[:count]
    if len(ranked) < count:
        return []
    own: dict[int, float] = {}
    for number in sorted(set.intersection(*(set(scores[index]) for index in ranked))):
        members = [ledger.predictions(folder, index, recipe, place, number) for index in ranked]
        kept = [member for member in members if member is not None]
        accuracy = ensemble_accuracy(kept) if len(kept) == count else None
        if accuracy is not None:
            own[number] = accuracy
    if not own:
        return []
    best = [scores[ranked[0]][number] for number in own]
    entry = _entry("candidates", recipe, [view.names[index] for index in ranked], list(own.values()))
    gain = asdict(paired(list(own.values()), best))
    return [{**entry, "best": statistics.fmean(best), "gain": gain, "chosen": len(trained) > count}]


def _of_seeds(view: CompareView, recipe: str, place: int, count: int) -> list[dict[str, Any]]:
    found = []
    for index, name in enumerate(view.names):
        scores = view.ledger.scores(index, recipe)
        numbers = list(scores)[:count]
        members = [view.ledger.predictions(view.folder, index, recipe, place, number) for number in numbers]
        kept = [member for member in members if member is not None]
        accuracy = ensemble_accuracy(kept) if len(kept) == count else None
        if accuracy is None:
            continue
        single = [scores[number] for number in numbers]
        entry = _entry("seeds", recipe, [f"{name} (seed {number})" for number in numbers], [accuracy])
        gain = {"pairs": 1, "mean": accuracy - statistics.fmean(single)}
        found.append({**entry, "name": name, "best": max(single), "gain": gain, "chosen": False})
    return found


def _entry(of: str, recipe: str, members: list[str], scores: list[float]) -> dict[str, Any]:
    interval = mean_interval(scores)
    return {
        "of": of,
        "recipe": recipe,
        "members": members,
        "scores": scores,
        "mean": statistics.fmean(scores),
        "interval": None if interval is None else asdict(interval),
    }
