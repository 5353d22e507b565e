"""A little of the storm of benchmarks/starts.py: commands that start together in one folder."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def starts() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("starts")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.long
def test_a_few_starts_at_once(starts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six: two exports and two searches of one name, two searches without a name."""
    monkeypatch.setattr(starts, "KINDS", {kind: starts.KINDS[kind] for kind in ("search", "export")})
    rows = starts.strike(tmp_path, 6, random.Random(0))
    assert [fault for row in rows for fault in row.faults] == []
    assert sum(row.tries for row in rows) == 6
    assert [row.tries for row in rows if row.tries] == [4, 2]


def test_every_kind_and_naming_is_drawn(starts: ModuleType) -> None:
    found = starts.drawn(random.Random(0), range(200), 1)
    assert {(start.kind, start.name is None) for start in found} == {
        *((kind, False) for kind in starts.KINDS),
        *((kind, True) for kind in starts.KINDS if kind not in starts.WRITES),
    }
    assert {start.name for start in found if start.name and start.name.endswith("-1")} >= {"run-1", "folder-1"}


@pytest.mark.parametrize(
    ("code", "error", "fault"),
    [
        (0, "", "it ended well with 0 runs"),
        (1, "Traceback (most recent call last):\nKeyError: 1", "code 1"),
        (2, "error: a\nerror: b", "code 2"),
        (2, "error: cannot write 'results/.x.new/config.toml'", "code 2"),
    ],
)
def test_the_storm_notices_broken_promises(starts: ModuleType, code: int, error: str, fault: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    row = starts.Row("search")
    starts.check(row, starts.Start("search", "x", 1, process, error), [])
    assert len(row.faults) == 1
    assert fault in row.faults[0]


def test_a_refusal_of_a_taken_name_is_no_fault(starts: ModuleType) -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    process.wait()
    row = starts.Row("search")
    error = "error: run 'x' exists already in 'results'; resume it or choose another name"
    assert not starts.check(row, starts.Start("search", "x", 1, process, error), [])
    assert row.faults == []
