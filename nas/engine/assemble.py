"""Assembly: from a configuration to the parts of a search. Everything is checked here, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.files import real_path
from nas.core.plugins import load_plugins, naming
from nas.core.values import Json, Task
from nas.data.config import DEFAULT_DATASET, actual_dataset, default_threads
from nas.data.streaming import ImageStream
from nas.engine.candidate_scores import CandidateScores, visible_scores
from nas.engine.config import AUTO_SCORES, EPOCHS, NONE, RunConfig, RunOptions, flag
from nas.engine.earlier_runs import learned_from
from nas.engine.executor_factory import default_lag, final_executor, trial_executor
from nas.engine.loop import Settings
from nas.engine.prepare import Prepare, cached, make_prepare
from nas.engine.random_streams import SEARCH, stream
from nas.engine.rivals import check_against, default_families
from nas.engine.start_points import default_starts, start_architectures
from nas.errors import NAME_SHOWN, ConfigError, EvaluationError, printable, unknown
from nas.evaluators import EVALUATORS
from nas.evaluators.table import Known, reward_name
from nas.evaluators.train import RECORDED, TrainSettings
from nas.executors.config import INLINE
from nas.models.resolve import each_of
from nas.schedulers import Finalists, make_scheduler
from nas.schedulers.shorthand import spelled_out
from nas.searchers import SEARCHERS, make_searcher
from nas.searchers.base import StartFrom
from nas.searchers.default import AUTO
from nas.searchers.pareto import COSTS, DEFAULT_OBJECTIVES, limits_of, objective_names
from nas.searchers.rank import ranked_by
from nas.space import SPACES, Space
from nas.space.from_table import table_space
from nas.tables.benchmark_table import Table, load_table
from nas.training.config import AUTO_PRECISION, NamedRecipe
from nas.training.published_recipes import check_fit
from nas.training.recipe import Recipe, default_recipe
from nas.types import Architecture, Context, EarlierRun, Evaluator, Executor, Searcher
from nas.zero_cost import DEFAULT_SCORES, check_scores

CACHE = "cache"
"""The folder in a run's for what may be deleted: it only saves work."""
DEFAULT_TASK = Task("images", (3, 32, 32), 10)
TABLE_SPACE = "table"
"""The space of a table's file."""
UNLEARNED = ("random", "grid", "optuna:random")
"""Searchers that learn nothing from what they begin with, and are there to compare with."""
DRAWS = 100
"""How many architectures are drawn to find one that can be built: a space may find many of its own infeasible, and
narrow networks may miss a budget by one step of their width."""
TABLE_DRAWS = 1_000
"""The same with a table, which may hold few of a space's architectures."""


@dataclass(frozen=True)
class UserObjects:
    """Parts of a search that are Python objects, which no command line can make again."""

    space: Space | None = None
    evaluator: Evaluator | None = None
    searcher: Searcher | None = None
    task: Task | None = None
    """What the networks must do, for evaluators other than ``train``, whose dataset says it."""

    def names(self) -> dict[str, str]:
        """Return what each object is called, by its role, for the journal."""
        things = {"evaluator": self.evaluator, "space": self.space and self.space.function, "searcher": self.searcher}
        return {
            role: str(getattr(thing, "__name__", type(thing).__name__))
            for role, thing in things.items()
            if thing is not None
        }


@dataclass(frozen=True)
class SearchParts:
    """The parts of one search, ready for the loop."""

    space: Space
    searcher: Searcher
    evaluator: Evaluator
    executor: Executor
    final_executor: Callable[[], Executor]
    """Makes the executor of final trainings."""
    prepare: Prepare
    """Gives networks as trials train them: with the auxiliary heads and dropped paths that the recipe asks for."""
    prepare_asked: Prepare
    """The same with the zero-cost scores that trials record."""
    prepare_final: Prepare
    """The same for final trainings."""
    plain: Prepare
    """Gives networks with neither."""
    scores: CandidateScores
    """Gives the zero-cost scores of architectures, and the seconds that they took."""
    settings: Settings
    final_job: Json
    """The settings of final trainings."""
    lag: int | None
    """None: proposals see whatever has arrived."""
    table: Table | None = None
    start: tuple[Architecture, ...] = ()
    """The first proposals."""
    earlier: tuple[EarlierRun, ...] = ()
    """What earlier searches found."""


def with_defaults(options: RunOptions) -> RunConfig:
    """Return the complete configuration of ``options``: what is not set may depend on other settings."""
    data = options.to_json()
    evaluator = data.setdefault("evaluator", "table" if options.get("table") else "train")
    for name in ("table", "data_dir"):
        if name in data:
            data[name] = real_path(data[name])  # so that a run can be resumed from anywhere
    data["plugins"] = [real_path(plugin) for plugin in options.get("plugins", ())]
    if evaluator == "train":
        data = actual_dataset(data, DEFAULT_DATASET)
        inline = options.get("executor", INLINE) == INLINE
        own = os.cpu_count() or 1 if inline else options.get("cpus_per_trial", 1)
        data.setdefault("threads", default_threads(data["dataset"], own))
        # recipes with all numbers, so that a run goes on without the file, and the epochs that follow
        recipe = NamedRecipe.of(options.get("recipe"), "--recipe", data["dataset"])
        data["recipe"], epochs = recipe.to_json(), {}
        if options.get("recipe") is not None:
            epochs = dict.fromkeys(EPOCHS, recipe.recipe.epochs)
        if options.get("final_recipe") is not None:
            final = NamedRecipe.of(options.get("final_recipe"), "--final-recipe", data["dataset"])
            data["final_recipe"], epochs["final_epochs"] = final.to_json(), final.recipe.epochs
        for name, number in epochs.items():
            data.setdefault(name, number)
    data = {**EPOCHS, **data}
    if data.get("learn_from") and data.get("searcher", AUTO) == AUTO:
        data["searcher"] = next(name for name in SEARCHERS if SEARCHERS[name].learns_from_earlier)
    searcher, scheduler = data.get("searcher", AUTO), data.get("scheduler", NONE)
    trials = data.setdefault("trials", RunConfig.trials)
    data["searcher"], data["scheduler"] = spelled_out(searcher, scheduler, trials)
    data.setdefault("baseline", "random" if evaluator in ("train", "table") else NONE)
    if searcher == "random":
        data["baseline"] = NONE
    if data.get("searcher_args", {}).get("scores") is True:
        data.setdefault("zero_cost", [AUTO_SCORES])  # what a searcher is told to look at
    if "finalist_epochs" in data and not data.get("finalists"):
        raise ConfigError("--finalist-epochs goes with --finalists N")
    config = RunConfig.from_json(data)
    if "start_from" in data:  # every trial of a front by its number
        config = config.changed(start_from=tuple(each_of(config.searcher.start_from)))
    # rivals are there for the final comparison
    if evaluator == "train" and config.budget.size and "against" not in data and config.comparison.seeds:
        config = config.changed(against=default_families(config.data.task(), config.budget.size))
    learns = config.searcher.name not in UNLEARNED and ranked_by(config.searcher.name) is None
    if evaluator == "train" and "start_from" not in data and learns:
        config = config.changed(start_from=default_starts(config))
    if options.get("lag") is None:
        config = replace(config, lag=default_lag(config.executor, evaluator == "train"))
    return config


def with_precision(config: RunConfig) -> tuple[RunConfig, Json]:
    """Return ``config`` with the precision that was measured where it asks for that, and what to tell of it.

    It is measured here, on the CPU: a search whose trials run on GPUs, or on another cluster where they may, is left
    to what each GPU measures. ``speedup`` is how many times faster bfloat16 is.
    """
    if config.train.precision != AUTO_PRECISION or config.evaluator != "train":
        return config, {}
    from nas.training.device import find_device

    executor = config.executor
    here = executor.name == INLINE or executor.ray_address is None
    if executor.gpus_per_trial or (executor.gpus_per_trial is None and not (here and find_device(None).type == "cpu")):
        return config.changed(precision=None), {"chosen": None}
    from nas.training.backend_tuning import BF16_GAIN, bf16_speedup

    speedup = round(bf16_speedup(config.train.threads), 3)
    chosen = "bf16" if speedup >= BF16_GAIN else "float32"
    return config.changed(precision=chosen), {"chosen": chosen, "speedup": speedup}


def build_search(
    config: RunConfig,
    start: Sequence[Architecture] = (),
    folder: Path | None = None,
    objects: UserObjects | None = None,
    earlier: Sequence[EarlierRun] = (),
) -> SearchParts:
    """Build and check every part that ``config`` names, for the run in ``folder``; ``objects`` stand in for names.

    ``start`` are the first proposals and ``earlier`` what other searches found, as a journal holds them; without, they
    are read from what ``config`` names.
    """
    own = objects or UserObjects()
    load_plugins(config.plugins)

    # what is searched, and what its architectures become
    table = _table(config)
    if own.space is not None:
        space = own.space
    elif config.space.name != "table":
        space = SPACES[config.space.name].with_args(config.space.args)
    elif table is not None:
        space = table_space(table).with_args(config.space.args)
    else:
        raise ConfigError("space 'table' is the space of a table file: name it with --table FILE")
    task = own.task or _task(config)
    job, final_job = _jobs(config, task)
    check_against(config, task)
    known = Known(table, config.table.scores, config.data.dataset) if table is not None else None
    budget = config.budget.size
    plain = make_prepare(space, task, config.space.width, config.space.depth, known, budget=budget)

    def prepared_as_in(settings: Json) -> Prepare:
        recipe = Recipe.from_json(settings.get("recipe", {}))
        asks = recipe.aux_weight or recipe.drop_path
        if not asks:
            return plain
        return make_prepare(space, task, config.space.width, config.space.depth, known, recipe, budget)

    prepare, prepare_final = prepared_as_in(job), prepared_as_in(final_job)

    # who proposes: the searcher, after what it is told to begin with, under a scheduler
    limits, cache = config.constraints, None if folder is None else folder / CACHE
    names = config.searcher.zero_cost
    names = DEFAULT_SCORES if names == (AUTO_SCORES,) else check_scores(names, "--zero-cost")
    scores = CandidateScores(space, plain, task, names, config.space.width, cache)
    # a searcher that ranks computes scores that no trial records; their seconds are recorded
    computes = names or ranked_by(config.searcher.name) is not None
    recorded = scores.recorded(prepare, config.constraints.params, config.constraints.macs) if computes else prepare
    searcher = own.searcher
    earlier = tuple(earlier) or learned_from(config, space, own.searcher is not None)
    if searcher is None:
        first = config.trials - config.finalists.count
        seen = visible_scores(scores, config.searcher.name, config.table.scores)
        context = Context(cached(plain), config.train.epochs, first, limits.params, limits.macs, cache, seen, earlier)
        with naming(f"searcher '{config.searcher.name}'"):
            searcher = make_searcher(config.searcher.name, space, config.searcher.args, context)
        _check_objectives(config)
    start = tuple(start) or tuple(start_architectures(config.searcher.start_from, space))
    if start:
        searcher = StartFrom(searcher, start)
    searcher = _scheduled(config, searcher, table)

    # who evaluates, and where
    evaluator = own.evaluator
    if evaluator is None:
        with naming(f"evaluator '{config.evaluator}'"):
            evaluator = EVALUATORS[config.evaluator].make(config.to_json())
    settings = Settings(
        task=task,
        trials=config.trials,
        epochs=config.train.epochs,
        seed=config.seed,
        max_params=limits.params,
        max_macs=limits.macs,
        max_seconds=config.max_seconds,
        job=job,
        in_process=config.executor.name == INLINE,
    )

    # a trial of everything, so that what can never work is an error now and not a failed trial later
    with naming(f"space '{space.name}'"):
        _try_one(space, prepare, config, table)
    for architecture, name in zip(start, config.searcher.start_from, strict=False):
        if problem := prepare(architecture).problem:
            raise ConfigError(f"--start-from {printable(name, NAME_SHOWN)} cannot be built for this task: {problem}")
    _read_images(job)
    return SearchParts(
        space=space,
        searcher=searcher,
        evaluator=evaluator,
        executor=trial_executor(config, evaluator, job, folder, own.evaluator is not None),
        final_executor=lambda: final_executor(config.executor, final_job),
        prepare=prepare,
        prepare_asked=recorded,
        prepare_final=prepare_final,
        plain=plain,
        scores=scores,
        settings=settings,
        final_job=final_job,
        lag=config.lag or None,
        table=table,
        start=start,
        earlier=earlier,
    )


def _read_images(job: Json) -> None:
    """Read the training images of ``job``, which trials in this process then find read; of a stream only the first."""
    images = TrainSettings.from_json(job).splits().train if job else None
    if isinstance(images, ImageStream):
        try:
            next(images.batches(1, seed=0, workers=0), None)
        except EvaluationError as error:
            raise ConfigError(f"dataset '{job['dataset']}': {error}") from None


def _check_objectives(config: RunConfig) -> None:
    """Refuse objectives that no trial will have, where it is known what trials record."""
    if config.searcher.name != "nsga2" or config.evaluator not in ("train", "table"):
        return
    known = [*COSTS, *(RECORDED if config.evaluator == "train" else config.table.metrics)]
    if config.table.val_column is not None:
        known.append(reward_name(config.table.val_column, config.train.epochs))
    with naming("searcher 'nsga2'", ours=True):
        wanted = objective_names(config.searcher.args.get("objectives", DEFAULT_OBJECTIVES))
        for name in (*wanted, *limits_of(config.searcher.args.get("limits", ""))):
            if name not in known:
                hint = "; record columns of a table with --metric" if config.evaluator == "table" else ""
                raise ConfigError(f"{unknown('objective', name, known)}{hint}")


def _table(config: RunConfig) -> Table | None:
    wanted = config.table
    if config.evaluator != "table":
        for name, value in wanted.to_json().items():
            if name != "table" or value:
                raise ConfigError(f"{flag(name)} goes with the evaluator 'table', not with '{config.evaluator}'")
        return None
    if not wanted.path or not wanted.val_column:
        missing = ["--table FILE"] * (not wanted.path) + ["--val-column COLUMN"] * (not wanted.val_column)
        raise ConfigError(f"evaluator 'table' needs {' and '.join(missing)}")
    table = load_table(Path(wanted.path))
    columns = [reward_name(wanted.val_column, config.train.epochs), *wanted.metrics, *wanted.scores]
    for column in columns if wanted.test_column is None else [*columns, wanted.test_column]:
        table.column(column, config.data.dataset)
    return table


def _scheduled(config: RunConfig, searcher: Searcher, table: Table | None) -> Searcher:
    rungs: tuple[int, ...] = (config.train.epochs,)
    trains = ""
    if config.scheduler.name != NONE:
        with naming(f"scheduler '{config.scheduler.name}'"):
            scheduler = make_scheduler(config.scheduler.name, searcher, config.train.epochs, config.scheduler.args)
        searcher, rungs = scheduler, scheduler.rungs
        trains = f"scheduler '{config.scheduler.name}' trains"
    elif config.scheduler.args:
        raise ConfigError("--scheduler-arg needs --scheduler NAME (see: list schedulers)")
    if number := config.finalists.count:
        epochs = config.finalist_epochs
        if number >= config.trials:
            raise ConfigError(f"--finalists {number} are trials too: they must be fewer than --trials {config.trials}")
        if epochs <= config.train.epochs:
            raise ConfigError(f"--finalist-epochs must be more than --epochs {config.train.epochs}, found {epochs}")
        if config.searcher.name == "nsga2":
            raise ConfigError("--finalists are the best by reward alone; they do not go with --searcher nsga2")
        if config.max_seconds is not None:
            raise ConfigError(
                "--finalists are the last of --trials, which --max-seconds may cut off; give one of the two"
            )
        searcher, rungs = Finalists(searcher, number, epochs, config.trials), (*rungs, epochs)
        trains = f"{trains} and --finalists train" if trains else "--finalists train"

    # a table must hold the reward at every rung
    reward = config.table.val_column
    if table is None or reward is None or not trains:
        return searcher
    trains += f" for {','.join(map(str, rungs))} epochs, but"
    if reward_name(reward, 0) == reward:
        raise ConfigError(f"{trains} --val-column {reward} is one column for all; write {{epochs}} in its name")
    for column in (reward_name(reward, epochs) for epochs in rungs):
        if column not in table.columns:
            rule = "name the epochs it has with --scheduler-arg rungs=E,E,..."
            raise ConfigError(f"{trains} the table has no column '{column}'; {rule}")
    return searcher


def _task(config: RunConfig) -> Task:
    if config.evaluator == "train":
        return config.data.task()
    data = config.data
    wanted = {
        "dataset": None if config.evaluator == "table" else data.dataset,  # a table may have several
        "data_dir": data.data_dir,
        "image_size": data.image_size,
        "train_images": data.train_images,
        "validation_images": data.validation_images,
        **data.shares(),
        "recipe": config.train.recipe,
        "final_recipe": config.comparison.recipe,
        # on Ray any evaluator has a time limit
        "time_limit": config.train.time_limit if config.executor.name == INLINE else None,
        "max_trial_seconds": config.constraints.seconds,
        "precision": config.train.precision,
    }
    for name, value in wanted.items():
        if value is not None:
            raise ConfigError(f"{flag(name)} goes with the evaluator 'train', not with '{config.evaluator}'")
    return DEFAULT_TASK


def _jobs(config: RunConfig, task: Task) -> tuple[Json, Json]:
    """Return the settings of a trial's training and of a final one; of another evaluator, nothing."""
    if config.evaluator != "train":
        return {}, {}
    data, train = config.data, config.train
    named = train.recipe or NamedRecipe("default", default_recipe(data.name))
    final = config.comparison.recipe or named
    check_fit(named.recipe, "--recipe", data.name, task.input_shape)
    check_fit(final.recipe, "--final-recipe", data.name, task.input_shape)
    job: Json = {
        "dataset": data.dataset,
        "data_dir": data.data_dir,
        "split_seed": 0,
        "recipe": named.recipe.to_json(),
        "threads": train.threads,
        "validation": data.validation_images,
        "train_images": data.train_images,
        "image_size": data.image_size,
        "time_limit": train.time_limit,
        **data.shares(),
    }
    if train.precision not in (None, AUTO_PRECISION):
        job["precision"] = train.precision
    final_job = {**job, "recipe": final.recipe.to_json(), "time_limit": None}
    if config.constraints.seconds is not None:
        job |= {"max_trial_seconds": config.constraints.seconds, "full_epochs": train.epochs}
        if config.finalists.count:
            job["finalist_epochs"] = config.finalist_epochs
    return job, final_job


def _try_one(space: Space, prepare: Prepare, config: RunConfig, table: Table | None) -> None:
    """Draw an architecture that works, so that sizes or names that never can are an error now, not failed trials."""
    if table is not None:
        architecture = space.sample(stream(config.seed, 0, 0, SEARCH))
        where = f"table '{table.path}' does not fit space '{space.name}'"
        for name in table.names:
            if name not in architecture.decisions:
                own = "the table's own space is --space table"
                raise ConfigError(f"{where}: the space has no decision '{name}'; {own}")
            missing = [option for option in space.options(name) if option not in table.options[name]]
            if missing:
                raise ConfigError(f"{where}: the table has no option {missing[0]!r} of decision '{name}'")
    for draw in range(DRAWS if table is None else TABLE_DRAWS):
        architecture = space.sample(stream(config.seed, draw, 0, SEARCH))
        if config.budget.size and getattr(space.describe(architecture), "widths", None) is None:
            name = flag("budget_params" if config.budget.macs is None else "budget_macs")
            raise ConfigError(f"{name} needs a space of networks with a width to choose; space '{space.name}' has none")
        prepared = prepare(architecture)
        if not prepared.problem:
            break
    else:
        if table is not None:
            where = f"none of {TABLE_DRAWS:,} architectures drawn from space '{space.name}' can be looked up"
            raise ConfigError(f"table '{table.path}': {where}: {prepared.problem}")
        raise ConfigError(f"space '{space.name}' cannot be built for this task: {prepared.problem}")
    if config.evaluator == "train" and prepared.graph is None:
        raise ConfigError(f"space '{space.name}' describes no network; the evaluator 'train' needs one")
