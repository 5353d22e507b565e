"""Searches in Python: a study is run, gone on with, looked at; with a folder it is a run of the command line too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nas.api.commands import compared
from nas.api.evaluators import TableEvaluator, TrainEvaluator
from nas.api.notebook import cells_fragment, study_fragment, trial_rows
from nas.core.files import write_json
from nas.core.notebook import dataframe
from nas.core.plugins import load_built_in, load_plugins
from nas.core.text import count, printable
from nas.core.values import SHORT, Budget, Json, Shortened, Task, Value
from nas.engine.assemble import DEFAULT_TASK, TABLE_SPACE, UserObjects, build_search, with_defaults, with_precision
from nas.engine.config import NONE, PLACES, PYTHON, BudgetConfig, Constraints, RunOptions, config_of
from nas.engine.loop import Ledger, Loop, fold
from nas.engine.rivals import RESNET
from nas.engine.run import SearchRun
from nas.errors import ConfigError, EvaluationError
from nas.executors.config import RAY, ExecutorConfig
from nas.graph import Graph, cost
from nas.models.resolve import resolve
from nas.report.plots import Plot, history_plot, importance_plot, pareto_plot
from nas.report.run_view import RunView, load_view
from nas.report.write import write_outputs
from nas.runs.journal import MemoryJournal, read
from nas.runs.run_folder import BASELINE, JOURNAL, RunFolder, check_name
from nas.searchers.default import AUTO
from nas.searchers.pareto import final_front, knee
from nas.space import SPACES, Space
from nas.space.networks import REFERENCES
from nas.trackers.base import Callback, TrackedRun
from nas.trackers.registry import TRACKERS, make_trackers, placed
from nas.trackers.tracking import Listener, Tracking, apart, checked_changes, execute, tracked_run
from nas.training.config import AUTO_PRECISION
from nas.types import Architecture, Evaluator, Searcher, Trial

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from nas.workflows.compare.result import Comparison

SpaceLike: TypeAlias = str | Space | Callable[..., object]
"""A registered space's name, a space, or a function that chooses."""
Observe: TypeAlias = Callable[[Ledger], None]
"""Sees what is known after every trial."""


def Ray(
    address: str | None = None,
    *,
    workers: int | None = None,
    cpus_per_trial: int = 1,
    gpus_per_trial: float | None = None,
) -> ExecutorConfig:
    """Return the executor that runs trials on Ray: one of its own on this machine, or the cluster at ``address``.

    ``workers`` trials run at a time, by default as many as fit; each has ``cpus_per_trial`` and ``gpus_per_trial``.
    """
    return ExecutorConfig(RAY, address, workers, cpus_per_trial, gpus_per_trial)


@dataclass(frozen=True, repr=False)
class Result(Shortened):
    """What a search found."""

    trials: tuple[Trial, ...]
    """Every trial in order."""
    best: Trial | None
    """The one of the highest reward; None when none has a score."""
    reason: str
    """Why it ended: ``finished``, ``exhausted`` or ``interrupted``."""
    queries: int
    """The evaluations that it took."""

    def short(self) -> str:
        """Return how many trials there are, the best of them, and why the search ended."""
        return f"Result({_told(self.trials, self.best)}, {self.reason}, {self.queries:,} queries)"


class Study:
    """One search: run it, go on with it, look at what it found.

    With a ``folder`` every result is on disk before it is used, and the folder is a run like those of the command
    line: each goes on with the other's. Without, the study lives in memory.
    """

    def __init__(
        self,
        space: SpaceLike,
        evaluator: TrainEvaluator | TableEvaluator | Evaluator | str,
        searcher: str | Searcher = AUTO,
        *,
        folder: str | Path | None = None,
        constraints: Constraints | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        executor: ExecutorConfig | None = None,
        task: Task | None = None,
        callbacks: Sequence[Callback | str] = (),
        **settings: Value,
    ) -> None:
        """Describe a search; what is wrong raises :class:`nas.errors.NasError`, nothing is evaluated yet.

        ``evaluator`` is the built-in training or look-up, the name of a registered evaluator, or any function of a
        :class:`nas.Job` (its ``architecture``, and its ``graph`` where the space describes networks) that returns the
        reward to maximise or :class:`nas.Metrics`. With a ``budget`` every network is as wide as fits it. ``task`` is
        what networks must do for such a function; a dataset says it itself. ``callbacks`` are told of every trial:
        :class:`nas.Callback` objects, or trackers such as ``tensorboard=DIR``. ``settings`` are any others of a run, by
        their names in its ``config.toml``: ``searcher_args``, ``space_args``, ``scheduler``, ``epochs``, ``width``,
        ``depth``, ``lag``, ``baseline``, ``plugins`` and others.
        """
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            check_name(self.folder.name)
        given: Json = {"seed": seed, **(constraints or Constraints()).to_json(), **settings}
        given |= BudgetConfig(*astuple(budget or Budget())).to_json()
        if executor is not None:
            given |= executor.to_json()
        own_space = None
        if isinstance(space, str) and space == TABLE_SPACE:  # which only the table's file makes
            given["space"] = space
        else:
            found = get_space(space, **given.pop("space_args", None) or {})
            given |= {"space": found.name, "space_args": dict(found.args)}
            if found.name not in SPACES or SPACES[found.name].function is not found.function:
                own_space = found
        own_evaluator = None
        if isinstance(evaluator, TrainEvaluator | TableEvaluator):
            given |= {name: value for name, value in evaluator.settings().items() if value is not None}
        elif isinstance(evaluator, str):
            given["evaluator"] = evaluator
        elif callable(evaluator):
            given["evaluator"], own_evaluator = PYTHON, evaluator
            given.setdefault("epochs", 1)
        else:
            rule = "an evaluator is nas.TrainEvaluator, nas.TableEvaluator, a registered name or a function of a job"
            raise ConfigError(f"{rule}, found {type(evaluator).__name__}")
        own_searcher = None
        if not isinstance(searcher, str):
            if not callable(getattr(searcher, "ask", None)):
                rule = "a searcher is a name or has a method ask(history, rng)"
                raise ConfigError(f"{rule}, found {type(searcher).__name__}")
            own_searcher = searcher
        given["searcher"] = searcher if isinstance(searcher, str) else type(searcher).__name__
        # trackers first, so that one whose package is missing is told of before anything is begun
        own, named = apart(callbacks)
        if track := (*given.get("track", ()), *named):
            load_plugins(given.get("plugins", ()))
            given["track"] = placed(track)
        self._listeners = [Listener(callback) for callback in (*own, *make_trackers(track))]
        self._about: TrackedRun | None = None
        # where workers and files are is for whoever describes the study to say, whatever the journal has
        self._places = {name: given[name] for name in PLACES if given.get(name) is not None}
        # a study compares when it is asked to: see compare()
        self._given = {"baseline": NONE, "final_seeds": 0, **given}
        self._objects = UserObjects(own_space, own_evaluator, own_searcher, task)
        self._ledger: Ledger | None = None
        RunOptions(**self._given)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial so far, in order."""
        return tuple(self._known().trials)

    @property
    def best(self) -> Trial | None:
        """The trial of the highest reward among those of most epochs; None where none has a score."""
        return self._known().best()

    def run(
        self,
        trials: int = 50,
        observe: Observe | None = None,
        *,
        record_failures: bool = False,
        accept_changes: bool = False,
    ) -> Result:
        """Search until ``trials`` evaluations are spent, those of earlier calls among them; return what was found.

        ``observe`` sees what is known after every trial. Where every trial fails, :class:`EvaluationError` says why,
        unless ``record_failures`` asks for the trials alone; what was evaluated is kept either way. A run on disk
        whose table, plugins, data, versions or Python objects are not those that it began with goes on only with
        ``accept_changes``. Signals are left to the program: in the main thread Ctrl-C is a ``KeyboardInterrupt`` that
        passes through, also where an evaluator raises it; SIGTERM does what it does to any Python program.
        """
        told = observe or (lambda ledger: None)
        if self.folder is None:
            reason, ledger = self._in_memory(trials, told)
        else:
            run = self._open(self.folder, trials, accept_changes)
            ledger = run.plan.ledger
            reason = execute(run, self._listeners, lambda progress: told(ledger))
        self._ledger = ledger
        failed = [t.failure for t in ledger.trials if t.failure]
        if failed and ledger.best() is None and not record_failures:
            what = f"no trial has a reward; {len(failed):,} of {len(ledger.trials):,} failed, the first with"
            raise EvaluationError(f"{what} {failed[0].kind}: {failed[0].message}", failed[0].kind)
        return Result(tuple(ledger.trials), ledger.best(), reason, ledger.queries)

    def pareto_front(self, *objectives: str) -> list[Trial]:
        """Return the trials of most epochs that no other beats in reward and in all ``objectives``, best reward first.

        An objective, by default ``macs``, is minimised: ``params``, ``macs`` or the name of a metric.
        """
        return final_front(self.trials, objectives or ("macs",), {})

    def knee(self, *objectives: str) -> Trial | None:
        """Return the knee of :meth:`pareto_front`, see :func:`nas.searchers.pareto.knee`; None where that is empty."""
        names = objectives or ("macs",)
        return knee(self.pareto_front(*names), names)

    def to_dataframe(self) -> DataFrame:
        """Return a row a trial: status, reward, costs, metrics and every decision; needs pandas."""
        return dataframe(trial_rows(self.trials), "to_dataframe()")

    def plot_history(self) -> Plot:
        """Return a picture of all rewards, and of the best so far; with a folder, beside those of its random search."""
        return history_plot(self._view())

    def plot_pareto(self, objective: str = "macs") -> Plot:
        """Return a picture of rewards against ``params``, ``macs`` or a metric, with their Pareto front."""
        return pareto_plot(self._view(), objective)

    def plot_importance(self) -> Plot:
        """Return a picture of how much each decision tells good trials from all; it needs 20 trials with a reward."""
        return importance_plot(self.trials)

    def __repr__(self) -> str:
        # what is on disk and was not looked at yet is not read for a line
        known = "" if self._ledger is None else f", {_told(self._ledger.trials, self._ledger.best())}"
        place = "" if self.folder is None else f", folder={str(self.folder)!r}"
        return printable(f"Study({self._given['space']!r}{known}{place})", SHORT)

    def _repr_html_(self) -> str:
        """Return what was searched, how far, the best trials and a curve, for a notebook."""
        trials, best = self.trials, self.best
        view = self._view() if trials else None
        config = self._given if view is None else view.config.to_json()
        about = {name: config.get(name) for name in ("space", "searcher", "evaluator", "dataset", "seed")}
        about |= {"folder": None if self.folder is None else str(self.folder)}
        found = study_fragment(about, trials, best, view)
        name = self._given["space"]
        if best is None or (self._objects.space is None and name not in SPACES):
            return found
        space = self._objects.space or get_space(best.architecture.space, **dict(best.architecture.args))
        return found + cells_fragment(space, best)

    def _view(self) -> RunView:
        """Return what reports show of a search: of one on disk all that is there."""
        if self.folder is not None and (self.folder / JOURNAL).is_file():
            return load_view(self.folder)
        ledger = self._known()
        config = with_defaults(RunOptions(**{**self._given, "trials": max(1, ledger.queries)}))
        return RunView(Path("study"), config, ledger, None, "finished", {})

    def report(self) -> Path:
        """Write the report again and return its HTML file."""
        folder = self._on_disk("report()")
        write_outputs(folder)
        return folder / "report.html"

    def compare(self, seeds: int = 3, baselines: Sequence[str] = ("random", "resnet"), **settings: Value) -> Comparison:
        """Train the best network and ``baselines`` alike, with several seeds, and say which differences are real.

        A baseline is ``random`` (the best of a random search of as many trials), ``resnet`` (a handcrafted one of about
        its cost) or whatever :func:`compare` takes. ``settings`` are those of :func:`compare`; the dataset, the folder
        of the images and the recipe are the study's own where they are not given.
        """
        folder = self._on_disk("compare()")
        config = config_of(read(folder / JOURNAL)[0], folder.name)
        others = [name for name in baselines if name not in ("random", "resnet")]
        random = "random" in baselines and config.searcher.name != "random"
        if random:
            # here and not in the comparison, which could not make a user's own evaluator again
            with closing(SearchRun.resume(folder, self._places, objects=self._objects)) as run:
                run.plan.run_below(run, BASELINE, lambda progress: None)
        given = {name: value for name, value in config.data.to_json().items() if name not in settings}
        if config.train.recipe is not None and "recipes" not in settings:
            given["recipes"] = [config.train.recipe.to_json()]
        if "resnet" in baselines:
            best = resolve(str(folder), results=folder.parent).graph
            task = Task("reference", best.input_shape, cost(best).output_shape[-1])
            name, graph = REFERENCES[RESNET](task, cost(best).macs)
            path = folder / "best" / f"{name.replace(' ', '-')}.json"
            write_json(path, graph.to_json())
            others.append(str(path))
        asked = {**given, "against_random": random, **settings, "seeds": seeds}
        observe = asked.pop("observe", None)
        return compared([folder.name, *others], None, f"{folder.name}-compare", folder.parent, observe, asked)

    def _open(self, folder: Path, trials: int, accept_changes: bool) -> RunFolder[SearchRun]:
        """Return the run in the study's folder, made now where there is none."""
        if not (folder / JOURNAL).is_file():
            config = with_defaults(RunOptions(**self._given, trials=trials))
            return SearchRun.create(folder, config, write_outputs, objects=self._objects)
        # a search of other settings is refused; its workers and files may be elsewhere now
        header = read(folder / JOURNAL)[0]
        found = config_of(header, folder.name)
        recorded = {"lag": found.lag, "zero_cost": found.searcher.zero_cost or (NONE,)}
        asked = with_defaults(RunOptions(**{**recorded, **self._given, "trials": trials}))
        # whether it compares at its end is not what it found
        was, now = (config.changed(baseline=NONE, final_seeds=0).to_json() for config in (found, asked))
        if self._objects.task is not None or "task" in header:
            task = self._objects.task or DEFAULT_TASK
            was["task"], now["task"] = header.get("task"), task.to_json()
        if now.get("precision") == AUTO_PRECISION and "precision" in header:  # it was measured when the run was made
            now["precision"] = was.get("precision")
        for name in [*was, *now]:
            if was.get(name) != now.get(name) and name not in (*PLACES, "trials"):
                differs = f"its {name} is {was.get(name)}, not {now.get(name)}"
                raise ConfigError(f"run '{folder.name}' belongs to another search: {differs}")
        changes, trackers = checked_changes(folder, {**self._places, "trials": trials})
        if not any(listener.callback.name in TRACKERS for listener in self._listeners):  # of a study that was loaded
            self._listeners += map(Listener, trackers)
        return SearchRun.resume(folder, changes, write_outputs, objects=self._objects, accept_changes=accept_changes)

    def _in_memory(self, trials: int, observe: Observe) -> tuple[str, Ledger]:
        """Go on with a search that is kept nowhere else; return why it ended, and what is known."""
        config, _ = with_precision(with_defaults(RunOptions(**self._given, trials=trials)))
        parts = build_search(config, objects=self._objects)
        ledger, executor = self._ledger or Ledger(parts.lag), parts.executor
        self._about = self._about or tracked_run(None, config)
        tracking = Tracking(self._listeners, self._about, ledger, lambda found: parts.plain(found).graph)

        def told(ledger: Ledger) -> None:
            observe(ledger)
            tracking.update()

        with closing(executor):
            loop = Loop(parts.searcher, parts.prepare_asked, executor, MemoryJournal(), ledger, parts.settings, told)
            reason = tracking.follow(lambda: "finished" if (ended := loop.run()) == "budget" else ended)
        return reason, ledger

    def _known(self) -> Ledger:
        if self._ledger is None and self.folder is not None and (self.folder / JOURNAL).is_file():
            events = read(self.folder / JOURNAL)
            self._ledger = fold(events, config_of(events[0], self.folder.name).lag or None)
        return self._ledger or Ledger()

    def _on_disk(self, what: str) -> Path:
        if self.folder is None or not (self.folder / JOURNAL).is_file():
            raise ConfigError(f"{what} needs a run on disk: give the study a folder and run it")
        return self.folder


def _told(trials: Sequence[Trial], best: Trial | None) -> str:
    """Return how many trials there are, and the best of them."""
    told = "" if best is None else f", best {best.reward:.6g} of trial {best.index}"
    return f"{count(len(trials), 'trial')}{told}"


def load_study(
    folder: str | Path,
    *,
    evaluator: Evaluator | None = None,
    space: Space | Callable[..., object] | None = None,
    searcher: Searcher | None = None,
    plugins: Sequence[str | Path] = (),
    callbacks: Sequence[Callback | str] = (),
) -> Study:
    """Return the study of the search in ``folder``, whoever made it: this page or the command line.

    To look at it nothing else is needed. To run on, what was a Python object must be given again: ``evaluator``,
    ``space`` or ``searcher``; and ``plugins`` that lie where no plugin is run that a journal alone names. Without
    trackers among the ``callbacks`` it goes on with its own.
    """
    folder = Path(folder)
    path = folder / JOURNAL
    if not path.is_file():
        raise ConfigError(f"'{folder}' is no run: it has no {JOURNAL}")
    header = read(path)[0]
    config = config_of(header, folder.name)
    study = Study.__new__(Study)
    study.folder, study._ledger = folder, None
    study._places = {"plugins": tuple(map(str, plugins))} if plugins else {}
    callbacks, track = apart(callbacks)
    if track:
        study._places["track"] = track
    study._listeners, study._about = [Listener(callback) for callback in callbacks], None
    study._given = {name: value for name, value in config.to_json().items() if name != "trials"}
    task = Task.from_json(header["task"]) if "task" in header else None
    own = get_space(space, **config.space.args) if space is not None else None
    study._objects = UserObjects(own, evaluator, searcher, task)
    return study


def search(
    space: SpaceLike,
    evaluator: TrainEvaluator | TableEvaluator | Evaluator | str,
    searcher: str | Searcher = AUTO,
    trials: int = 50,
    *,
    name: str | None = None,
    results_dir: str | Path = "results",
    observe: Observe | None = None,
    record_failures: bool = False,
    accept_changes: bool = False,
    max_params: int | None = None,
    max_macs: int | None = None,
    budget: Budget | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    cpus_per_trial: int = 1,
    gpus_per_trial: float = 0,
    callbacks: Sequence[Callback | str] = (),
    **settings: Value,
) -> Result:
    """Search ``space`` for the architecture that ``evaluator`` rewards most: one line over :class:`Study`.

    With a ``name`` the study's folder is ``results_dir/name``. With ``workers`` or a ``ray_address`` it runs on Ray.
    ``record_failures`` and ``accept_changes`` are those of :meth:`Study.run`, ``callbacks`` and ``settings`` those of
    :class:`Study`.
    """
    executor = None
    if workers is not None or ray_address is not None:
        executor = Ray(ray_address, workers=workers, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
    folder = None
    if name is not None:
        check_name(name)
        folder = Path(results_dir) / name
    limits = Constraints(max_params, max_macs)
    study = Study(
        space,
        evaluator,
        searcher,
        folder=folder,
        constraints=limits,
        budget=budget,
        executor=executor,
        callbacks=callbacks,
        **settings,
    )
    return study.run(trials, observe, record_failures=record_failures, accept_changes=accept_changes)


def list_spaces() -> list[str]:
    """Return the names of the registered search spaces."""
    load_built_in()
    return list(SPACES)


def get_space(space: SpaceLike, **args: Value) -> Space:
    """Return a space from a registered name, a function that chooses, or a space; ``args`` are its arguments."""
    load_built_in()
    if isinstance(space, str):
        return SPACES[space].with_args(args)
    if isinstance(space, Space):
        return space.with_args(args) if args else space
    if not callable(space):
        raise ConfigError(f"a space is a name, a Space or a function that chooses, found {type(space).__name__}")
    return Space(getattr(space, "__name__", "space"), space, args)


def build(
    architecture: Architecture, task: Task = DEFAULT_TASK, width: int | None = None, depth: int | None = None
) -> Graph:
    """Return the network of an architecture of a registered space at any width and depth."""
    return get_space(architecture.space, **dict(architecture.args)).build(architecture, task, width, depth)


def build_module(graph: Graph, outputs: tuple[str, ...] = ("logits",)) -> nn.Module:
    """Return ``graph`` as a torch module; see :func:`nas.graph.lowering.torch_module.build_module`."""
    from nas.graph.lowering import torch_module

    return torch_module.build_module(graph, outputs)
