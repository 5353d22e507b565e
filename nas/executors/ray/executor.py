"""The Ray executor: jobs go to warm workers on one machine or many; what becomes of them is told, never decided, here.

Ray Core alone, with its own restarts and retries off: a side effect that ran twice would be a result that the journal
does not know of. Jobs wait in a short queue of this process, so that a worker gets its next one before the result of
its last is on disk. Where trials are brief (:data:`BRIEF`) one job more waits in the worker's own queue, and goes back
to ours when the worker ends before it has told that the one before is done.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from nas.core.values import Json
from nas.errors import NasError
from nas.executors.ray.worker import Make
from nas.executors.ray.worker_pool import Entry, Key, Pool, WorkerHandle, WorkerResources
from nas.executors.serialization import job_to_bytes, result_from_bytes
from nas.types import Failure, Job, Metrics, Outcome, WorkerState

GRACE = 10.0
"""Seconds beyond its time limit that a job may use for what the limit does not count, such as building a network."""
CHECK_EVERY = 0.5
"""Seconds between two checks of time limits and of the head node."""
BRIEF = 0.05
"""Trials of fewer seconds go to workers that are still busy, as sending them takes a good part of their time."""
PEAK = "peak_memory"
"""The value by which an evaluator tells the bytes that it needed at most."""


class RayExecutor:
    """Evaluates jobs on the workers that ``resources`` asks for; Ray is connected when the first job is submitted.

    ``make`` builds a worker's evaluator from the arrays that ``shared`` returns, which travel once per node.
    ``estimate`` tells the bytes that a job will need on its device. A job that takes longer than ``time_limit`` seconds
    and :data:`GRACE` more loses its worker. ``logs`` is the folder for what jobs print.
    """

    def __init__(
        self,
        resources: WorkerResources,
        make: Make,
        shared: Callable[[], Json] = dict,
        estimate: Callable[[Job], int | None] = lambda job: None,
        time_limit: float | None = None,
        logs: str | None = None,
    ) -> None:
        self._resources, self._make, self._shared, self._estimate = resources, make, shared, estimate
        self._limit, self._logs = time_limit, logs
        self._pool: Pool | None = None
        self._queue: deque[Entry] = deque()
        self._typical_seconds = math.inf
        self._broken: NasError | None = None

    @property
    def capacity(self) -> int:
        """The workers, and a quarter more whose jobs wait in the queue; as many more where trials are brief."""
        wanted = self._started().wanted
        return max(2, 2 * wanted if self._typical_seconds < BRIEF else wanted + 1 + wanted // 4)

    def submit(self, job: Job) -> None:
        """Take a job; it begins as soon as a worker is free and its device has room."""
        self._queue.append((job, job_to_bytes(job), self._estimate(job)))
        self._dispatch()

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes of jobs that ended, after ``timeout`` seconds perhaps none.

        Raises :class:`nas.errors.ClusterError` without a head node, ``ConfigError`` when a worker cannot begin.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            # at every turn: where outcomes never cease, nodes that join must be seen, too
            self._started().session.check()
            self._started().grow()
            left = CHECK_EVERY if end is None else min(CHECK_EVERY, max(0.0, end - time.monotonic()))
            outcomes = self._finished(left)
            if self._broken is not None and not outcomes:
                raise self._broken
            self._dispatch()  # before anyone writes the outcomes down
            if outcomes or (end is not None and time.monotonic() >= end):
                return outcomes

    def withdraw(self) -> Sequence[int]:
        """Take back the jobs that wait in the queue; return their indices."""
        withdrawn = [job.index for job, _, _ in self._queue]
        self._queue.clear()
        return withdrawn

    def workers(self) -> Sequence[WorkerState]:
        """Return the status of every worker."""
        return [] if self._pool is None else [handle.state() for handle in self._pool.handles]

    def close(self) -> None:
        """End the workers and drop what they do; the connection stays for later ones."""
        self._queue.clear()
        self._broken = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _started(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._resources, self._make, self._shared(), self._logs)
        return self._pool

    def _dispatch(self) -> None:
        """Give jobs to idle workers, first come first served; one that fits nowhere keeps the emptiest device free."""
        pool = self._started()
        idle = [handle for handle in pool.handles if handle.idle]
        held: set[Key] = set()
        for entry in list(self._queue):
            if not idle:
                break
            job, message, need = entry
            free = [handle for handle in idle if handle.device not in held]
            handle = next((handle for handle in free if pool.devices.admits(handle.device, need, job.alone)), None)
            if handle is None:
                if free:
                    held.add(pool.devices.emptiest({handle.device for handle in free}))
                continue
            self._queue.remove(entry)
            idle.remove(handle)
            pool.devices.begin(handle.device, job.index, need, job.alone)
            handle.job, handle.since = job, time.monotonic()
            handle.answer = handle.actor.evaluate.remote(message)
        if self._typical_seconds >= BRIEF:
            return
        # brief jobs that need no device's memory also go to busy workers, which begin them when they are done
        busy = [handle for handle in pool.handles if handle.job is not None and handle.ahead is None]
        for handle in sorted(busy, key=lambda handle: handle.since):
            if not self._queue or self._queue[0][2] is not None or self._queue[0][0].attempt:
                return
            entry = self._queue.popleft()
            handle.ahead = entry, handle.actor.evaluate.remote(entry[1])

    def _finished(self, timeout: float) -> list[Outcome]:
        pool = self._started()
        outcomes = []
        for handle in pool.answers(timeout):
            job, seconds = handle.job, time.monotonic() - handle.since
            try:
                answer = pool.take(handle)
            except NasError as error:  # after what came before it is recorded
                self._broken = error
                break
            if job is None:
                continue
            self._leave(handle, job)
            # what became of it, and whether another try makes sense
            result: Metrics | Failure
            if isinstance(answer, Failure):
                result, retry = answer, answer.kind != "error"
            else:
                result, seconds = result_from_bytes(answer)
                retry = isinstance(result, Failure) and result.kind == "oom" and not job.alone
                handle.done, handle.busy = handle.done + 1, handle.busy + seconds
                typical = self._typical_seconds
                self._typical_seconds = seconds if typical == math.inf else 0.9 * typical + 0.1 * seconds
            # learn from what it needed; memory that ran out may be left in pieces
            if isinstance(result, Failure) and result.kind == "oom":
                pool.devices.learn(self._estimate(job), None)
                if not isinstance(answer, Failure) and handle.job is None:
                    pool.replace(handle)
            elif isinstance(result, Metrics) and PEAK in result.values:
                pool.devices.learn(self._estimate(job), result.values[PEAK])
            outcomes.append(Outcome(job.index, result, seconds, retry))
        # end workers that are past their time limit, whatever they hang in
        for handle in list(pool.handles):
            took = time.monotonic() - handle.since
            if (job := handle.job) is not None and self._limit is not None and took > self._limit + GRACE:
                pool.replace(handle)
                self._leave(handle, job)
                limit = f"the time limit being {self._limit:g} s; worker ended"
                failure = Failure("timeout", f"no answer {took:.0f} s after its start, {limit}")
                outcomes.append(Outcome(job.index, failure, took, retry=True))
        return outcomes

    def _leave(self, handle: WorkerHandle, job: Job) -> None:
        """Note that a job has ended; what was sent ahead is under way now, or if its worker is gone, never began."""
        pool = self._started()
        pool.devices.end(handle.device, job.index)
        handle.job = None
        if handle.ahead is None:
            return
        entry, answer = handle.ahead
        handle.ahead = None
        if handle in pool.handles:
            handle.job, handle.answer, handle.since = entry[0], answer, time.monotonic()
            pool.devices.begin(handle.device, entry[0].index, entry[2], entry[0].alone)
        else:
            self._queue.appendleft(entry)
