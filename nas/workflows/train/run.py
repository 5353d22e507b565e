"""A training as a run on disk: created whole or not at all, carried out, killed at any moment, and resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nas.core.files import read_bytes, read_json, write_atomic, write_json
from nas.core.plugins import load_plugins
from nas.core.text import count, duration
from nas.core.values import Json, Value
from nas.engine.forecast import cost as hours_of
from nas.errors import ConfigError
from nas.evaluators.train import data_notes, not_applied
from nas.graph import Graph
from nas.runs import inputs
from nas.runs.journal import Event
from nas.runs.progress import Observer, Progress
from nas.runs.run_folder import RunFolder, RunPlan, check_free, create_run, resume_run
from nas.runs.trust import check_address, check_plugins, check_trackers
from nas.workflows.train.outputs import write_training
from nas.workflows.train.process import LocalTrainer
from nas.workflows.train.settings import TrainingSettings
from nas.workflows.train.view import KIND, training_view

if TYPE_CHECKING:
    from nas.workflows.train.distributed import DistributedTrainer

Trainer: TypeAlias = "LocalTrainer | DistributedTrainer"
"""Carries a training out, in this process or in others."""
CHECKPOINT = "checkpoint"
WEIGHTS = "weights.safetensors"
INITIAL = "initial.safetensors"
"""What a fine-tuning began with."""


@dataclass(eq=False)
class TrainingRun:
    """The plan of a training. :meth:`create` and :meth:`resume` return the run that carries it out."""

    kind = KIND
    folder: Path
    """Where the run is, with its checkpoint."""
    settings: TrainingSettings
    """How it is trained."""
    graph: Graph
    """The network."""
    network: Json
    """Its name, size and cost, for the report."""
    events: list[Event]
    """The journal's events so far."""
    _trainer: Trainer | None = None
    _forecast: TrainingForecast | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: TrainingSettings,
        graph: Graph,
        network: Json,
        trainer: Trainer | None = None,
        forecast: TrainingForecast | None = None,
        initial: bytes | None = None,
    ) -> RunFolder[TrainingRun]:
        """Start a new training in ``folder``, which must not exist; nothing is left behind when something is wrong.

        ``network`` holds name, size and cost, for the report, ``forecast`` what the training will take, ``initial`` the
        weights that a fine-tuning begins with.
        """

        def fill(staging: Path) -> None:
            write_json(staging / "graph.json", graph.to_json())
            if initial is not None:
                write_atomic(staging / INITIAL, initial)

        check_free(folder)
        settings.check()
        # the report tells of what a recipe asks for and the network has no place for
        shown = {**network, "digest": _digest(graph), "not_applied": not_applied(settings.actual_recipe, graph)}
        header: Json = {
            "settings": settings.to_json(),
            "network": shown,
            "inputs": inputs.of_trainings(settings.plugins, settings.data),
        }
        if names := settings.data.class_names():
            header["class_names"] = list(names)
        begun: list[Event] = [{"event": "run", "kind": KIND, **header}]
        plan = cls(folder, settings, graph, shown, begun, trainer, forecast)
        return create_run(folder, plan, header, header["settings"], fill)

    @classmethod
    def resume(
        cls, folder: Path, changes: Mapping[str, Value] | None = None, accept_changes: bool = False
    ) -> RunFolder[TrainingRun]:
        """Open an existing training where it stopped; ``changes`` say where workers and files are found now.

        What its result depends on must be as it was (:mod:`nas.runs.inputs`) unless ``accept_changes``.
        """
        given = changes or {}

        def plan_of(events: Sequence[Json]) -> tuple[TrainingRun, Sequence[Event], str]:
            """Return the plan that the events make, what to append first, and a warning or nothing."""
            view = training_view(folder, events)
            settings = view.settings.elsewhere(given)
            check_plugins(settings.plugins, given.get("plugins") or (), folder)
            check_address(settings.ray_address, bool(given.get("ray_address")), folder)
            check_trackers(settings.track, bool(given.get("track")), folder)
            now = inputs.of_trainings(settings.plugins, settings.data, inputs.recorded_inputs(events) or {})
            first, warning = inputs.compared(folder.name, events, now, accept_changes)
            load_plugins(settings.plugins)
            # the checkpoint is of this network and no other
            graph = Graph.from_json(read_json(folder / "graph.json"))
            if _digest(graph) != view.network.get("digest"):
                raise ConfigError(f"file '{folder / 'graph.json'}' is not the network of this training; restore it")
            return cls(folder, settings, graph, dict(view.network), [*events, *first]), first, warning

        return resume_run(folder, plan_of)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return any(event["event"] == "trained" for event in self.events)

    @property
    def all_epochs_done(self) -> bool:
        """Whether only the test split is left to be measured, if anything."""
        return self.done or self._epochs_done() >= self.settings.epochs

    def stop(self) -> None:
        """Do nothing: the training looks after every few steps whether it shall end."""

    def close(self) -> None:
        """Let go of the workers."""
        if self._trainer is not None:
            self._trainer.close()

    def write_outputs(self, folder: Path) -> None:
        """Write summary and reports."""
        write_training(folder)

    def forecast(self) -> str:
        """Measure a few steps with all workers and return what the training will take."""
        self._forecast = forecast_of(self.settings, self._begun(), self._epochs_done())
        return self._forecast.text

    def _begun(self) -> Trainer:
        if self._trainer is None:
            initial, path = b"", self.folder / INITIAL
            if self.settings.start is not None:
                initial = read_bytes(path) if path.is_file() else b""
                if digest_of(initial) != self.settings.start["digest"]:
                    raise ConfigError(f"file '{path}' is not what this training began with; restore it")
            self._trainer = trainer_of(self.settings, self.graph, self.folder / CHECKPOINT, initial)
        return self._trainer

    def _epochs_done(self) -> int:
        try:
            return int(read_json(self.folder / CHECKPOINT / "checkpoint.json")["epoch"])
        except (ConfigError, KeyError, TypeError, ValueError):
            return 0

    def carry_out(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Train, and measure the test split once; return ``finished`` or ``interrupted``."""
        if self.done:
            return "finished"
        trainer, settings = self._begun(), self.settings
        best: list[float] = []

        def tell(event: Event) -> None:
            run.append(event)
            self.events.append(event)
            if event["event"] == "epoch":
                best.extend([event["validation"]["accuracy"]] if "validation" in event else [])
                observe(Progress("training", event["number"], settings.epochs, max(best, default=None)))

        # train from the checkpoint, or from scratch
        observe(Progress("training", self._epochs_done(), settings.epochs))
        ahead = self._forecast
        forecast: Json = {} if ahead is None else {"forecast": ahead.seconds, "device": ahead.device}
        tell({"event": "began", "workers": settings.workers, **forecast, "time": time.time()})
        outcome = trainer.fit(tell, lambda: run.stopping)
        if not outcome.finished:
            return "interrupted"
        write_atomic(self.folder / WEIGHTS, outcome.weights)

        # that the test split is read is in the journal before it can happen
        tell({"event": "test_read", "time": time.time()})
        observe(Progress("test", 0, 1))
        measured = trainer.measure_test()
        observe(Progress("test", 1, 1))
        numbers: Json = {"top1": measured.accuracy, "top5": measured.top5, "loss": measured.loss}
        if measured.per_class is not None:
            numbers["per_class"] = measured.per_class.to_json()
        size = {name: self.network[name] for name in ("params", "macs")}
        # what the workers and this process have found in the files, of which each may have read some
        notes = [outcome.facts, data_notes(trainer.splits)]
        damaged = max((note["damaged"] for note in notes if "damaged" in note), key=lambda d: d["count"], default=None)
        remarks = {topic: text for note in notes for topic, text in note.get("remarks", {}).items()}
        found: Json = {"remarks": remarks, "damaged": damaged, "notes": {"images": trainer.splits.counts}}
        found = {name: told for name, told in found.items() if told}
        tell({"event": "trained", **numbers, **size, **outcome.facts, **found, "time": time.time()})
        return "finished"


def trainer_of(settings: TrainingSettings, graph: Graph, folder: Path, initial: bytes = b"") -> Trainer:
    """Return what carries a training out: this process, or workers on Ray."""
    if settings.workers is None:
        return LocalTrainer(settings, graph, folder, initial)
    from nas.workflows.train.distributed import DistributedTrainer

    return DistributedTrainer(settings, graph, folder, initial)


@dataclass(frozen=True)
class TrainingForecast:
    """The ``seconds`` that epochs will take on a ``device``, and a sentence about them."""

    seconds: float
    device: str
    text: str


def forecast_of(settings: TrainingSettings, trainer: Trainer, done: int = 0) -> TrainingForecast:
    """Measure a few steps; return what the epochs that are left will take."""
    found = trainer.throughput()
    epochs, workers = settings.epochs - done, settings.workers or 1
    seconds = epochs * found.steps * found.seconds
    gpus = 0.0 if found.device == "CPU" else float(settings.gpus_per_worker or 1)
    speed = found.images / (found.steps * found.seconds)
    steps = f"{count(found.steps, 'step')} of {duration(found.seconds)} ({speed:,.0f} images/s)"
    work = f"{count(epochs, 'epoch')}{' left' if done else ''} x {steps} with {count(workers, 'worker')}"
    text = f"forecast: {work} = {duration(seconds)}; {hours_of(seconds * workers, gpus)}"
    return TrainingForecast(seconds, found.device, text)


def _digest(graph: Graph) -> str:
    return digest_of(json.dumps(graph.to_json(), sort_keys=True).encode())


def digest_of(content: bytes) -> str:
    """Return the digest by which a file of a run is known again."""
    return blake2b(content, digest_size=16).hexdigest()
