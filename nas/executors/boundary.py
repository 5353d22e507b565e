"""The worker's boundary: whatever an evaluator returns or raises becomes metrics or a typed failure."""

from __future__ import annotations

from nas.errors import EvaluationError, NasError, one_line
from nas.types import Failure, Metrics

MESSAGE_LIMIT = 2_000


def as_metrics(value: object) -> Metrics:
    """Return what an evaluator returned as metrics: a plain number is the reward."""
    if isinstance(value, Metrics):
        return value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise EvaluationError(f"an evaluator returns Metrics or a number, found {type(value).__name__}")
    return Metrics(float(value))


def as_failure(error: BaseException) -> Failure:
    """Return the typed failure for an exception that an evaluator raised."""
    if isinstance(error, EvaluationError):
        kind = error.kind
    elif isinstance(error, MemoryError):
        kind = "oom"
    else:
        kind = "error"
    message = one_line(error)
    if not isinstance(error, NasError):
        message = f"{type(error).__name__}: {message}"
    return Failure(kind, message[:MESSAGE_LIMIT])
