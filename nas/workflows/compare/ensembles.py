"""Ensembles: the accuracy of the mean of several networks' probabilities, from what their own tests have kept.

The test split is not read again for them. The members of an ensemble of candidates are those of the best mean test
accuracy: where there are more candidates than members, that choice itself used the test split, and the result says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nas.core.values import Json
from nas.evaluators.test_split import Labels, Probabilities
from nas.report.statistics import Interval, Paired, accuracy_interval, paired
from nas.workflows.compare.view import CompareView


@dataclass(frozen=True)
class Ensemble:
    """An ensemble and its accuracies, in percent of the test split."""

    of: str
    """``candidates``: one score for every seed, whose members are trained with it; or ``seeds``: one score for a
    candidate, of its networks of several seeds."""
    recipe: str
    members: list[str]
    scores: list[float]
    mean: float
    interval: Interval | None
    best: float
    """The mean of the best single member."""
    gain: Paired
    """Of candidates the paired difference to the best member, of seeds the plain one to the members' mean."""
    chosen: bool
    """Whether the members were chosen by their test accuracies among more."""
    name: str | None = None
    """The candidate of an ensemble of ``seeds``."""

    def to_json(self) -> Json:
        """Return the ensemble as JSON data; one of candidates has no name, one of seeds no tests."""
        data = asdict(self)
        last = {name: data.pop(name) for name in ("best", "gain", "chosen", "name")}
        if self.of == "candidates":
            del last["name"]
            return {**data, **last}
        gain = {"pairs": self.gain.pairs, "mean": self.gain.mean}
        return {**data, "name": self.name, "best": self.best, "gain": gain, "chosen": self.chosen}

    @classmethod
    def from_json(cls, data: Json) -> Ensemble:
        """Read what :meth:`to_json` wrote."""
        read = {"interval": Interval.from_json(data["interval"]), "gain": Paired.from_json(data["gain"])}
        return cls(**{**data, **read})


def ensemble_accuracy(members: Sequence[tuple[Probabilities, Labels]]) -> float | None:
    """Return the accuracy in percent of the mean of the members' probabilities; None where they saw other images."""
    labels = members[0][1]
    if any(len(other) != len(labels) or (other != labels).any() for _, other in members):
        return None
    mean = np.mean([probabilities for probabilities, _ in members], axis=0, dtype=np.float64)
    return 100 * int((mean.argmax(1) == labels).sum()) / len(labels)


def ensembles(view: CompareView) -> list[Ensemble]:
    """Return the ensembles of a comparison, as far as its trainings are there."""
    count, found = view.settings.ensemble, []
    if count is None:
        return []
    for place, recipe in enumerate(view.settings.recipe_names):
        scores = [view.ledger.scores(index, recipe) for index in range(len(view.candidates))]

        # of the best candidates, one accuracy for each seed that all members have
        trained = [index for index, own in enumerate(scores) if own]
        ranked = sorted(trained, key=lambda index: -statistics.fmean(scores[index].values()))[:count]
        shared = sorted(set.intersection(*(set(scores[index]) for index in ranked))) if len(ranked) == count else []
        by_seed = {n: _accuracy(view, recipe, place, [(index, n) for index in ranked]) for n in shared}
        own = {number: accuracy for number, accuracy in by_seed.items() if accuracy is not None}
        if own:
            accuracies, best = list(own.values()), [scores[ranked[0]][number] for number in own]
            ensemble = Ensemble(
                of="candidates",
                recipe=recipe,
                members=[view.candidate_names[index] for index in ranked],
                scores=accuracies,
                mean=statistics.fmean(accuracies),
                interval=accuracy_interval(accuracies),
                best=statistics.fmean(best),
                gain=paired(accuracies, best),
                chosen=len(trained) > count,
            )
            found.append(ensemble)

        # of each candidate, its networks of the first seeds
        for index, name in enumerate(view.candidate_names):
            numbers = list(scores[index])[:count]
            accuracy = _accuracy(view, recipe, place, [(index, number) for number in numbers])
            if accuracy is None or len(numbers) < count:
                continue
            single = [scores[index][number] for number in numbers]
            ensemble = Ensemble(
                of="seeds",
                recipe=recipe,
                members=[f"{name} (seed {number})" for number in numbers],
                scores=[accuracy],
                mean=accuracy,
                interval=None,
                best=max(single),
                gain=Paired(1, accuracy - statistics.fmean(single)),
                chosen=False,
                name=name,
            )
            found.append(ensemble)
    return found


def _accuracy(view: CompareView, recipe: str, place: int, members: Sequence[tuple[int, int]]) -> float | None:
    """Return the accuracy of the trainings of (candidate, seed); None where one has left no predictions."""
    found = [view.ledger.predictions(view.folder, index, recipe, place, number) for index, number in members]
    kept = [one for one in found if one is not None]
    return ensemble_accuracy(kept) if kept and len(kept) == len(members) else None
