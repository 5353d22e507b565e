"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# tests side by side would share the cores out to twice as many threads, which then wait for each other; before torch
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_lines_about_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands within a test's process be silent for as long as they like: a busy machine says nothing of them."""
    monkeypatch.setattr("nas.cli.waiting.SILENCE_TOLD", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published tables and images: ``$NAS_SHARED/data``, or ``../shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("NAS_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip(f"the published tables are not here: no folder {folder}; set NAS_SHARED to their parent folder")
    return folder
