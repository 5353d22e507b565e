"""A training whose trackers and callbacks are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.core.values import Json, Value
from nas.runs.journal import read
from nas.runs.progress import Observer
from nas.runs.run_folder import RunFolder, find_journal
from nas.trackers.base import Callback
from nas.trackers.tracking import checked_trackers
from nas.trackers.trainings import execute_training
from nas.workflows.train.run import TrainingRun
from nas.workflows.train.view import training_view


def checked_changes(folder: Path, changes: Mapping[str, Value]) -> tuple[Json, tuple[Callback, ...]]:
    """Return ``changes`` of the training in ``folder`` with absolute places of trackers, and all its trackers.

    It is called before the run is touched: a tracker that cannot be made raises :class:`ConfigError`.
    """
    settings = training_view(folder, read(find_journal(folder))).settings.elsewhere(changes)
    return checked_trackers(folder, settings.track, settings.plugins, changes)


def execute(run: RunFolder[TrainingRun], callbacks: Sequence[Callback], observe: Observer) -> str:
    """Carry ``run`` out while ``callbacks`` are told of it; return why it ended."""
    plan = run.plan
    return execute_training(run, plan.settings.to_json(), plan.events, plan.network["name"], callbacks, observe)
