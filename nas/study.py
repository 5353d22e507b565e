"""Assembly: from a configuration to the parts of a search. Everything is checked here, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, EvaluationError, unknown
from nas.evaluators import EVALUATORS
from nas.evaluators.table import Known, reward_name
from nas.evaluators.train import RECORDED, TrainSettings
from nas.placing import INLINE, check_places, executor_of, final_executor_of, lag_of
from nas.plugins import load_built_in, load_plugin, naming
from nas.preparation import Prepare, preparer, remembered
from nas.recipe_choice import check_fit, recipe_of, recipe_table
from nas.run.config import EPOCHS, RunConfig, flag
from nas.run.loop import Executor, Settings
from nas.run.seeds import SEARCH, stream
from nas.searchers import make_scheduler, make_searcher
from nas.searchers.pareto import COSTS, DEFAULT_OBJECTIVES, limits_of, objective_names
from nas.searchers.schedulers import NONE, spelled_out
from nas.searchers.start import StartFrom
from nas.space import SPACES, Space
from nas.space.table import table_space
from nas.starts import start_architectures
from nas.table import Table, load_table
from nas.training.data import task_of
from nas.training.recipe import Recipe
from nas.training.stream import ImageStream
from nas.types import Architecture, Context, Evaluator, Searcher, Task

__all__ = ["DEFAULT_TASK", "Study", "assemble", "completed", "preparer", "remembered"]

CACHE = "cache"
"""The folder in a run's for what may be deleted: it only saves work."""
DEFAULT_TASK = Task("images", (3, 32, 32), 10)
TRAINING = ("recipe", "final_recipe", "time_limit")
"""The settings that only the evaluator of trainings has a use for."""


@dataclass(frozen=True)
class Study:
    """The parts of one search, ready for the loop.

    ``prepare`` gives networks as trials train them, ``prepare_final`` as final trainings do, with what their recipes
    ask for (auxiliary heads, dropped paths); those of ``plain`` have neither. ``final_job`` are the settings of final
    trainings, which ``final_executor()`` runs.
    """

    space: Space
    searcher: Searcher
    evaluator: Evaluator
    executor: Executor
    final_executor: Callable[[], Executor]
    prepare: Prepare
    prepare_final: Prepare
    plain: Prepare
    settings: Settings
    final_job: dict[str, Any]
    lag: int | None
    table: Table | None = None
    start: tuple[Architecture, ...] = ()


def completed(config: RunConfig) -> RunConfig:
    """Return ``config`` with every default that depends on other settings filled in."""
    data = config.to_json()
    evaluator = config.evaluator or ("table" if config.table else "train")
    data["evaluator"] = evaluator
    for name in ("table", "data_dir"):
        if name in data:
            data[name] = str(Path(data[name]).resolve())  # so that a run can be resumed from anywhere
    data["plugins"] = [str(Path(plugin).resolve()) for plugin in config.plugins]
    if evaluator == "train":
        data.setdefault("dataset", "digits")
        # a number, since results differ in their last bits with it; on 8x8 images threads wait more than they compute
        own = os.cpu_count() or 1 if config.executor == INLINE else config.cpus_per_trial
        data.setdefault("threads", 1 if data["dataset"] == "digits" else own)
        data |= _recipes(config, data["dataset"])
    for name, epochs in EPOCHS.items():
        data.setdefault(name, epochs)
    data["searcher"], data["scheduler"] = spelled_out(config.searcher, config.scheduler, config.trials)
    if "lag" not in data:
        data["lag"] = lag_of(replace(config, evaluator=evaluator))
    data.setdefault("baseline", "random" if evaluator in ("train", "table") else "none")
    if config.searcher == "random":
        data["baseline"] = "none"
    return RunConfig.from_json(data)


def _recipes(config: RunConfig, dataset: str) -> dict[str, Any]:
    """Return the recipes with all numbers, so that a run goes on without the file, and the epochs that follow."""
    found: dict[str, Any] = {"recipe": recipe_table(config.recipe, "--recipe", dataset)}
    if config.recipe is not None:
        found["epochs"] = found["final_epochs"] = found["recipe"]["epochs"]
    if config.final_recipe is not None:
        found["final_recipe"] = recipe_table(config.final_recipe, "--final-recipe", dataset)
        found["final_epochs"] = found["final_recipe"]["epochs"]
    given = {name: getattr(config, name) for name in EPOCHS}
    return {**found, **{name: epochs for name, epochs in given.items() if epochs is not None}}


def assemble(config: RunConfig, start: Sequence[Architecture] = (), folder: Path | None = None) -> Study:
    """Build and check every part that a completed ``config`` names, for the run in ``folder``.

    ``start`` are the first proposals as a journal holds them; without, they are read from what ``config`` names.
    """
    load_built_in()
    for plugin in config.plugins:
        load_plugin(plugin)
    if config.baseline not in ("random", "none"):
        raise ConfigError(f"--baseline must be random or none, found '{config.baseline}'")
    check_places(config)
    table = _table(config)
    space = _space(config, table)
    task = _task(config)
    job, final_job = _jobs(config, task)
    known = Known(table, config.scores, config.dataset) if table is not None else None
    plain = preparer(space, task, config.width, config.depth, known)

    def prepared_as_in(settings: Mapping[str, Any]) -> Prepare:
        recipe = Recipe.from_json(settings.get("recipe", {}))
        asks = recipe.aux_weight or recipe.drop_path
        return preparer(space, task, config.width, config.depth, known, recipe) if asks else plain

    prepare, prepare_final = prepared_as_in(job), prepared_as_in(final_job)
    cache = None if folder is None else folder / CACHE
    context = Context(remembered(plain), config.epochs, config.trials, config.max_params, config.max_macs, cache)
    with naming(f"searcher '{config.searcher}'"):
        searcher = make_searcher(config.searcher, space, config.searcher_args, context)
    _check_objectives(config)
    start = tuple(start) or tuple(start_architectures(config.start_from, space))
    if start:
        searcher = StartFrom(searcher, start)
    searcher = _scheduled(config, searcher, table)
    with naming(f"evaluator '{config.evaluator}'"):
        evaluator = EVALUATORS[str(config.evaluator)].make(config.to_json())
    settings = Settings(
        task,
        config.trials,
        config.epochs,
        config.seed,
        config.max_params,
        config.max_macs,
        config.max_seconds,
        job=job,
    )
    with naming(f"space '{space.name}'"):
        _try_one(space, prepare, config, table)
    for architecture, name in zip(start, config.start_from, strict=False):
        problem = prepare(architecture).problem
        if problem:
            raise ConfigError(f"--start-from {name} cannot be built for this task: {problem}")
    if job:
        _check_images(job)
    return Study(
        space,
        searcher,
        evaluator,
        executor_of(config, evaluator, job, folder),
        lambda: final_executor_of(config, final_job),
        prepare,
        prepare_final,
        plain,
        settings,
        final_job,
        config.lag or None,
        table,
        start,
    )


def _check_objectives(config: RunConfig) -> None:
    """Refuse objectives that no trial will have, where it is known what trials record."""
    if config.searcher != "nsga2" or config.evaluator not in ("train", "table"):
        return
    known = [*COSTS, *(RECORDED if config.evaluator == "train" else config.metrics)]
    if config.reward is not None:
        known.append(reward_name(config.reward, config.epochs))
    with naming("searcher 'nsga2'", ours=True):
        wanted = objective_names(config.searcher_args.get("objectives", DEFAULT_OBJECTIVES))
        for name in (*wanted, *limits_of(config.searcher_args.get("limits", ""))):
            if name not in known:
                hint = "; record columns of a table with --metric" if config.evaluator == "table" else ""
                raise ConfigError(f"{unknown('objective', name, known)}{hint}")


def _table(config: RunConfig) -> Table | None:
    if config.evaluator != "table":
        for name in ("table", "reward", "metrics", "scores", "objective"):
            if getattr(config, name):
                raise ConfigError(f"{flag(name)} goes with the evaluator 'table', not with '{config.evaluator}'")
        return None
    missing = [
        flag for flag, value in (("--table FILE", config.table), ("--reward COLUMN", config.reward)) if not value
    ]
    if config.table is None or config.reward is None or missing:
        raise ConfigError(f"evaluator 'table' needs {' and '.join(missing)}")
    table = load_table(Path(config.table))
    columns = [reward_name(config.reward, config.epochs), *config.metrics, *config.scores]
    for column in columns if config.objective is None else [*columns, config.objective]:
        table.column(column, config.dataset)
    return table


def _scheduled(config: RunConfig, searcher: Searcher, table: Table | None) -> Searcher:
    if config.scheduler == NONE:
        if config.scheduler_args:
            raise ConfigError("--scheduler-arg needs --scheduler NAME (see: list schedulers)")
        return searcher
    with naming(f"scheduler '{config.scheduler}'"):
        scheduler = make_scheduler(config.scheduler, searcher, config.epochs, config.scheduler_args)
    if table is not None and config.reward is not None:
        _check_rungs(config, scheduler.rungs, table, config.reward)
    return scheduler


def _check_rungs(config: RunConfig, rungs: Sequence[int], table: Table, reward: str) -> None:
    listed = ",".join(map(str, rungs))
    if reward_name(reward, 0) == reward:
        raise ConfigError(
            f"scheduler '{config.scheduler}' trains for {listed} epochs, but --reward {reward} is one column for all; "
            f"write {{epochs}} in its name"
        )
    for epochs in rungs:
        if reward_name(reward, epochs) not in table.columns:
            raise ConfigError(
                f"scheduler '{config.scheduler}' trains for {listed} epochs, but the table has no column "
                f"'{reward_name(reward, epochs)}'; name the epochs it has with --scheduler-arg rungs=E,E,..."
            )


def _space(config: RunConfig, table: Table | None) -> Space:
    if config.space == "table":
        if table is None:
            raise ConfigError("space 'table' is the space of a table file: name it with --table FILE")
        return table_space(table).with_args(config.space_args)
    return SPACES[config.space].with_args(config.space_args)


def _task(config: RunConfig) -> Task:
    if config.evaluator != "train":
        for name in TRAINING:
            if getattr(config, name) is not None and not (name == "time_limit" and config.executor != INLINE):
                raise ConfigError(f"{flag(name)} goes with the evaluator 'train', not with '{config.evaluator}'")
        return DEFAULT_TASK
    assert config.dataset is not None
    return task_of(config.dataset, config.data_dir, config.image_size)


def _jobs(config: RunConfig, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a trial's training and of a final one; of another evaluator, nothing."""
    if config.evaluator != "train":
        return {}, {}
    assert config.dataset is not None
    recipe = recipe_of(config.recipe, config.dataset)
    final = recipe if config.final_recipe is None else recipe_of(config.final_recipe, config.dataset)
    check_fit(recipe, "--recipe", config.dataset, task.input_shape)
    check_fit(final, "--final-recipe", config.dataset, task.input_shape)
    job = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "split_seed": 0,
        "recipe": recipe.to_json(),
        "threads": config.threads,
        "validation": config.validation_images,
        "train_images": config.train_images,
        "image_size": config.image_size,
        "time_limit": config.time_limit,
    }
    return job, {**job, "recipe": final.to_json(), "time_limit": None}


def _check_images(job: Mapping[str, Any]) -> None:
    """Read the training images, which trials in this process then find read; refuse what holds none or wrong labels."""
    train = TrainSettings.from_json(job).splits().train
    if isinstance(train, ImageStream):
        try:
            next(train.batches(1, seed=0, workers=0), None)
        except EvaluationError as error:
            raise ConfigError(f"dataset '{job['dataset']}': {error}") from None


DRAWS = 20
TABLE_DRAWS = 1_000
"""A table may hold few of a space's architectures."""


def _try_one(space: Space, prepare: Prepare, config: RunConfig, table: Table | None) -> None:
    """Draw an architecture that works, so that sizes or names that never can are an error now, not failed trials."""
    if table is not None:
        _check_fit(table, space, space.sample(stream(config.seed, 0, 0, SEARCH)))
    for draw in range(DRAWS if table is None else TABLE_DRAWS):
        architecture = space.sample(stream(config.seed, draw, 0, SEARCH))
        prepared = prepare(architecture)
        if not prepared.problem:
            break
    else:
        raise ConfigError(f"space '{space.name}' cannot be built for this task: {prepared.problem}")
    if config.evaluator == "train" and prepared.graph is None:
        raise ConfigError(f"space '{space.name}' describes no network; the evaluator 'train' needs one")


def _check_fit(table: Table, space: Space, architecture: Architecture) -> None:
    where = f"table '{table.path}' does not fit space '{space.name}'"
    for name in table.names:
        if name not in dict(architecture.decisions):
            raise ConfigError(f"{where}: the space has no decision '{name}'; the table's own space is --space table")
        missing = [option for option in space.options(name) if option not in table.options[name]]
        if missing:
            raise ConfigError(f"{where}: the table has no option {missing[0]!r} of decision '{name}'")
