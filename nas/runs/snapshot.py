"""What is seen of any run without disturbing it: its journal and, while it runs, its ``status.json``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from nas.core.files import read_json
from nas.core.locks import is_locked
from nas.core.values import Json
from nas.errors import ConfigError
from nas.runs.journal import Event, read
from nas.runs.progress import STATUS_FILE, Status
from nas.runs.run_folder import JOURNAL
from nas.types import WorkerState

RUN_STATUS_FORMAT = "nas/run-status/1"
ENDED = ("finished", "exhausted")
"""Reasons of a stop after which nothing is left to do."""
LATEST = 5
"""How many failures are shown."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    folder: Path
    """Where it is."""
    now: float
    """The moment, in seconds since 1970."""
    running: bool
    """Whether a process carries it out."""
    events: Sequence[Event]
    """The events of its journal."""
    written: float
    """When the last of them was written, in seconds since 1970."""
    last_status: Status | None
    """The latest status of the running process; None where there is none."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return what is seen of the run in ``folder`` now."""
        path = folder / JOURNAL
        # the lock first: a run that ends between the two then counts as running, not as killed
        status, running = None, is_locked(path)
        events = read(path)
        if running:
            with contextlib.suppress(ConfigError):
                status = Status.from_json(read_json(folder / STATUS_FILE))
        return cls(folder, time.time(), running, events, path.stat().st_mtime, status)

    @property
    def state(self) -> str:
        """``running``, ``killed`` (or ended by an error), or why it stopped."""
        if self.running:
            return "running"
        last = self.events[-1]
        return str(last["reason"]) if last["event"] == "stopped" else "killed"

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers in the latest status."""
        return self.last_status.workers if self.last_status is not None else ()

    def at_work(self, open_: Collection[int] | None, begun: Sequence[int]) -> tuple[WorkerState, ...]:
        """Return the workers with their work as it is now: a job that is none of ``open_`` is no longer theirs.

        None: all jobs are open. A worker in the run's own process writes no status while it works: where there is no
        other, it does the one job that has ``begun``.
        """
        workers = () if self.last_status is None else self.last_status.workers
        if open_ is not None:
            workers = tuple(w if w.trial in open_ else replace(w, trial=None) for w in workers)
        if len(workers) == 1 and workers[0].trial is None and len(begun) == 1:
            return (replace(workers[0], state="busy", trial=begun[0], since=self.written),)
        return workers

    @property
    def left(self) -> float | None:
        """Seconds that the phase will go on from now, by the forecast in the latest status."""
        status = self.last_status
        if status is None or status.left is None:
            return None
        return max(0.0, status.left - (self.now - status.time))

    def frame(self, kind: str, about: str, **own: object) -> Json:
        """Return JSON data (format ``nas/run-status/1``) with what is known of any run, and its ``own`` facts.

        ``kind`` is ``search`` or what made the run, ``about`` what it is in words. Times are seconds.
        """
        status, logs, report = self.last_status, self.folder / "logs", self.folder / "report.html"
        facts: Json = {
            "format": RUN_STATUS_FORMAT,
            "name": self.folder.name,
            "kind": kind,
            "about": about,
            "state": self.state,
            "phase": None,
            "phases": {},
            "process": None if status is None else {"pid": status.pid, "host": status.host},
            "since": None if status is None else round(self.now - status.started, 3),
            "last_event": round(self.now - self.written, 3),
            "running": [],
            "failed": {},
            "retried": {},
            "best": None,
            "result": None,
            "per_hour": None if status is None else status.per_hour,
            "utilisation": None if status is None else status.utilisation,
            "left": None,
            "cost": None,
            "workers": [
                {**without(asdict(w), "since"), "seconds": None if w.trial is None else round(self.now - w.since, 3)}
                for w in self.workers
            ],
            "failures": [],
            "logs": str(logs) if logs.is_dir() else None,
            "report": str(report) if report.is_file() else None,
            "resume": None,
        }
        return facts | own


def worker_hours(spent: float, left: float | None, gpus: float = 0.0) -> Json:
    """Return what seconds of workers cost, in hours; of GPUs where each worker has ``gpus``."""
    scale = (gpus or 1.0) / 3600
    return {
        "unit": "GPU-hours" if gpus else "worker-hours",
        "spent": round(spent * scale, 6),
        "left": None if left is None else round(left * scale, 6),
        "simulated": None,
    }


def without(data: Event, name: str) -> Json:
    """Return ``data`` less one of its entries."""
    return {key: value for key, value in data.items() if key != name}
