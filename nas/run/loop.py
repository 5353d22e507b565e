"""The loop: history, ask, known? refuse? journal, execute, journal. It knows the rooms only as arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from nas.errors import Exhausted, StoppedSearch
from nas.run.journal import Event, Sink
from nas.run.ledger import Ledger
from nas.run.seeds import SEARCH, TRAIN, derive, stream
from nas.types import Architecture, Failure, Job, Outcome, Prepared, Searcher, Task, Trial, Value, WorkerState

BARREN = 1_000
"""After so many proposals in a row that cost no evaluation, the space counts as exhausted."""
ALIKE = 20
"""After so many evaluations in a row that failed one like the other, a search is given up."""
MOST_LOST = 20
"""A trial begins anew so often when the machine that it ran on goes away; after any other fault it does so once."""
TICK = 1.0
"""Seconds after which an onlooker is told that nothing has happened."""


class Executor(Protocol):
    """Runs jobs and reports what became of them; it never begins one anew by itself."""

    @property
    def capacity(self) -> int:
        """The number of jobs that it takes at a time; it may change while workers come and go."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job."""
        ...

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Block until a submitted job is finished or ``timeout`` seconds are over; return what is finished."""
        ...

    def recall(self) -> Sequence[int]:
        """Take back the jobs that have not begun; return their indices."""
        ...

    def workers(self) -> Sequence[WorkerState]:
        """Return the workers as they stand."""
        ...

    def close(self) -> None:
        """Release the workers and drop what they do; a later job starts them again."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the loop must know: budget and limits, seeds, and what jobs carry.

    After ``max_seconds`` of evaluation, a table's simulated seconds among them, nothing more is asked. Trainings leave
    their state in the folder ``checkpoints``, where there is one, so that longer ones can continue them.
    """

    task: Task
    trials: int
    epochs: int
    seed: int = 0
    max_params: int | None = None
    max_macs: int | None = None
    max_seconds: float | None = None
    checkpoints: Path | None = None
    job: dict[str, Value] = field(default_factory=dict)


class Loop:
    """One search. ``run`` goes on from wherever the ledger stands, so starting and resuming are one thing."""

    def __init__(
        self,
        searcher: Searcher,
        prepare: Callable[[Architecture], Prepared],
        executor: Executor,
        journal: Sink,
        ledger: Ledger,
        settings: Settings,
        observe: Callable[[Ledger], None] = lambda ledger: None,
    ) -> None:
        self._searcher, self._prepare, self._executor = searcher, prepare, executor
        self._journal, self._ledger, self._settings, self._observe = journal, ledger, settings, observe
        self._running: dict[int, Job] = {}
        self._stopping = False
        self._first = len(ledger.trials)

    def stop(self) -> None:
        """Ask for no more trials; those that run are finished and recorded."""
        self._stopping = True

    def run(self) -> str:
        """Search until the budget is spent; return why it ended: ``budget``, ``exhausted`` or ``interrupted``."""
        for trial in self._ledger.pending:
            if self._stopping:
                break
            self._begin(trial, self._prepare(trial.architecture))
            self._drain(self._executor.capacity)
        reason = ""
        while not (reason := reason or self._why_stop()):
            if self._ledger.ready() and len(self._running) < self._executor.capacity:
                try:
                    self._ask()
                except Exhausted:
                    reason = "exhausted"
            elif self._running:
                self._collect()
        if self._stopping:  # what has not begun stays pending
            for index in self._executor.recall():
                del self._running[index]
        self._drain(1)
        return reason

    def _why_stop(self) -> str:
        if self._stopping:
            return "interrupted"
        spent = self._settings.max_seconds is not None and self._ledger.seconds >= self._settings.max_seconds
        if spent or self._ledger.queries >= self._settings.trials:
            return "budget"
        return "exhausted" if self._ledger.barren >= BARREN else ""

    def _ask(self) -> None:
        index = len(self._ledger.trials)
        rng = stream(self._settings.seed, index, 0, SEARCH)
        proposal = self._searcher.ask(self._ledger.history(), rng)
        if proposal.epochs == 0:
            proposal = replace(proposal, epochs=self._settings.epochs)
        prepared = self._prepare(proposal.architecture)
        trial = Trial(index, proposal, prepared.key, params=prepared.params, macs=prepared.macs)
        self._journal.append([asked_event(trial)], sync=False)
        self._ledger.ask(trial)
        self._begin(trial, prepared)

    def _begin(self, trial: Trial, prepared: Prepared) -> None:
        """Reuse, refuse or evaluate a trial that is asked; also what a killed process had asked last."""
        index = trial.index
        known = self._ledger.known[trial.key, trial.proposal.epochs]
        refusal = self._refusal(prepared)
        if known != index:
            self._settle({"event": "reused", "index": index, "of": known})
        elif refusal:
            kind = "error" if prepared.problem else "over_limit"
            self._settle({"event": "refused", "index": index, "kind": kind, "message": refusal})
        else:
            self._submit(trial, prepared)

    def _settle(self, event: Event) -> None:
        self._journal.append([event], sync=False)
        self._ledger.apply(event)
        self._observe(self._ledger)

    def _refusal(self, prepared: Prepared) -> str:
        limits = (
            ("params", prepared.params, self._settings.max_params),
            ("macs", prepared.macs, self._settings.max_macs),
        )
        for name, value, most in limits:
            if most is not None and value is not None and value > most:
                return f"{name} {value:,} is over the limit of {most:,}"
        return prepared.problem

    def _submit(self, trial: Trial, prepared: Prepared) -> None:
        settings, before = self._settings, self._ledger.retried[trial.index]
        job = Job(
            index=trial.index,
            attempt=len(before),
            architecture=trial.architecture,
            key=trial.key,
            epochs=trial.proposal.epochs,
            seed=derive(settings.seed, trial.index, 0, TRAIN),
            task=settings.task,
            graph=prepared.graph,
            settings=dict(settings.job),
            params=trial.params,
            macs=trial.macs,
            checkpoint=self._checkpoint(trial.index),
            continue_from=self._checkpoint(self._origin(trial.proposal.continue_from)),
            alone="oom" in before,
        )
        self._running[trial.index] = job
        self._executor.submit(job)

    def _checkpoint(self, index: int | None) -> str | None:
        folder = self._settings.checkpoints
        return None if folder is None or index is None else str(folder / str(index))

    def _origin(self, index: int | None) -> int | None:
        """Return the trial that left the state of trial ``index``: itself, or the one whose result it reused.

        A twin of other decisions has its weights in other places and leaves nothing to continue.
        """
        if index is None or self._ledger.trials[index].of is None:
            return index
        of = self._ledger.trials[index].of
        twin = of is not None and self._ledger.trials[of].architecture != self._ledger.trials[index].architecture
        return None if twin else of

    def _drain(self, below: int) -> None:
        while len(self._running) >= below:
            self._collect()

    def _collect(self) -> None:
        outcomes = self._executor.wait(TICK)
        events = [self._event(outcome) for outcome in outcomes]
        if events:
            self._journal.append(events)
        else:
            self._observe(self._ledger)
        for event in events:
            self._ledger.apply(event)
            self._observe(self._ledger)
            job = self._running.pop(event["index"])
            if event["event"] == "retried" and not self._stopping:
                again = replace(job, attempt=job.attempt + 1, alone=job.alone or event["kind"] == "oom")
                self._running[job.index] = again
                self._executor.submit(again)
            elif event["event"] == "failed":
                self._check_alike()

    def _event(self, outcome: Outcome) -> Event:
        """Return what is journalled: a first fault that may be the worker's costs the trial nothing."""
        event = outcome_event(outcome)
        return {**event, "event": "retried"} if may_retry(outcome, self._ledger.retried[outcome.index]) else event

    def _check_alike(self) -> None:
        """Give up after :data:`ALIKE` equal failures in the order of trials, so that it is the same on any workers."""
        latest = self._ledger.last_evaluated(ALIKE, self._first)
        alike = {t.failure and (t.failure.kind, re.sub(r"\d+", "0", t.failure.message)) for t in latest}
        if len(latest) == ALIKE and len(alike) == 1 and latest[0].failure is not None:
            last = latest[0].failure
            raise StoppedSearch(
                f"the search stopped: {ALIKE} evaluations in a row failed alike, with {last.kind}: {last.message}; "
                "mend that and resume"
            )


def may_retry(outcome: Outcome, before: Sequence[str]) -> bool:
    """Return whether a job begins anew after the failures of kinds ``before`` and this outcome: see MOST_LOST."""
    if not outcome.retry or not isinstance(outcome.result, Failure):
        return False
    lost = outcome.result.kind == "lost"
    return sum((kind == "lost") == lost for kind in before) < (MOST_LOST if lost else 1)


def asked_event(trial: Trial) -> Event:
    """Return the journal's event for a proposed trial."""
    proposal = trial.proposal
    event = {
        "event": "asked",
        "index": trial.index,
        "key": trial.key,
        "epochs": proposal.epochs,
        "params": trial.params,
        "macs": trial.macs,
        "architecture": proposal.architecture.to_json(),
    }
    if proposal.info:
        event["info"] = dict(proposal.info)
    if proposal.continue_from is not None:
        event["continue_from"] = proposal.continue_from
    return event


def outcome_event(outcome: Outcome) -> Event:
    """Return the journal's event for a finished job."""
    result, wall = outcome.result, round(outcome.seconds, 6)
    if isinstance(result, Failure):
        failed = {"event": "failed", "index": outcome.index, "kind": result.kind, "message": result.message}
        return {**failed, "wall": wall}
    notes = {"notes": dict(result.notes)} if result.notes else {}
    return {
        "event": "done",
        "index": outcome.index,
        "reward": result.reward,
        "values": dict(result.values),
        "seconds": round(result.seconds, 6),
        "simulated": result.simulated,
        "wall": wall,
        **notes,
    }
