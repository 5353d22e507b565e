"""A comparison as a reader sees it: the fold of its journal, with scores, latencies and reads of the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.core.files import read_bytes, read_json
from nas.core.values import Json
from nas.errors import ConfigError, JournalError
from nas.evaluators.test_split import Labels, Probabilities, read_predictions
from nas.runs.event_fields import check_fields, class_names_of
from nas.runs.inputs import accepted_changes
from nas.runs.journal import Event, read
from nas.workflows.compare.settings import CompareSettings

KIND = "compare"
"""What a comparison's journal says in its first event."""
PREDICTIONS = "predictions"
"""The folder in a comparison's for what its networks made of the test images, where an ensemble is asked for."""


def cell(role: str, recipe: int, number: int) -> str:
    """Return the name of the file of a training's predictions."""
    return f"{role}-{recipe}-{number}.safetensors"


@dataclass
class CompareLedger:
    """Everything that a comparison knows, from its events in order."""

    finals: list[Json] = field(default_factory=list)
    """The events of trainings."""
    latencies: dict[tuple[str, int], Json] = field(default_factory=dict)
    """The events of measurements by candidate and images in a batch."""
    test_reads: int = 0
    """How often the test split was read."""
    status: str = "running or killed"
    """Why it last stopped."""

    def apply(self, event: Event) -> None:
        """Fold one event; an unknown one raises :class:`JournalError`."""
        kind = event["event"]
        if kind in ("run", "stopped"):
            self.status = event.get("reason", self.status)
            return
        self.status = "running or killed"
        if kind == "inputs":
            return
        if kind == "final":
            self.finals.append(dict(event))
        elif kind == "latency":
            self.latencies[event["role"], event["batch"]] = dict(event)
        elif kind == "test_read":
            self.test_reads += 1
        else:
            raise JournalError(f"journal: unknown event '{kind}'; it was written by a newer version")

    def of(self, role: int, recipe: str) -> dict[int, Json]:
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
        # of equal candidates one was trained, and wrote the file
        for other in sorted({f["role"] for f in self.finals if f["key"] == own["key"]}, key=int):
            path = folder / PREDICTIONS / cell(other, place, number)
            if path.is_file():
                try:
                    return read_predictions(read_bytes(path), str(path))
                except ConfigError:
                    return None
        return None


def fold(events: Sequence[Event]) -> CompareLedger:
    """Return the ledger of ``events``."""
    ledger = CompareLedger()
    for event in events:
        check_fields(event)
        ledger.apply(event)
    return ledger


@dataclass(frozen=True)
class CompareView:
    """A comparison as a reader sees it."""

    folder: Path
    settings: CompareSettings
    candidates: Sequence[Json]
    """As in the journal's first event (:meth:`nas.workflows.compare.candidates.Candidate.to_json`)."""
    input_shape: tuple[int, ...]
    """(C, H, W) of the images."""
    classes: int
    ledger: CompareLedger
    environment: Json
    """What ``environment.json`` holds: the machine and the versions."""
    input_changes: Sequence[str] = ()
    """A sentence for each time that the comparison went on with another plugin, data or versions."""
    class_names: tuple[str, ...] = ()
    """By label; empty where the dataset, or the version that made the comparison, knows none."""

    @property
    def candidate_names(self) -> list[str]:
        """The candidates' names, in their order."""
        return [str(candidate["name"]) for candidate in self.candidates]


def load_comparison(folder: Path) -> CompareView:
    """Read the comparison in ``folder``, running or not."""
    return comparison_view(folder, read(folder / "journal.jsonl"))


def comparison_view(folder: Path, events: Sequence[Event]) -> CompareView:
    """Return what ``events`` tell; a journal of anything else raises :class:`ConfigError`."""
    if events[0].get("kind") != KIND:
        raise ConfigError(f"run '{folder.name}' is no comparison")
    path = folder / "environment.json"
    environment = read_json(path) if path.is_file() else {}
    check_fields(events[0], "config", "input_shape", "classes", "candidates")
    header, settings = events[0], CompareSettings.from_json(events[0]["config"])
    shape = tuple(header["input_shape"])
    return CompareView(
        folder,
        settings,
        header["candidates"],
        shape,
        header["classes"],
        fold(events),
        environment,
        accepted_changes(events),
        class_names_of(header),
    )
