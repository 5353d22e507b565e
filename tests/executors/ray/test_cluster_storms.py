"""The small storms of benchmarks/cluster_storms.py, which says what each storm does and what must hold."""

from __future__ import annotations

import importlib
import random
import shutil
import sys
from pathlib import Path

import pytest

from nas.runs.journal import Journal

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
LEAST = {"workers": 4, "nodes": 2, "drivers": 4, "head": 1, "mix": 12, "two": 2, "cycles": 10}

HERE = ("workers", "head", "mix")
"""Those that the tests run; each takes half a minute or more, and the benchmark runs all."""

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def storms():
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("cluster_storms")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.long
@pytest.mark.parametrize("name", HERE)
def test_storm(storms, name, tmp_path):
    row = storms.STORMS[name](tmp_path, True, random.Random(1))
    assert row.faults == []
    assert row.tries >= LEAST[name]


def test_no_storm_is_left_out(storms):
    assert set(storms.STORMS) == set(LEAST)


def test_a_storm_notices_broken_promises(storms, tmp_path):
    parts = importlib.import_module("cluster_parts")
    search = parts.RaySearch(tmp_path, "one", 1, 2)
    write(tmp_path / "results" / "one-whole", done={0: 0.5, 1: 0.25})

    def faults(check, *more, **journal):
        write(search.folder, **journal)
        row = parts.Row("planted")
        check(row, search, *more)
        return row.faults

    assert faults(parts.check_same, done={0: 0.5, 1: 0.25}) == []
    assert "1 trials differ: trial 1" in faults(parts.check_same, done={0: 0.5, 1: 0.75})[0]
    assert faults(parts.check_same, {1}, done={0: 0.5, 1: 0.75}) == []
    assert faults(parts.check_once, done={0: 0.5, 1: 0.25}) == []
    assert faults(parts.check_once, done={0: 0.5}) == ["one: a trial has no result"]
    assert faults(parts.check_once, done={0: 0.5, 1: 0.25}, again=[1]) == ["one: a trial has two results"]
    search.side.write_text("begin 0 0 17 1.0\nend 0 0 17 2.0\nbegin 0 1 18 3.0\n")
    assert faults(parts.check_once, done={0: 0.5, 1: 0.25}) == ["one: 1 evaluations that no retry explains"]
    assert faults(parts.check_once, done={0: 0.5, 1: 0.25}, retried=[0]) == []
    finished = parts.Finished(search)
    finished.look()
    with search.side.open("a") as side:
        side.write("begin 1 1 19 4.0\n")
    write(search.folder, done={0: 0.5})
    row = parts.Row("planted")
    finished.check(row)
    assert row.faults == ["one: finished trials [1] began again", "one: finished trials {1} are lost"]


def write(folder, done, again=(), retried=()):
    """Write a journal of two trials."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    journal = Journal.create(folder / "journal.jsonl", {})
    journal.append([{"event": "asked", "index": i, "key": str(i), "epochs": 1, "architecture": {}} for i in range(2)])
    journal.append([{"event": "retried", "index": i, "kind": "crashed"} for i in retried])
    journal.append([{"event": "done", "index": i, "reward": done[i]} for i in [*done, *again]])
    journal.close()
