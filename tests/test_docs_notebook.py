"""The notebook of the documents: it runs again, and what it shows is what is committed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import notebook
import pytest

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "docs" / "notebook.ipynb"
SCRIPT = """
import json, sys
import notebook
outputs = notebook.execute(json.load(open(sys.argv[1], encoding="utf-8")))
sys.__stdout__.write(json.dumps(outputs))
"""
MEASURED = "measured"
"""The tag of cells whose numbers come from trainings: they may differ where a processor rounds otherwise."""


def comparable(outputs, measured):
    """Return the outputs of a cell: all of them, or of a measured one the kinds, and the words without numbers."""
    found = []
    for output in outputs:
        data = output.get("data", {"printed": output.get("text", [])})
        for kind, lines in sorted(data.items()):
            text = "".join(lines)
            if measured:
                text = re.sub(r"[\d.,]+", "#", " ".join(text.split())) if kind == "text/plain" else ""
            found.append((kind, text))
    return found


def committed():
    return json.loads(PATH.read_text("utf-8"))


def test_it_is_small_and_whole():
    assert PATH.stat().st_size < 400_000
    cells = notebook.code_cells(committed())
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert len({cell["id"] for cell in committed()["cells"]}) == len(committed()["cells"])
    kinds = [kind for cell in cells for output in cell["outputs"] for kind in output.get("data", {})]
    assert kinds.count("image/svg+xml") >= 4
    assert kinds.count("text/html") >= 4
    assert not [out for cell in cells for out in cell["outputs"] if out["output_type"] == "error"]


@pytest.mark.long
def test_it_runs_again_and_shows_the_same(tmp_path):
    pytest.importorskip("pandas")
    search = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PATH)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    cells = notebook.code_cells(committed())
    for cell, outputs in zip(cells, json.loads(done.stdout), strict=True):
        measured = MEASURED in cell["metadata"].get("tags", ())
        assert comparable(outputs, measured) == comparable(cell["outputs"], measured), "".join(cell["source"])
