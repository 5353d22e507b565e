"""The progress of a run while it goes on, for whoever watches, and ``status.json``, which shows it to other processes.

The file is disposable: the journal alone says what was done, and nothing that goes on from there reads this.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from nas.core.files import write_atomic
from nas.core.informing import informing
from nas.core.values import Json
from nas.errors import ConfigError
from nas.types import WorkerState

STATUS_FORMAT = "nas/status/1"
STATUS_FILE = "status.json"
EVERY = 2.0
"""Seconds between two writings of the file."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is evaluated at this moment."""

    index: int
    """The trial."""
    attempt: int
    """0 for the first, 1 for the second, and so on."""
    worker: str
    """Name of the worker that evaluates it."""
    since: float
    """When it began, in seconds since 1970."""


@dataclass(frozen=True)
class Progress:
    """How far a phase is; what follows ``trials`` is of this process alone and filled in by :class:`Meter`."""

    phase: str
    """One of :data:`nas.core.text.PHASES`."""
    done: int
    """Steps that have ended."""
    total: int
    """Steps of the phase."""
    best: float | None = None
    """The best reward or accuracy so far."""
    running: int = 0
    """Steps that are under way."""
    failed: int = 0
    """How many of those done have no score."""
    retried: int = 0
    """Attempts that were begun again."""
    workers: tuple[WorkerState, ...] = ()
    """The states of the workers."""
    trials: tuple[RunningTrial, ...] = ()
    """What the workers evaluate."""
    started: float = 0.0
    """When the phase began, in seconds since 1970; with the first worker that was ready."""
    per_hour: float | None = None
    """Steps an hour."""
    utilisation: float | None = None
    """The busy share of the workers' time."""
    left: float | None = None
    """Seconds that the phase will go on."""


@dataclass(frozen=True, kw_only=True)
class Status(Progress):
    """What ``status.json`` holds: the progress of one process at one moment."""

    time: float
    """That moment, in seconds since 1970."""
    pid: int
    """The process."""
    host: str
    """The machine that it runs on."""

    @classmethod
    def of(cls, progress: Progress) -> Status:
        """Return ``progress`` as the status of this process now."""
        found = {f.name: getattr(progress, f.name) for f in fields(Progress)}
        return cls(**found, time=time.time(), pid=os.getpid(), host=platform.node())

    def to_json(self) -> Json:
        """Return the status as JSON data (format ``nas/status/1``)."""
        return {"format": STATUS_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: object) -> Status:
        """Read what :meth:`to_json` wrote; anything else raises :class:`ConfigError`."""
        if not isinstance(data, Mapping) or data.get("format") != STATUS_FORMAT:
            raise ConfigError(f"not a status: format must be '{STATUS_FORMAT}'")
        found: Json = {name: value for name, value in data.items() if name != "format"}
        try:
            found["workers"] = tuple(WorkerState(**worker) for worker in found["workers"])
            found["trials"] = tuple(RunningTrial(**trial) for trial in found["trials"])
            return cls(**found)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not a status: {error}") from None


Observer = Callable[[Progress], None]


class Meter:
    """Turns counts into rates, from what this process has done since a phase began."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._phase = ""
        self._started = self._seen = 0.0
        self._before = 0
        self._workers: tuple[WorkerState, ...] | None = None
        self._known: dict[tuple[str, int], float] = {}
        self._busy = self._offered = 0.0
        self._utilisation: float | None = None

    def complete(self, progress: Progress) -> Progress:
        """Return ``progress`` with its rates; call it whenever something has changed, and now and then."""
        now, workers = self._clock(), progress.workers
        if progress.phase != self._phase:
            self._phase, self._before = progress.phase, progress.done
            self._started = self._seen = now
            self._workers, self._utilisation = None, None
            self._known = {(worker.name, worker.pid): worker.busy_seconds for worker in workers}
            self._busy = self._offered = 0.0

        # what each worker has done since it was last seen, less often than trials finish: workers come and go
        if workers is not self._workers:
            self._offered += len(workers) * max(0.0, now - self._seen)
            self._seen, self._workers = now, workers
            for worker in workers:
                who, before = (worker.name, worker.pid), self._known.get((worker.name, worker.pid), 0.0)
                restarted = worker.busy_seconds < before
                self._busy += worker.busy_seconds - (0.0 if restarted else before)
                self._known[who] = worker.busy_seconds
            under_way = sum(now - max(w.since, self._started) for w in workers if w.trial is not None)
            if self._offered > 0:
                self._utilisation = min(1.0, (self._busy + max(0.0, under_way)) / self._offered)

        # the start of a cluster's workers may take minutes, which say nothing of how fast they will be
        own = progress.done - self._before
        if own <= 0 and workers and all(worker.state == "starting" for worker in workers):
            self._started = self._seen = now
            self._offered = 0.0
        elapsed = now - self._started
        told = replace(progress, started=self._started, utilisation=self._utilisation)
        if own <= 0 or elapsed <= 0:
            return told
        left = max(0, progress.total - progress.done) * elapsed / own
        return replace(told, per_hour=3600 * own / elapsed, left=left)


class StatusWriter:
    """Writes ``path`` when a phase begins, then at most every two seconds, and at the end.

    A file that cannot be written is told of once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: Progress | None = None
        self._due = time.monotonic()
        with contextlib.suppress(OSError):  # what an earlier process says of itself, and what it was killed writing
            for old in (path, *path.parent.glob(f".{path.name}.*.tmp")):
                old.unlink(missing_ok=True)

    def update(self, progress: Progress) -> None:
        """Write the progress, if it is time to or the phase has just begun."""
        begins = self._latest is not None and self._latest.phase != progress.phase
        self._latest = progress
        if begins or time.monotonic() >= self._due:
            self._write(progress)

    def close(self) -> None:
        """Write the last state."""
        if self._latest is not None:
            self._write(self._latest)

    def _write(self, progress: Progress) -> None:
        with informing(f"status file '{self._path}'"):
            write_atomic(self._path, json.dumps(Status.of(progress).to_json(), indent=1) + "\n")
        self._due = time.monotonic() + EVERY


def running_trials(workers: Sequence[WorkerState], retried: Mapping[int, Sequence[str]]) -> tuple[RunningTrial, ...]:
    """Return what ``workers`` evaluate at this moment; ``retried`` holds by trial its earlier attempts."""
    return tuple(
        RunningTrial(w.trial, len(retried.get(w.trial, ())), w.name, w.since) for w in workers if w.trial is not None
    )


@contextlib.contextmanager
def watched(folder: Path, observe: Observer) -> Iterator[Observer]:
    """Give what takes progress of the run in ``folder``: with rates it goes to its status file and to ``observe``."""
    writer, meter = StatusWriter(folder / STATUS_FILE), Meter()

    def take(progress: Progress) -> None:
        progress = meter.complete(progress)
        writer.update(progress)
        observe(progress)

    try:
        yield take
    finally:
        writer.close()
