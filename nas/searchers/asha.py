"""ASHA: promote whenever a trial is among the best of its rung, wait for nobody."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np

from nas.searchers.base import Fold
from nas.searchers.fidelity import Ladder, View
from nas.searchers.pareto import DEFAULT_OBJECTIVES
from nas.searchers.ranking import Ranking
from nas.searchers.schedulers import Promoting, register_scheduler
from nas.types import History, Proposal, Searcher, Trial, Value


class _Rungs:
    """What finished on every rung: how many architectures, the scored ones in order, and who was promoted."""

    def __init__(self, count: int, ranking: Callable[[], Ranking]) -> None:
        self.finished = [0] * count
        self.ranked = [ranking() for _ in range(count)]
        self.promoted: set[int] = set()


@register_scheduler("asha", source="arXiv:1810.05934, algorithm 2 (Li et al., ASHA)")
class Asha(Promoting):
    """Promotes a trial as soon as it is among the best 1 / eta of its rung; never waits (asynchronous halving).

    Higher rungs come first; where nobody can be promoted, the searcher proposes for the lowest rung. Failed trials
    count as the worst of their rung; architectures that are there already (reused) do not count again. For ``eta``,
    ``min_epochs`` and ``rungs`` see :class:`nas.searchers.fidelity.Ladder`, for ``learn`` and ``enough``
    :class:`nas.searchers.fidelity.View`, for ``by`` and ``objectives`` :class:`Promoting`.
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
        learn: str = "lowest",
        enough: int | None = None,
    ) -> None:
        ladder = Ladder.of("asha", epochs, eta, min_epochs, rungs)
        super().__init__("asha", searcher, ladder, View("asha", ladder, learn, enough), by, objectives)
        self._fold = Fold(lambda: _Rungs(len(ladder.rungs), self.ranking), self._step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a promotion where one is due, else a new architecture for the lowest rung."""
        state = self._fold(history)
        gone = {t.proposal.continue_from for t in history.pending}
        for rung in reversed(range(self._ladder.top)):
            best = islice(state.ranked[rung], state.finished[rung] // self._ladder.etas[rung])
            for trial in best:
                if trial.index not in state.promoted and trial.index not in gone:
                    return self._promotion(trial, rung + 1)
        return self._new(history, rng, 0, {})

    def _step(self, state: _Rungs, trial: Trial) -> None:
        promoted = trial.proposal.continue_from
        if promoted is not None:
            state.promoted.add(promoted)
        rung = self._ladder.rung_of(trial)
        if rung is None or trial.status in ("reused", "refused"):
            return
        state.finished[rung] += 1
        if trial.reward is not None:
            state.ranked[rung].add(trial)
