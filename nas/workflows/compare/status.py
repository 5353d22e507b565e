"""The status of a comparison, also while another process carries it out."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property

from nas.core.text import count
from nas.core.values import Json
from nas.engine.forecast import gpus_of
from nas.models.latency import BATCHES
from nas.runs.journal import Event
from nas.runs.snapshot import ENDED, LATEST, Snapshot, worker_hours
from nas.types import WorkerState
from nas.workflows.compare.view import KIND, CompareView, comparison_view


@dataclass(frozen=True)
class ComparisonStatus(Snapshot):
    """A comparison at one moment."""

    @cached_property
    def view(self) -> CompareView:
        """What its journal tells."""
        return comparison_view(self.folder, self.events)

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers in the latest status, but for what has a result since then."""
        done = {self._step(final) for final in self.view.ledger.finals}
        # a read of the test split is journalled when its training begins
        last = self._step(self.events[-1]) if self.events[-1]["event"] == "test_read" else None
        return self.at_work(set(range(self.steps)) - done, [] if last is None or last in done else [last])

    @property
    def steps(self) -> int:
        """The number of trainings."""
        settings = self.view.settings
        return len(self.view.candidates) * len(settings.recipe_names) * settings.seeds

    def _step(self, event: Event) -> int:
        """Return the place in the plan of the training that an event is about (``ComparisonRun.plan``)."""
        recipes = self.view.settings.recipe_names
        place = event["number"] * len(recipes) + recipes.index(event["recipe"])
        return int(place * len(self.view.candidates) + int(event["role"]))

    def facts(self) -> Json:
        """Return everything as JSON data: see :meth:`nas.runs.snapshot.Snapshot.frame`."""
        view, finals = self.view, self.view.ledger.finals
        measured = len(view.ledger.latencies)
        latencies = 0 if view.settings.no_latency else len(view.candidates) * len(BATCHES)
        failed = sum(final["score"] is None for final in finals)
        counts = {"done": len(finals) - failed, "failed": failed}
        # latencies come first: no training runs while one is measured
        phase = "latency" if measured < latencies else "comparison"
        busy = [w for w in self.workers if w.trial is not None] if self.running else []
        # of equal networks one is trained, and the others have a copy of its score
        trained = {(f["key"], f["number"], f["recipe"]): f["seconds"] for f in finals}
        scored = [f["seconds"] for f in finals if f["score"] is not None]
        left = statistics.fmean(scored) * (self.steps - len(finals)) if scored else None
        time_left = None
        if self.running and left is not None:
            seconds = round(left / max(1, len(self.workers)) if self.left is None else self.left, 3)
            time_left = {"phase": seconds, "run": seconds}
        # the best mean so far; candidates with fewer seeds than another do not count
        means = [
            {"name": name, "recipe": recipe, "mean": statistics.fmean(scores.values()), "seeds": len(scores)}
            for index, name in enumerate(view.candidate_names)
            for recipe in view.settings.recipe_names
            if (scores := view.ledger.scores(index, recipe))
        ]
        best = max(means, key=lambda f: (f["seeds"], f["mean"], f["name"], f["recipe"]), default=None)
        failures = []
        for f in finals:
            if f["score"] is None:
                where = f"{view.candidate_names[int(f['role'])]}, recipe {f['recipe']}, seed {f['number']}: "
                failures.append({"trial": None, "kind": "failed", "message": where + f["failure"], "retried": False})
        gpus = gpus_of(view.settings.executor, self.workers, [final.get("notes", {}) for final in finals])
        return self.frame(
            KIND,
            f"comparison of {count(len(view.candidates), 'candidate')} on {view.settings.dataset}",
            phase=None if self.state in ENDED else phase,
            phases={
                **({"latency": {"done": measured, "total": latencies, "counts": {}}} if latencies else {}),
                "comparison": {"done": len(finals), "total": self.steps, "counts": counts},
            },
            running=[
                {"index": w.trial, "attempt": 0, "worker": w.name, "seconds": round(self.now - w.since, 3)}
                for w in busy
            ],
            best=best,
            left=time_left,
            cost=worker_hours(sum(trained.values()) + sum(self.now - w.since for w in busy), left, gpus),
            failures=failures[-LATEST:],
        )
