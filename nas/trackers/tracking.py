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


class Following:
    """Tells ``listeners`` of one run while it goes on; a subclass knows what there is to tell."""

    def __init__(self, listeners: Sequence[Listener], run: TrackedRun) -> None:
        self._listeners, self._run = listeners, run

    def update(self) -> None:
        """Tell what has happened since the last call."""
        raise NotImplementedError

    def complete(self) -> None:
        """Tell what a run that has come to its end has beside."""

    def follow(self, work: Callable[[], str]) -> str:
        """Tell of ``work`` from its start to its end, however it ends; return why, which is what it returns."""
        names: list[str] = []
        for listener in self._listeners:
            listener.start(self._run, names.count(listener.name))
            names.append(listener.name)
        self.update()
        reason = "failed"
        try:
            reason = work()
        except KeyboardInterrupt:
            reason = "interrupted"
            raise
        finally:
            self.update()
            if reason in ("finished", "exhausted"):
                self.complete()
            self._tell("end", lambda c: c.on_end(reason))
        return reason

    def _tell(self, what: str, call: Callable[[Callback], None]) -> None:
        for listener in self._listeners:
            listener.tell(what, lambda c=listener.callback: call(c))  # type: ignore[misc]


class Tracking(Following):
    """Tells ``listeners`` of one search; ``graph_of`` gives the network of an architecture that has one."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        run: TrackedRun,
        ledger: Ledger,
        graph_of: Callable[[Architecture], Graph | None],
    ) -> None:
        super().__init__(listeners, run)
        self._ledger, self._graph_of = ledger, graph_of
        self._next = self._finals = 0
        self._best: Trial | None = None
        self._shown: Trial | None = None

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

    def complete(self) -> None:
        """Tell the final comparison, where there is one."""
        if not self._finals or self._run.folder is None:
            return
        with informing(f"the final comparison of run '{self._run.name}' for its callbacks"):
            rows = load_view(self._run.folder).scores()
            self._tell(f"final {self._finals}", lambda c: c.on_final(rows))

    def _network(self, trial: Trial) -> Graph | None:
        try:
            return self._graph_of(trial.architecture)
        except NasError:  # a picture that cannot be made is none
            return None


def _rank(trial: Trial) -> tuple[int, float, int]:
    """Return by what the best trial is the greatest, as :meth:`nas.engine.loop.Ledger.best` has it."""
    return trial.proposal.epochs, trial.reward or 0.0, -trial.index


def apart(callbacks: Sequence[Callback | str]) -> tuple[list[Callback], tuple[str, ...]]:
    """Return the callbacks that are objects, and the names of trackers."""
    if isinstance(callbacks, str | Callback):
        raise ConfigError(f"callbacks is a list of nas.Callback objects and names of trackers, found {callbacks!r}")
    named = tuple(one for one in callbacks if isinstance(one, str))
    return [one for one in callbacks if not isinstance(one, str)], named


def final_training(event: Json) -> FinalTraining:
    """Return a training of the final comparison from its event."""
    curve = tuple((int(epoch), float(loss)) for epoch, loss in event.get("notes", {}).get("curve", ()))
    return FinalTraining(event["role"], event["name"], event["number"], event["score"], event["seconds"], curve)


def tracked_run(folder: Path | None, config: RunConfig) -> TrackedRun:
    """Return what callbacks are told of a search with ``config``, in ``folder`` or in memory."""
    objectives = asked_objectives(config.searcher.name, config.searcher.args)[0]
    if folder is not None:
        return run_on_disk(folder, config.to_json(), objectives)
    return TrackedRun(config.space.name, None, uuid4().hex[:16], time.time(), config.to_json(), objectives)


def run_on_disk(folder: Path, settings: Json, objectives: tuple[str, ...] = ()) -> TrackedRun:
    """Return what callbacks are told of the run in ``folder``, of whatever kind."""
    first = next(stream(folder / JOURNAL))
    digest = blake2b(json.dumps(first, sort_keys=True).encode(), digest_size=8).hexdigest()
    return TrackedRun(folder.name, folder, digest, first.get("time", 0.0), settings, objectives)


def checked_changes(folder: Path, changes: Mapping[str, Value]) -> tuple[Json, tuple[Callback, ...]]:
    """Return ``changes`` of the search in ``folder`` with absolute places of trackers, and all its trackers.

    It is called before the run is touched: one that cannot be made raises :class:`ConfigError`.
    """
    config = config_of(next(stream(folder / JOURNAL)), folder.name).elsewhere(changes)
    return checked_trackers(folder, config.track, config.plugins, changes)


def checked_trackers(
    folder: Path, track: Sequence[str], plugins: Sequence[str], changes: Mapping[str, Value]
) -> tuple[Json, tuple[Callback, ...]]:
    """Return the same for a run of any kind that goes on with ``track`` and ``plugins``."""
    found = dict(changes)
    if not track:
        return found, ()
    check_trackers(track, bool(found.get("track")), folder)
    check_plugins(plugins, found.get("plugins") or (), folder)  # which may register one
    load_plugins(plugins)
    if found.get("track"):
        found["track"] = placed(track)
    return found, make_trackers(track)


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
