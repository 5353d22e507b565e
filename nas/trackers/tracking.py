"""Telling callbacks of a search: what its ledger holds and they have not been told, after every event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from nas.core.files import read_text
from nas.core.informing import informing
from nas.core.plugins import load_plugins, naming
from nas.core.values import Json, Value
from nas.engine.config import RunConfig, config_of
from nas.engine.loop import Ledger
from nas.engine.run import SearchRun
from nas.errors import ConfigError, NasError
from nas.graph import Graph
from nas.report.run_view import load_view
from nas.runs.journal import stream
from nas.runs.progress import Observer, Progress
from nas.runs.run_folder import JOURNAL, RunFolder
from nas.runs.trust import check_plugins, check_trackers
from nas.searchers.pareto import asked_objectives
from nas.trackers.base import Callback, FinalTraining, TrackedRun
from nas.trackers.registry import make_trackers, placed
from nas.types import Architecture, Trial

FOLDER = "trackers"
"""Of a run's folder, for what callbacks were told: a file each, a line a thing."""


EACH_TIME = ("start", "end")
"""What every process that carries a run on tells."""


class Listener:
    """A callback, what it was told, and whether it was switched off; it outlives the processes of a run by a file."""

    def __init__(self, callback: Callback) -> None:
        if not isinstance(callback, Callback):
            raise ConfigError(f"a callback is a nas.Callback or the name of a tracker, found {type(callback).__name__}")
        self.callback, self.name = callback, callback.name or type(callback).__name__
        self.off = False
        self._what = f"callback '{self.name}'"
        self._told: set[str] = set()
        self._file: Path | None = None

    def start(self, run: TrackedRun, twins: int) -> None:
        """Begin with ``run``; ``twins`` is how many callbacks of this name there are before it."""
        self._what = f"callback '{self.name}' of run '{run.name}'"
        self.off = False
        if self.callback.hears_all:
            self._told = set()
        elif run.folder is not None:
            self._file = run.folder / FOLDER / f"{self.name}{f'-{twins + 1}' if twins else ''}.told"
            with informing(self._what) as attempt:
                self._file.parent.mkdir(exist_ok=True)
                self._told = {*read_text(self._file).splitlines()} if self._file.exists() else set()
            self.off = bool(attempt.problem)
        self.tell("start", lambda: self.callback.on_start(run))

    def tell(self, what: str, method: Callable[[], None]) -> None:
        """Call ``method`` unless the callback was told ``what`` before; :data:`EACH_TIME` each process tells."""
        if self.off or what in self._told:
            return
        with informing(self._what) as attempt, naming(f"on_{what.split()[0]}"):
            method()
            if what not in EACH_TIME:
                self._told.add(what)
                if self._file is not None:  # afterwards: a process that is killed meanwhile tells it again
                    with self._file.open("a", encoding="utf-8") as file:
                        file.write(f"{what}\n")
        self.off = bool(attempt.problem)


class Tracking:
    """Tells ``listeners`` of one search; ``graph_of`` gives the network of an architecture that has one."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        run: TrackedRun,
        ledger: Ledger,
        graph_of: Callable[[Architecture], Graph | None],
    ) -> None:
        self._listeners, self._run, self._ledger, self._graph_of = listeners, run, ledger, graph_of
        self._next = self._finals = 0
        self._best: Trial | None = None
        self._shown: Trial | None = None

    def start(self) -> None:
        """Begin, then tell what is there already."""
        names: list[str] = []
        for listener in self._listeners:
            listener.start(self._run, names.count(listener.name))
            names.append(listener.name)
        self.update()

    def update(self) -> None:
        """Tell what has happened since the last call; trials in their order, up to the first that has not ended."""
        trials = self._ledger.trials
        while self._next < len(trials) and trials[self._next].status not in ("pending", "waiting"):
            trial = trials[self._next]
            self._next += 1
            if trial.status == "done" and (self._best is None or _rank(trial) > _rank(self._best)):
                self._best = trial
            self._tell(f"trial {trial.index}", lambda c, t=trial: c.on_trial(t, self._best))  # type: ignore[misc]

        # the best so far; of several at once the last, as its network must be built
        best = self._best
        if best is not None and best is not self._shown and not all(listener.off for listener in self._listeners):
            self._shown, graph = best, self._network(best)
            self._tell(f"best {best.index}", lambda c: c.on_best(best, graph))

        for event in self._ledger.finals[self._finals :]:
            training = final_training(event)
            self._tell(f"training {self._finals}", lambda c, t=training: c.on_training(t))  # type: ignore[misc]
            self._finals += 1

    def end(self, reason: str) -> None:
        """Tell the rest, the final comparison where that is complete, and that it ends."""
        self.update()
        if self._finals and reason in ("finished", "exhausted") and self._run.folder is not None:
            rows = load_view(self._run.folder).scores()
            self._tell(f"final {self._finals}", lambda c: c.on_final(rows))
        self._tell("end", lambda c: c.on_end(reason))

    def follow(self, work: Callable[[], str]) -> str:
        """Tell of ``work`` from its start to its end, however it ends; return why, which is what it returns."""
        self.start()
        reason = "failed"
        try:
            reason = work()
        except KeyboardInterrupt:
            reason = "interrupted"
            raise
        finally:
            self.end(reason)
        return reason

    def _tell(self, what: str, call: Callable[[Callback], None]) -> None:
        for listener in self._listeners:
            listener.tell(what, lambda c=listener.callback: call(c))  # type: ignore[misc]

    def _network(self, trial: Trial) -> Graph | None:
        try:
            return self._graph_of(trial.architecture)
        except NasError:  # a picture that cannot be made is none
            return None


def _rank(trial: Trial) -> tuple[int, float, int]:
    """Return by what the best trial is the greatest, as :meth:`nas.engine.loop.Ledger.best` has it."""
    return trial.proposal.epochs, trial.reward or 0.0, -trial.index


def final_training(event: Json) -> FinalTraining:
    """Return a training of the final comparison from its event."""
    curve = tuple((int(epoch), float(loss)) for epoch, loss in event.get("notes", {}).get("curve", ()))
    return FinalTraining(event["role"], event["name"], event["number"], event["score"], event["seconds"], curve)


def tracked_run(folder: Path | None, config: RunConfig) -> TrackedRun:
    """Return what callbacks are told of a search with ``config``, in ``folder`` or in memory."""
    objectives = asked_objectives(config.searcher.name, config.searcher.args)[0]
    if folder is None:
        return TrackedRun(config.space.name, None, uuid4().hex[:16], time.time(), config.to_json(), objectives)
    first = next(stream(folder / JOURNAL))
    digest = blake2b(json.dumps(first, sort_keys=True).encode(), digest_size=8).hexdigest()
    return TrackedRun(folder.name, folder, digest, first.get("time", 0.0), config.to_json(), objectives)


def checked_changes(folder: Path, changes: Mapping[str, Value]) -> tuple[Json, tuple[Callback, ...]]:
    """Return ``changes`` of the search in ``folder`` with absolute places of trackers, and all its trackers.

    It is called before the run is touched: one that cannot be made raises :class:`ConfigError`.
    """
    found = dict(changes)
    config = config_of(next(stream(folder / JOURNAL)), folder.name).elsewhere(found)
    if not config.track:
        return found, ()
    check_trackers(config.track, bool(found.get("track")), folder)
    check_plugins(config.plugins, found.get("plugins") or (), folder)  # which may register one
    load_plugins(config.plugins)
    if found.get("track"):
        found["track"] = placed(config.track)
    return found, make_trackers(config.track)


def execute(run: RunFolder[SearchRun], listeners: Sequence[Listener], observe: Observer) -> str:
    """Carry ``run`` out while ``listeners`` are told of it; return why it ended."""
    if not listeners:
        return run.execute(observe)
    plan = run.plan
    about = tracked_run(run.folder, plan.config)
    tracking = Tracking(listeners, about, plan.ledger, lambda found: plan.parts.plain(found).graph)

    def told(progress: Progress) -> None:
        observe(progress)
        tracking.update()

    return tracking.follow(lambda: run.execute(told))
