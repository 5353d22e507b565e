"""The script that measures a shared GPU, tried where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "cluster_gpu.py"


@pytest.mark.long
def test_trials_that_run_out_of_memory_are_tried_again_alone():
    pytest.importorskip("ray")
    command = [sys.executable, str(SCRIPT), "--cpu", "--trials", "4", "--workers", "2"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| tr")]
    assert [row[5:] for row in rows] == [["4 done", "none |"], ["4 done", "none |"], ["4 done", "2 oom |"]]
