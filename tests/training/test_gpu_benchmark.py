"""The benchmark of a GPU runs anywhere: its logic with tiny sizes on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.long
def test_every_part_gives_a_table(tmp_path: Path) -> None:
    out = tmp_path / "tables.md"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--out", str(out)]
    # from an empty folder: nothing is installed where it runs
    subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    text = out.read_text()
    for title in ("Steps of 8 images", "Children of 64 images", "Accuracy under proxy", "Peaks of memory"):
        assert f"### {title}" in text
    assert "failed" not in text
    assert "made images, not CIFAR-10" in text
