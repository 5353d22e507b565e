"""How a comparison stands, also while another process carries it out."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from nas.after.compare_ledger import KIND
from nas.after.compare_result import CompareView, comparison_view
from nas.after.latency import BATCHES
from nas.forecast import gpus_of
from nas.report.words import count
from nas.run.snapshot import ENDED, LATEST, Snapshot, seen, worker_hours


def facts(folder: Path) -> dict[str, Any]:
    """Return how the comparison in ``folder`` stands: see :meth:`nas.run.snapshot.Snapshot.frame`."""
    snapshot = seen(folder)
    view = comparison_view(folder, snapshot.events)
    finals, settings = view.ledger.finals, view.settings
    rows = len(view.candidates) * len(settings.recipe_names)
    measured, latencies = len(view.ledger.latencies), len(view.candidates) * len(BATCHES)
    failed = sum(final["score"] is None for final in finals)
    counts = {"done": len(finals) - failed, "failed": failed}
    phase = "latency" if measured < latencies else "comparison"
    to_come = rows * settings.seeds - len(finals)
    left = _seconds_each(view) * to_come if finals else None
    running = [w for w in snapshot.workers if w.trial is not None]
    pending = snapshot.running and snapshot.events[-1]["event"] == "test_read" and not running
    spent = sum(final["seconds"] for final in finals) + sum(snapshot.now - w.since for w in running)
    notes = [final.get("notes", {}) for final in finals]
    return snapshot.frame(
        KIND,
        f"comparison of {count(len(view.candidates), 'candidate')} on {settings.dataset}",
        phase=None if snapshot.state in ENDED else phase,
        phases={
            "latency": {"done": measured, "total": latencies, "counts": {}},
            "comparison": {"done": len(finals), "total": rows * settings.seeds, "counts": counts},
        },
        running=[
            {"index": w.trial, "attempt": 0, "worker": w.name, "seconds": round(snapshot.now - w.since, 3)}
            for w in running
        ]
        # a worker in the process of the comparison itself tells nothing while it works
        + [{"index": len(finals), "attempt": 0, "worker": "", "seconds": round(snapshot.now - snapshot.written, 3)}]
        * pending,
        best=_best(view),
        left=_left(snapshot, left),
        cost=worker_hours(spent, left, gpus_of(settings.config, snapshot.workers, notes)),
        failures=[
            {
                "trial": None,
                "kind": "failed",
                "message": f"{view.names[int(f['role'])]}, recipe {f['recipe']}, seed {f['number']}: {f['failure']}",
                "retried": False,
            }
            for f in finals
            if f["score"] is None
        ][-LATEST:],
    )


def _seconds_each(view: CompareView) -> float:
    return statistics.fmean(final["seconds"] for final in view.ledger.finals)


def _best(view: CompareView) -> dict[str, Any] | None:
    """Return the candidate with the best mean so far; those with fewer seeds than another do not count."""
    found = [
        (len(scores), statistics.fmean(scores.values()), name, recipe)
        for index, name in enumerate(view.names)
        for recipe in view.settings.recipe_names
        if (scores := view.ledger.scores(index, recipe))
    ]
    if not found:
        return None
    seeds, mean, name, recipe = max(found)
    return {"name": name, "recipe": recipe, "mean": mean, "seeds": seeds}


def _left(snapshot: Snapshot, left: float | None) -> dict[str, float] | None:
    if not snapshot.running or left is None:
        return None
    seconds = left / max(1, len(snapshot.workers)) if snapshot.left is None else snapshot.left
    return {"phase": round(seconds, 3), "run": round(seconds, 3)}
