"""NSGA-II for reward against cost: parents from the best fronts, of them those in the least crowded places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.errors import ConfigError
from nas.searchers import pareto
from nas.searchers.base import Fold, number, register_searcher, whole
from nas.searchers.offspring import Archive, Offspring
from nas.space import Space
from nas.types import Architecture, Context, History, Proposal, Trial


@dataclass
class _State:
    """The population of P trials, column by column."""

    living: list[Trial] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    """Each member's objectives (P, M), all to be minimised."""
    violations: list[float] = field(default_factory=list)
    """How far each is over the limits, 0 within."""
    fronts: pareto.Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Each member's front (P,), 0 for the best."""
    distances: pareto.Floats = field(default_factory=lambda: np.zeros(0))
    """Each member's crowding distance (P,)."""
    archive: Archive = field(default_factory=Archive)
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
        objectives: str | Sequence[str] = pareto.DEFAULT_OBJECTIVES,
        limits: str | Sequence[str] = "",
        population: int = 30,
        initial: int = 10,
        tournament: int = 6,
        crossover: float = 0.5,
        mutation: float = 0.2,
        context: Context | None = None,
    ) -> None:
        self._space = space
        self._objectives = pareto.objective_names(objectives)
        self._limits = pareto.limits_of(limits)
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
            return Proposal(self._offspring.random(state.archive, history, rng))
        # selection: a parent that may have new neighbours, and any mate
        everyone = range(len(state.living))
        alive = [i for i in everyone if state.living[i].index not in state.archive.exhausted_parents]
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

        # where the parent has no new neighbour left, the best that has one is the parent
        best_first = [state.living[i] for i in np.lexsort((-state.distances, state.fronts))]
        others = [t for t in best_first if t is not parent]
        child, exhausted = self._offspring.child(draw, [parent, *others], state.archive, history, rng)
        return Proposal(child, info={"parent": parent.index, **info, **({"closed": exhausted} if exhausted else {})})

    def _step(self, state: _State, trial: Trial) -> None:
        state.archive.add(trial)
        if trial.reward is None or trial.status == "reused" or state.problem:
            return
        # an evaluator that lacks an objective is found when its trial is folded, and told when the next is asked
        try:
            point = [-trial.reward, *(pareto.value_of(trial, name) for name in self._objectives)]
            excess = pareto.violation(trial, self._limits)
        except ConfigError as error:
            state.problem = ConfigError(f"searcher 'nsga2': {error}")
            return
        # the child joins, then the worst of all dies (mu + 1)
        state.living.append(trial)
        state.points.append(point)
        state.violations.append(excess)
        points, violations = np.array(state.points), np.array(state.violations)
        kept = violations == 0
        fronts = np.zeros(len(points), dtype=np.int64)
        fronts[kept] = pareto.ranks(points[kept])
        # over a limit: behind all within, less violation first
        last = fronts[kept].max(initial=-1)
        fronts[~kept] = last + 1 + np.unique(violations[~kept], return_inverse=True)[1]
        distances = np.zeros(len(points))
        for front in range(fronts.max(initial=-1) + 1):
            distances[fronts == front] = pareto.crowding(points[fronts == front])
        if len(points) > self._population:
            # the most crowded of the last front dies, the oldest of equals; the other fronts are as they were
            worst = int(np.lexsort((distances, -fronts))[0])
            for column in (state.living, state.points, state.violations):
                del column[worst]
            last = fronts[worst]
            points, fronts, distances = (np.delete(a, worst, axis=0) for a in (points, fronts, distances))
            distances[fronts == last] = pareto.crowding(points[fronts == last])
        state.fronts, state.distances = fronts, distances

    def _winner(self, state: _State, among: Sequence[int], rng: np.random.Generator) -> Trial:
        """Return the best of a random few by front, then by crowding distance (the crowded comparison operator)."""
        drawn: list[int] = rng.choice(among, size=min(self._tournament, len(among)), replace=False).tolist()
        winner: int = min(drawn, key=lambda i: (state.fronts[i], -state.distances[i]))
        return state.living[winner]
