"""A training as a reader sees it: the fold of its journal, its summary and its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from nas.after.training_settings import TrainingSettings
from nas.errors import JournalError
from nas.files import read_json, write_atomic, write_json
from nas.report.words import count, duration
from nas.run.journal import Event, read

KIND = "train"
"""What the first event of a training's journal has as its kind."""
ROWS = 40
"""Epochs that a report lists at most."""


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


def write_training(folder: Path) -> TrainingView:
    """Write summary and report of the training in ``folder`` anew."""
    view = load_training(folder)
    write_json(folder / "summary.json", summary(view))
    write_atomic(folder / "report.md", "\n\n".join(part for part in _parts(view) if part) + "\n")
    return view


def summary(view: TrainingView) -> dict[str, Any]:
    """Return the training in numbers as JSON data; accuracies in percent, of the test split."""
    trained = view.trained or {}
    return {
        "name": view.folder.name,
        "kind": KIND,
        "status": view.status,
        "network": dict(view.network),
        "dataset": view.settings.dataset,
        "recipe": view.settings.recipe.get("name"),
        "seed": view.settings.seed,
        "workers": view.settings.workers,
        "epochs": len(view.epochs),
        "seconds": round(view.seconds, 3),
        **{name: trained.get(name) for name in ("top1", "top5", "loss")},
        "train_loss": view.epochs[-1]["loss"] if view.epochs else None,
        "test_reads": view.test_reads,
        "begins": view.begins,
        "groups_lost": view.lost,
    }


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


def _parts(view: TrainingView) -> Iterator[str]:
    settings = view.settings
    yield f"# {view.folder.name}: {view.network['name']} on {settings.dataset}"
    lines = [
        f"Status: **{view.status}**. Test split read: {count(view.test_reads, 'time')}.",
        f"{result_line(view)[:1].upper()}{result_line(view)[1:]}.",
        f"Network: {size_line(view.network)}, at images of {'x'.join(map(str, view.network['input']))}.",
    ]
    if "message" in view.events[-1]:
        lines.insert(1, f"It failed: {view.events[-1]['message']}.")
    yield "\n".join(lines)
    yield _epochs(view)
    yield "\n".join(_facts(view))
    table = {"settings": settings.to_json()}
    yield f"## Settings\n\n```toml\n{tomli_w.dumps(table).strip()}\n```"


def _epochs(view: TrainingView) -> str:
    epochs = view.epochs
    if not epochs:
        return ""
    validated = any("validation" in epoch for epoch in epochs)
    heads = ["epoch", "training loss", *(["validation top-1 %", "top-5 %", "loss"] if validated else []), "seconds"]
    step = -(-len(epochs) // ROWS)
    shown = [e for e in epochs if (e["number"] - len(epochs)) % step == 0]
    rows = [f"| {' | '.join(heads)} |", f"|{'---:|' * len(heads)}"]
    for e in shown:
        cells = [str(e["number"]), f"{e['loss']:.4f}"]
        if validated:
            found = e.get("validation")
            numbers = [] if found is None else [found["accuracy"], found["top5"], found["loss"]]
            cells += ["" if n is None else f"{n:.4g}" for n in numbers] or [""] * 3
        rows.append(f"| {' | '.join([*cells, format(e['seconds'], '.1f')])} |")
    some = f" (one in {step})" if step > 1 else ""
    return f"## Epochs{some}\n\n" + "\n".join(rows)


def _facts(view: TrainingView) -> Iterator[str]:
    settings, trained = view.settings, view.trained or {}
    yield "## How it was done\n"
    workers = "one process" if settings.workers is None else f"{count(settings.workers, 'worker')} on Ray"
    recipe = settings.actual_recipe
    yield (
        f"- {count(settings.epochs, 'epoch')} of recipe `{settings.recipe.get('name')}` in batches of "
        f"{recipe.batch_size}, seed {settings.seed}, on {' and '.join(settings.train_on)} images; {workers}"
    )
    if settings.start is not None:
        frozen = ", ".join(f"`{name}`" for name in settings.start["frozen"]) or "nothing"
        rate = f"they learn at {settings.start['factor']:g} times the recipe's rate"
        yield f"- began with the weights of `{settings.start['weights']}`; {rate}; frozen: {frozen}"
        yield f"- why: {settings.start['reason']}"
    if view.seconds:
        foreseen = "" if view.forecast is None else f"; forecast before it began: {duration(view.forecast)}"
        yield f"- {duration(view.seconds)} of training{foreseen}"
    if view.begins > 1 or view.lost:
        yield f"- began or went on {count(view.begins, 'time')}; the group was lost {count(view.lost, 'time')}"
    if trained:
        yield f"- trained on {trained['device']} ({', '.join(trained['switches']) or 'no switches'})"
    for name in view.network.get("not_applied", ()):
        yield f"- the recipe's `{name}` does not apply: the network has no place for it"
    damaged = trained.get("damaged")
    if damaged:
        yield f"- {count(damaged['count'], 'damaged file')} left out, first: {'; '.join(damaged['first'])}"
    packages = view.environment.get("packages", {})
    where = [str(view.environment[k]) for k in ("processor", "system", "date") if view.environment.get(k)]
    yield f"- {', '.join([*where, *(f'{name} {version}' for name, version in packages.items())])}"
