"""The registry of evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nas.registry import Registry
from nas.types import Evaluator


@dataclass(frozen=True)
class EvaluatorInfo:
    """A registered evaluator: ``make(settings)`` returns it; ``settings`` is the run's configuration as plain data."""

    make: Callable[[Mapping[str, Any]], Evaluator]
    summary: str


EVALUATORS: Registry[EvaluatorInfo] = Registry("evaluator")


def register_evaluator(name: str) -> Callable[[Evaluator], Evaluator]:
    """Register the decorated function ``evaluate(job) -> Metrics | float`` as evaluator ``name``."""

    def register(function: Evaluator) -> Evaluator:
        summary = (getattr(function, "__doc__", None) or "").strip().split("\n")[0]
        EVALUATORS.add(name, EvaluatorInfo(lambda settings: function, summary))
        return function

    return register
