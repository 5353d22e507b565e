"""A sample of benchmarks/fuzz.py: damaged input ends a command with a line, never with a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import environment

from nas.errors import LINE_LIMIT

FUZZ = Path(__file__).resolve().parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.long
def test_damaged_input_is_refused_with_a_line(tmp_path: Path) -> None:
    command = [sys.executable, str(FUZZ), "--count", "48", "--seconds", "40", "--characters", str(LINE_LIMIT)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
