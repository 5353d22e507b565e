"""The Ray executor: jobs go to warm workers on one machine or many; what becomes of them is told, never decided, here.

Ray Core alone, with its own restarts and retries off: a side effect that ran twice would be a result that the journal
does not know of. Jobs wait in a short queue of this process, so that a worker gets its next one before the result of
its last is on disk: a queued job was asked already and depends on nothing that is still open. Where trials are brief
(:data:`BRIEF`) one job more waits in the worker's own queue, and goes back to ours when the worker ends before it has
told that the one before is done.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.errors import NasError
from nas.executors.messages import job_to_bytes, result_from_bytes
from nas.executors.ray_pool import Entry, Places, Pool, Slot
from nas.executors.ray_worker import Make
from nas.types import Failure, Job, Metrics, Outcome, WorkerState

GRACE = 10.0
"""Seconds beyond its time limit that a job may use for what the limit does not count, such as building a network."""
GLANCE = 0.5
"""Seconds between two looks at time limits and at the head node."""
BRIEF = 0.05
"""Trials of fewer seconds go to workers that are still busy, as the way there would take a good part of their time."""
PEAK = "peak_memory"
"""The value by which an evaluator tells the bytes that it needed at most."""


class RayExecutor:
    """Evaluates jobs on the workers that ``places`` asks for; Ray is reached for when the first job is submitted.

    ``make`` builds a worker's evaluator from the arrays that ``shared`` returns, which travel once per node.
    ``estimate`` tells the bytes that a job will need on its device. A job that takes longer than ``time_limit`` seconds
    and :data:`GRACE` more loses its worker. ``logs`` is the folder for what jobs print.
    """

    def __init__(
        self,
        places: Places,
        make: Make,
        shared: Callable[[], Mapping[str, Any]] = dict,
        estimate: Callable[[Job], int | None] = lambda job: None,
        time_limit: float | None = None,
        logs: str | None = None,
    ) -> None:
        self._places, self._make, self._shared, self._estimate = places, make, shared, estimate
        self._limit, self._logs = time_limit, logs
        self._pool: Pool | None = None
        self._queue: deque[Entry] = deque()
        self._usual = math.inf
        self._broken: NasError | None = None

    @property
    def capacity(self) -> int:
        """The workers, and a quarter more whose jobs wait in the queue; as many more where trials are brief."""
        wanted = self._started().wanted
        return max(2, 2 * wanted if self._usual < BRIEF else wanted + 1 + wanted // 4)

    def submit(self, job: Job) -> None:
        """Take a job; it begins as soon as a worker is free and its device has room."""
        self._queue.append((job, job_to_bytes(job), self._estimate(job)))
        self._dispatch()

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes of jobs that ended, after ``timeout`` seconds perhaps none.

        Raises :class:`nas.errors.ClusterError` when the head node is gone and :class:`nas.errors.ConfigError` when a
        worker cannot begin.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            # at every turn: where outcomes never cease, nodes that join must be seen, too
            self._started().session.check()
            self._started().grow()
            left = GLANCE if end is None else min(GLANCE, max(0.0, end - time.monotonic()))
            outcomes = self._finished(left)
            outcomes += self._overdue()
            if self._broken is not None and not outcomes:
                raise self._broken
            self._dispatch()  # before anyone writes the outcomes down
            if outcomes or (end is not None and time.monotonic() >= end):
                return outcomes

    def recall(self) -> Sequence[int]:
        """Take back the jobs that wait in the queue; return their indices."""
        recalled = [job.index for job, _, _ in self._queue]
        self._queue.clear()
        return recalled

    def workers(self) -> Sequence[WorkerState]:
        """Return the workers as they stand."""
        return [] if self._pool is None else [slot.state() for slot in self._pool.slots]

    def close(self) -> None:
        """End the workers and drop what they do; the connection stays for later ones."""
        self._queue.clear()
        self._broken = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _started(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._places, self._make, self._shared(), self._logs)
        return self._pool

    def _dispatch(self) -> None:
        """Give jobs to idle workers, first come first served; one that fits nowhere keeps the emptiest device free."""
        pool = self._started()
        idle = [slot for slot in pool.slots if slot.idle]
        held: set[Any] = set()
        for entry in list(self._queue):
            if not idle:
                break
            job, message, need = entry
            free = [slot for slot in idle if slot.device not in held]
            slot = next((slot for slot in free if pool.devices.admits(slot.device, need, job.alone)), None)
            if slot is None:
                if free:
                    held.add(pool.devices.emptiest({slot.device for slot in free}))
                continue
            self._queue.remove(entry)
            idle.remove(slot)
            pool.devices.begin(slot.device, job.index, need, job.alone)
            slot.job, slot.since = job, time.monotonic()
            slot.answer = slot.actor.evaluate.remote(message)
        if self._usual < BRIEF:
            self._send_ahead()

    def _send_ahead(self) -> None:
        """Give jobs that need no device's memory to busy workers, which begin them when they are done."""
        busy = [slot for slot in self._started().slots if slot.job is not None and slot.ahead is None]
        for slot in sorted(busy, key=lambda slot: slot.since):
            if not self._queue or self._queue[0][2] is not None or self._queue[0][0].attempt:
                return
            entry = self._queue.popleft()
            slot.ahead = entry, slot.actor.evaluate.remote(entry[1])

    def _finished(self, timeout: float) -> list[Outcome]:
        pool = self._started()
        outcomes = []
        for slot in pool.answers(timeout):
            job, took = slot.job, time.monotonic() - slot.since
            try:
                answer = pool.take(slot)
            except NasError as error:  # after what came before it is recorded
                self._broken = error
                break
            if job is None:
                continue
            self._leave(slot, job)
            if isinstance(answer, Failure):
                if answer.kind == "oom":
                    pool.devices.learn(self._estimate(job), None)
                outcomes.append(Outcome(job.index, answer, took, retry=answer.kind != "error"))
                continue
            result, seconds = result_from_bytes(answer)
            slot.done, slot.busy = slot.done + 1, slot.busy + seconds
            self._usual = seconds if self._usual == math.inf else 0.9 * self._usual + 0.1 * seconds
            outcomes.append(self._judged(slot, job, result, seconds))
        return outcomes

    def _judged(self, slot: Slot, job: Job, result: Metrics | Failure, seconds: float) -> Outcome:
        """Learn from what a job needed; one that ran out of memory beside others may try again alone."""
        pool, need = self._started(), self._estimate(job)
        if isinstance(result, Metrics):
            if PEAK in result.values:
                pool.devices.learn(need, result.values[PEAK])
            return Outcome(job.index, result, seconds)
        if result.kind == "oom":
            pool.devices.learn(need, None)
            if slot.job is None:
                pool.replace(slot)  # its memory may be left in pieces
            return Outcome(job.index, result, seconds, retry=not job.alone)
        return Outcome(job.index, result, seconds)

    def _overdue(self) -> list[Outcome]:
        """End workers that are past their time limit, whatever they hang in."""
        pool, outcomes = self._started(), []
        for slot in list(pool.slots):
            took = time.monotonic() - slot.since
            if slot.job is not None and self._limit is not None and took > self._limit + GRACE:
                job = slot.job
                pool.replace(slot)
                self._leave(slot, job)
                message = (
                    f"no answer {took:.0f} s after its start, the time limit being {self._limit:g} s; worker ended"
                )
                outcomes.append(Outcome(job.index, Failure("timeout", message), took, retry=True))
        return outcomes

    def _leave(self, slot: Slot, job: Job) -> None:
        """Note that a job has ended; what was sent ahead is under way now, or if its worker is gone, never began."""
        pool = self._started()
        pool.devices.end(slot.device, job.index)
        slot.job = None
        if slot.ahead is None:
            return
        entry, answer = slot.ahead
        slot.ahead = None
        if slot in pool.slots:
            slot.job, slot.answer, slot.since = entry[0], answer, time.monotonic()
            pool.devices.begin(slot.device, entry[0].index, entry[2], entry[0].alone)
        else:
            self._queue.appendleft(entry)
