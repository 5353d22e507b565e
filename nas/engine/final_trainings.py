"""Trainings that end with the test split: what is journalled, retried and resumed, on any executor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from nas.core.values import Json
from nas.engine.loop import TICK, may_retry
from nas.errors import EvaluationError
from nas.evaluators.train import new_notes
from nas.runs.journal import Event, Sink, final_event, test_read_event
from nas.types import Executor, Failure, Job, Metrics, Outcome


@dataclass(frozen=True)
class FinalTraining:
    """One training and its test; those of equal ``key``, ``number`` and ``recipe`` are trained once for all."""

    role: str
    """What is trained; with number and recipe its own in the journal."""
    number: int
    """The number of its seed."""
    name: str
    """For people."""
    key: str
    """Equal for networks that are the same."""
    job: Job
    """The training; its index is the place in the plan."""
    recipe: str | None = None
    """The name of the recipe, where several are compared."""
    reads: bool = True
    """Whether it reads a test score."""

    @property
    def label(self) -> dict[str, str | int]:
        """What names it in the journal."""
        recipe = {} if self.recipe is None else {"recipe": self.recipe}
        return {"role": self.role, "number": self.number, **recipe}


class Record(Protocol):
    """The fold of a journal: ``finals`` are its events of that kind, in order."""

    finals: list[Json]

    def apply(self, event: Event) -> None:
        """Fold one event."""


class FinalTrainingRunner:
    """The trainings of a plan on their way through the executor into the journal; ``run`` goes on from the record.

    Every read of the test split is journalled before it can happen. A training that fails has no score and keeps the
    plan from nothing; one that no other try can fix, such as a file that is missing, raises
    :class:`EvaluationError` when the others are recorded. ``keep(step, metrics)`` is called before a result is
    journalled, for weights and the like.
    """

    def __init__(
        self,
        plan: Sequence[FinalTraining],
        executor: Executor,
        journal: Sink,
        record: Record,
        keep: Callable[[FinalTraining, Metrics], None] = lambda step, metrics: None,
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
        """Return the places of the steps that have no score; one whose equal has a score gets that one's."""
        done = {_name_of(final) for final in self._record.finals}
        scored = {_twin(final["key"], final): final for final in reversed(self._record.finals)}
        left = []
        for index, step in enumerate(self._plan):
            if _name_of(step.label) in done:
                continue
            twin = scored.get(_twin(step.key, step.label))
            if twin is None:
                left.append(index)
            else:
                copied = {k: v for k, v in twin.items() if k not in ("seq", "crc", "notes")}
                self._append({**copied, **step.label, "name": step.name})
        return left

    def _fill(self, left: Sequence[int]) -> None:
        """Hand steps over, but none whose equal runs."""
        running = {_twin(self._plan[index].key, self._plan[index].label) for index in self._running}
        for index in left:
            step, before = self._plan[index], self._faults[index]
            # the first without a question: an executor may start for it, and read what its workers share
            if self._running and len(self._running) >= self._executor.capacity:
                return
            if (twin := _twin(step.key, step.label)) in running:
                continue
            # a try that failed may have read the test split, so each try is journalled
            if step.reads:
                self._append(test_read_event(step.label))
            job = replace(step.job, attempt=len(before), alone="oom" in before)
            self._running[index] = job
            running.add(twin)
            self._executor.submit(job)

    def _take(self, outcome: Outcome) -> None:
        """Record an outcome, unless the training is tried again."""
        job = self._running.pop(outcome.index)
        # the worker may be at fault: the training stays to be done
        step, result = self._plan[outcome.index], outcome.result
        if isinstance(result, Failure) and may_retry(outcome, self._faults[outcome.index]):
            self._faults[outcome.index].append(result.kind)
            return
        # something is missing or wrong: the trainings that run are recorded, and then the run ends with the message
        if isinstance(result, Failure) and result.kind == "error":
            self._broken = self._broken or f"the final score of {step.name}: {result.message}; fix that and resume"
            return
        # what earlier trainings have told is no news, but for what did not apply to other networks
        notes: Event = {}
        if isinstance(result, Metrics):
            earlier = [(f["role"] == step.role, f.get("notes", {})) for f in self._record.finals]
            told = [{n: v for n, v in noted.items() if own or n != "not_applied"} for own, noted in earlier]
            notes = new_notes({n: v for n, v in result.notes.items() if n != "per_class"}, told)
            self._keep(step, result)
        self._append(final_event(step.label, step.name, step.key, job, result, notes))

    def _append(self, event: Event) -> None:
        self._record.apply(event)
        self._journal.append([event])


def _name_of(label: Event) -> tuple[object, ...]:
    """Return what is one training's own in the journal."""
    return label["role"], label["number"], label.get("recipe")


def _twin(key: str, label: Event) -> tuple[object, ...]:
    """Return what is equal for trainings that come to the same."""
    return key, label["number"], label.get("recipe")
