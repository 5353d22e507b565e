"""What looks at the ledger after every event: the progress of a search, and the checkpoints that are still needed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from nas.engine.loop import Ledger
from nas.runs.progress import Progress, RunningTrial, running_trials
from nas.runs.run_folder import SEARCH
from nas.schedulers.finalists import FINALISTS, finalist_of
from nas.types import WorkerState

GLANCE = 0.25
"""Seconds between two looks at the workers: there may be hundreds, and trials of a millisecond."""


class ProgressTracker:
    """Makes the :class:`Progress` of one phase of ``total`` evaluations, from the ledger after every event."""

    def __init__(self, phase: str, total: int, workers: Callable[[], Sequence[WorkerState]]) -> None:
        self._phase, self._total, self._look = phase, total, workers
        self._workers: tuple[WorkerState, ...] = ()
        self._running: tuple[RunningTrial, ...] = ()
        self._retried = 0
        self._due = 0.0

    def __call__(self, ledger: Ledger) -> Progress:
        """Return the progress of the phase."""
        if time.monotonic() >= self._due:
            self._workers = tuple(self._look())
            self._running = running_trials(self._workers, ledger.retried)
            self._retried = sum(map(len, ledger.retried.values()))
            self._due = time.monotonic() + GLANCE
        best = ledger.best()
        phase, done, total = self._phase, ledger.queries - len(ledger.pending), self._total
        # finalists come last, and are few
        if phase == SEARCH and ledger.trials and finalist_of(ledger.trials[-1]) is not None:
            second = list(takewhile(lambda t: finalist_of(t) is not None, reversed(ledger.trials)))
            phase, done = FINALISTS, sum(t.status != "pending" for t in second)
            total = len(second[0].proposal.info[FINALISTS])
        return Progress(
            phase=phase,
            done=done,
            total=total,
            best=None if best is None else best.reward,
            running=len(self._running),
            failed=ledger.counts.get("failed", 0),
            retried=self._retried,
            workers=self._workers,
            trials=self._running,
        )


class Checkpoints:
    """The folder of a search's checkpoints, one for each trial by its index; trials of ``epochs`` need no further.

    A checkpoint is removed only after the result that makes it useless is in the journal, so a search that was killed
    anywhere finds what it needs when it goes on.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self._folder, self._epochs = folder, epochs
        self._open: set[int] = set()
        self._known = 0

    def sweep(self, ledger: Ledger) -> None:
        """Remove what no promotion can need any more; call it when results are in the journal."""
        # there may be a hundred thousand trials, of which few are open
        self._open.update(range(self._known, len(ledger.trials)))
        self._known = len(ledger.trials)
        for index in sorted(self._open):
            trial = ledger.trials[index]
            if trial.status in ("pending", "waiting"):
                continue
            self._open.remove(index)
            useless = [index] if trial.status == "failed" or trial.proposal.epochs >= self._epochs else []
            # a state is continued once: the longer training has one of its own
            origin = trial.proposal.continue_from
            if origin is not None and trial.status in ("done", "failed"):
                of = ledger.trials[origin].of
                useless += [origin] if of is None else [origin, of]
            for other in useless:
                shutil.rmtree(self._folder / str(other), ignore_errors=True)

    def clear(self) -> None:
        """Remove all, at the end of the search."""
        shutil.rmtree(self._folder, ignore_errors=True)
