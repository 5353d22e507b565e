"""The table of forty exports, tried with two of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.mark.long
def test_a_network_and_a_cell_in_every_format(monkeypatch, capsys):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    exports = importlib.import_module("exports")
    assert (len(exports.SIZES), len(exports.CELLS)) == (20, 20)
    assert exports.main(["--only", "resnet20_cifar", "nb201-3"]) == 0
    table = capsys.readouterr().out
    assert table.count("| nb201-3 |") == table.count("| resnet20_cifar |") == 1
    assert "2 graphs" in table
