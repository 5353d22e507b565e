"""How a training stands, also while another process carries it out."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.after.training_view import KIND, TrainingView, result_line, training_view
from nas.run.snapshot import ENDED, LATEST, Snapshot, worker_hours

RECENT = 5
"""The last epochs by which the time of those to come is foretold."""


def facts(folder: Path) -> dict[str, Any]:
    """Return how the training in ``folder`` stands: see :meth:`nas.run.snapshot.Snapshot.frame`."""
    snapshot = Snapshot.of(folder)
    view = training_view(folder, snapshot.events)
    settings, ended = view.settings, snapshot.state in ENDED
    workers, left = settings.workers or 1, 0.0 if ended else _left(view, snapshot)
    gpus = float(1 if settings.gpus_per_worker is None else settings.gpus_per_worker) if view.device != "CPU" else 0.0
    return snapshot.frame(
        KIND,
        f"training of {view.network['name']} on {settings.dataset}",
        phase=None if ended else "test" if view.test_reads else "training",
        phases={
            "training": {"done": len(view.epochs), "total": settings.epochs, "counts": {}},
            "test": {"done": int(view.trained is not None), "total": 1, "counts": {}},
        },
        retried={"lost": view.lost} if view.lost else {},
        result=result_line(view),
        left=None if left is None or not snapshot.running else {"phase": round(left, 3), "run": round(left, 3)},
        cost=worker_hours(view.seconds * workers, None if left is None else left * workers, gpus),
        failures=list(_failures(view))[-LATEST:],
    )


def _left(view: TrainingView, snapshot: Snapshot) -> float | None:
    """Return the seconds of the epochs to come: as the running process says, else from the last ones or a forecast."""
    if snapshot.left is not None:
        return snapshot.left
    if view.epochs:
        each = statistics.fmean(epoch["seconds"] for epoch in view.epochs[-RECENT:])
        return each * (view.settings.epochs - len(view.epochs))
    return view.forecast


def _failures(view: TrainingView) -> Iterator[dict[str, Any]]:
    """Yield what went wrong: groups of workers that were lost, and how a training failed."""
    for event in view.events:
        if event["event"] == "lost":
            yield {"trial": None, "kind": "lost", "message": event["message"], "retried": True}
        elif event["event"] == "stopped" and "message" in event:
            yield {"trial": None, "kind": event["kind"], "message": event["message"], "retried": False}
