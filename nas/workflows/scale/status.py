"""The status of a grid search, also while another process carries it out."""

from __future__ import annotations

from pathlib import Path

from nas.core.text import count
from nas.core.values import Json
from nas.runs.snapshot import ENDED, Snapshot, worker_hours
from nas.workflows.scale.view import KIND, GridView


def facts(folder: Path) -> Json:
    """Return the status of the grid search in ``folder``: see :meth:`nas.runs.snapshot.Snapshot.frame`."""
    snapshot = Snapshot.of(folder)
    view = GridView.of(folder, snapshot.events)
    done, left, best = len(view.scores), snapshot.left, view.best
    result = None
    if best is not None:
        f = best.factors
        result = f"alpha {f.alpha:g}, beta {f.beta:g}, gamma {f.gamma:g}: {best.mean:.2f} % of the validation split"
    return snapshot.frame(
        KIND,
        f"scaling of {view.network} on {view.settings.training.data.name}, {count(len(view.candidates), 'candidate')}",
        phase=None if snapshot.state in ENDED else "grid",
        phases={"grid": {"done": done, "total": view.total, "counts": {}}},
        result=result,
        left=None if left is None or not snapshot.running else {"phase": round(left, 3), "run": round(left, 3)},
        cost=worker_hours(view.seconds, left),
    )
