"""A grid search for the factors of compound scaling as a run on disk: candidates are trained one after the other.

Every result is in the journal before the next training begins. With all of them, the family of the best factors is
built and its numbers are journalled too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.values import Json, Task, Value
from nas.errors import ConfigError, one_line
from nas.runs import inputs
from nas.runs.journal import Event
from nas.runs.progress import Observer, Progress
from nas.runs.run_folder import RunFolder, RunPlan, check_free, create_run, resume_run
from nas.runs.trust import check_plugins
from nas.space.scalable import ScalableModel
from nas.workflows.scale.compound import ScaledNetwork, Scaler, scale
from nas.workflows.scale.grid_search import Candidate, best_of, candidate, grid, recorded_scores
from nas.workflows.scale.grid_training import Trainer
from nas.workflows.scale.outputs import write_grid, write_members
from nas.workflows.scale.settings import GridSettings
from nas.workflows.scale.view import KIND, GridView

FindModel = Callable[[GridSettings, Task], ScalableModel]
"""Finds what the settings name as a model of any size for the task that it is trained for."""


@dataclass(eq=False)
class GridSearchRun:
    """The plan of a grid search. :meth:`create` and :meth:`resume` return the run that carries it out."""

    kind = KIND
    settings: GridSettings
    """What is scaled and how it is trained."""
    scaler: Scaler
    """Builds the networks."""
    trainer: Trainer
    """Trains them."""
    candidates: Sequence[Candidate[ScaledNetwork]]
    """The factors that are compared, with their networks."""
    scores: dict[tuple[int, int], float]
    """Accuracies by the candidate's place and the seed."""
    done: bool = False
    """The family of the best factors is journalled, so that nothing is left to do."""

    @classmethod
    def create(
        cls, folder: Path, settings: GridSettings, find: FindModel, recorded: Path | None = None
    ) -> RunFolder[GridSearchRun]:
        """Start a new grid search in ``folder``, which must not exist.

        What the CSV file ``recorded`` of an earlier one holds of the same networks and trainings counts as done.
        """
        check_free(folder)

        # everything is built before anything is written: what cannot be scaled or trained leaves no run behind
        trainer = Trainer(settings.training)
        scaler = Scaler(find(settings, trainer.task), settings.budget)
        candidates = grid(scaler, settings.tolerance, settings.step)
        trainer.check(c.member for c in candidates)

        # what is written down suffices to report the search, and to tell whether it is still the same when it goes on
        digest = trainer.settings(scaler.base)
        task = scaler.subject.task
        header: Json = {
            "config": settings.to_json(),
            "network": {"name": scaler.subject.name, "input": list(task.input_shape), "classes": task.classes},
            "digest": digest,
            "candidates": [{**c.factors.to_json(), "member": c.member.facts()} for c in candidates],
            "inputs": inputs.of_trainings(settings.plugins, settings.training.data),
        }

        # results of an earlier search count as events of this one
        known = {} if recorded is None else recorded_scores(recorded, digest)
        scores = {
            (place, seed): known[found.factors, seed]
            for seed in range(settings.seeds)
            for place, found in enumerate(candidates)
            if (found.factors, seed) in known
        }
        run = create_run(folder, cls(settings, scaler, trainer, candidates, scores), header, header["config"])
        run.append(*(_trained(place, seed, accuracy) for (place, seed), accuracy in scores.items()))
        return run

    @classmethod
    def resume(
        cls,
        folder: Path,
        find: FindModel,
        changes: Mapping[str, Value] | None = None,
        accept_changes: bool = False,
    ) -> RunFolder[GridSearchRun]:
        """Open an existing grid search where it stopped; ``changes`` say where files are found now.

        What its results depend on must be as it was (:mod:`nas.runs.inputs`) unless ``accept_changes``.
        """
        given = changes or {}

        def plan_of(events: Sequence[Json]) -> tuple[GridSearchRun, Sequence[Event], str]:
            """Return the plan that the events make, what to append first, and a warning or nothing."""
            view = GridView.of(folder, events)
            settings = view.settings.elsewhere(given)
            check_plugins(settings.plugins, given.get("plugins") or (), folder)
            now = inputs.of_trainings(settings.plugins, settings.training.data, inputs.recorded_inputs(events) or {})
            first, warning = inputs.compared(folder.name, events, now, accept_changes)
            trainer = Trainer(settings.training)
            scaler = Scaler(find(settings, trainer.task), settings.budget)
            if trainer.settings(scaler.base) != events[0]["digest"] and not changes:
                other = f"'{settings.target}' or its dataset is not what run '{folder.name}' began with"
                raise ConfigError(f"{other}; restore it, or start a new search")
            candidates = [candidate(scaler, c.factors) for c in view.candidates]
            plan = cls(settings, scaler, trainer, candidates, dict(view.scores), view.family is not None)
            return plan, first, warning

        return resume_run(folder, plan_of)

    def stop(self) -> None:
        """Do nothing: a training that runs is finished, and no other is begun."""

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def write_outputs(self, folder: Path) -> None:
        """Write the report and the tables."""
        write_grid(folder)

    def carry_out(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Train what is left and build the family; return ``finished`` or ``interrupted``."""
        if self.done:
            return "finished"
        settings, total = self.settings, len(self.candidates) * self.settings.seeds
        for seed in range(settings.seeds):
            for place, found in enumerate(self.candidates):
                observe(Progress("grid", len(self.scores), total, max(self.scores.values(), default=None)))
                if (place, seed) in self.scores:
                    continue
                if run.stopping:
                    return "interrupted"
                accuracy, seconds = self.trainer(found.member, seed)
                run.append({**_trained(place, seed, accuracy), "seconds": round(seconds, 3)})
                self.scores[place, seed] = accuracy
        observe(Progress("grid", total, total, max(self.scores.values())))

        # the family of the best factors
        compared = [
            replace(c, accuracies=tuple(self.scores[place, seed] for seed in range(settings.seeds)))
            for place, c in enumerate(self.candidates)
        ]
        family: Json = {"event": "family", "members": []}
        try:
            members = scale(self.scaler, best_of(compared).factors, settings.phis, settings.by)
            output = None if settings.output is None else Path(settings.output)
            if output is not None and not output.exists():  # what a process wrote that was killed just then is whole
                write_members(output, members, self.scaler.subject.architecture)
        except (ConfigError, OSError) as error:  # a member that cannot be built, or written, takes no accuracy away
            family["message"] = one_line(error)
        else:
            family["members"] = [member.facts() for member in members]
        run.append(family)
        return "finished"


def _trained(place: int, seed: int, accuracy: float) -> Json:
    return {"event": "trained", "candidate": place, "seed": seed, "accuracy": accuracy}
