"""Regularised evolution: tournaments in a population that forgets its oldest."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from nas.errors import ConfigError
from nas.searchers.base import Fold, number, register_searcher, whole
from nas.searchers.offspring import Archive, Offspring
from nas.space import Space
from nas.types import Architecture, Context, History, Proposal, Trial


@dataclass
class _State:
    living: list[Trial] = field(default_factory=list)
    """The population, those that die first at the end."""
    archive: Archive = field(default_factory=Archive)


@register_searcher("evolution", source="arXiv:1802.01548, algorithm 1 (AmoebaNet)")
class EvolutionSearcher:
    """Mutates the best of a random tournament among the latest trials (regularised evolution).

    ``population`` is how many of the latest scored trials may be parents; the first as many are random. ``tournament``
    is how many of them are drawn to compete. With probability ``crossover`` a child mixes two winners before it is
    mutated. Without ``ageing`` the worst dies instead of the oldest: parents are the best of all trials.

    A child is redrawn when its decisions or its canonical key are known or it is over a limit (see
    :class:`nas.searchers.offspring.Offspring`).
    """

    def __init__(
        self,
        space: Space,
        population: int = 20,
        tournament: int = 10,
        crossover: float = 0.0,
        ageing: bool = True,
        context: Context | None = None,
    ) -> None:
        self._space = space
        self._population = whole("evolution", "population", population, 1)
        self._tournament = whole("evolution", "tournament", tournament, 1)
        self._crossover = number("evolution", "crossover", crossover)
        if type(ageing) is not bool:
            raise ConfigError(f"searcher 'evolution': ageing must be true or false, found {ageing!r}")
        self._ageing = ageing
        self._offspring = Offspring(space, context)
        self._fold = Fold(_State, self._step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture at first, then a mutated tournament winner."""
        state = self._fold(history)
        if len(history) < self._population or not state.living:
            return Proposal(self._offspring.random(state.archive, history, rng))
        # selection: a tournament, and a second one where two parents are mixed
        parent, mate, info = self._winner(state, rng), None, {}
        if self._crossover and rng.random() < self._crossover:
            mate = self._winner(state, rng)
            info = {"mate": mate.index}

        def draw() -> Architecture:
            one = parent.architecture
            mixed = one if mate is None else self._space.crossover(one, mate.architecture, rng)
            return self._space.mutate(mixed, rng)

        # where the winner has no new neighbour left, the fittest that has one is the parent
        others = [t for t in sorted(state.living, key=_fitness, reverse=True) if t is not parent]
        child, exhausted = self._offspring.child(draw, [parent, *others], state.archive, history, rng)
        return Proposal(child, info={"parent": parent.index, **info, **({"closed": exhausted} if exhausted else {})})

    def _step(self, state: _State, trial: Trial) -> None:
        state.archive.add(trial)
        if trial.reward is None:
            return
        # newest first, or best first: in both cases the last one dies
        if self._ageing:
            state.living.insert(0, trial)
        else:
            insort(state.living, trial, key=lambda t: (-_fitness(t)[0], -t.index))
        del state.living[self._population :]

    def _winner(self, state: _State, rng: np.random.Generator) -> Trial:
        count = len(state.living)
        drawn: list[int] = rng.choice(count, size=min(self._tournament, count), replace=False).tolist()
        return max((state.living[i] for i in drawn), key=_fitness)


def _fitness(trial: Trial) -> tuple[float, int]:
    assert trial.reward is not None
    return trial.reward, trial.index
