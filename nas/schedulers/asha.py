"""ASHA: promote whenever a trial is among the best of its rung, wait for nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from nas.core.values import Value
from nas.schedulers.base import Promoting, register_scheduler
from nas.schedulers.ranking import Ranking
from nas.schedulers.rungs import Rungs
from nas.searchers.base import Fold
from nas.searchers.pareto import DEFAULT_OBJECTIVES
from nas.types import History, Proposal, Searcher, Trial


@dataclass
class _State:
    """What finished on every rung: how many architectures, the scored ones in order, and who was promoted."""

    finished: list[int]
    ranked: list[Ranking]
    promoted: set[int] = field(default_factory=set)


@register_scheduler("asha", source="arXiv:1810.05934, algorithm 2 (Li et al., ASHA)")
class Asha(Promoting):
    """Promotes a trial as soon as it is among the best 1 / eta of its rung; never waits (asynchronous halving).

    Higher rungs come first; where nobody can be promoted, the searcher proposes for the lowest rung. Failed trials
    count as the worst of their rung; architectures that are there already (reused) do not count again. For ``eta``,
    ``min_epochs`` and ``rungs`` see :class:`nas.schedulers.rungs.Rungs`, for ``learn`` and ``enough``
    :class:`nas.schedulers.rungs.SingleFidelityHistory`, for ``by`` and ``objectives`` :class:`Promoting`. When it pays:
    ``docs/schedulers.md``.
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
        parsed = Rungs.of("asha", epochs, eta, min_epochs, rungs)
        super().__init__("asha", searcher, parsed, by=by, objectives=objectives, learn=learn, enough=enough)
        self._fold = Fold(lambda: _State([0] * len(self.rungs), [self.ranking() for _ in self.rungs]), self._step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a promotion where one is due, else a new architecture for the lowest rung."""
        state = self._fold(history)
        gone = {t.proposal.continue_from for t in history.pending}
        # promote from the highest rung that has someone to promote
        for rung in reversed(range(self._rungs.top)):
            for trial in islice(state.ranked[rung], state.finished[rung] // self._rungs.etas[rung]):
                if trial.index not in state.promoted and trial.index not in gone:
                    return self._promotion(trial, rung + 1)
        return self._new(history, rng, 0, {})

    def _step(self, state: _State, trial: Trial) -> None:
        if trial.proposal.continue_from is not None:
            state.promoted.add(trial.proposal.continue_from)
        rung = self._rungs.rung_of(trial)
        # what took no training of its own takes no place on a rung either
        if rung is None or trial.status in ("reused", "refused"):
            return
        state.finished[rung] += 1
        if trial.reward is not None:
            state.ranked[rung].add(trial)
