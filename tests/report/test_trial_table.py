"""The table of trials as CSV: a column a decision, bounded, safe in spreadsheets, and written row by row."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

from nas.core.files import write_atomic
from nas.core.text import csv_lines
from nas.core.values import Value
from nas.report.write import COLUMNS, MOST_DECISIONS, trial_rows
from nas.types import Architecture, Metrics, Proposal, Trial


def trial(index: int, decisions: dict[str, Value]) -> Trial:
    return Trial(index, Proposal(Architecture("s", decisions)), str(index), "done", Metrics(1.0, {"ms": 2.0}))


def read_back(trials: list[Trial], path: Path) -> list[dict[str, str]]:
    write_atomic(path, csv_lines(trial_rows(trials)))
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_decision_is_a_column_and_what_a_trial_lacks_is_empty(tmp_path: Path) -> None:
    rows = read_back(
        [
            trial(0, {"status": "=1+1", "ms": -3}),
            trial(1, {"ms": 4, "rates": ("@a", 2), "deep": True, "none": None}),
        ],
        tmp_path / "trials.csv",
    )
    own = ["decisions.status", "decisions.ms", "decisions.rates", "decisions.deep", "decisions.none"]
    assert list(rows[0]) == [*COLUMNS, "ms", *own]
    assert [rows[0][name] for name in own] == ["'=1+1", "-3", "", "", ""]
    assert [rows[1][name] for name in own] == ["", "4", '["@a", 2]', "True", ""]
    assert (rows[0]["status"], rows[0]["ms"]) == ("done", "2.0")


def test_a_space_of_very_many_decisions_has_as_many_columns_as_a_spreadsheet_bears(tmp_path: Path) -> None:
    many: dict[str, Value] = {f"d{i}": i for i in range(MOST_DECISIONS + 5)}
    rows = read_back([trial(0, many), trial(1, {"d0": 7})], tmp_path / "trials.csv")
    assert sum(name.startswith("decisions.") for name in rows[0]) == MOST_DECISIONS
    assert [row["decisions_left_out"] for row in rows] == ["5", "0"]
    assert rows[1]["decisions.d0"] == "7"


def test_the_table_is_written_row_by_row(tmp_path: Path) -> None:
    trials = [trial(index, {f"d{i}": "nor_conv_3x3" for i in range(8)}) for index in range(3_000)]
    tracemalloc.start()
    write_atomic(tmp_path / "trials.csv", csv_lines(trial_rows(trials)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (tmp_path / "trials.csv").stat().st_size / 2
