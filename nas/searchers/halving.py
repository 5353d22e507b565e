"""Successive halving and Hyperband: brackets whose rungs are decided when all of their trials are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod

import numpy as np

from nas.errors import ConfigError, Exhausted
from nas.searchers.base import Fold
from nas.searchers.fidelity import Ladder, View, whole
from nas.searchers.pareto import DEFAULT_OBJECTIVES
from nas.searchers.ranking import Ranking
from nas.searchers.schedulers import Promoting, register_scheduler
from nas.types import History, Proposal, Searcher, Trial, Value

PATIENCE = 10
"""A bracket begins with fewer than its share when the searcher offers nothing new in so many proposals a place."""


@dataclass(frozen=True)
class Plan:
    """What a bracket is to be: its lowest rung, how many trials each rung from there up has, and the shares between."""

    first: int
    sizes: tuple[int, ...]
    etas: tuple[int, ...]


@dataclass
class _Level:
    """One rung of a bracket: the scored trials in order, and how many finished."""

    ranked: Ranking
    finished: int = 0


@dataclass
class _Waiting:
    """The pending trials of one bracket: how many proposals, of how many each level, and who is being promoted."""

    levels: list[int]
    asked: int = 0
    gone: set[int] = field(default_factory=set)


@dataclass
class _Bracket:
    plan: Plan
    levels: list[_Level]
    asked: int = 0
    promoted: set[int] = field(default_factory=set)

    def filled(self, waiting: _Waiting) -> bool:
        """Return whether the lowest rung needs no more architectures."""
        size = self.plan.sizes[0]
        here = self.levels[0].finished + waiting.levels[0]
        return here >= size or self.asked + waiting.asked >= PATIENCE * size

    def promotion(self, waiting: _Waiting) -> tuple[Trial, int] | None:
        """Return whom to promote and to which rung, None where that is not decided yet or nothing is left."""
        for level, size in enumerate(self.plan.sizes[1:]):
            here, above = self.levels[level], self.levels[level + 1]
            if waiting.levels[level] or not here.finished:
                return None
            # a rung that has fewer than planned promotes its share of them
            share = max(1, min(size, here.finished // self.plan.etas[level]))
            if above.finished + waiting.levels[level + 1] < share:
                for trial in here.ranked:
                    if trial.index not in self.promoted and trial.index not in waiting.gone:
                        return trial, self.plan.first + level + 1
        return None


class _State:
    """The brackets so far; ``first`` is the first that may have something left to do."""

    def __init__(self) -> None:
        self.brackets: dict[int, _Bracket] = {}
        self.done: set[int] = set()
        self.first = 0
        self.known: set[tuple[str, int]] = set()


class Brackets(Promoting):
    """Fills brackets one after the other with the inner searcher's proposals and promotes the best of every rung.

    A rung is decided when all its trials are there. Until then, if a bracket has nothing to ask, the next one is
    begun, so that no worker is idle; the oldest bracket that has something to ask comes first. Failed trials count
    as the worst; an architecture that has trained for these epochs already (reused) or is refused takes no place.
    """

    def __init__(
        self,
        name: str,
        searcher: Searcher,
        ladder: Ladder,
        plans: Sequence[Plan],
        view: View,
        by: str,
        objectives: Value,
    ) -> None:
        super().__init__(name, searcher, ladder, view, by, objectives)
        self.plans = tuple(plans)
        self._fold = Fold(_State, self._step)

    def plan(self, number: int) -> Plan:
        """Return the plan of bracket ``number``, counted from 0."""
        return self.plans[number % len(self.plans)]

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a promotion or a new architecture of the oldest bracket that has something to ask."""
        state = self._fold(history)
        pending = self._pending(state, history)
        for number in count(state.first):
            if number in state.done:
                continue
            bracket = state.brackets.get(number) or self._begin(number)
            if not bracket.filled(pending[number]):
                return self._fill(number, history, rng, state, pending)
            found = bracket.promotion(pending[number])
            if found is not None:
                return self._promotion(*found)
        raise AssertionError("unreachable: a new bracket has places to fill")

    def _fill(
        self,
        number: int,
        history: History,
        rng: np.random.Generator,
        state: _State,
        pending: Mapping[int, _Waiting],
    ) -> Proposal:
        try:
            return self._new(history, rng, self.plan(number).first, {"bracket": number})
        except Exhausted:
            # nothing new will come: what is there competes in brackets that stay smaller than planned
            for other, bracket in sorted(state.brackets.items()):
                found = bracket.promotion(pending[other])
                if found is not None:
                    return self._promotion(*found)
            raise

    def _begin(self, number: int) -> _Bracket:
        plan = self.plan(number)
        return _Bracket(plan, [_Level(self.ranking()) for _ in plan.sizes])

    def _step(self, state: _State, trial: Trial) -> None:
        number = trial.proposal.info.get("bracket")
        rung = self._ladder.rung_of(trial)
        if number is None or rung is None:
            return
        bracket = state.brackets.get(number)
        if bracket is None:
            bracket = state.brackets[number] = self._begin(number)
        if trial.status != "refused":
            state.known.add((trial.key, trial.proposal.epochs))
        if trial.proposal.continue_from is not None:
            bracket.promoted.add(trial.proposal.continue_from)
        else:
            bracket.asked += 1
        if trial.proposal.continue_from is not None or trial.status not in ("reused", "refused"):
            level = bracket.levels[rung - bracket.plan.first]
            level.finished += 1
            if trial.reward is not None:
                level.ranked.add(trial)
        nothing = self._none_waiting()
        if bracket.filled(nothing) and bracket.promotion(nothing) is None:
            state.done.add(number)
            while state.first in state.done:
                state.first += 1

    def _none_waiting(self) -> _Waiting:
        return _Waiting([0] * len(self.rungs))

    def _pending(self, state: _State, history: History) -> Mapping[int, _Waiting]:
        found: dict[int, _Waiting] = defaultdict(self._none_waiting)
        known: set[tuple[str, int]] = set()
        for trial in history.pending:
            number, rung = trial.proposal.info.get("bracket"), self._ladder.rung_of(trial)
            if number is None or rung is None:
                continue
            waiting, level = found[number], rung - self.plan(number).first
            place = (trial.key, trial.proposal.epochs)
            if trial.proposal.continue_from is not None:
                waiting.gone.add(trial.proposal.continue_from)
                waiting.levels[level] += 1
            else:
                waiting.asked += 1
                waiting.levels[level] += place not in state.known and place not in known
            known.add(place)
        return found


@register_scheduler("halving", source="arXiv:1502.07943 (Jamieson & Talwalkar, successive halving)")
class Halving(Brackets):
    """Trains ``size`` architectures briefly, the best 1 / eta of them longer, and so on; then begins anew.

    ``size`` by default leaves one for all epochs. For ``eta``, ``min_epochs`` and ``rungs`` see
    :class:`nas.searchers.fidelity.Ladder`, for ``learn`` and ``enough`` :class:`nas.searchers.fidelity.View`, for
    ``by`` and ``objectives`` :class:`nas.searchers.schedulers.Promoting`.
    """

    def __init__(
        self,
        searcher: Searcher,
        epochs: int,
        eta: int | None = None,
        min_epochs: int | None = None,
        rungs: Value = None,
        size: int | None = None,
        by: str = "reward",
        objectives: Value = DEFAULT_OBJECTIVES,
        learn: str = "lowest",
        enough: int | None = None,
    ) -> None:
        ladder = Ladder.of("halving", epochs, eta, min_epochs, rungs)
        least = prod(ladder.etas)
        chosen = least if size is None else whole("halving", "size", size, 1)
        if chosen < least:
            raise ConfigError(
                f"scheduler 'halving': size must be at least {least}, so that one of them reaches {epochs} epochs, "
                f"found {chosen}"
            )
        view = View("halving", ladder, learn, enough)
        super().__init__("halving", searcher, ladder, [_plan(ladder, 0, chosen)], view, by, objectives)


@register_scheduler("hyperband", source="arXiv:1603.06560 (Li et al., Hyperband)")
class Hyperband(Brackets):
    """Repeats brackets of successive halving from many architectures briefly to few for all epochs at once.

    Brackets have the sizes of the paper's table and of its authors' code: of K + 1 rungs, one over the last s + 1 of
    them begins with floor((K + 1) / (s + 1)) * eta^s architectures. The inner searcher learns from the largest epochs
    with ``enough`` results, as in BOHB (arXiv:1807.01774). For the arguments see :class:`Halving`.
    """

    def __init__(
        self,
        searcher: Searcher,
        epochs: int,
        eta: int | None = None,
        min_epochs: int | None = None,
        rungs: Value = None,
        by: str = "reward",
        objectives: Value = DEFAULT_OBJECTIVES,
        learn: str = "largest",
        enough: int | None = None,
    ) -> None:
        ladder = Ladder.of("hyperband", epochs, eta, min_epochs, rungs)
        count = len(ladder.rungs)
        plans = [_plan(ladder, k, count // (count - k) * prod(ladder.etas[k:])) for k in range(count)]
        super().__init__("hyperband", searcher, ladder, plans, View("hyperband", ladder, learn, enough), by, objectives)


def _plan(ladder: Ladder, first: int, size: int) -> Plan:
    """Return the plan of a bracket that begins with ``size`` trials on rung ``first``."""
    sizes = [size]
    for eta in ladder.etas[first:]:
        sizes.append(sizes[-1] // eta)
    return Plan(first, tuple(sizes), ladder.etas[first:])
