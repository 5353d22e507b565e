"""The table evaluator: looks rewards up in a published benchmark instead of training."""

from __future__ import annotations

from nas.table import Table
from nas.types import Architecture, Job, Metrics


class TableEvaluator:
    """Returns the ``reward`` column's value for the job's decisions, and its simulated seconds.

    ``dataset`` picks the second axis of columns that have one. An architecture that is not in the table, or has no
    finite value there, is a failed trial.
    """

    def __init__(self, table: Table, reward: str, dataset: str | None = None) -> None:
        self._table = table
        self._rewards = table.column(reward, dataset)
        self._seconds = table.column("seconds", dataset) if "seconds" in table.columns else None
        self._name = reward

    def __call__(self, job: Job) -> Metrics:
        row = self._table.row(job.architecture)
        reward = float(self._rewards[row])
        seconds = 0.0 if self._seconds is None else float(self._seconds[row])
        return Metrics(reward, {self._name: reward}, seconds, simulated=True)


def objective_of(table: Table, architecture: Architecture, objective: str, dataset: str | None) -> float:
    """Return the value of column ``objective``, for the end of a search."""
    return float(table.column(objective, dataset)[table.row(architecture)])
