"""The inline executor: one job after another in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from nas.executors.boundary import as_failure, as_metrics
from nas.types import Evaluator, Failure, Job, Metrics, Outcome


class InlineExecutor:
    """Evaluates each job when it is waited for; one at a time."""

    capacity = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._jobs.append(job)

    def wait(self) -> Sequence[Outcome]:
        """Evaluate the next job and return its outcome; whatever the evaluator raises becomes a typed failure."""
        job = self._jobs.popleft()
        start = time.perf_counter()
        result: Metrics | Failure
        try:
            result = as_metrics(self._evaluator(job))
        except Exception as error:  # the worker's boundary: no evaluator may end the search
            result = as_failure(error)
        return [Outcome(job.index, result, time.perf_counter() - start)]

    def close(self) -> None:
        """Drop jobs that were not waited for."""
        self._jobs.clear()
