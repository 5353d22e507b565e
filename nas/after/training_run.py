"""A training as a run on disk: created whole or not at all, carried out, killed at any moment, and resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from nas.after.training_part import Here, Trainer
from nas.after.training_report import write_training
from nas.after.training_settings import TrainingSettings
from nas.after.training_view import KIND, training_view
from nas.errors import ConfigError, EvaluationError, StoppedSearch, one_line
from nas.evaluators.notes import not_applied
from nas.files import read_json, write_atomic, write_json
from nas.forecast import cost as hours_of
from nas.graph import Graph
from nas.plugins import load_built_in, load_plugin
from nas.report.words import count, duration
from nas.run.journal import Event, Journal, opened
from nas.run.status import Observer, Progress, watched
from nas.runs import check_name, find_journal, taken, write_folder

CHECKPOINT = "checkpoint"
WEIGHTS = "weights.safetensors"
INITIAL = "initial.safetensors"
"""What a fine-tuning began with."""


class TrainingRun:
    """One training: its folder, settings, network and journal. Build it with :meth:`create` or :meth:`resume`."""

    def __init__(
        self,
        folder: Path,
        settings: TrainingSettings,
        graph: Graph,
        network: Mapping[str, Any],
        journal: Journal,
        events: list[Event],
    ) -> None:
        self.folder, self.settings, self.graph, self.network = folder, settings, graph, network
        self.journal, self.events = journal, events
        self.warning = ""
        self._trainer: Trainer | None = None
        self._forecast: Foreseen | None = None
        self._stopping = False

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: TrainingSettings,
        graph: Graph,
        network: Mapping[str, Any],
        trainer: Trainer | None = None,
        forecast: Foreseen | None = None,
        initial: bytes | None = None,
    ) -> TrainingRun:
        """Start a new training in ``folder``, which must not exist; nothing is left behind when something is wrong.

        ``network`` holds name, size and cost, for the report, ``forecast`` what the training will take, ``initial`` the
        weights that a fine-tuning begins with.
        """
        check_free(folder)
        settings.check()
        shown = {**network, "digest": _digest(graph), "not_applied": not_applied(settings.actual_recipe, graph)}
        header = {"kind": KIND, "settings": settings.to_json(), "network": shown, "time": time.time()}
        journal = _write_new(folder, header, graph.to_json(), initial)
        run = cls(folder, settings, graph, shown, journal, [{"event": "run", **header}])
        run._trainer, run._forecast = trainer, forecast
        return run

    @classmethod
    def resume(cls, folder: Path, changes: Mapping[str, Any] | None = None) -> TrainingRun:
        """Open an existing training where it stands; ``changes`` say where workers and files are found now."""
        with opened(find_journal(folder)) as (journal, events, warning):
            view = training_view(folder, events)
            settings = view.settings.elsewhere(changes or {})
            load_built_in()
            for plugin in settings.plugins:
                load_plugin(plugin)
            graph = Graph.from_json(read_json(folder / "graph.json"))
            if _digest(graph) != view.network["digest"]:
                raise ConfigError(f"file '{folder / 'graph.json'}' is not the network of this training; restore it")
            run = cls(folder, settings, graph, view.network, journal, list(events))
        run.warning = warning
        return run

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return any(event["event"] == "trained" for event in self.events)

    @property
    def all_epochs_done(self) -> bool:
        """Whether only the test split is left to be measured, if anything."""
        return self.done or self._epochs_done() >= self.settings.epochs

    def stop(self) -> None:
        """End after the next few steps; :meth:`resume` goes on from there."""
        self._stopping = True

    def execute(self, observe: Observer = lambda progress: None) -> str:
        """Train, measure the test split once, and write everything; return ``finished`` or ``interrupted``.

        A training that fails is reported as ``failed``, and its :class:`EvaluationError` raised, or
        :class:`StoppedSearch` where its workers were lost too often.
        """
        try:
            with watched(self.folder, observe) as observe:
                reason = "finished" if self.done else self._train(observe)
            self._end(reason)
            return reason
        except (EvaluationError, StoppedSearch) as error:
            self._end("failed", kind=getattr(error, "kind", "lost"), message=one_line(error))
            raise
        finally:
            self._close()
            self.journal.close()

    def _end(self, reason: str, **why: str) -> None:
        self._append({"event": "stopped", "reason": reason, **why, "time": time.time()})
        write_training(self.folder)

    def forecast(self) -> str:
        """Measure a few steps with all workers and return what the training will take."""
        self._forecast = forecast_of(self.settings, self._begun(), self._epochs_done())
        return self._forecast.text

    def close(self) -> None:
        """Let go of workers and journal without training."""
        self._close()
        self.journal.close()

    def _close(self) -> None:
        if self._trainer is not None:
            self._trainer.close()

    def _begun(self) -> Trainer:
        if self._trainer is None:
            self._trainer = trainer_of(self.settings, self.graph, self.folder / CHECKPOINT, self._initial())
        return self._trainer

    def _initial(self) -> bytes:
        if self.settings.start is None:
            return b""
        path = self.folder / INITIAL
        content = path.read_bytes() if path.is_file() else b""
        if digest_of(content) != self.settings.start["digest"]:
            raise ConfigError(f"file '{path}' is not what this training began with; restore it")
        return content

    def _epochs_done(self) -> int:
        try:
            return int(read_json(self.folder / CHECKPOINT / "checkpoint.json")["epoch"])
        except (ConfigError, KeyError, TypeError, ValueError):
            return 0

    def _train(self, observe: Observer) -> str:
        trainer, settings = self._begun(), self.settings
        best: list[float] = []

        def tell(event: Mapping[str, Any]) -> None:
            self._append(event)
            if event["event"] == "epoch":
                best.extend([event["validation"]["accuracy"]] if "validation" in event else [])
                observe(Progress("training", event["number"], settings.epochs, max(best, default=None)))

        observe(Progress("training", self._epochs_done(), settings.epochs))
        foreseen: dict[str, Any] = {}
        if self._forecast is not None:
            foreseen = {"forecast": self._forecast.seconds, "device": self._forecast.device}
        self._append({"event": "began", "workers": settings.workers, **foreseen, "time": time.time()})
        ended = trainer.fit(tell, lambda: self._stopping)
        if not ended.finished:
            return "interrupted"
        write_atomic(self.folder / WEIGHTS, ended.weights)
        self._append({"event": "test_read", "time": time.time()})
        observe(Progress("test", 0, 1))
        found = trainer.measure_test()
        observe(Progress("test", 1, 1))
        numbers = {"top1": found.accuracy, "top5": found.top5, "loss": found.loss}
        size = {name: self.network[name] for name in ("params", "macs")}
        self._append({"event": "trained", **numbers, **size, **ended.facts, "time": time.time()})
        return "finished"

    def _append(self, event: Mapping[str, Any]) -> None:
        self.journal.append([event])
        self.events.append(event)


def check_free(folder: Path) -> None:
    """Refuse a name that is none, or that another run has."""
    check_name(folder.name)
    if folder.exists():
        raise ConfigError(taken(folder))


def trainer_of(settings: TrainingSettings, graph: Graph, folder: Path, initial: bytes = b"") -> Trainer:
    """Return what carries a training out: this process, or workers on Ray."""
    if settings.workers is None:
        return Here(settings, graph, folder, initial)
    from nas.after.training_group import Together

    return Together(settings, graph, folder, initial)


@dataclass(frozen=True)
class Foreseen:
    """The ``seconds`` that epochs will take on a ``device``, and a sentence about them."""

    seconds: float
    device: str
    text: str


def forecast_of(settings: TrainingSettings, trainer: Trainer, done: int = 0) -> Foreseen:
    """Measure a few steps; return what the epochs that are left will take."""
    found = trainer.pace()
    epochs, workers = settings.epochs - done, settings.workers or 1
    seconds = epochs * found.steps * found.seconds
    gpus = 0.0 if found.device == "CPU" else float(settings.gpus_per_worker or 1)
    speed = found.images / (found.steps * found.seconds)
    steps = f"{count(found.steps, 'step')} of {duration(found.seconds)} ({speed:,.0f} images/s)"
    left = "" if not done else " left"
    text = (
        f"forecast: {count(epochs, 'epoch')}{left} x {steps} with {count(workers, 'worker')} = {duration(seconds)}; "
        f"{hours_of(seconds * workers, gpus)}"
    )
    return Foreseen(seconds, found.device, text)


def fresh_training_name(results: Path, settings: TrainingSettings, network: str) -> str:
    """Return a free name for a training: network, dataset and a number."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in f"{network}-{settings.dataset}").strip(".-")[:80]
    number = 1
    while (results / f"{plain}-{number}").exists():
        number += 1
    return f"{plain}-{number}"


def _digest(graph: Graph) -> str:
    import json

    return digest_of(json.dumps(graph.to_json(), sort_keys=True).encode())


def digest_of(content: bytes) -> str:
    """Return the digest by which a file of a run is known again."""
    return blake2b(content, digest_size=16).hexdigest()


def _write_new(folder: Path, header: Mapping[str, Any], graph: Any, initial: bytes | None = None) -> Journal:
    """Write the first files of a training; it exists whole or not at all."""

    def fill(staging: Path) -> None:
        write_json(staging / "graph.json", graph)
        if initial is not None:
            write_atomic(staging / INITIAL, initial)

    return write_folder(folder, header, header["settings"], fill)
