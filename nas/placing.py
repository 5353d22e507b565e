"""Where trials run: from a configuration to executors, in this process or on Ray."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown
from nas.evaluators.final import FinalEvaluator
from nas.evaluators.train import shared_images
from nas.executors.inline import InlineExecutor
from nas.executors.ray_executor import RayExecutor
from nas.executors.ray_pool import Places, room
from nas.executors.ray_worker import Make
from nas.remote import evaluator_of, final_evaluator_of, job_memory
from nas.run.config import RunConfig, flag
from nas.run.loop import Executor
from nas.types import Evaluator

INLINE, RAY = "inline", "ray"
EXECUTORS = (INLINE, RAY)
LOGS = "logs"
"""The folder in a run's for what its trials print on Ray."""
OF_RAY = ("ray_address", "workers", "gpus_per_trial")


def check_places(config: RunConfig) -> None:
    """Refuse an unknown executor, and settings of Ray without it."""
    if config.executor not in EXECUTORS:
        raise ConfigError(unknown("executor", config.executor, EXECUTORS))
    for name in OF_RAY:
        if config.executor != RAY and getattr(config, name) is not None:
            raise ConfigError(f"{flag(name)} goes with --executor ray, not with '{config.executor}'")
    _places(config)


def lag_of(config: RunConfig) -> int:
    """Return the lag where none is set: twice the workers, which may be more than there will be on another machine."""
    return 1 if config.executor != RAY else 2 * (config.workers or room(_places(config)))


def executor_of(config: RunConfig, evaluator: Evaluator, job: dict[str, Any], folder: Path | None) -> Executor:
    """Return the executor of the trials of a run in ``folder``, whose jobs have the settings ``job``."""
    if config.executor != RAY:
        return InlineExecutor(evaluator)
    make = partial(evaluator_of, config.to_json(), job)
    limit, logs = config.time_limit, None if folder is None else str((folder / LOGS).resolve())
    return RayExecutor(_places(config), make, _sharing(job, test=False), job_memory, limit, logs)


def final_executor_of(config: RunConfig, job: dict[str, Any]) -> Executor:
    """Return the executor of final trainings: workers of its own, so that no other ever holds the test split."""
    if config.executor != RAY:
        return InlineExecutor(FinalEvaluator())
    make: Make = partial(final_evaluator_of, job)
    return RayExecutor(_places(config), make, _sharing(job, test=True), job_memory)


def _sharing(job: dict[str, Any], test: bool) -> Callable[[], dict[str, Any]]:
    return partial(shared_images, job, test) if job else dict


def _places(config: RunConfig) -> Places:
    return Places(
        config.ray_address, config.workers, config.cpus_per_trial, config.gpus_per_trial, config.evaluator == "train"
    )
