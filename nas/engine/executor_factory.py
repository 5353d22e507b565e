"""Where trials run: from a configuration to executors, in this process or on Ray.

What workers in other processes build for themselves comes from plain data: evaluators by their registered names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nas.core.digests import check_files, file_digest
from nas.core.plugins import load_built_in, load_plugins
from nas.core.values import Json
from nas.engine.config import RunConfig
from nas.evaluators import EVALUATORS
from nas.evaluators.test_split import FinalEvaluator
from nas.evaluators.train import DatasetCache, TrainEvaluator, TrainSettings, shared_images
from nas.executors.config import RAY, ExecutorConfig
from nas.executors.inline import InlineExecutor
from nas.executors.ray.cluster import require_ray
from nas.executors.ray.executor import RayExecutor
from nas.executors.ray.worker import Make
from nas.executors.ray.worker_pool import WorkerResources, available_workers
from nas.training.memory_estimate import training_memory
from nas.types import Evaluator, Executor, Job

LOGS = "logs"
"""The folder in a run's for what its trials print on Ray."""
CONTEXT = 600 * 2**20
"""The bytes that a process takes on a GPU before it computes anything."""


def default_lag(executor: ExecutorConfig, trains: bool) -> int:
    """Return the lag where none is set: twice the workers, which may be more than there will be on another machine."""
    if executor.name != RAY:
        return 1
    return 2 * (executor.workers or available_workers(_resources(executor, trains)))


def trial_executor(
    config: RunConfig, evaluator: Evaluator, job: Json, folder: Path | None, own: bool = False
) -> Executor:
    """Return the executor of the trials of a run in ``folder``, whose jobs have the settings ``job``.

    An ``own`` evaluator is a Python object, which travels to the workers as it is; any other they make for themselves.
    """
    if config.executor.name != RAY:
        return InlineExecutor(evaluator)
    require_ray()
    make: Make = partial(user_evaluator, evaluator)
    if not own:  # every machine reads these files for itself
        files = [*config.plugins, *([config.table.path] if config.table.path else [])]
        make = partial(evaluator_of, config.to_json(), job, {path: file_digest(path) for path in files})
    limit, logs = config.train.time_limit, None if folder is None else str((folder / LOGS).resolve())
    resources = _resources(config.executor, config.evaluator == "train")
    return RayExecutor(resources, make, _sharing(job, test=False), job_memory, limit, logs)


def final_executor(executor: ExecutorConfig, job: Json) -> Executor:
    """Return the executor of final trainings: workers of its own, so that no other ever holds the test split."""
    if executor.name != RAY:
        return InlineExecutor(FinalEvaluator())
    make: Make = partial(final_evaluator_of, job)
    return RayExecutor(_resources(executor, trains=True), make, _sharing(job, test=True), job_memory)


def _sharing(job: Json, test: bool) -> Callable[[], Json]:
    return partial(shared_images, TrainSettings.from_json(job), test) if job else dict


def _resources(executor: ExecutorConfig, trains: bool) -> WorkerResources:
    return WorkerResources(
        executor.ray_address, executor.workers, executor.cpus_per_trial, executor.gpus_per_trial, trains
    )


def evaluator_of(
    config: Mapping[str, Any], job: Mapping[str, Any], digests: Mapping[str, str], shared: Mapping[str, Any]
) -> Evaluator:
    """Return the evaluator that ``config`` names, for jobs with the settings ``job``, which train on ``shared``.

    The files of ``digests`` must be the same here as on the driver's machine, before anything of them is run.
    Plugins are the files that the configuration names, on this machine; of a configuration nothing else becomes code.
    """
    check_files(digests)
    load_plugins(config.get("plugins", ()))
    evaluator = EVALUATORS[str(config["evaluator"])].make(config)
    if isinstance(evaluator, TrainEvaluator):
        evaluator.datasets.give(TrainSettings.from_json(job), dict(shared))
    return evaluator


def user_evaluator(evaluator: Evaluator, shared: Mapping[str, Any]) -> Evaluator:
    """Return a user's own function as it came."""
    return evaluator


def final_evaluator_of(job: Mapping[str, Any], shared: Mapping[str, Any]) -> Evaluator:
    """Return the evaluator of final trainings with the settings ``job``; ``shared`` holds the test split."""
    load_built_in()
    datasets = DatasetCache()
    datasets.give(TrainSettings.from_json(job), dict(shared))
    return FinalEvaluator(datasets)


def job_memory(job: Job) -> int | None:
    """Return the bytes that a training will need on its device; None without a network to train."""
    if job.graph is None or "dataset" not in job.settings:
        return None
    return CONTEXT + training_memory(job.graph, TrainSettings.from_json(job.settings).actual_recipe())
