"""From the ledger and the workers to what an onlooker sees, cheaply enough to be asked after every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nas.run.ledger import Ledger
from nas.run.status import Progress, RunningTrial, running_trials
from nas.types import Trial, WorkerState

GLANCE = 0.25
"""Seconds between two looks at the workers: there may be hundreds, and trials of a millisecond."""


class Onlooker:
    """Makes the :class:`Progress` of one phase of ``total`` evaluations, from the ledger after every event."""

    def __init__(self, phase: str, total: int, workers: Callable[[], Sequence[WorkerState]]) -> None:
        self._phase, self._total, self._look = phase, total, workers
        self._open: set[int] = set()
        self._asked = 0
        self._best: Trial | None = None
        self._workers: tuple[WorkerState, ...] = ()
        self._running: tuple[RunningTrial, ...] = ()
        self._retried = 0
        self._due = 0.0

    def __call__(self, ledger: Ledger) -> Progress:
        """Return where the phase stands."""
        self._settle(ledger)
        if time.monotonic() >= self._due:
            self._glance(ledger)
        return Progress(
            self._phase,
            ledger.queries - len(ledger.pending),
            self._total,
            None if self._best is None else self._best.reward,
            len(self._running),
            ledger.counts.get("failed", 0),
            self._retried,
            self._workers,
            self._running,
        )

    def _settle(self, ledger: Ledger) -> None:
        """Find the best as :meth:`Ledger.best` does, but look at every trial once only."""
        self._open.update(range(self._asked, len(ledger.trials)))
        self._asked = len(ledger.trials)
        for index in sorted(self._open):
            trial = ledger.trials[index]
            if trial.status in ("pending", "waiting"):
                continue
            self._open.remove(index)
            if trial.status == "done" and (self._best is None or _rank(trial) > _rank(self._best)):
                self._best = trial

    def _glance(self, ledger: Ledger) -> None:
        self._workers = tuple(self._look())
        self._running = running_trials(self._workers, ledger.retried)
        self._retried = sum(map(len, ledger.retried.values()))
        self._due = time.monotonic() + GLANCE


def _rank(trial: Trial) -> tuple[int, float, int]:
    return trial.proposal.epochs, trial.reward or 0.0, -trial.index
