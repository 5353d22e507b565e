"""A training as a reader sees it: the fold of its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.after.training_settings import TrainingSettings
from nas.errors import JournalError
from nas.files import read_json
from nas.report.words import count
from nas.run.journal import Event, read

KIND = "train"
"""What the first event of a training's journal has as its kind."""


@dataclass(frozen=True)
class TrainingView:
    """What the journal of the training in ``folder`` holds."""

    folder: Path
    settings: TrainingSettings
    network: Mapping[str, Any]
    events: Sequence[Event]
    environment: Mapping[str, Any]

    @property
    def status(self) -> str:
        """``finished``, ``interrupted``, ``failed``, or ``running or killed``."""
        last = self.events[-1]
        return str(last["reason"]) if last["event"] == "stopped" else "running or killed"

    @property
    def problem(self) -> str:
        """Why it failed; empty where it did not."""
        last = self.events[-1]
        return str(last.get("message", "")) if last["event"] == "stopped" else ""

    @property
    def epochs(self) -> list[Event]:
        """The epochs in order; of one that was done twice after a crash, the last."""
        found = {event["number"]: event for event in self.events if event["event"] == "epoch"}
        return [found[number] for number in sorted(found)]

    @property
    def trained(self) -> Event | None:
        """The final numbers, where it came to its end."""
        found = [event for event in self.events if event["event"] == "trained"]
        return found[-1] if found else None

    @property
    def device(self) -> str:
        """Where it trained or trains, as far as that is known; else the CPU."""
        return str(next((event["device"] for event in reversed(self.events) if "device" in event), "CPU"))

    @property
    def begins(self) -> int:
        """How often the training began or went on."""
        return sum(event["event"] == "began" for event in self.events)

    @property
    def lost(self) -> int:
        """How often a group of workers was lost and started again."""
        return sum(event["event"] == "lost" for event in self.events)

    @property
    def test_reads(self) -> int:
        """How often the test split was read."""
        return sum(event["event"] == "test_read" for event in self.events)

    @property
    def forecast(self) -> float | None:
        """The seconds that all epochs were forecast to take, where the forecast was made before the first."""
        first = next((event for event in self.events if event["event"] == "began"), {})
        return first.get("forecast")

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return float(sum(epoch["seconds"] for epoch in self.epochs))


def load_training(folder: Path) -> TrainingView:
    """Read the training in ``folder``, running or not."""
    return training_view(folder, read(folder / "journal.jsonl"))


def training_view(folder: Path, events: Sequence[Event]) -> TrainingView:
    """Return what ``events`` tell; a journal of anything else raises :class:`JournalError`."""
    first = events[0]
    if first.get("kind") != KIND:
        raise JournalError(f"run '{folder.name}' is no training")
    path = folder / "environment.json"
    environment = read_json(path) if path.is_file() else {}
    settings = TrainingSettings.from_json(first["settings"])
    return TrainingView(folder, settings, first["network"], list(events), environment)


def is_training(folder: Path) -> bool:
    """Return whether the run in ``folder`` is a training."""
    return bool(read(folder / "journal.jsonl")[0].get("kind") == KIND)


def size_line(network: Mapping[str, Any]) -> str:
    """Return name, size and cost of a network in a line."""
    sizes = [f"{name} {network[name]}" for name in ("width", "depth") if network.get(name) is not None]
    shown = f" ({', '.join(sizes)})" if sizes else ""
    return f"{network['name']}{shown}: {network['params']:,} parameters, {network['macs']:,} MACs"


def result_line(view: TrainingView) -> str:
    """Return the result in a line, or how far the training is."""
    found, settings = view.trained, view.settings
    if found is None:
        last = f", loss {view.epochs[-1]['loss']:.4g}" if view.epochs else ""
        return f"{len(view.epochs)} of {count(settings.epochs, 'epoch')}{last}; the test split is not measured yet"
    top5 = "" if found["top5"] is None else f", top-5 {found['top5']:.2f} %"
    return f"test split: top-1 {found['top1']:.2f} %{top5}, loss {found['loss']:.4f}"
