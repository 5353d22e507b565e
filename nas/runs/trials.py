"""The trials that a search has recorded, and how a user names one of them: ``RUN:TRIAL``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.files import is_file
from nas.errors import ConfigError, JournalError, unknown
from nas.runs.journal import Event, asked_trial, check_fields, result_of
from nas.runs.run_folder import find_journal, find_run
from nas.types import Metrics, Trial

BEST, KNEE, FRONT = "best", "knee", "front"
"""Words for trials: the best one, the knee of the front, and all trials of the front."""
MOST_DIGITS = 18
"""Of a trial's number."""


@dataclass(frozen=True)
class TrialName:
    """A name of trials, ``RUN:TRIAL``."""

    run: str
    """The run as the user wrote it."""
    folder: Path
    """Its folder."""
    trial: str
    """A number, or :data:`BEST`, :data:`KNEE` or :data:`FRONT`."""


def find_trial(text: str, results: Path) -> TrialName | None:
    """Return what ``text`` names where it is ``RUN:TRIAL``; None for another name, which may hold a colon too.

    A run or a file of this very name wins. A trial of no run, and a run's trial that cannot be one, raise
    :class:`ConfigError`.
    """
    run, colon, trial = text.rpartition(":")
    if not colon or is_file(text) or find_run(text, results) is not None:
        return None
    folder, trial = find_run(run, results), trial.casefold()
    is_trial = trial in (BEST, KNEE, FRONT) or (trial.isascii() and trial.isdecimal() and len(trial) <= MOST_DIGITS)
    if folder is None and is_trial and run:
        find_journal(Path(run) if "/" in run else results / run)  # raises with the nearest run
    if folder is None:
        return None
    if not is_trial:
        found = unknown("trial", trial, (BEST, KNEE, FRONT))
        raise ConfigError(f"run '{run}': {found}; or a trial's number, as trials.csv and the report show it")
    return TrialName(run, folder, trial)


def read_trials(events: Sequence[Event]) -> list[Trial]:
    """Return the trials of a search by their index, from the events of its journal.

    One that reuses another's result has it too, once it is there. Events that do not fit each other raise
    :class:`JournalError`.
    """
    trials: list[Trial] = []
    for event in events:
        check_fields(event)
        name = event["event"]
        if name == "asked" and event["index"] == len(trials):
            trials.append(asked_trial(event))
        elif name in ("asked", "done", "failed", "refused", "reused"):
            index, of = event["index"], event.get("of") if name == "reused" else None
            if name == "asked" or max(index, of or 0) >= len(trials):
                raise JournalError(f"journal: event '{name}' of trial {index} does not follow from those before it")
            result = None if name == "reused" else result_of(event)
            metrics, failure = (result, None) if isinstance(result, Metrics) else (None, result)
            trials[index] = replace(trials[index], status=name, metrics=metrics, failure=failure, of=of)
    for trial in trials:
        if trial.of is not None:
            source = trials[trial.of]
            trials[trial.index] = replace(trial, metrics=source.metrics, failure=source.failure)
    return trials
