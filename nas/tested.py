"""Trainings that end with the test split: what is journalled, tried again and gone on with, on any executor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from nas.errors import EvaluationError
from nas.evaluators.notes import news
from nas.run.journal import Event, Sink
from nas.run.loop import TICK, Executor, may_retry
from nas.types import Failure, Job, Metrics, Outcome


@dataclass(frozen=True)
class Step:
    """One training and its test.

    ``role`` and ``number`` (of its seed), with ``recipe`` where several are compared, are its own in the journal;
    ``name`` is for people. Steps of equal ``key``, number and recipe are trained once for all. ``reads``: it reads a
    test score. ``job.index`` is the step's place in the plan.
    """

    role: str
    number: int
    name: str
    key: str
    job: Job
    recipe: str | None = None
    reads: bool = True

    @property
    def label(self) -> dict[str, Any]:
        """What names it in the journal."""
        recipe = {} if self.recipe is None else {"recipe": self.recipe}
        return {"role": self.role, "number": self.number, **recipe}


class Record(Protocol):
    """The fold of a journal: ``finals`` are its events of that kind, in order."""

    finals: list[dict[str, Any]]

    def apply(self, event: Event) -> None:
        """Fold one event."""
        ...


class Tested:
    """The trainings of a plan on their way through the executor into the journal; ``run`` goes on from the record.

    Every read of the test split is journalled before it can happen. A training that fails has no score and keeps the
    plan from nothing; one that no other try could mend, such as a file that is missing, raises
    :class:`EvaluationError` when the others are recorded. ``keep(step, metrics)`` is called before a result is
    journalled, for weights and the like.
    """

    def __init__(
        self,
        plan: Sequence[Step],
        executor: Executor,
        journal: Sink,
        record: Record,
        keep: Callable[[Step, Metrics], None] = lambda step, metrics: None,
    ) -> None:
        self._plan, self._executor = plan, executor
        self._journal, self._record, self._keep = journal, record, keep
        self._running: dict[int, Job] = {}
        self._faults: dict[int, list[str]] = defaultdict(list)
        self._broken = ""

    def run(self, proceed: Callable[[], bool], observe: Callable[[int, int], None]) -> bool:
        """Return whether every final is recorded; ``proceed`` may say stop.

        ``observe`` is told how many of all are done after each and every second.
        """
        while True:
            self._copy_twins()
            left = self._left()
            observe(len(self._plan) - len(left), len(self._plan))
            if left and not self._broken and proceed():
                self._fill(left)
            if not self._running:
                break
            for outcome in self._executor.wait(TICK):
                self._take(outcome)
        if self._broken:
            raise EvaluationError(self._broken)
        return not left

    def _left(self) -> list[int]:
        done = {_place(final) for final in self._record.finals}
        return [i for i, step in enumerate(self._plan) if _place(step.label) not in done]

    def _copy_twins(self) -> None:
        """Give every step whose equal has been tested that one's score."""
        tested = {_twin(final["key"], final): final for final in reversed(self._record.finals)}
        for index in self._left():
            step = self._plan[index]
            twin = tested.get(_twin(step.key, step.label))
            if twin is not None:
                copied = {k: v for k, v in twin.items() if k not in ("seq", "crc", "notes")}
                self._append({**copied, **step.label, "name": step.name})

    def _fill(self, left: Sequence[int]) -> None:
        for index in left:
            # the first without a question: an executor may start for it, and read what its workers share
            if self._running and len(self._running) >= self._executor.capacity:
                return
            if not any(self._equal(index, other) for other in self._running):
                self._submit(index)

    def _equal(self, index: int, other: int) -> bool:
        first, second = self._plan[index], self._plan[other]
        return _twin(first.key, first.label) == _twin(second.key, second.label)

    def _submit(self, index: int) -> None:
        """Hand a step over; a try that failed may have read the test split, so each try is journalled."""
        step, before = self._plan[index], self._faults[index]
        job = replace(step.job, attempt=len(before), alone="oom" in before)
        if step.reads:
            self._append({"event": "test_read", **step.label})
        self._running[index] = job
        self._executor.submit(job)

    def _take(self, outcome: Outcome) -> None:
        """Record an outcome, unless the fault may be the worker's and another try is left: it then is to do again."""
        job = self._running.pop(outcome.index)
        step, result = self._plan[outcome.index], outcome.result
        if isinstance(result, Failure) and may_retry(outcome, self._faults[outcome.index]):
            self._faults[outcome.index].append(result.kind)
            return
        if isinstance(result, Failure) and result.kind == "error":
            self._broken = self._broken or f"the final score of {step.name}: {result.message}; mend that and resume"
            return
        event: dict[str, Any] = {"event": "final", "role": step.role, "name": step.name, "number": step.number}
        event |= {**step.label, "key": step.key, **_score(result), "params": job.params, "macs": job.macs}
        if isinstance(result, Metrics):
            notes = news(result.notes, _told(self._record, step.role))
            event |= {"notes": notes} if notes else {}
            self._keep(step, result)
        self._append(event)

    def _append(self, event: Event) -> None:
        self._journal.append([event])
        self._record.apply(event)


def _place(label: Mapping[str, Any]) -> tuple[Any, ...]:
    return label["role"], label["number"], label.get("recipe")


def _twin(key: str, label: Mapping[str, Any]) -> tuple[Any, ...]:
    return key, label["number"], label.get("recipe")


def _score(result: Metrics | Failure) -> dict[str, Any]:
    """Return the score, or why there is none: a final training that diverges must not keep a run from its report."""
    if isinstance(result, Failure):
        return {"score": None, "failure": result.message, "seconds": 0.0}
    return {"score": result.reward, "seconds": round(result.seconds, 3)}


def _told(record: Record, role: str) -> list[dict[str, Any]]:
    """Return the notes of earlier final trainings; what did not apply to other networks says nothing of this one."""
    earlier = [(f["role"] == role, f.get("notes", {})) for f in record.finals]
    return [{n: v for n, v in notes.items() if same or n != "not_applied"} for same, notes in earlier]
