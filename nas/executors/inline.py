"""The inline executor: one job after another in this process."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Sequence

from nas.executors.boundary import evaluated
from nas.types import Evaluator, Job, Outcome, WorkerState


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
        result, seconds = evaluated(self._evaluator, job)
        self._done, self._seconds = self._done + 1, self._seconds + seconds
        return [Outcome(job.index, result, seconds)]

    def recall(self) -> Sequence[int]:
        """Take nothing back: the one job that was handed over counts as begun, and is finished."""
        return ()

    def workers(self) -> Sequence[WorkerState]:
        """Return the one worker that there is."""
        name = platform.node()
        return [WorkerState("inline", name, os.getpid(), "", "idle", done=self._done, busy_seconds=self._seconds)]

    def close(self) -> None:
        """Drop jobs that were not waited for."""
        self._jobs.clear()
