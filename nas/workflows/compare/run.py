"""A comparison as a run on disk: created whole or not at all, carried out on any executor, stopped and resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.core.files import write_atomic
from nas.core.plugins import load_plugins
from nas.core.values import Json, Value
from nas.engine.executor_factory import final_executor
from nas.engine.final_trainings import FinalTraining, FinalTrainingRunner
from nas.engine.random_streams import FINAL, derive
from nas.engine.run import work_folders
from nas.runs import inputs
from nas.runs.journal import Event
from nas.runs.progress import Observer, Progress, running_trials
from nas.runs.run_folder import RunFolder, RunPlan, check_free, create_run, resume_run
from nas.runs.trust import check_address, check_plugins
from nas.types import Architecture, Job, Metrics
from nas.workflows.compare.candidates import Candidate, candidates_of, twin_key
from nas.workflows.compare.outputs import write_comparison
from nas.workflows.compare.settings import CompareSettings
from nas.workflows.compare.view import KIND, PREDICTIONS, CompareLedger, cell, fold


@dataclass(eq=False)
class ComparisonRun:
    """The plan of a comparison. :meth:`create` and :meth:`resume` return the run that carries it out."""

    kind = KIND
    folder: Path
    """Where the run is."""
    settings: CompareSettings
    """How everything is trained."""
    candidates: Sequence[Candidate]
    """What is compared, with the networks."""
    ledger: CompareLedger
    """What is known, from the journal's events."""

    @classmethod
    def create(
        cls, folder: Path, settings: CompareSettings, observe: Observer = lambda progress: None
    ) -> RunFolder[ComparisonRun]:
        """Start a new comparison in ``folder``, which must not exist; runs are looked for beside it.

        Their networks are written down with it, so that it does not depend on them any more. ``observe`` sees random
        searches that are run for it.
        """
        check_free(folder)
        settings.check_data()
        # what is compared is written down, since runs and files may change
        candidates = candidates_of(settings, folder.parent, observe)
        header: Json = {
            "config": settings.to_json(),
            "input_shape": list(settings.task.input_shape),
            "classes": settings.task.classes,
            "candidates": [candidate.to_json() for candidate in candidates],
            "inputs": inputs.of_trainings(settings.plugins, settings.data),
        }
        if names := settings.data.class_names():
            header["class_names"] = list(names)
        plan = cls(folder, settings, candidates, CompareLedger())
        return create_run(folder, plan, header, header["config"], work_folders(settings.executor))

    @classmethod
    def resume(
        cls, folder: Path, changes: Mapping[str, Value] | None = None, accept_changes: bool = False
    ) -> RunFolder[ComparisonRun]:
        """Open an existing comparison where it stopped; ``changes`` say where workers and files are found now.

        What its results depend on must be as it was (:mod:`nas.runs.inputs`) unless ``accept_changes``.
        """
        given = changes or {}

        def plan_of(events: Sequence[Json]) -> tuple[ComparisonRun, Sequence[Event], str]:
            """Return the plan that the events make, what to append first, and a warning or nothing."""
            settings = CompareSettings.from_json(events[0]["config"]).elsewhere(given)
            check_plugins(settings.plugins, given.get("plugins") or (), folder)
            check_address(settings.executor.ray_address, bool(given.get("ray_address")), folder)
            now = inputs.of_trainings(settings.plugins, settings.data, inputs.recorded_inputs(events) or {})
            first, warning = inputs.compared(folder.name, events, now, accept_changes)
            load_plugins(settings.plugins)
            candidates = [Candidate.from_json(data) for data in events[0]["candidates"]]
            return cls(folder, settings, candidates, fold(events)), first, warning

        return resume_run(folder, plan_of)

    def stop(self) -> None:
        """Do nothing: trainings that run are finished, and :meth:`carry_out` begins no more."""

    def close(self) -> None:
        """Do nothing: the executor is closed where it is used."""

    def write_outputs(self, folder: Path) -> None:
        """Write tables and reports."""
        write_comparison(folder)

    def carry_out(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Measure latencies, train and test; return ``finished`` or ``interrupted``."""
        from nas.models.latency import BATCHES, measure_latency

        # latencies before the first training, while nothing else of ours runs on this machine
        settings, ledger = self.settings, self.ledger
        for index, candidate in enumerate(() if settings.no_latency else self.candidates):
            for batch in BATCHES:
                if run.stopping or (str(index), batch) in ledger.latencies:
                    continue
                observe(Progress("latency", len(ledger.latencies), len(self.candidates) * len(BATCHES)))
                found = measure_latency(candidate.graph, batch, settings.threads)
                event = {"event": "latency", "role": str(index), **asdict(found)}
                ledger.apply(event)
                run.append(event)

        # the executor starts after the latencies: its workers would disturb them
        with closing(final_executor(settings.executor, settings.job(settings.actual_recipes[0]))) as executor:

            def tell(done: int, total: int) -> None:
                workers = tuple(executor.workers())
                running = running_trials(workers, {})
                scores = [final["score"] for final in ledger.finals if final["score"] is not None]
                failed, best = len(ledger.finals) - len(scores), max(scores, default=None)
                facts = Progress("comparison", done, total, best, len(running), failed, workers=workers, trials=running)
                observe(facts)

            runner = FinalTrainingRunner(self.plan(), executor, run.journal, ledger, self._keep)
            return "finished" if runner.run(lambda: not run.stopping, tell) else "interrupted"

    def plan(self) -> list[FinalTraining]:
        """Return every training: seed by seed, so that what is done when it stops is paired."""
        settings = self.settings
        # networks are equal by what they compute, whatever they are called
        plan: list[FinalTraining] = []
        keys = {id(graph): twin_key(graph) for candidate in self.candidates for graph in candidate.trained}
        for number in range(settings.seeds):
            seed = derive(settings.seed, number, 0, FINAL)
            for place, (name, recipe) in enumerate(zip(settings.recipe_names, settings.actual_recipes, strict=True)):
                for index, candidate in enumerate(self.candidates):
                    graph = candidate.trained[place]
                    job = Job(
                        index=len(plan),
                        attempt=0,
                        architecture=Architecture("compare", {"network": candidate.name}),
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
                    plan.append(FinalTraining(str(index), number, candidate.name, job.key, job, recipe=name))
        return plan

    def _keep(self, step: FinalTraining, metrics: Metrics) -> None:
        """Write what an ensemble needs before the score is recorded, so that no recorded training lacks it."""
        if metrics.predictions:
            folder = self.folder / PREDICTIONS
            folder.mkdir(exist_ok=True)
            recipe = self.settings.recipe_names.index(str(step.recipe))
            write_atomic(folder / cell(step.role, recipe, step.number), metrics.predictions)
