"""The status of a training, also while another process carries it out."""

from __future__ import annotations

import statistics
from pathlib import Path

from nas.core.values import Json
from nas.runs.snapshot import ENDED, LATEST, Snapshot, worker_hours
from nas.workflows.train.view import KIND, result_line, training_view

RECENT = 5
"""How many of the latest epochs forecast the time of those to come."""


def facts(folder: Path) -> Json:
    """Return the status of the training in ``folder``: see :meth:`nas.runs.snapshot.Snapshot.frame`."""
    snapshot = Snapshot.of(folder)
    view = training_view(folder, snapshot.events)
    settings, ended = view.settings, snapshot.state in ENDED
    workers, epochs = settings.workers or 1, view.epochs
    # the time of the epochs to come: as the running process says, else from the latest ones or a forecast
    left = snapshot.left if snapshot.left is not None else view.forecast
    if ended:
        left = 0.0
    elif snapshot.left is None and epochs:
        each = statistics.fmean(epoch["seconds"] for epoch in epochs[-RECENT:])
        left = each * (settings.epochs - len(epochs))
    # what went wrong: groups of workers that were lost, and how the training failed
    failures = [
        {"trial": None, "kind": e.get("kind", "lost"), "message": e["message"], "retried": e["event"] == "lost"}
        for e in view.events
        if e["event"] == "lost" or (e["event"] == "stopped" and "message" in e)
    ]
    gpus = float(1 if settings.gpus_per_worker is None else settings.gpus_per_worker) if view.device != "CPU" else 0.0
    return snapshot.frame(
        KIND,
        f"training of {view.network['name']} on {settings.dataset}",
        phase=None if ended else "test" if view.test_reads else "training",
        phases={
            "training": {"done": len(epochs), "total": settings.epochs, "counts": {}},
            "test": {"done": int(view.trained is not None), "total": 1, "counts": {}},
        },
        retried={"lost": view.lost} if view.lost else {},
        result=result_line(view),
        left=None if left is None or not snapshot.running else {"phase": round(left, 3), "run": round(left, 3)},
        cost=worker_hours(view.seconds * workers, None if left is None else left * workers, gpus),
        failures=failures[-LATEST:],
    )
