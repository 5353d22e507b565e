"""The loop: history, ask, known? refuse? journal, execute, journal. It knows the rooms only as arguments.

Its ledger is the fold of the journal: the trials, what is known, and the history that a searcher may see.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import overload

from nas.core.values import Json, Task, Value
from nas.engine.random_streams import SEARCH, TRAIN, derive, stream
from nas.errors import TOO_SLOW, Exhausted, JournalError, NeedsResults, StoppedSearch
from nas.runs.journal import (
    Event,
    Sink,
    asked_event,
    asked_trial,
    begun_event,
    check_fields,
    outcome_event,
    plain,
    refused_event,
    result_of,
    reused_event,
    wall_of,
)
from nas.types import Architecture, Candidate, Executor, Failure, History, Job, Metrics, Outcome, Searcher, Trial, chain

MAX_FREE_PROPOSALS = 1_000
"""After this many proposals in a row that cost no evaluation, the space counts as exhausted."""
MAX_TOO_SLOW = 30
"""After this many networks that were refused as too slow before any was trained, so does it."""
MAX_IDENTICAL_FAILURES = 20
"""After this many evaluations in a row that failed one like the other, a search is given up."""
MAX_NODE_LOSSES = 20
"""How often a trial begins again when the machine that it ran on goes away; after any other fault it does so once."""
MAX_DEATHS = 2
"""After this many processes have ended while they evaluated a trial themselves, it counts as what ended them."""
TICK = 1.0
"""Seconds after which an observer is told that nothing has happened."""


@dataclass(frozen=True)
class Settings:
    """What the loop must know."""

    task: Task
    """What the networks must do."""
    trials: int
    """Evaluations to spend."""
    epochs: int
    """Those of a trial whose proposal names none."""
    seed: int = 0
    """The seed of the search."""
    max_params: int | None = None
    """Most parameters; None: no limit."""
    max_macs: int | None = None
    """Most multiply-accumulates for one image; None: no limit."""
    max_seconds: float | None = None
    """Seconds of evaluation, a table's simulated ones among them; after them nothing more is asked."""
    checkpoints: Path | None = None
    """Folder where trainings leave their state, so that longer ones can continue them; None: nowhere."""
    job: dict[str, Value] = field(default_factory=dict)
    """Settings that every job carries."""
    in_process: bool = False
    """Whether trials run in the loop's own process, which then ends where a trial ends it."""


class Loop:
    """One search. ``run`` goes on from whatever the ledger holds, so starting and resuming are one thing."""

    def __init__(
        self,
        searcher: Searcher,
        prepare: Callable[[Architecture], Candidate],
        executor: Executor,
        journal: Sink,
        ledger: Ledger,
        settings: Settings,
        observe: Callable[[Ledger], None] = lambda ledger: None,
    ) -> None:
        self._searcher, self._prepare, self._executor = searcher, prepare, executor
        self._journal, self._ledger, self._settings, self._observe = journal, ledger, settings, observe
        self._running: dict[int, Job] = {}
        self._stopping, self._first = False, len(ledger.trials)

    def stop(self) -> None:
        """Ask for no more trials; those that run are finished and recorded."""
        self._stopping = True

    def run(self) -> str:
        """Search until the budget is spent; return why it ended: ``budget``, ``exhausted`` or ``interrupted``."""
        # first what a killed process had asked last
        for trial in self._ledger.pending:
            if self._stopping:
                break
            self._begin(trial, self._prepare(trial.architecture))
            self._drain(self._executor.capacity)
        reason = ""
        while True:
            while not (reason := reason or self._why_stop()):
                if self._ledger.ready() and len(self._running) < self._executor.capacity:
                    try:
                        self._ask()
                    except Exhausted:
                        reason = "exhausted"
                elif self._running:
                    self._collect()
            # what has not begun stays pending, for a later process
            if self._stopping:
                for index in self._executor.withdraw():
                    del self._running[index]
            self._drain(1)
            # those among the last that were too slow were no queries
            if reason != "budget" or self._spent:
                return reason
            reason = ""

    @property
    def _spent(self) -> bool:
        most, ledger = self._settings.max_seconds, self._ledger
        return ledger.queries >= self._settings.trials or (most is not None and ledger.seconds >= most)

    def _why_stop(self) -> str:
        if self._stopping:
            return "interrupted"
        return "budget" if self._spent else "exhausted" if self._ledger.barren >= MAX_FREE_PROPOSALS else ""

    def _ask(self) -> None:
        index = len(self._ledger.trials)
        try:
            proposal = self._searcher.ask(self._ledger.history(), stream(self._settings.seed, index, 0, SEARCH))
        except NeedsResults:
            self._drain(1)  # all that was asked before, whatever the lag: the same on any number of workers
            if self._stopping:
                return
            complete = self._ledger.history(complete=True)
            proposal = self._searcher.ask(complete, stream(self._settings.seed, index, 0, SEARCH))
        # as a later process reads it, and out of reach of what the searcher still has
        epochs, info = proposal.epochs or self._settings.epochs, plain(proposal.info, "a proposal's info")
        proposal = replace(proposal, epochs=epochs, info=info)
        found = self._prepare(proposal.architecture)
        trial = Trial.asked(index, proposal, found)
        # the ledger first: what it does not take must not be written down, for no later process could read it
        self._ledger.ask(trial)
        self._journal.append([asked_event(trial)], sync=False)
        self._begin(trial, found)

    def _begin(self, trial: Trial, prepared: Candidate) -> None:
        """Reuse, refuse or evaluate a trial that is asked; also what a killed process had asked last."""
        settings, index = self._settings, trial.index
        known = self._ledger.known[trial.key, trial.proposal.epochs]
        limits = (("params", prepared.params, settings.max_params), ("macs", prepared.macs, settings.max_macs))
        refusal = prepared.problem
        for name, value, most in limits:
            if most is not None and value is not None and value > most:
                refusal = f"{name} {value:,} is over the limit of {most:,}"
                break
        if known == index and not refusal:
            self._submit(trial, prepared)
            return
        kind = "error" if prepared.problem else "over_limit"
        event = reused_event(index, known) if known != index else refused_event(index, Failure(kind, refusal))
        self._ledger.apply(event)
        self._journal.append([event], sync=False)
        self._observe(self._ledger)

    def _submit(self, trial: Trial, prepared: Candidate) -> None:
        settings, trials, before = self._settings, self._ledger.trials, self._ledger.retried[trial.index]
        if settings.in_process and trial.index < self._first:
            # earlier processes may have died of it
            deaths, event = self._ledger.deaths[trial.index], None
            if deaths >= MAX_DEATHS:
                why = f"{deaths} processes ended while they evaluated this trial; --executor ray gives trials their own"
                event = outcome_event(Outcome(trial.index, Failure("crashed", why), 0.0))
            elif self._ledger.under_way != trial.index:
                event = begun_event(trial.index)
            if event is not None:
                self._ledger.apply(event)
                self._journal.append([event])
            if deaths >= MAX_DEATHS:
                self._observe(self._ledger)
                return
        # the state to continue was left by that trial, or by the one whose result it reused; a twin of other decisions
        # has its weights in other places and leaves nothing to continue
        origin = trial.proposal.continue_from
        if origin is not None and (of := trials[origin].of) is not None:
            origin = of if trials[of].architecture == trials[origin].architecture else None
        folder = settings.checkpoints
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
            checkpoint=None if folder is None else str(folder / str(trial.index)),
            continue_from=None if folder is None or origin is None else str(folder / str(origin)),
            alone="oom" in before,
        )
        self._running[trial.index] = job
        self._executor.submit(job)

    def _drain(self, below: int) -> None:
        while len(self._running) >= below:
            self._collect()

    def _collect(self) -> None:
        outcomes = self._executor.wait(TICK)
        # an outcome is durable before anything is done with it; a first fault may be the worker's and costs no trial
        events = [outcome_event(o, may_retry(o, self._ledger.retried[o.index])) for o in outcomes]
        if events:
            self._ledger.check_results(events)
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

    def _check_alike(self) -> None:
        """Give up after :data:`MAX_IDENTICAL_FAILURES` equal failures.

        They are counted in the order of trials, so that the end does not depend on the number of workers.
        """
        latest = self._ledger.last_evaluated(MAX_IDENTICAL_FAILURES, self._first)
        alike = {t.failure and (t.failure.kind, re.sub(r"\d+", "0", t.failure.message)) for t in latest}
        if len(latest) == MAX_IDENTICAL_FAILURES and len(alike) == 1 and latest[0].failure is not None:
            last = latest[0].failure
            raise StoppedSearch(
                f"the search stopped: {MAX_IDENTICAL_FAILURES} evaluations in a row failed alike, "
                f"with {last.kind}: {last.message}; fix that and resume"
            )


def may_retry(outcome: Outcome, before: Sequence[str]) -> bool:
    """Return whether a job begins again after failures of the kinds ``before`` and this outcome.

    Machines that went away are counted apart: see :data:`MAX_NODE_LOSSES`.
    """
    if not outcome.retry or not isinstance(outcome.result, Failure):
        return False
    lost = outcome.result.kind == "lost"
    return sum((kind == "lost") == lost for kind in before) < (MAX_NODE_LOSSES if lost else 1)


class Results(Sequence[Trial]):
    """The ledger's list as a searcher may have it: to read."""

    def __init__(self, trials: list[Trial]) -> None:
        self._trials = trials

    @overload
    def __getitem__(self, place: int) -> Trial: ...

    @overload
    def __getitem__(self, place: slice) -> list[Trial]: ...

    def __getitem__(self, place: int | slice) -> Trial | list[Trial]:
        return self._trials[place]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)


class Ledger:
    """Everything a run knows, from its events in order.

    Attributes:
        lag: see below.
        trials: all trials by their index.
        finals: events of final trainings, in order.
        reads: how often the test split was read, by role.
        latencies: events of measured latencies of the final comparison, by role.
        known: the first trial of each canonical key and number of epochs.
        retried: by trial, the kinds of failure that ended its earlier attempts.
        in_process: whether trials are evaluated by the process that writes the events.
        under_way: the trial that this process then evaluates, or evaluated when it ended without a word.
        deaths: by pending trial, how many processes ended so.
        queries: evaluations asked for: all trials but reused and refused ones.
        seconds: what they took, simulated where a table says so, and what it took to see that others are too slow.

    With ``lag`` K, the history for proposal i holds the results of trials 0 ... i - K in the order of their index and
    shows the rest as pending, whenever they really finished: the search is then the same on any number of workers.
    Without (``lag`` None), results show in the order they arrived.
    """

    def __init__(self, lag: int | None = 1) -> None:
        self.lag = lag
        self.trials: list[Trial] = []
        self.finals: list[Json] = []
        self.reads: Counter[str] = Counter()
        self.latencies: dict[str, Json] = {}
        self.known: dict[tuple[str, int], int] = {}
        self.retried: dict[int, list[str]] = defaultdict(list)
        self.in_process = True
        self.under_way: int | None = None
        self.deaths: Counter[int] = Counter()
        self._visible: list[Trial] = []
        self._digests: list[int] = []
        self._waiting: dict[int, list[int]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._best: Trial | None = None
        self._finished_upto = 0
        self.queries, self.seconds, self._too_slow = 0, 0.0, 0

    @property
    def barren(self) -> int:
        """How many of the last proposals in a row, or of the last results, cost no evaluation; of slow ones, enough."""
        free = takewhile(lambda trial: trial.status in ("refused", "reused", "waiting"), reversed(self.trials))
        if self._too_slow >= MAX_TOO_SLOW and not self._counts["done"]:
            return MAX_FREE_PROPOSALS
        return max(self._too_slow, sum(1 for _ in free))

    @property
    def test_reads(self) -> int:
        """How often a test score was read."""
        return self.reads.total()

    @property
    def pending(self) -> list[Trial]:
        """The trials that were asked and have neither a result nor another trial's to wait for."""
        return [t for t in self.trials[self._finished_upto :] if t.status == "pending"]

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials by status."""
        waiting = len(self.trials) - self._counts.total()
        return {**self._counts, **({"pending": waiting} if waiting else {})}

    def best(self) -> Trial | None:
        """Return the trial with the highest reward among those of most epochs; of equals the earliest."""
        return self._best

    def last_evaluated(self, count: int, first: int) -> list[Trial]:
        """Return the last ``count`` evaluated trials before the first that is pending, from trial ``first`` on."""
        latest = (self.trials[index] for index in range(self._finished_upto - 1, first - 1, -1))
        return list(islice((t for t in latest if t.status in ("done", "failed")), count))

    def ready(self) -> bool:
        """Return whether every result that the next proposal must see is there."""
        return self.lag is None or self._finished_upto >= len(self.trials) - self.lag + 1

    def history(self, complete: bool = False) -> History:
        """Return what the searcher may see for the next proposal; ``complete``: everything, whatever the lag."""
        # as they arrived
        if self.lag is None:
            open_ = [t for t in self.trials[self._finished_upto :] if not _finished(t)]
            return History(Results(self._visible), open_, self._digests)
        if complete:
            return History(list(self.trials))
        # those before the horizon, whatever else has finished
        horizon = max(0, len(self.trials) - self.lag + 1)
        self._show(self.trials[len(self._visible) : horizon])
        rest = self.trials[horizon:]
        hidden = [Trial(t.index, t.proposal, t.key, params=t.params, macs=t.macs, width=t.width) for t in rest]
        return History(Results(self._visible), hidden, self._digests)

    def _show(self, trials: Sequence[Trial]) -> None:
        self._visible.extend(trials)
        chain(self._digests, trials)

    def ask(self, trial: Trial) -> None:
        """Add a pending trial; the loop calls this with the objects at hand, replay through the event."""
        # indices are places in the list; a gap would shift every later result
        if trial.index != len(self.trials):
            raise JournalError(f"journal: trial {trial.index} was asked where trial {len(self.trials)} was due")
        origin = trial.proposal.continue_from
        if origin is not None and origin not in range(trial.index):
            raise JournalError(f"journal: trial {trial.index} continues trial {origin!r}, which is none before it")
        self.trials.append(trial)
        self.known.setdefault((trial.key, trial.proposal.epochs), trial.index)
        self.queries += 1

    def apply(self, event: Event) -> None:
        """Fold one event."""
        name = event["event"]
        if name in ("done", "failed", "retried", "refused"):
            table = name == "done" and event["simulated"]
            self.seconds += float(event["seconds"]) if table else wall_of(event)
        if name in ("refused", "reused"):
            self.under_way = None
            self.queries -= 1  # that of the asked trial
        for place in ("index", "of"):
            if name in ("retried", "refused", "reused") and not 0 <= event.get(place, 0) < len(self.trials):
                raise JournalError(f"journal: event '{name}' is of trial {event[place]}, which was not asked")
        match name:
            case "asked":
                self.ask(asked_trial(event))
                self.under_way = event["index"] if self.in_process else None
            case "begun":
                self.under_way = event["index"]
            case "done" | "failed":
                self._too_slow = 0
                self._finish(event)
            case "retried":
                self.retried[event["index"]].append(event["kind"])
            case "refused":
                trial = self.trials[event["index"]]
                self._too_slow += event["kind"] == TOO_SLOW
                if event["kind"] != TOO_SLOW:  # its twin of the same key may be smaller as built
                    self.known.pop((trial.key, trial.proposal.epochs), None)
                self._finish(event)
            case "reused":
                index, source = event["index"], self.trials[event["of"]]
                if _finished(source):
                    self._copy(index, source)
                else:
                    self.trials[index] = replace(self.trials[index], of=source.index, status="waiting")
                    self._waiting[source.index].append(index)
            case "final":
                self.finals.append(dict(event))
            case "latency":
                self.latencies[event["role"]] = dict(event)
            case "test_read":
                self.reads[event["role"]] += 1
            case "stopped" if "trial" in event:  # the next process begins with that trial
                self.deaths[event["trial"]] += 1
            case "stopped":
                self.under_way = None
            case "run" | "moved":
                self.in_process = event.get("config", event).get("executor") != "ray"
            case "budget" | "inputs":  # what they say is read in nas.engine.config and nas.runs.inputs
                pass
            case _:
                raise JournalError(f"journal: unknown event '{name}'; it was written by a newer version")

    def check_results(self, events: Sequence[Event]) -> None:
        """Raise :class:`JournalError` unless each of ``events`` is the one result of a pending trial."""
        counts = Counter(event["index"] for event in events)
        for index, count in counts.items():
            if index not in range(len(self.trials)) or self.trials[index].status != "pending" or count > 1:
                raise JournalError(f"journal: a result for trial {index}, which is not pending")

    def _finish(self, event: Event) -> None:
        self.check_results([event])
        index, result = event["index"], result_of(event)
        # a trial has metrics or a failure, never both
        metrics, failure = (result, None) if isinstance(result, Metrics) else (None, result)
        before = self.trials[index]
        trial = replace(before, seconds=wall_of(event), status=event["event"], metrics=metrics, failure=failure)
        self._set(trial)
        if trial.status == "done" and (self._best is None or _rank(trial) > _rank(self._best)):
            self._best = trial
        # twins that were asked meanwhile have the same result
        for waiter in self._waiting.pop(index, ()):
            self._copy(waiter, trial)

    def _copy(self, index: int, source: Trial) -> None:
        own, metrics, failure = self.trials[index], source.metrics, source.failure
        self._set(replace(own, status="reused", of=source.index, metrics=metrics, failure=failure))

    def _set(self, trial: Trial) -> None:
        self.trials[trial.index] = trial
        self.deaths.pop(trial.index, None)
        if self.under_way == trial.index:
            self.under_way = None
        self._counts[trial.status] += 1
        while self._finished_upto < len(self.trials) and _finished(self.trials[self._finished_upto]):
            self._finished_upto += 1
        if self.lag is None:
            self._show([trial])


def _finished(trial: Trial) -> bool:
    return trial.status not in ("pending", "waiting")


def _rank(trial: Trial) -> tuple[int, float, int]:
    return trial.proposal.epochs, trial.reward or 0.0, -trial.index


def fold(events: Iterable[Event], lag: int | None) -> Ledger:
    """Return the ledger of ``events``."""
    ledger = Ledger(lag)
    for event in events:
        check_fields(event, *(("name", "key", "seconds") if event.get("event") == "final" else ()))
        ledger.apply(event)
    return ledger
