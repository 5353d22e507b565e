"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published tables and images: ``$NAS_SHARED/data``, or ``../shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("NAS_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip(f"the published tables are not here: no folder {folder}; set NAS_SHARED to their parent folder")
    return folder
