"""The table evaluator: looks rewards up in a published benchmark instead of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nas.errors import EvaluationError
from nas.tables.benchmark_table import Table
from nas.types import Architecture, Candidate, Job, Metrics

Column = npt.NDArray[np.float64]


class TableEvaluator:
    """Returns the ``reward`` column's value for the job's architecture, its ``metrics`` columns and simulated seconds.

    ``{epochs}`` in the reward's name is replaced by the job's epochs: ``val_acc_{epochs}``. Seconds are those of the
    column ``seconds_E`` for jobs of E epochs, else of ``seconds``. ``dataset`` picks the second axis of columns that
    have one. An architecture that is not in the table, or has no finite value there, is a failed trial.
    """

    def __init__(self, table: Table, reward: str, dataset: str | None = None, metrics: Sequence[str] = ()) -> None:
        self._table, self._reward, self._dataset = table, reward, dataset
        self._metrics = {name: table.column(name, dataset) for name in metrics}
        self._columns: dict[int, tuple[str, Column, Column | None]] = {}

    def __call__(self, job: Job) -> Metrics:
        row = self._table.row(job.architecture, job.key)
        # columns are looked up once for each number of epochs: a trial takes microseconds
        if job.epochs not in self._columns:
            table, dataset, name = self._table, self._dataset, reward_name(self._reward, job.epochs)
            if name not in table.columns:
                raise EvaluationError(f"table '{table.path.name}': it has no column '{name}' for {job.epochs} epochs")
            timed = [n for n in (f"seconds_{job.epochs}", "seconds") if n in table.columns]
            seconds = table.column(timed[0], dataset) if timed else None
            self._columns[job.epochs] = name, table.column(name, dataset), seconds
        name, rewards, seconds = self._columns[job.epochs]
        reward = float(rewards[row])
        values = {name: reward, **{name: float(column[row]) for name, column in self._metrics.items()}}
        return Metrics(reward, values, 0.0 if seconds is None else float(seconds[row]), simulated=True)


class Known:
    """What a table knows of an architecture before it is evaluated: whether it is there, and its free ``scores``."""

    def __init__(self, table: Table, scores: Sequence[str] = (), dataset: str | None = None) -> None:
        self._table = table
        self._scores = {name: table.column(name, dataset) for name in scores}

    def complete(self, prepared: Candidate, architecture: Architecture) -> Candidate:
        """Return ``prepared`` with the scores, or with the problem that the table lacks the architecture."""
        try:
            row = self._table.row(architecture, prepared.key)
        except EvaluationError as error:
            return replace(prepared, problem=str(error))
        scores = {name: float(column[row]) for name, column in self._scores.items()}
        return replace(prepared, scores={name: score for name, score in scores.items() if math.isfinite(score)})


def reward_name(reward: str, epochs: int) -> str:
    """Return the name of the reward's column for trials of ``epochs``."""
    return reward.replace("{epochs}", str(epochs))
