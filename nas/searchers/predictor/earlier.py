"""What earlier searches say of architectures: the means of the models that their results make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from nas.searchers.predictor import gaussian_process as gp
from nas.searchers.predictor.observations import Encoded, Observations
from nas.types import Architecture, EarlierRun

BEST = 20
"""How many of each run are known as its best."""
REMEMBERED = 2_048
"""Architectures whose scores are kept."""


class EarlierScores:
    """Scores of architectures by what earlier runs found: one score a run, in the units of normal scores there.

    The rewards of other tasks have other units, but the order of architectures is much alike. So a run's results become
    one more score that needs no training; how far it holds for the search at hand is learned as of any score.
    """

    def __init__(self, runs: Sequence[EarlierRun], encoded: Callable[[Architecture], Encoded]) -> None:
        told = [run for run in runs if len(set(run.rewards)) > 1]
        self._models = [_Model(f"earlier {place + 1} {run.name}", run, encoded) for place, run in enumerate(told)]
        self._of: Callable[[Architecture], dict[str, float]] = lru_cache(REMEMBERED)(self._scores)
        self.best: tuple[Architecture, ...] = tuple(
            dict.fromkeys(
                run.architectures[place]
                for run in runs
                for place in sorted(range(len(run.rewards)), key=lambda i: (-run.rewards[i], i))[:BEST]
            )
        )
        """The best architectures of all runs."""

    def __call__(self, architecture: Architecture) -> dict[str, float]:
        """Return the scores of an architecture, by the names of the runs: the same bits whatever was asked before."""
        return self._of(architecture)

    def _scores(self, architecture: Architecture) -> dict[str, float]:
        with gp.one_thread():
            return {model.name: model.mean(architecture) for model in self._models}


class _Model:
    """The ensemble of Gaussian processes that one run's results make."""

    def __init__(self, name: str, run: EarlierRun, encoded: Callable[[Architecture], Encoded]) -> None:
        self.name = name
        self._observations = Observations(encoded, run.architectures)
        within, targets = self._observations.within(), gp.normal_scores(run.rewards)
        ensemble = gp.Ensemble.fit(within, targets)
        self._shares = ensemble.shares
        self._posteriors = [gp.Posterior(member, within, targets) for member in ensemble.members]

    def mean(self, architecture: Architecture) -> float:
        """Return the mean at one architecture; of several at once its last bits would depend on the others."""
        across = self._observations.across([architecture])
        means = [posterior.predict(across)[0][0] for posterior in self._posteriors]
        return float(self._shares @ np.array(means))
