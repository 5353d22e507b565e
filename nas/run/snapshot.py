"""What is seen of any run without disturbing it: its journal and, while it runs, what it says of itself."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from nas.errors import ConfigError
from nas.files import read_json
from nas.run.journal import Event, read
from nas.run.status import STATUS_FILE, Status
from nas.types import WorkerState

RUN_STATUS_FORMAT = "nas/run-status/1"
JOURNAL = "journal.jsonl"
ENDED = ("finished", "exhausted")
"""Reasons of a stop after which nothing is left to do."""
LATEST = 5
"""How many failures are shown."""


@dataclass(frozen=True)
class Snapshot:
    """A run at time ``now``: the events of its journal, ``written`` last then, and its last word if it runs."""

    folder: Path
    now: float
    running: bool
    events: Sequence[Event]
    written: float
    said: Status | None

    @classmethod
    def of(cls, folder: Path, **own: Any) -> Self:
        """Return what is seen of the run in ``folder`` now, with what is a class's ``own``."""
        path = folder / JOURNAL
        running = is_locked(path)  # first: a run that ends between the two then counts as running, not as killed
        events = read(path)
        said = None
        if running:
            with contextlib.suppress(ConfigError):
                said = Status.from_json(read_json(folder / STATUS_FILE))
        return cls(folder, time.time(), running, events, path.stat().st_mtime, said, **own)

    @property
    def state(self) -> str:
        """``running``, ``killed`` (or ended by an error), or why it stopped."""
        if self.running:
            return "running"
        last = self.events[-1]
        return str(last["reason"]) if last["event"] == "stopped" else "killed"

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers, as the run told last."""
        return self.said.workers if self.said is not None else ()

    def at_work(self, open_: Collection[int] | None, begun: Sequence[int]) -> tuple[WorkerState, ...]:
        """Return the workers with their work as it is now: a job that is none of ``open_`` is no longer theirs.

        None stands for all jobs. A worker in the run's own process tells nothing while it works: where there is no
        other, it does the one job that has ``begun``.
        """
        workers = self.said.workers if self.said is not None else ()
        if open_ is not None:
            workers = tuple(w if w.trial in open_ else replace(w, trial=None) for w in workers)
        if len(workers) == 1 and workers[0].trial is None and len(begun) == 1:
            return (replace(workers[0], state="busy", trial=begun[0], since=self.written),)
        return workers

    @property
    def left(self) -> float | None:
        """Seconds that the phase will go on from now, as the run forecast when it told last."""
        if self.said is None or self.said.left is None:
            return None
        return max(0.0, self.said.left - (self.now - self.said.time))

    def frame(self, kind: str, about: str, **own: Any) -> dict[str, Any]:
        """Return JSON data (format ``nas/run-status/1``) with what is known of any run, and its ``own`` facts.

        ``kind`` is ``search`` or what made the run, ``about`` what it is in words. Times are seconds.
        """
        said, logs, report = self.said, self.folder / "logs", self.folder / "report.html"
        facts: dict[str, Any] = {
            "format": RUN_STATUS_FORMAT,
            "name": self.folder.name,
            "kind": kind,
            "about": about,
            "state": self.state,
            "phase": None,
            "phases": {},
            "process": None if said is None else {"pid": said.pid, "host": said.host},
            "since": None if said is None else round(self.now - said.started, 3),
            "last_event": round(self.now - self.written, 3),
            "running": [],
            "failed": {},
            "retried": {},
            "best": None,
            "result": None,
            "per_hour": None if said is None else said.per_hour,
            "utilisation": None if said is None else said.utilisation,
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


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a journal, that is, whether its run goes on."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def worker_hours(spent: float, left: float | None, gpus: float = 0.0) -> dict[str, Any]:
    """Return what seconds of workers cost, in hours; of GPUs where each worker has ``gpus``."""
    scale = (gpus or 1.0) / 3600
    return {
        "unit": "GPU-hours" if gpus else "worker-hours",
        "spent": round(spent * scale, 6),
        "left": None if left is None else round(left * scale, 6),
        "simulated": None,
    }


def without(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return ``data`` less one of its entries."""
    return {key: value for key, value in data.items() if key != name}
