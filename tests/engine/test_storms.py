"""A tenth of the storm of benchmarks/durability.py, which says what each storm does and what must hold."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LEAST = {"kills": 10, "cuts": 150, "flips": 50, "limits": 2, "doubles": 4, "interrupts": 3}


@pytest.fixture(scope="module")
def durability() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("durability")
    sys.path.remove(str(BENCHMARKS))


def strike(durability: ModuleType, name: str, home: Path) -> None:
    """Let a tenth of a storm loose and hold it to the promises."""
    row = durability.STORMS[name](home, 0.1, random.Random(1))
    assert row.faults == []
    assert row.tries >= LEAST[name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["flips", "doubles"])
def test_small_storm(durability, name, tmp_path):
    strike(durability, name, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", ["kills", "cuts", "limits", "interrupts"])
def test_storm(durability, name, tmp_path):
    strike(durability, name, tmp_path)


def test_no_storm_is_left_out(durability):
    assert set(durability.STORMS) == set(LEAST)


def test_a_storm_notices_broken_promises(durability, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.runs.journal._decode", lambda path, number, line: json.loads(line))
    path, row = tmp_path / "journal", durability.Row("flips")
    durability.Journal.create(path, {"note": "abc"}).close()
    data = path.read_bytes()
    durability.check_flip(row, path, data, data.index(b"abc"), 0)
    assert len(row.faults) == 2
    assert "is silent" in row.faults[0]
