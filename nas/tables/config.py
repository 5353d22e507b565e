"""Which columns of a published benchmark's table a run reads."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.options import Config, option


@dataclass(frozen=True)
class TableConfig(Config):
    """A table file and its columns."""

    path: str | None = option(None, "table file of a published benchmark", name="table", metavar="FILE")
    val_column: str | None = option(
        None,
        "column of the table to maximise; {epochs} in it is replaced by a trial's epochs",
        metavar="COLUMN",
        aliases=("reward",),
    )
    metrics: tuple[str, ...] = option(
        tuple,
        "column of the table to record with every trial, such as a latency; may be repeated",
        metavar="COLUMN",
        flag="--metric",
    )
    scores: tuple[str, ...] = option(
        tuple,
        "column of the table known before evaluation, such as a zero-cost score; may be repeated",
        metavar="COLUMN",
        flag="--score",
    )
    test_column: str | None = option(
        None,
        "column of the table to report for the best; that of --val-column by default",
        metavar="COLUMN",
        aliases=("objective",),
    )
