"""A search as a run on disk: the search itself, the searches that it is compared with, and the final comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from nas.core.files import write_json
from nas.core.plugins import naming
from nas.core.values import Json, Task, Value
from nas.engine.assemble import CACHE, SearchParts, UserObjects, build_search, with_defaults, with_precision
from nas.engine.comparison import compared_networks, final_runner, measure_latencies
from nas.engine.config import PLACES, PYTHON, RunConfig, RunOptions, config_of, objects_of
from nas.engine.earlier_runs import earlier_from_json, earlier_json
from nas.engine.executor_factory import LOGS
from nas.engine.loop import MAX_DEATHS, Ledger, Loop, fold
from nas.engine.observers import Checkpoints, ProgressTracker
from nas.engine.rivals import named, searches_below
from nas.engine.search_plan import batch_warnings, check_limits
from nas.errors import ConfigError
from nas.evaluators import EVALUATORS
from nas.executors.config import RAY, ExecutorConfig
from nas.runs import inputs
from nas.runs.journal import Event, killed_event
from nas.runs.progress import Observer, Progress, running_trials
from nas.runs.run_folder import BASELINE, RIVALS, SEARCH, RunFolder, RunPlan, check_free, create_run, resume_run
from nas.runs.trust import check_address, check_plugins, check_trackers
from nas.schedulers.base import NONE
from nas.searchers import SEARCHERS
from nas.space import SPACES
from nas.types import Architecture, Trial

Announce = Callable[[RunConfig, SearchParts], object]
"""Takes what a search will do, before it begins."""
WriteOutputs = Callable[[Path], object]
"""Writes what people read of the run in a folder; where none is given the journal is all that there is."""


class SearchRun:
    """The plan of a search. :meth:`create` and :meth:`resume` return the run that carries it out.

    Attributes:
        config: what was asked for, completed with the defaults.
        parts: the searcher, the executor and whatever else the search is made of.
        ledger: what is known, from the journal's events.
        phase: ``search``; of a search below another run, which does the comparing, what it is there.
        objects: the parts that are Python objects.
    """

    kind = SEARCH

    def __init__(
        self,
        config: RunConfig,
        parts: SearchParts,
        ledger: Ledger,
        write: WriteOutputs | None,
        phase: str,
        objects: UserObjects,
        accept_changes: bool = False,
    ) -> None:
        self.config, self.parts, self.ledger, self.phase, self.objects = config, parts, ledger, phase, objects
        self._accept_changes = accept_changes
        self._write = write
        self._loop: Loop | None = None
        self._below: RunFolder[SearchRun] | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        config: RunConfig | RunOptions,
        write: WriteOutputs | None = None,
        phase: str = SEARCH,
        objects: UserObjects | None = None,
        announce: Announce | None = None,
    ) -> RunFolder[SearchRun]:
        """Start a new run in ``folder``, which must not exist; nothing is left behind when something is wrong.

        ``objects`` are the parts of it that are Python objects; the journal has what they are called. ``announce`` is
        called when everything is checked and nothing is written. Limits that no sampled network meets raise
        :class:`ConfigError`.
        """
        check_free(folder)
        own = objects or UserObjects()
        if isinstance(config, RunOptions):
            config = with_defaults(config)
        config, precision = with_precision(config)
        parts = build_search(config, folder=folder, objects=own)
        warnings = []
        if phase == SEARCH:
            warnings = [check_limits(config, parts), *batch_warnings(config, parts)]
        if announce is not None:
            announce(config, parts)
        header: Json = {"config": config.to_json()}
        if precision:
            header["precision"] = precision
        if parts.start:
            header["start"] = [architecture.to_json() for architecture in parts.start]
        if parts.earlier:
            header["earlier"] = earlier_json(parts.earlier)
        if own.names():
            header["objects"] = own.names()
        if own.task is not None:
            header["task"] = own.task.to_json()
        if phase == SEARCH and config.evaluator == "train" and (names := config.data.class_names()):
            header["class_names"] = list(names)
        header["inputs"] = inputs_of(config, own)
        plan = cls(config, parts, Ledger(parts.lag), write, phase, own)
        run = create_run(folder, plan, header, header["config"], work_folders(config.executor))
        run.warning = "; ".join(filter(None, warnings))
        return run

    @classmethod
    def resume(
        cls,
        folder: Path,
        changes: Mapping[str, Value] | None = None,
        write: WriteOutputs | None = None,
        phase: str = SEARCH,
        objects: UserObjects | None = None,
        accept_changes: bool = False,
    ) -> RunFolder[SearchRun]:
        """Open an existing run where it stopped; the journal's first event says how it was configured.

        ``changes`` are settings of :data:`nas.engine.config.CHANGEABLE`: where workers and files are found now, and a
        larger budget. What was a Python object must be among ``objects`` again. What its results depend on must be as
        it was (:mod:`nas.runs.inputs`) unless ``accept_changes``.
        """
        given = changes or {}

        def plan_of(events: Sequence[Json]) -> tuple[SearchRun, Sequence[Event], str]:
            """Return the plan that the events make, what to append first, and a warning or nothing."""
            own = _given_again(folder, events[0], objects or UserObjects())
            recorded = config_of(events[0], folder.name, events)
            config = recorded.elsewhere(given)
            # nothing that the journal alone names is run or connected to before this
            check_plugins(config.plugins, given.get("plugins") or (), folder)
            check_address(config.executor.ray_address, bool(given.get("ray_address")), folder)
            check_trackers(config.track, bool(given.get("track")), folder)
            now = inputs_of(config, own, inputs.recorded_inputs(events) or {})
            first, warning = inputs.compared(folder.name, events, now, accept_changes)
            if config.trials != recorded.trials:
                if any(event["event"] in ("test_read", "final") for event in events):
                    raise ConfigError(
                        f"run '{folder.name}' has compared its winner on the test split, so its search is over; begin "
                        "another one, from its best with --start-from"
                    )
                first.append({"event": "budget", "trials": config.trials})
            if config.executor.name == RAY:
                (folder / LOGS).mkdir(exist_ok=True)
            start = [Architecture.from_json(data) for data in events[0].get("start", [])]
            parts = build_search(config, start, folder, own, earlier_from_json(events[0].get("earlier", [])))
            ledger = fold(events, parts.lag)
            for trial in ledger.trials:
                if trial.scores:  # what a journal holds is not computed again
                    parts.scores.remember(trial.architecture, trial.scores)
            return cls(config, parts, ledger, write, phase, own, accept_changes), first, warning

        run = resume_run(folder, plan_of)
        ledger, executor = run.plan.ledger, run.plan.config.executor.name
        longer: list[Event] = []
        if (trial := ledger.under_way) is not None:
            longer.append(killed_event(trial))
            again = "counts as crashed" if ledger.deaths[trial] + 1 >= MAX_DEATHS else "is evaluated again"
            died = f"the process before ended while it evaluated trial {trial}, which {again}"
            run.warning = f"{run.warning}; {died}" if run.warning else died
        if ledger.in_process != (executor != RAY):
            longer.append({"event": "moved", "executor": executor})
        for event in longer:
            ledger.apply(event)
        if longer:
            run.append(*longer)
        return run

    def stop(self) -> None:
        """Ask for no more trials, here and in the search below that runs."""
        if self._loop is not None:
            self._loop.stop()
        if self._below is not None:
            self._below.stop()

    def close(self) -> None:
        """Let go of the workers."""
        self.parts.executor.close()

    def write_outputs(self, folder: Path) -> None:
        """Write what people read, where a writer was given."""
        if self._write is not None:
            self._write(folder)

    def carry_out(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Search, then compare; return ``finished``, ``exhausted`` or ``interrupted``."""
        config, parts, folder = self.config, self.parts, run.folder / "best"
        reason = self._search(run, observe)
        if self.phase != SEARCH or reason == "interrupted":
            return reason

        # what it is compared with, and the final trainings, need the place of the search's workers
        self.close()
        below: dict[str, SearchRun] = {}
        for name in searches_below(config, self.ledger) if self.ledger.queries else ():
            why, below[name] = self.run_below(run, name, observe)
            if why == "interrupted":
                return why

        best = self.ledger.best()
        if best is None:
            return reason
        write_best(run.folder, best, parts)
        if config.comparison.seeds == 0 or config.evaluator not in ("train", "table"):
            return reason
        found = {name: (plan.ledger, plan.parts) for name, plan in below.items()}
        rows = compared_networks(config, parts, self.ledger, found)
        if named(config):
            measure_latencies(rows, run.journal, self.ledger)
        with closing(parts.final_executor()) as executor:
            runner = final_runner(
                config, parts, rows, executor=executor, journal=run.journal, ledger=self.ledger, best_folder=folder
            )

            def track(done: int, total: int) -> None:
                workers = tuple(executor.workers())
                under_way = running_trials(workers, {})
                observe(Progress("final", done, total, running=len(under_way), workers=workers, trials=under_way))

            ended = runner.run(lambda: not run.stopping, track)
        return reason if ended else "interrupted"

    def _search(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Carry the loop on from where the ledger is; states of trainings are kept while a promotion may need them."""
        parts, settings = self.parts, self.parts.settings
        checkpoints = None
        if self.config.scheduler.name != NONE and self.config.evaluator in ("train", PYTHON):
            folder = run.folder.resolve() / "checkpoints"
            settings = replace(settings, checkpoints=folder)
            if self.config.evaluator == "train":  # what a user's own function keeps is its own affair
                checkpoints = Checkpoints(folder, settings.epochs)
        second = self.config.finalists.count if self.phase == SEARCH else 0
        progress_of = ProgressTracker(self.phase, self.config.trials - second, parts.executor.workers)

        def track(ledger: Ledger) -> None:
            if checkpoints is not None:
                checkpoints.sweep(ledger)
            observe(progress_of(ledger))

        track(self.ledger)
        self._loop = Loop(
            parts.searcher, parts.prepare_asked, parts.executor, run.journal, self.ledger, settings, track
        )
        if run.stopping:
            return "interrupted"
        with naming("the search stopped"):
            reason = self._loop.run()
        if checkpoints is not None and reason != "interrupted":
            checkpoints.clear()
        return "finished" if reason == "budget" else reason

    def run_below(self, run: RunFolder[RunPlan], name: str, observe: Observer) -> tuple[str, SearchRun]:
        """Run, or go on with, the search ``name`` of :func:`nas.engine.rivals.searches_below` in a run below this one.

        Return why it ended, and its plan.
        """
        # whether or not the run itself has a random search, one may be asked for afterwards
        asked = self.config.changed(baseline="random") if name == BASELINE else self.config
        config, folder = searches_below(asked, self.ledger)[name], run.folder / name
        own = replace(self.objects, searcher=None, space=None if name == RIVALS else self.objects.space)
        if folder.exists():
            changes = {place: self.config.to_json().get(place) for place in PLACES}
            changes["trials"] = config.trials
            accept = self._accept_changes
            below = SearchRun.resume(folder, changes, phase=name, objects=own, accept_changes=accept)
            run.warning = below.warning or run.warning
        else:
            below = SearchRun.create(folder, config, phase=name, objects=own)
        self._below = below
        if run.stopping:
            below.stop()
        return below.carry_out(observe), below.plan


def inputs_of(config: RunConfig, objects: UserObjects, recorded: Json | None = None) -> Json:
    """Return what the results of a search depend on; of one that is resumed, ``recorded`` is what its journal has."""
    data, name = config.data, config.searcher.name
    found = inputs.table_input(config.table.path) | inputs.plugin_inputs(config.plugins, recorded)
    packages = ["optuna"] if name.startswith("optuna") else []
    if config.evaluator == "train":
        found |= inputs.data_input(data.name, data.data_dir, data.image_size)
        own = inputs.training_versions(data.name)
    else:  # a user's evaluator may train
        own = inputs.versions() if config.evaluator == "table" else inputs.versions("torch")
    # what a user's script registers counts as an object does
    things: Json = {"space": objects.space, "evaluator": objects.evaluator, "searcher": objects.searcher}
    if objects.evaluator is None and config.evaluator in EVALUATORS:
        things["evaluator"] = EVALUATORS[config.evaluator].make
    if objects.searcher is None and name in SEARCHERS:
        things["searcher"] = SEARCHERS[name].make
    if objects.space is None and config.space.name in SPACES:
        things["space"] = SPACES[config.space.name]
    if things["space"] is not None:
        things["space"] = things["space"].function
    found |= inputs.code_inputs(**things)
    return found | {"versions": own | inputs.versions(*packages)}


def _given_again(folder: Path, header: Json, given: UserObjects) -> UserObjects:
    """Return the Python objects of a run that is resumed; one that is missing raises :class:`ConfigError`."""
    task = header.get("task") or header.get("study", {}).get("settings", {}).get("task")
    if task is not None and given.task is None:
        given = replace(given, task=Task.from_json(task))
    missing = {role: name for role, name in objects_of(header).items() if getattr(given, role) is None}
    if missing:
        named = " and ".join(f"its {role} is the Python object '{name}'" for role, name in missing.items())
        arguments = ", ".join(f"{role}=..." for role in missing)
        raise ConfigError(
            f"run '{folder.name}': {named}, which no command line can make again; "
            f"resume it in Python: nas.load_study(folder, {arguments}).run(trials)"
        )
    return given


def work_folders(executor: ExecutorConfig) -> Callable[[Path], None]:
    """Return what makes the folders that evaluations work in, in the new folder of a run."""

    def fill(staging: Path) -> None:
        (staging / CACHE).mkdir()
        if executor.name == RAY:
            (staging / LOGS).mkdir()

    return fill


def write_best(folder: Path, best: Trial, parts: SearchParts) -> None:
    """Write the best architecture, and its network where it has one, below ``folder``."""
    (folder / "best").mkdir(exist_ok=True)
    width = {} if best.width is None else {"width": best.width}
    write_json(folder / "best" / "architecture.json", best.architecture.to_json() | width)
    graph = parts.plain(best.architecture).graph
    if graph is not None:
        write_json(folder / "best" / "graph.json", graph.to_json())
