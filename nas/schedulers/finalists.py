"""A second stage: the best few trials of a search trained again, for longer and with another seed.

A score of few epochs finds the good region and cannot order its top, and the best of many scores is partly luck. So the
last evaluations of a search go to its best architectures; a longer training counts more than a shorter one wherever the
best trial is asked for (:meth:`nas.engine.loop.Ledger.best`), so the winner is one of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import numpy as np

from nas.errors import Exhausted, NeedsResults
from nas.searchers.base import Fold
from nas.types import History, Proposal, Searcher, Trial, chain

FINALIST_OF, FINALISTS = "finalist_of", "finalists"
"""What a finalist's proposal says in its info: the trial that earned it its place, and all that were chosen with it."""
PATIENCE = 500
"""After this many proposals in a row that cost nothing, the first stage counts as exhausted."""


def finalist_of(trial: Trial) -> int | None:
    """Return the trial for which ``trial`` is a finalist, None where it is of the first stage."""
    info = trial.proposal.info  # which is whatever a user's searcher wrote
    found, chosen = info.get(FINALIST_OF), info.get(FINALISTS)
    return found if type(found) is int and isinstance(chosen, list) and found in chosen else None


def trained_finalists(trials: Iterable[Trial]) -> list[Trial]:
    """Return the finalists that were evaluated, with or without a score."""
    return [t for t in trials if t.status in ("done", "failed") and finalist_of(t) is not None]


@dataclass
class _State:
    first: list[Trial] = field(default_factory=list)
    """Results of the first stage."""
    digests: list[int] = field(default_factory=list)
    second: list[Trial] = field(default_factory=list)
    """Results of finalists."""
    since: int = 0
    """Evaluations of the first stage after the last finalist."""
    spent: int = 0
    """Evaluations of both stages."""
    barren: int = 0
    """How many of the last proposals of the first stage in a row cost nothing."""


class Finalists:
    """Asks ``searcher`` for all but the last ``count`` of ``trials`` evaluations, then proposes the best again.

    The best are chosen once all other results are there: distinct networks, those of most epochs first, then by reward.
    They begin from nothing, for ``epochs``, with the seeds of their own indices. Where the first stage ends early, they
    follow at once. A search that gets a larger budget chooses again, of the networks that were no finalists yet.
    """

    def __init__(self, searcher: Searcher, count: int, epochs: int, trials: int) -> None:
        self._searcher, self._count, self._epochs, self._trials = searcher, count, epochs, trials
        self._fold = Fold(_State, _step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a proposal of the first stage, or the next finalist."""
        state = self._fold(history)
        pending = [t for t in history.pending if finalist_of(t) is None]
        second = [*state.second, *(t for t in history.pending if finalist_of(t) is not None)]
        asked = {finalist_of(t) for t in second}
        # each finalist carries the choice of all, so that the later ones need not wait for the same results again
        chosen = list(max(second, key=lambda t: t.index).proposal.info[FINALISTS]) if second else []
        if asked.issuperset(chosen):
            # a search with a larger budget than it had goes on where it was, without the finalists of then
            left, ended = self._trials - state.spent - len(history.pending), state.barren >= PATIENCE
            if left > self._count and not ended:
                own = History(state.first, pending, state.digests) if second else history
                try:
                    return self._searcher.ask(own, rng)
                except Exhausted:
                    ended = True  # its best are trained again all the same
            if pending:
                raise NeedsResults("the finalists are chosen when all other results are there")
            again = not ended or state.since or not second
            chosen = self._best(state.first, {t.key for t in second})[: min(self._count, left)] if again else []
            if not chosen:
                raise Exhausted("every finalist is trained")
            asked = set()
        index = next(index for index in chosen if index not in asked)
        of = next(t for t in (*state.first, *pending) if t.index == index)
        return Proposal(of.architecture, self._epochs, {FINALIST_OF: index, FINALISTS: chosen})

    @staticmethod
    def _best(trials: Iterable[Trial], known: Container[str]) -> list[int]:
        """Return the best trials, best first, of different keys that are not ``known``."""
        scored = [t for t in trials if t.status == "done" and t.reward is not None]
        scored.sort(key=lambda t: (-t.proposal.epochs, -(t.reward or 0.0), t.index))
        found: dict[str, int] = {}
        for trial in scored:
            if trial.key not in known:
                found.setdefault(trial.key, trial.index)
        return list(found.values())


def _step(state: _State, trial: Trial) -> None:
    free = trial.status in ("reused", "refused")
    state.spent += not free
    if finalist_of(trial) is not None:
        state.second.append(trial)
        state.since = 0
        return
    state.first.append(trial)
    state.since += not free
    chain(state.digests, [trial])
    state.barren = state.barren + 1 if free else 0
