"""Evaluating a job in this process: what every worker does with one, and the executor that has no other worker."""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from nas.core.activity import doing
from nas.core.forks import ending_forks
from nas.core.signals import is_interrupt
from nas.errors import EvaluationError, NasError, described, one_line
from nas.executors.process_state import restored
from nas.types import Evaluator, Failure, Job, Metrics, Outcome, WorkerState


def run_evaluator(evaluator: Evaluator, job: Job) -> tuple[Metrics | Failure, float]:
    """Return what ``evaluator`` makes of ``job`` and the seconds: a number is the reward, what is raised a failure.

    The process's working directory, signal handlers, limits and the like are then as they were before.
    """
    start = time.perf_counter()
    result: Metrics | Failure
    try:
        with restored(), ending_forks():
            found: object = evaluator(job)
        result = _metrics(found)
    except BaseException as error:  # no evaluator may end the search, whatever it raises
        if is_interrupt(error):
            raise
        result = _failure(error)
    return result, time.perf_counter() - start


def _metrics(found: object) -> Metrics:
    if isinstance(found, Metrics):
        # checked here once more, and out of reach of what the evaluator still has
        return Metrics(
            found.reward,
            found.values,
            found.seconds,
            bool(found.simulated),
            found.notes,
            found.weights,
            found.predictions,
        )
    if isinstance(found, bool) or not hasattr(found, "__float__"):
        raise EvaluationError(f"an evaluator returns Metrics or a number, found {type(found).__name__}")
    return Metrics(float(found))


def _failure(error: BaseException) -> Failure:
    # by its real type, as a class may say that it is another one
    if issubclass(type(error), EvaluationError) and type(error.__dict__.get("kind")) is str:
        kind = EvaluationError("", error.__dict__["kind"]).kind
    else:
        kind = "oom" if issubclass(type(error), MemoryError) else "error"
    if not issubclass(type(error), NasError):
        return Failure(kind, described(error))
    try:
        return Failure(kind, one_line(error))
    except BaseException:
        return Failure(kind, described(error))


class InlineExecutor:
    """Evaluates each job when it is waited for; one at a time."""

    capacity = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._jobs: deque[Job] = deque()
        self._done, self._seconds = 0, 0.0

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._jobs.append(job)

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Evaluate the next job and return its outcome, however long it takes; what is raised is a typed failure."""
        job = self._jobs.popleft()
        # a copy: what an evaluator does to its job, even later by a thread, changes neither this one nor the next
        own = replace(job, settings=deepcopy(job.settings))
        with doing("evaluating"):
            result, seconds = run_evaluator(self._evaluator, own)
        self._done, self._seconds = self._done + 1, self._seconds + seconds
        return [Outcome(job.index, result, seconds)]

    def withdraw(self) -> Sequence[int]:
        """Take nothing back: the one job that was handed over counts as begun, and is finished."""
        return ()

    def workers(self) -> Sequence[WorkerState]:
        """Return the one worker that there is."""
        name = platform.node()
        return [WorkerState("inline", name, os.getpid(), "", "idle", done=self._done, busy_seconds=self._seconds)]

    def close(self) -> None:
        """Drop jobs that were not waited for."""
        self._jobs.clear()
