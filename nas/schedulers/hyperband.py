"""Successive halving and Hyperband: brackets whose rungs are decided when all of their trials are there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod

import numpy as np

from nas.core.values import Value
from nas.errors import ConfigError, Exhausted
from nas.schedulers.base import Promoting, register_scheduler
from nas.schedulers.ranking import Ranking
from nas.schedulers.rungs import Rungs, whole
from nas.searchers.base import Fold
from nas.searchers.pareto import DEFAULT_OBJECTIVES
from nas.types import History, Proposal, Searcher, Trial

PATIENCE = 10
"""Proposals a place after which a bracket begins with fewer than its share, as the searcher offers nothing new."""


@dataclass(frozen=True)
class BracketPlan:
    """What a bracket is to be."""

    first: int
    """Its lowest rung."""
    sizes: tuple[int, ...]
    """The number of trials on each rung from there up."""
    etas: tuple[int, ...]
    """Of how many trials of each rung but the last one is promoted."""


@dataclass
class _Level:
    """One rung of a bracket: the scored trials in order, and how many finished."""

    ranked: Ranking
    finished: int = 0


@dataclass
class _Waiting:
    """The pending trials of one bracket."""

    levels: Counter[int] = field(default_factory=Counter)
    """How many are on each of its rungs."""
    asked: int = 0
    """How many are new architectures."""
    gone: set[int] = field(default_factory=set)
    """The trials that are being promoted."""


@dataclass
class _Bracket:
    plan: BracketPlan
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


@dataclass
class _State:
    """The brackets so far; ``first`` is the first that may have something left to do."""

    brackets: dict[int, _Bracket] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    first: int = 0
    known: set[tuple[str, int]] = field(default_factory=set)


class Brackets(Promoting):
    """Fills brackets one after the other with the inner searcher's proposals and promotes the best of every rung.

    A rung is decided when all its trials are there. Until then, if a bracket has nothing to ask, the next one is
    begun, so that no worker is idle; the oldest bracket that has something to ask comes first. Failed trials count
    as the worst; an architecture that has trained for these epochs already (reused) or is refused takes no place.
    """

    plans: Sequence[BracketPlan]
    """What the brackets are to be, again from the first after the last."""
    _fold: Fold[_State]

    def plan(self, number: int) -> BracketPlan:
        """Return the plan of bracket ``number``, counted from 0."""
        return self.plans[number % len(self.plans)]

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a promotion or a new architecture of the oldest bracket that has something to ask."""
        state = self._fold(history)
        # pending trials by bracket; what is known or asked already will be reused and takes no place
        pending: dict[int, _Waiting] = defaultdict(_Waiting)
        known: set[tuple[str, int]] = set()
        for trial in history.pending:
            number, rung = trial.proposal.info.get("bracket"), self._rungs.rung_of(trial)
            if number is None or rung is None:
                continue
            waiting, level = pending[number], rung - self.plan(number).first
            place = (trial.key, trial.proposal.epochs)
            if trial.proposal.continue_from is not None:
                waiting.gone.add(trial.proposal.continue_from)
                waiting.levels[level] += 1
            else:
                waiting.asked += 1
                waiting.levels[level] += place not in state.known and place not in known
            known.add(place)
        # the oldest bracket first; one that waits for results is passed over for the next
        for number in count(state.first):
            if number in state.done:
                continue
            bracket = state.brackets.get(number) or self._begin(number)
            if not bracket.filled(pending[number]):
                try:
                    return self._new(history, rng, self.plan(number).first, {"bracket": number})
                except Exhausted:
                    # nothing new will come: what is there competes in brackets that stay smaller than planned
                    for other, begun in sorted(state.brackets.items()):
                        found = begun.promotion(pending[other])
                        if found is not None:
                            return self._promotion(*found)
                    raise
            found = bracket.promotion(pending[number])
            if found is not None:
                return self._promotion(*found)
        raise AssertionError("unreachable: a new bracket has places to fill")

    def _begin(self, number: int) -> _Bracket:
        plan = self.plan(number)
        return _Bracket(plan, [_Level(self.ranking()) for _ in plan.sizes])

    def _step(self, state: _State, trial: Trial) -> None:
        number = trial.proposal.info.get("bracket")
        rung = self._rungs.rung_of(trial)
        if number is None or rung is None:
            return
        if number not in state.brackets:
            state.brackets[number] = self._begin(number)
        bracket = state.brackets[number]
        if trial.status != "refused":
            state.known.add((trial.key, trial.proposal.epochs))
        if trial.proposal.continue_from is not None:
            bracket.promoted.add(trial.proposal.continue_from)
        else:
            bracket.asked += 1
        # promotions always take the place that was kept for them, new architectures only if they were trained
        if trial.proposal.continue_from is not None or trial.status not in ("reused", "refused"):
            level = bracket.levels[rung - bracket.plan.first]
            level.finished += 1
            if trial.reward is not None:
                level.ranked.add(trial)
        # a bracket is done when it has nothing to ask even after all results
        if bracket.filled(_Waiting()) and bracket.promotion(_Waiting()) is None:
            state.done.add(number)
            while state.first in state.done:
                state.first += 1


@register_scheduler("halving", source="arXiv:1502.07943 (Jamieson & Talwalkar, successive halving)")
class Halving(Brackets):
    """Trains ``size`` architectures briefly, the best 1 / eta of them longer, and so on; then begins again.

    ``size`` by default leaves one for all epochs. For ``eta``, ``min_epochs`` and ``rungs`` see
    :class:`nas.schedulers.rungs.Rungs`, for ``learn`` and ``enough``
    :class:`nas.schedulers.rungs.SingleFidelityHistory`, for ``by`` and ``objectives``
    :class:`nas.schedulers.base.Promoting`.
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
        parsed = Rungs.of("halving", epochs, eta, min_epochs, rungs)
        least = prod(parsed.etas)
        chosen = least if size is None else whole("halving", "size", size, 1)
        if chosen < least:
            rule = f"size must be at least {least}, so that one of them reaches {epochs} epochs"
            raise ConfigError(f"scheduler 'halving': {rule}, found {chosen}")
        super().__init__("halving", searcher, parsed, by=by, objectives=objectives, learn=learn, enough=enough)
        self.plans, self._fold = [_plan(parsed, 0, chosen)], Fold(_State, self._step)


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
        parsed = Rungs.of("hyperband", epochs, eta, min_epochs, rungs)
        super().__init__("hyperband", searcher, parsed, by=by, objectives=objectives, learn=learn, enough=enough)
        count = len(parsed.epochs)
        self.plans = [_plan(parsed, k, count // (count - k) * prod(parsed.etas[k:])) for k in range(count)]
        self._fold = Fold(_State, self._step)


def _plan(rungs: Rungs, first: int, size: int) -> BracketPlan:
    """Return the plan of a bracket that begins with ``size`` trials on rung ``first``."""
    sizes = [size]
    for eta in rungs.etas[first:]:
        sizes.append(sizes[-1] // eta)
    return BracketPlan(first, tuple(sizes), rungs.etas[first:])
