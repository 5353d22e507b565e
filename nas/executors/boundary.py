"""The worker's boundary: whatever an evaluator returns or raises becomes metrics or a typed failure."""

from __future__ import annotations

import json
import time

from nas.errors import EvaluationError, NasError, one_line
from nas.types import Evaluator, Failure, Job, Metrics

MESSAGE_LIMIT = 2_000


def evaluated(evaluator: Evaluator, job: Job) -> tuple[Metrics | Failure, float]:
    """Return what ``evaluator`` makes of ``job``, whatever it raises, and the seconds it took."""
    start = time.perf_counter()
    result: Metrics | Failure
    try:
        result = as_metrics(evaluator(job))
    except (Exception, SystemExit) as error:  # the worker's boundary: no evaluator may end the search
        result = as_failure(error)
    return result, time.perf_counter() - start


def as_metrics(value: object) -> Metrics:
    """Return what an evaluator returned as metrics: a plain number is the reward."""
    if isinstance(value, Metrics):
        _check_notes(value)
        return value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise EvaluationError(f"an evaluator returns Metrics or a number, found {type(value).__name__}")
    return Metrics(float(value))


def _check_notes(metrics: Metrics) -> None:
    try:
        json.dumps(dict(metrics.notes), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"notes must be plain JSON of finite numbers: {one_line(error)}") from None


def as_failure(error: BaseException) -> Failure:
    """Return the typed failure for an exception that an evaluator raised."""
    if isinstance(error, EvaluationError):
        kind = error.kind
    elif isinstance(error, MemoryError):
        kind = "oom"
    else:
        kind = "error"
    try:
        message = one_line(error)
    except Exception as broken:
        message = f"its message cannot be read: {type(broken).__name__}"
    if not isinstance(error, NasError):
        message = f"{type(error).__name__}: {message}"
    return Failure(kind, message[:MESSAGE_LIMIT])
