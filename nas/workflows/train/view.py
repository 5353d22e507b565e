"""A training as a reader sees it: the fold of its journal, and what it says in words and rows for every output.

Code is marked as in Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.core.files import read_json
from nas.core.text import count, duration, printable
from nas.core.values import SHORT, Json
from nas.errors import JournalError
from nas.report.chance import MeasuredOn
from nas.report.classes import ClassAccuracy, ClassTable, class_accuracies, class_table
from nas.report.run_view import data_remarks
from nas.report.statistics import accuracy_interval
from nas.report.verdict import interval_text
from nas.runs.event_fields import check_fields, class_names_of
from nas.runs.inputs import accepted_changes
from nas.runs.journal import Event, read
from nas.workflows.train.settings import TrainingSettings

KIND = "train"
"""What the first event of a training's journal has as its kind."""
ROWS = 40
"""Epochs that a report lists at most."""


@dataclass(frozen=True)
class TrainingView:
    """What the journal of the training in ``folder`` holds."""

    folder: Path
    settings: TrainingSettings
    network: Json
    """Its name, size and cost, as the journal's first event has them."""
    events: Sequence[Event]
    environment: Json
    """What ``environment.json`` holds: the machine and the versions."""

    def __repr__(self) -> str:
        trained = self.trained
        told = self.status if trained is None else f"{self.status}, top-1 {trained['top1']:.2f} %"
        return printable(f"TrainingView({self.network.get('name')!r} on {self.settings.dataset}, {told})", SHORT)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes by label; empty where the dataset, or the version that trained, knows none."""
        return class_names_of(self.events[0])

    @property
    def per_class(self) -> list[ClassAccuracy]:
        """How it did on the test split by class, the lowest accuracy first; empty where that was not counted."""
        return class_accuracies([] if self.trained is None else [self.trained], self.class_names)

    @property
    def class_table(self) -> ClassTable | None:
        """The same as a report shows it."""
        return class_table({"accuracy, %": self.per_class}, 1, "summary.json")

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
        return next((event for event in reversed(self.events) if event["event"] == "trained"), None)

    @property
    def device(self) -> str:
        """Where it trained or trains, as far as that is known; else the CPU."""
        return str(next((event["device"] for event in reversed(self.events) if "device" in event), "CPU"))

    @property
    def begins(self) -> int:
        """How often the training began or was resumed."""
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
    check_fields(first, "settings", *(f"network.{name}" for name in ("name", "params", "macs")))
    for event in events:
        check_fields(event, *(("top1", "top5", "loss", "device", "switches") if event["event"] == "trained" else ()))
    path = folder / "environment.json"
    environment = read_json(path) if path.is_file() else {}
    settings = TrainingSettings.from_json(first["settings"])
    return TrainingView(folder, settings, first["network"], list(events), environment)


def size_line(network: Json) -> str:
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
    result = f"test split: top-1 {found['top1']:.2f} %{top5}, loss {found['loss']:.4f}"
    on = MeasuredOn.of(found.get("notes", {}).get("images", {}), "test")
    if on is None:
        return result
    ends = interval_text(accuracy_interval([found["top1"]], on.images))
    return f"{result}; top-1 95 % interval {ends} (Wilson, {on.images:,} images), chance level {on.chance:.4g} %"


def epoch_table(view: TrainingView) -> tuple[list[str], list[list[str]], int]:
    """Return heads and rows of the table of epochs, and of how many epochs each row is one; the last has a row."""
    epochs = view.epochs
    validated = any("validation" in epoch for epoch in epochs)
    heads = ["epoch", "training loss", *(["validation top-1 %", "top-5 %", "loss"] if validated else []), "seconds"]
    step = max(1, -(-len(epochs) // ROWS))
    rows = []
    for e in [e for e in epochs if (e["number"] - len(epochs)) % step == 0]:
        cells = [str(e["number"]), f"{e['loss']:.4f}"]
        if validated:
            found = e.get("validation")
            numbers = [] if found is None else [found["accuracy"], found["top5"], found["loss"]]
            cells += ["" if n is None else f"{n:.4g}" for n in numbers] or [""] * 3
        rows.append([*cells, format(e["seconds"], ".1f")])
    return heads, rows, step


def facts(view: TrainingView) -> Iterator[str]:
    """Yield how the training was done, sentence by sentence."""
    settings, trained = view.settings, view.trained or {}
    workers = "one process" if settings.workers is None else f"{count(settings.workers, 'worker')} on Ray"
    recipe = settings.actual_recipe
    epochs = f"{count(settings.epochs, 'epoch')} of recipe `{settings.recipe.name}` in batches of {recipe.batch_size}"
    yield f"{epochs}, seed {settings.seed}, on {' and '.join(settings.train_on)} images; {workers}"
    if settings.start is not None:
        frozen = ", ".join(f"`{name}`" for name in settings.start["frozen"]) or "nothing"
        rate = f"they learn at {settings.start['factor']:g} times the recipe's rate"
        yield f"began with the weights of `{settings.start['weights']}`; {rate}; frozen: {frozen}"
        yield f"why: {settings.start['reason']}"
    if view.seconds:
        foreseen = "" if view.forecast is None else f"; forecast before it began: {duration(view.forecast)}"
        yield f"{duration(view.seconds)} of training{foreseen}"
    if view.begins > 1 or view.lost:
        yield f"began or was resumed {count(view.begins, 'time')}; the group was lost {count(view.lost, 'time')}"
    if trained:
        yield f"trained on {trained['device']} ({', '.join(trained['switches']) or 'no switches'})"
    yield from accepted_changes(view.events)
    if "plateau_of" in trained:
        yield f"the rate fell on plateaus of the {trained['plateau_of']}"
    for name in view.network.get("not_applied", ()):
        yield f"the recipe's `{name}` does not apply: the network has no place for it"
    yield from data_remarks([trained])
