"""What workers in other processes build for themselves, from plain data: evaluators by their registered names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.evaluators import EVALUATORS
from nas.evaluators.final import FinalEvaluator
from nas.evaluators.train import TrainSettings, adopt
from nas.plugins import load_built_in, load_plugin
from nas.training.memory import training_memory
from nas.types import Evaluator, Job

CONTEXT = 600 * 2**20
"""The bytes that a process takes on a GPU before it computes anything."""


def evaluator_of(config: Mapping[str, Any], job: Mapping[str, Any], shared: Mapping[str, Any]) -> Evaluator:
    """Return the evaluator that ``config`` names, for jobs with the settings ``job``, which train on ``shared``.

    Plugins are the files that the configuration names, on this machine; of a configuration nothing else becomes code.
    """
    load_built_in()
    for plugin in config.get("plugins", ()):
        load_plugin(plugin)
    if job:
        adopt(job, shared)
    return EVALUATORS[str(config["evaluator"])].make(config)


def given(evaluator: Evaluator, shared: Mapping[str, Any]) -> Evaluator:
    """Return a user's own function as it came."""
    return evaluator


def final_evaluator_of(job: Mapping[str, Any], shared: Mapping[str, Any]) -> Evaluator:
    """Return the evaluator of final trainings with the settings ``job``; ``shared`` holds the test split."""
    load_built_in()
    adopt(job, shared)
    return FinalEvaluator()


def job_memory(job: Job) -> int | None:
    """Return the bytes that a training will need on its device; None without a network to train."""
    if job.graph is None or "dataset" not in job.settings:
        return None
    return CONTEXT + training_memory(job.graph, TrainSettings.from_json(job.settings).actual_recipe())
