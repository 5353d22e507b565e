"""The states that trainings leave for longer ones: kept while a promotion may need them, removed when none can."""

from __future__ import annotations

import shutil
from pathlib import Path

from nas.run.ledger import Ledger
from nas.types import Trial


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
        self._open.update(range(self._known, len(ledger.trials)))
        self._known = len(ledger.trials)
        for index in sorted(self._open):
            trial = ledger.trials[index]
            if trial.status not in ("pending", "waiting"):
                self._open.remove(index)
                self._settle(trial, ledger)

    def clear(self) -> None:
        """Remove all, at the end of the search."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settle(self, trial: Trial, ledger: Ledger) -> None:
        if trial.status == "failed" or trial.proposal.epochs >= self._epochs:
            self._remove(trial.index)
        origin = trial.proposal.continue_from
        if origin is not None and trial.status in ("done", "failed"):
            self._remove(origin)
            of = ledger.trials[origin].of
            if of is not None:
                self._remove(of)

    def _remove(self, index: int) -> None:
        shutil.rmtree(self._folder / str(index), ignore_errors=True)
