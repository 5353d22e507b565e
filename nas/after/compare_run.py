"""A comparison as a run on disk: created whole or not at all, carried out on any executor, stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.after.compare_candidates import Candidate, candidates_of, twin_key
from nas.after.compare_ledger import KIND, PREDICTIONS, CompareLedger, cell, fold
from nas.after.compare_report import write_comparison
from nas.after.compare_settings import CompareSettings
from nas.errors import ConfigError
from nas.files import write_atomic
from nas.placing import final_executor_of
from nas.run.journal import Journal, opened
from nas.run.loop import Executor
from nas.run.seeds import FINAL, derive
from nas.run.status import Observer, Progress, running_trials, watched
from nas.runs import check_name, find_journal, write_new
from nas.tested import Step, Tested
from nas.types import Architecture, Job, Metrics


class CompareRun:
    """One comparison: its folder, settings, candidates and journal. Build it with :meth:`create` or :meth:`resume`."""

    def __init__(
        self,
        folder: Path,
        settings: CompareSettings,
        candidates: Sequence[Candidate],
        journal: Journal,
        ledger: CompareLedger,
    ) -> None:
        self.folder, self.settings, self.candidates = folder, settings, candidates
        self.journal, self.ledger = journal, ledger
        self.warning = ""
        self._stopping = False

    @classmethod
    def create(cls, folder: Path, settings: CompareSettings, observe: Observer = lambda progress: None) -> CompareRun:
        """Start a new comparison in ``folder``, which must not exist; runs are looked for beside it.

        Their networks are written down with it, so that it does not depend on them any more. ``observe`` sees random
        searches that are run for it.
        """
        check_name(folder.name)
        if folder.exists():
            raise ConfigError(f"run '{folder.name}' exists already in '{folder.parent}'; choose another name")
        settings.check_data()
        candidates = candidates_of(settings, folder.parent, observe)
        header = {
            "kind": KIND,
            "config": settings.to_json(),
            "input_shape": list(settings.task.input_shape),
            "classes": settings.task.classes,
            "candidates": [candidate.to_json() for candidate in candidates],
            "time": time.time(),
        }
        return cls(folder, settings, candidates, write_new(folder, header), CompareLedger())

    @classmethod
    def resume(cls, folder: Path, changes: Mapping[str, Any] | None = None) -> CompareRun:
        """Open an existing comparison where it stands; ``changes`` say where workers and files are found now."""
        with opened(find_journal(folder)) as (journal, events, warning):
            settings = CompareSettings.from_json(events[0]["config"]).elsewhere(changes or {})
            candidates = [Candidate.from_json(data) for data in events[0]["candidates"]]
            run = cls(folder, settings, candidates, journal, fold(events))
        run.warning = warning
        return run

    def stop(self) -> None:
        """Finish what runs now, then write the report; :meth:`resume` goes on from there."""
        self._stopping = True

    def execute(self, observe: Observer = lambda progress: None) -> str:
        """Measure latencies, train, test and write everything; return ``finished`` or ``interrupted``."""
        try:
            with watched(self.folder, observe) as observe:
                self._measure_latencies(observe)
                reason = "finished" if self._train(observe) else "interrupted"
                self.journal.append([{"event": "stopped", "reason": reason, "time": time.time()}])
                write_comparison(self.folder)
                return reason
        finally:
            self.journal.close()

    def _measure_latencies(self, observe: Observer) -> None:
        """Measure every candidate before the first training, while nothing else of ours runs on this machine."""
        from nas.after.latency import BATCHES, measure_latency

        for index, candidate in enumerate(self.candidates):
            for batch in BATCHES:
                if self._stopping or (str(index), batch) in self.ledger.latencies:
                    continue
                observe(Progress("latency", len(self.ledger.latencies), len(self.candidates) * len(BATCHES)))
                found = measure_latency(candidate.graph, batch, self.settings.config.threads)
                event = {"event": "latency", "role": str(index), **asdict(found)}
                self.journal.append([event])
                self.ledger.apply(event)

    def _train(self, observe: Observer) -> bool:
        settings = self.settings
        with closing(final_executor_of(settings.config, settings.job(settings.actual_recipes[0]))) as executor:
            tested = Tested(self.plan(), executor, self.journal, self.ledger, self._keep)
            return tested.run(
                lambda: not self._stopping, lambda done, total: observe(_progress(done, total, self.ledger, executor))
            )

    def plan(self) -> list[Step]:
        """Return every training: seed by seed, so that what is done when it stops is paired."""
        settings = self.settings
        plan: list[Step] = []
        keys = {id(graph): twin_key(graph) for candidate in self.candidates for graph in candidate.trained}
        for number in range(settings.seeds):
            seed = derive(settings.config.seed, number, 0, FINAL)
            for place, (name, recipe) in enumerate(zip(settings.recipe_names, settings.actual_recipes, strict=True)):
                for index, candidate in enumerate(self.candidates):
                    graph = candidate.trained[place]
                    job = Job(
                        index=len(plan),
                        attempt=0,
                        architecture=Architecture("compare", (("network", candidate.name),)),
                        key=keys[id(graph)],
                        epochs=settings.epochs,
                        seed=seed,
                        task=settings.task,
                        graph=graph,
                        settings=settings.job(recipe),
                        params=candidate.params,
                        macs=candidate.macs,
                        keep_predictions=settings.ensemble is not None,
                    )
                    plan.append(Step(str(index), number, candidate.name, job.key, job, recipe=name))
        return plan

    def _keep(self, step: Step, metrics: Metrics) -> None:
        """Write what an ensemble needs before the score is recorded, so that no recorded training lacks it."""
        if metrics.predictions:
            folder = self.folder / PREDICTIONS
            folder.mkdir(exist_ok=True)
            recipe = self.settings.recipe_names.index(str(step.recipe))
            write_atomic(folder / cell(step.role, recipe, step.number), metrics.predictions)


def _progress(done: int, total: int, ledger: CompareLedger, executor: Executor) -> Progress:
    workers = tuple(executor.workers())
    running = running_trials(workers, {})
    scores = [final["score"] for final in ledger.finals if final["score"] is not None]
    failed = sum(final["score"] is None for final in ledger.finals)
    best = max(scores, default=None)
    return Progress("comparison", done, total, best, len(running), failed, workers=workers, trials=running)
