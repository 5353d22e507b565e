"""What the tests of trainings on disk share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.runs.journal import read


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read(folder / "journal.jsonl") if event["event"] == kind]


def stopped_after(looks: int, monkeypatch: pytest.MonkeyPatch, go: Callable[[], Any]) -> Any:
    """Do as Ctrl-C does once the training has looked ``looks`` times whether it should end."""
    from nas.workflows.train import process as training_part

    original = training_part.LocalTrainer.fit

    def fit(self: Any, tell: Any, stop: Any) -> Any:
        left = iter(range(looks))
        return original(self, tell, lambda: stop() or next(left, None) is None)

    with monkeypatch.context() as patch:
        patch.setattr(training_part.LocalTrainer, "fit", fit)
        return go()
