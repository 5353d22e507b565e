"""NSGA-II for reward against cost: parents from the best fronts, of them those in the least crowded places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.errors import ConfigError
from nas.searchers.base import Fold, number, register_searcher, whole
from nas.searchers.offspring import Offspring, Seen
from nas.searchers.pareto import (
    DEFAULT_OBJECTIVES,
    Floats,
    Ints,
    crowding,
    limits_of,
    objective_names,
    ranks,
    value_of,
    violation,
)
from nas.space import Space
from nas.types import Architecture, Context, History, Proposal, Trial


@dataclass
class _State:
    """The population with each member's point (M,) and violation, its front and its crowding distance."""

    living: list[Trial] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    violations: list[float] = field(default_factory=list)
    fronts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    room: Floats = field(default_factory=lambda: np.zeros(0))
    seen: Seen = field(default_factory=Seen)
    problem: ConfigError | None = None


@register_searcher("nsga2", source="Deb et al. 2002, IEEE Trans. Evolutionary Computation 6(2), sections III and VI")
class Nsga2Searcher:
    """Maximises the reward and minimises ``objectives``, such as macs,latency: a front of trade-offs (NSGA-II).

    ``objectives`` are names with commas between them: ``params``, ``macs``, or metrics that the evaluator records.
    ``limits`` such as ``latency<=5,energy<=2`` bound what only an evaluation tells, by constraint-domination: whatever
    keeps them goes before what does not, and of the latter the lesser violation.

    The population is the best ``population`` trials by front and crowding distance; it takes in one child at a time, so
    nothing waits for a generation. A parent wins a ``tournament``. With probability ``crossover`` a child mixes two
    winners, and is then mutated with probability ``mutation``; any other is one winner mutated. The first ``initial``
    architectures are random. Children that are known are redrawn, those over a limit on params or macs are repaired
    (see :class:`nas.searchers.offspring.Offspring`). Binary tournaments, as in the paper, need more evaluations: the
    defaults were chosen on NAS-Bench-201 with the latencies of four devices that benchmarks/pareto.py does not show.
    """

    def __init__(
        self,
        space: Space,
        objectives: str | Sequence[str] = DEFAULT_OBJECTIVES,
        limits: str | Sequence[str] = "",
        population: int = 30,
        initial: int = 10,
        tournament: int = 6,
        crossover: float = 0.5,
        mutation: float = 0.2,
        context: Context | None = None,
    ) -> None:
        self._space = space
        self._objectives = objective_names(objectives)
        self._limits = limits_of(limits)
        self._population = whole("nsga2", "population", population, 2)
        self._initial = whole("nsga2", "initial", initial, 1)
        self._tournament = whole("nsga2", "tournament", tournament, 1)
        self._crossover = number("nsga2", "crossover", crossover)
        self._mutation = number("nsga2", "mutation", mutation)
        self._offspring = Offspring(space, context)
        self._fold = Fold(_State, self._step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture at first, then a child of the population.

        A trial without one of the objectives raises :class:`ConfigError`.
        """
        state = self._fold(history)
        if state.problem:
            raise state.problem
        if len(history) < self._initial or not state.living:
            return Proposal(self._offspring.random(state.seen, history, rng))
        everyone = range(len(state.living))
        alive = [i for i in everyone if state.living[i].index not in state.seen.closed]
        parent, mate, info = self._winner(state, alive or everyone, rng), None, {}
        if rng.random() < self._crossover:
            mate = self._winner(state, everyone, rng)
            info = {"mate": mate.index}

        def draw() -> Architecture:
            if mate is None:
                child = self._space.mutate(parent.architecture, rng)
                return child if alive else self._space.mutate(child, rng)
            mixed = self._space.crossover(parent.architecture, mate.architecture, rng)
            return self._space.mutate(mixed, rng) if rng.random() < self._mutation else mixed

        best_first = [state.living[i] for i in np.lexsort((-state.room, state.fronts))]
        others = [t for t in best_first if t is not parent]
        child, closed = self._offspring.child(draw, [parent, *others], state.seen, history, rng)
        return Proposal(child, info={"parent": parent.index, **info, **({"closed": closed} if closed else {})})

    def _step(self, state: _State, trial: Trial) -> None:
        state.seen.add(trial)
        if trial.reward is None or trial.status == "reused" or state.problem:
            return
        try:
            point = [-trial.reward, *(value_of(trial, name) for name in self._objectives)]
            excess = violation(trial, self._limits)
        except ConfigError as error:
            state.problem = ConfigError(f"searcher 'nsga2': {error}")
            return
        state.living.append(trial)
        state.points.append(point)
        state.violations.append(excess)
        _rank(state)
        if len(state.living) > self._population:
            _drop(state)

    def _winner(self, state: _State, among: Sequence[int], rng: np.random.Generator) -> Trial:
        """Return the best of a random few by front, then by room around it (the crowded comparison operator)."""
        drawn: list[int] = rng.choice(among, size=min(self._tournament, len(among)), replace=False).tolist()
        winner: int = min(drawn, key=lambda i: (state.fronts[i], -state.room[i]))
        return state.living[winner]


def _rank(state: _State) -> None:
    """Sort the population into fronts: those within the limits by dominance, then the others by violation."""
    points, violations = np.array(state.points), np.array(state.violations)
    kept = violations == 0
    fronts = np.zeros(len(points), dtype=np.int64)
    fronts[kept] = ranks(points[kept])
    last = fronts[kept].max(initial=-1)
    fronts[~kept] = last + 1 + np.unique(violations[~kept], return_inverse=True)[1]
    room = np.zeros(len(points))
    for front in range(fronts.max(initial=-1) + 1):
        members = fronts == front
        room[members] = crowding(points[members])
    state.fronts, state.room = fronts, room


def _drop(state: _State) -> None:
    """Remove the most crowded of the last front, the oldest of equals; the other fronts are as they were."""
    worst = int(np.lexsort((state.room, -state.fronts))[0])
    last = state.fronts[worst]
    for column in (state.living, state.points, state.violations):
        del column[worst]
    state.fronts, state.room = np.delete(state.fronts, worst), np.delete(state.room, worst)
    members = state.fronts == last
    state.room[members] = crowding(np.array(state.points)[members])
