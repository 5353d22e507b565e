"""The registry of evaluators, and those that come with the toolkit; each is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.core.registry import Registry, check_named
from nas.errors import ConfigError
from nas.types import Evaluator


@dataclass(frozen=True)
class EvaluatorInfo:
    """A registered evaluator: ``make(settings)`` returns it; ``settings`` is the run's configuration as plain data."""

    make: Callable[[Mapping[str, Any]], Evaluator]
    summary: str


EVALUATORS: Registry[EvaluatorInfo] = Registry("evaluator")


def register_evaluator(name: str) -> Callable[[Evaluator], Evaluator]:
    """Register the decorated function ``evaluate(job) -> Metrics | float`` as evaluator ``name``."""
    check_named("evaluator", name)

    def register(function: Evaluator) -> Evaluator:
        summary = (getattr(function, "__doc__", None) or "").strip().split("\n")[0]
        EVALUATORS.add(name, EvaluatorInfo(lambda settings: function, summary))
        return function

    return register


def _train(settings: Mapping[str, Any]) -> Evaluator:
    from nas.evaluators.train import TrainEvaluator

    return TrainEvaluator()


def _table(settings: Mapping[str, Any]) -> Evaluator:
    from nas.evaluators.table import TableEvaluator
    from nas.tables.benchmark_table import load_table

    path, column = settings.get("table"), settings.get("val_column")
    if not path or not column:
        raise ConfigError("evaluator 'table' needs --table FILE and --val-column COLUMN")
    return TableEvaluator(load_table(Path(path)), column, settings.get("dataset"), settings.get("metrics", ()))


EVALUATORS.add("train", EvaluatorInfo(_train, "Trains the network and returns its validation accuracy in percent."))
EVALUATORS.add("table", EvaluatorInfo(_table, "Looks the reward up in a published benchmark's table file."))
