"""What earlier searches say of architectures: the means of the models that their results make."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nas.searchers.predictor import gaussian_process as gp
from nas.searchers.predictor.observations import Encoded, Observations
from nas.types import Architecture, EarlierRun

BEST = 20
"""How many of each run are known as its best."""


class EarlierScores:
    """Scores of architectures by what earlier runs found: one score a run, in the units of normal scores there.

    The rewards of other tasks have other units, but the order of architectures is much alike. So a run's results become
    one more score that needs no training; how far it holds for the search at hand is learned as of any score.
    """

    def __init__(self, runs: Sequence[EarlierRun], encoded: Callable[[Architecture], Encoded]) -> None:
        self._models = [_Model(run, encoded) for run in runs if len(set(run.rewards)) > 1]
        self._known: dict[Architecture, dict[str, float]] = {}
        self.best: tuple[Architecture, ...] = tuple(
            dict.fromkeys(
                run.architectures[place]
                for run in runs
                for place in sorted(range(len(run.rewards)), key=lambda i: (-run.rewards[i], i))[:BEST]
            )
        )
        """The best architectures of all runs."""

    def __call__(self, architectures: Sequence[Architecture]) -> list[dict[str, float]]:
        """Return the scores of each architecture, by the names of the runs."""
        new = [a for a in dict.fromkeys(architectures) if a not in self._known]
        if new:
            means = [model.means(new) for model in self._models]
            for place, architecture in enumerate(new):
                self._known[architecture] = {
                    model.name: float(mean[place]) for model, mean in zip(self._models, means, strict=True)
                }
        return [self._known[a] for a in architectures]


class _Model:
    """The ensemble of Gaussian processes that one run's results make."""

    def __init__(self, run: EarlierRun, encoded: Callable[[Architecture], Encoded]) -> None:
        self.name = f"earlier {run.name}"
        self._observations = Observations(encoded, run.architectures)
        self._targets = gp.normal_scores(run.rewards)
        self._within = self._observations.within()
        self._ensemble = gp.Ensemble.fit(self._within, self._targets)

    def means(self, architectures: Sequence[Architecture]) -> gp.Vector:
        """Return the means (N,) of the model at ``architectures``."""
        across = self._observations.across(architectures)
        return np.asarray(self._ensemble.believed(self._within, self._targets, across))
