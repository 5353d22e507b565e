"""Regularised evolution: tournaments in a population that forgets its oldest."""

from __future__ import annotations

import numpy as np

from nas.searchers.base import register_searcher, whole
from nas.space import Space
from nas.types import History, Proposal, Trial


@register_searcher("evolution", source="arXiv:1802.01548, algorithm 1 (AmoebaNet)")
class EvolutionSearcher:
    """Mutates the best of a random tournament among the latest trials (regularised evolution).

    ``population`` is how many of the latest scored trials may be parents; the first as many are random. ``tournament``
    is how many of them are drawn to compete.
    """

    def __init__(self, space: Space, population: int = 20, tournament: int = 10) -> None:
        self._space = space
        self._population = whole("evolution", "population", population, 1)
        self._tournament = whole("evolution", "tournament", tournament, 1)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture at first, then a mutated tournament winner."""
        if len(history) < self._population:
            return Proposal(self._space.sample(rng))
        living = latest_scored(history, self._population)
        if not living:
            return Proposal(self._space.sample(rng))
        drawn = rng.choice(len(living), size=min(self._tournament, len(living)), replace=False)
        parent = max((living[i] for i in drawn), key=_fitness)
        child = self._space.mutate(parent.architecture, rng)
        return Proposal(child, info={"parent": parent.index})


def latest_scored(history: History, count: int) -> list[Trial]:
    """Return the latest ``count`` results that have a reward, the latest first."""
    found: list[Trial] = []
    for trial in reversed(history.results):
        if trial.reward is not None:
            found.append(trial)
            if len(found) == count:
                break
    return found


def _fitness(trial: Trial) -> tuple[float, int]:
    assert trial.reward is not None
    return trial.reward, trial.index
