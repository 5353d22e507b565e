"""Assembly: from a configuration to the parts of a search. Everything is checked here, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, GraphError, unknown
from nas.evaluators import EVALUATORS
from nas.evaluators.table import Known, reward_name
from nas.executors.inline import InlineExecutor
from nas.graph import cost
from nas.graph import key as graph_key
from nas.plugins import load_built_in, load_plugin, naming
from nas.run.config import RunConfig, flag
from nas.run.loop import Executor, Settings
from nas.run.seeds import SEARCH, stream
from nas.searchers import make_scheduler, make_searcher
from nas.searchers.auto import AUTO, automatic
from nas.searchers.schedulers import NONE, spelled_out
from nas.searchers.start import StartFrom
from nas.space import SPACES, Network, Space
from nas.space.space import decisions_key
from nas.space.table import table_space
from nas.starts import start_architectures
from nas.table import Table, load_table
from nas.training.data import check_dataset, load_splits, task_of
from nas.training.recipe import default_recipe
from nas.types import Architecture, Context, Evaluator, Prepared, Searcher, Task

EXECUTORS: dict[str, Callable[[Evaluator], Executor]] = {"inline": InlineExecutor}
DEFAULT_TASK = Task("images", (3, 32, 32), 10)
REMEMBERED = 16_384
PREPARED = 64
"""How many architectures are remembered as prepared: the loop asks again for what a searcher has just looked at."""


@dataclass(frozen=True)
class Study:
    """The parts of one search, ready for the loop."""

    space: Space
    searcher: Searcher
    evaluator: Evaluator
    executor: Executor
    prepare: Callable[[Architecture], Prepared]
    settings: Settings
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
        data.setdefault("threads", 1 if data["dataset"] == "digits" else os.cpu_count() or 1)
    searcher = automatic(config.trials) if config.searcher == AUTO else config.searcher
    data["searcher"], data["scheduler"] = spelled_out(searcher, config.scheduler)
    data.setdefault("baseline", "random" if evaluator in ("train", "table") else "none")
    if config.searcher == "random":
        data["baseline"] = "none"
    return RunConfig.from_json(data)


def assemble(config: RunConfig, start: Sequence[Architecture] = (), cache: Path | None = None) -> Study:
    """Build and check every part that a completed ``config`` names.

    ``start`` are the first proposals as a journal holds them; without, they are read from what ``config`` names.
    ``cache`` is the folder for what searchers may keep to resume sooner.
    """
    load_built_in()
    for plugin in config.plugins:
        load_plugin(plugin)
    if config.baseline not in ("random", "none"):
        raise ConfigError(f"--baseline must be random or none, found '{config.baseline}'")
    if config.executor not in EXECUTORS:
        raise ConfigError(unknown("executor", config.executor, EXECUTORS))
    table = _table(config)
    space = _space(config, table)
    task = _task(config)
    known = Known(table, config.scores, config.dataset) if table is not None else None
    prepare = preparer(space, task, config.width, config.depth, known)
    context = Context(remembered(prepare), config.epochs, config.trials, config.max_params, config.max_macs, cache)
    with naming(f"searcher '{config.searcher}'"):
        searcher = make_searcher(config.searcher, space, config.searcher_args, context)
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
        job=_job(config),
    )
    with naming(f"space '{space.name}'"):
        _try_one(space, prepare, config, table)
    for architecture, name in zip(start, config.start_from, strict=False):
        problem = prepare(architecture).problem
        if problem:
            raise ConfigError(f"--start-from {name} cannot be built for this task: {problem}")
    executor = EXECUTORS[config.executor](evaluator)
    return Study(space, searcher, evaluator, executor, prepare, settings, config.lag or None, table, start)


def preparer(
    space: Space, task: Task, width: int | None, depth: int | None, known: Known | None = None
) -> Callable[[Architecture], Prepared]:
    """Return the function that turns an architecture into its key, network and cost for ``task``.

    What the table of ``known`` lacks cannot be evaluated: its problem says so, and no network is built for it.
    """
    wide = space.width if width is None else width
    deep = space.depth if depth is None else depth

    def prepare(architecture: Architecture) -> Prepared:
        described = space.describe(architecture)
        if not hasattr(described, "network"):
            return looked_up(Prepared(decisions_key(architecture)), architecture)
        found = None if isinstance(described, Network) else looked_up(Prepared(described.key()), architecture)
        if found is not None and found.problem:
            return found
        try:
            graph = described.network(task, wide, deep)
            total = cost(graph)
        except GraphError as error:
            return Prepared(decisions_key(architecture), problem=str(error))
        found = found or looked_up(Prepared(graph_key(graph)), architecture)
        return replace(found, graph=graph, params=total.params, macs=total.macs)

    def looked_up(prepared: Prepared, architecture: Architecture) -> Prepared:
        return prepared if known is None else known.complete(prepared, architecture)

    return lru_cache(PREPARED)(prepare)


def remembered(prepare: Callable[[Architecture], Prepared]) -> Callable[[Architecture], Prepared]:
    """Return ``prepare`` without the networks, remembering what it found: searchers look at some candidates often."""
    return lru_cache(REMEMBERED)(lambda architecture: replace(prepare(architecture), graph=None))


def _table(config: RunConfig) -> Table | None:
    if config.evaluator != "table":
        for name in ("table", "reward", "metrics", "scores", "objective"):
            if getattr(config, name):
                raise ConfigError(f"{flag(name)} goes with the evaluator 'table', not with '{config.evaluator}'")
        return None
    if config.table is None or config.reward is None:
        raise ConfigError("evaluator 'table' needs --table FILE and --reward COLUMN")
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
        return DEFAULT_TASK
    assert config.dataset is not None
    check_dataset(config.dataset, config.data_dir, config.image_size)
    if config.train_images is not None or config.validation_images is not None:
        counts = config.validation_images, config.train_images
        load_splits(config.dataset, config.data_dir, 0, *counts, config.image_size)
    return task_of(config.dataset, config.data_dir, config.image_size)


def _job(config: RunConfig) -> dict[str, Any]:
    if config.evaluator != "train":
        return {}
    assert config.dataset is not None
    return {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "split_seed": 0,
        "recipe": default_recipe(config.dataset).to_json(),
        "threads": config.threads,
        "validation": config.validation_images,
        "train_images": config.train_images,
        "image_size": config.image_size,
    }


DRAWS = 20
TABLE_DRAWS = 1_000
"""A table may hold few of a space's architectures."""


def _try_one(space: Space, prepare: Callable[[Architecture], Prepared], config: RunConfig, table: Table | None) -> None:
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
