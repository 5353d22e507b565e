"""How a comparison stands, also while another process carries it out."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.after.compare_ledger import KIND
from nas.after.compare_result import CompareView, comparison_view
from nas.after.latency import BATCHES
from nas.forecast import gpus_of
from nas.report.words import count
from nas.run.journal import Event
from nas.run.snapshot import ENDED, LATEST, Snapshot, worker_hours
from nas.types import WorkerState


@dataclass(frozen=True)
class CompareStand(Snapshot):
    """A comparison as it is seen."""

    @cached_property
    def view(self) -> CompareView:
        """What its journal tells."""
        return comparison_view(self.folder, self.events)

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers, as the run told last, but for what has a result since then."""
        done = {self._step(final) for final in self.view.ledger.finals}
        last = self._step(self.events[-1]) if self.events[-1]["event"] == "test_read" else None
        return self.at_work(set(range(self.steps)) - done, [] if last is None or last in done else [last])

    @property
    def steps(self) -> int:
        """The number of trainings."""
        settings = self.view.settings
        return len(self.view.candidates) * len(settings.recipe_names) * settings.seeds

    def _step(self, event: Event) -> int:
        """Return the place in the plan of the training that an event is about (:meth:`CompareRun.plan`)."""
        recipes = self.view.settings.recipe_names
        place = event["number"] * len(recipes) + recipes.index(event["recipe"])
        return int(place * len(self.view.candidates) + int(event["role"]))

    def facts(self) -> dict[str, Any]:
        """Return how it stands as JSON data: see :meth:`nas.run.snapshot.Snapshot.frame`."""
        view, finals = self.view, self.view.ledger.finals
        measured, latencies = len(view.ledger.latencies), len(view.candidates) * len(BATCHES)
        failed = sum(final["score"] is None for final in finals)
        counts = {"done": len(finals) - failed, "failed": failed}
        phase = "latency" if measured < latencies else "comparison"
        busy = [w for w in self.workers if w.trial is not None] if self.running else []
        # of equal networks one is trained, and the others have a copy of its score
        trained = {(f["key"], f["number"], f["recipe"]): f["seconds"] for f in finals}
        tested = [f["seconds"] for f in finals if f["score"] is not None]
        left = statistics.fmean(tested) * (self.steps - len(finals)) if tested else None
        gpus = gpus_of(view.settings.config, self.workers, [final.get("notes", {}) for final in finals])
        return self.frame(
            KIND,
            f"comparison of {count(len(view.candidates), 'candidate')} on {view.settings.dataset}",
            phase=None if self.state in ENDED else phase,
            phases={
                "latency": {"done": measured, "total": latencies, "counts": {}},
                "comparison": {"done": len(finals), "total": self.steps, "counts": counts},
            },
            running=[
                {"index": w.trial, "attempt": 0, "worker": w.name, "seconds": round(self.now - w.since, 3)}
                for w in busy
            ],
            best=_best(view),
            left=self._time_left(left),
            cost=worker_hours(sum(trained.values()) + sum(self.now - w.since for w in busy), left, gpus),
            failures=list(_failures(view))[-LATEST:],
        )

    def _time_left(self, left: float | None) -> dict[str, float] | None:
        if not self.running or left is None:
            return None
        seconds = left / max(1, len(self.workers)) if self.left is None else self.left
        return {"phase": round(seconds, 3), "run": round(seconds, 3)}


def facts(folder: Path) -> dict[str, Any]:
    """Return how the comparison in ``folder`` stands."""
    return CompareStand.of(folder).facts()


def _failures(view: CompareView) -> Iterator[dict[str, Any]]:
    for f in view.ledger.finals:
        if f["score"] is None:
            where = f"{view.names[int(f['role'])]}, recipe {f['recipe']}, seed {f['number']}"
            yield {"trial": None, "kind": "failed", "message": f"{where}: {f['failure']}", "retried": False}


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
