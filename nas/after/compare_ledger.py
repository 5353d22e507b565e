"""The fold of a comparison's journal: scores by candidate, recipe and seed, latencies, and reads of the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, JournalError
from nas.evaluators.predictions import Labels, Probabilities, read_predictions
from nas.run.journal import Event

KIND = "compare"
"""What a comparison's journal says in its first event."""
PREDICTIONS = "predictions"
"""The folder in a comparison's for what its networks made of the test images, where an ensemble is asked for."""


def cell(role: str, recipe: int, number: int) -> str:
    """Return the name of the file of a training's predictions."""
    return f"{role}-{recipe}-{number}.safetensors"


@dataclass
class CompareLedger:
    """Everything that a comparison knows, from its events in order; ``status`` is why it last stopped."""

    finals: list[dict[str, Any]] = field(default_factory=list)
    latencies: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    test_reads: int = 0
    status: str = "running or killed"

    def apply(self, event: Event) -> None:
        """Fold one event; an unknown one raises :class:`JournalError`."""
        kind = event["event"]
        if kind in ("run", "stopped"):
            self.status = event.get("reason", self.status)
            return
        self.status = "running or killed"
        if kind == "final":
            self.finals.append(dict(event))
        elif kind == "latency":
            self.latencies[event["role"], event["batch"]] = dict(event)
        elif kind == "test_read":
            self.test_reads += 1
        else:
            raise JournalError(f"journal: unknown event '{kind}'; it was written by a newer version")

    def of(self, role: int, recipe: str) -> dict[int, dict[str, Any]]:
        """Return the finals of candidate ``role`` under ``recipe`` by the number of the seed."""
        return {f["number"]: f for f in self.finals if (f["role"], f["recipe"]) == (str(role), recipe)}

    def scores(self, role: int, recipe: str) -> dict[int, float]:
        """Return the test accuracies in percent by the number of the seed; a failed training has none."""
        return {n: f["score"] for n, f in sorted(self.of(role, recipe).items()) if f["score"] is not None}

    def predictions(
        self, folder: Path, role: int, recipe: str, place: int, number: int
    ) -> tuple[Probabilities, Labels] | None:
        """Return what a training's network made of the test images; None where that is not there.

        A copy of an equal candidate's training has that one's.
        """
        own = self.of(role, recipe).get(number)
        if own is None:
            return None
        for other in sorted({f["role"] for f in self.finals if f["key"] == own["key"]}, key=int):
            path = folder / PREDICTIONS / cell(other, place, number)
            if path.is_file():
                try:
                    return read_predictions(path.read_bytes(), str(path))
                except ConfigError:
                    return None
        return None


def fold(events: Sequence[Event]) -> CompareLedger:
    """Return the ledger of ``events``."""
    ledger = CompareLedger()
    for event in events:
        ledger.apply(event)
    return ledger
