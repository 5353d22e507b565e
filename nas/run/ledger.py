"""The ledger: the fold of the journal. Trials, what is known, and the history that a searcher may see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nas.errors import JournalError
from nas.run.journal import Event
from nas.types import Architecture, Failure, History, Metrics, Proposal, Trial, chain


class Ledger:
    """Everything a run knows, from its events in order.

    ``queries`` counts the evaluations asked for: all trials but reused and refused ones; ``seconds`` is what they took,
    simulated where a table says so. ``reads`` counts reads of the test split by role. ``barren`` is how many of the
    last proposals in a row cost none. ``retried`` holds by trial why its earlier attempts came to nothing.

    With ``lag`` K, the history for proposal i holds the results of trials 0 ... i - K in the order of their index and
    shows the rest as pending, whenever they really finished: the search is then the same on any number of workers.
    Without (``lag`` None), results show in the order they arrived.
    """

    def __init__(self, lag: int | None = 1) -> None:
        self.lag = lag
        self.trials: list[Trial] = []
        self.finals: list[dict[str, Any]] = []
        self.reads: Counter[str] = Counter()
        self.known: dict[tuple[str, int], int] = {}
        self.retried: dict[int, list[str]] = defaultdict(list)
        self._visible: list[Trial] = []
        self._digests: list[int] = []
        self._waiting: dict[int, list[int]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._finished_upto = 0
        self.queries = 0
        self.seconds = 0.0
        self.barren = 0
        self._barren_before = 0

    def apply(self, event: Event) -> None:
        """Fold one event."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is None:
            raise JournalError(f"journal: unknown event '{event['event']}'; it was written by a newer version")
        handler(event)

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
        finished = dict(self._counts)
        waiting = len(self.trials) - sum(finished.values())
        return {**finished, **({"pending": waiting} if waiting else {})}

    def last_evaluated(self, count: int, first: int) -> list[Trial]:
        """Return the last ``count`` evaluated trials before the first that is pending, from trial ``first`` on."""
        found: list[Trial] = []
        for index in range(self._finished_upto - 1, first - 1, -1):
            if self.trials[index].status in ("done", "failed"):
                found.append(self.trials[index])
            if len(found) == count:
                break
        return found

    def ready(self) -> bool:
        """Return whether every result that the next proposal must see is there."""
        return self.lag is None or self._finished_upto >= len(self.trials) - self.lag + 1

    def history(self) -> History:
        """Return what the searcher may see for the next proposal."""
        if self.lag is None:
            hidden = [t for t in self.trials[self._finished_upto :] if not _finished(t)]
            return History(self._visible, hidden, self._digests)
        horizon = max(0, len(self.trials) - self.lag + 1)
        self._show(self.trials[len(self._visible) : horizon])
        return History(self._visible, [_hidden(t) for t in self.trials[horizon:]], self._digests)

    def best(self) -> Trial | None:
        """Return the trial with the highest reward among those of most epochs; of equals the earliest."""
        scored = [t for t in self.trials if t.reward is not None and t.status != "reused"]
        return max(scored, key=lambda t: (t.proposal.epochs, t.reward, -t.index)) if scored else None

    def _show(self, trials: Sequence[Trial]) -> None:
        self._visible.extend(trials)
        chain(self._digests, trials)

    def _on_run(self, event: Event) -> None:
        pass

    def _on_asked(self, event: Event) -> None:
        proposal = Proposal(
            Architecture.from_json(event["architecture"]),
            event["epochs"],
            event.get("info", {}),
            event.get("continue_from"),
        )
        trial = Trial(event["index"], proposal, event["key"], params=event.get("params"), macs=event.get("macs"))
        self.ask(trial)

    def ask(self, trial: Trial) -> None:
        """Add a pending trial; the loop calls this with the objects at hand, replay through the event."""
        if trial.index != len(self.trials):
            raise JournalError(f"journal: trial {trial.index} was asked where trial {len(self.trials)} was due")
        self.trials.append(trial)
        self.known.setdefault((trial.key, trial.proposal.epochs), trial.index)
        self.queries += 1
        self._barren_before, self.barren = self.barren, 0

    def _on_done(self, event: Event) -> None:
        metrics = Metrics(event["reward"], event["values"], event["seconds"], event["simulated"])
        self.seconds += metrics.seconds if metrics.simulated else event.get("wall", 0.0)
        self._finish(event, status="done", metrics=metrics)

    def _on_failed(self, event: Event) -> None:
        self.seconds += event.get("wall", 0.0)
        self._finish(event, status="failed", failure=Failure(event["kind"], event["message"]))

    def _on_retried(self, event: Event) -> None:
        self.seconds += event.get("wall", 0.0)
        self.retried[event["index"]].append(event["kind"])

    def _on_refused(self, event: Event) -> None:
        self._no_query()
        trial = self.trials[event["index"]]
        del self.known[trial.key, trial.proposal.epochs]  # its twin of the same key may be smaller as built
        self._finish(event, status="refused", failure=Failure(event["kind"], event["message"]))

    def _on_reused(self, event: Event) -> None:
        index, of = event["index"], event["of"]
        source = self.trials[of]
        self._no_query()
        if _finished(source):
            self._copy(index, source)
        else:
            self.trials[index] = replace(self.trials[index], of=of, status="waiting")
            self._waiting[of].append(index)

    def _on_final(self, event: Event) -> None:
        self.finals.append(dict(event))

    def _on_test_read(self, event: Event) -> None:
        self.reads[event["role"]] += 1

    def _on_stopped(self, event: Event) -> None:
        pass

    def _no_query(self) -> None:
        """Take back the query of the trial just asked: reused and refused events follow theirs at once."""
        self.queries -= 1
        self.barren = self._barren_before + 1

    def _finish(self, event: Event, **changes: Any) -> None:
        index = event["index"]
        if not 0 <= index < len(self.trials) or self.trials[index].status != "pending":
            raise JournalError(f"journal: a result for trial {index}, which is not pending")
        trial = self._set(index, replace(self.trials[index], seconds=event.get("wall", 0.0), **changes))
        for waiter in self._waiting.pop(index, ()):
            self._copy(waiter, trial)

    def _copy(self, index: int, source: Trial) -> None:
        trial = replace(self.trials[index], status="reused", of=source.index, metrics=source.metrics)
        self._set(index, replace(trial, failure=source.failure))

    def _set(self, index: int, trial: Trial) -> Trial:
        self.trials[index] = trial
        self._counts[trial.status] += 1
        while self._finished_upto < len(self.trials) and _finished(self.trials[self._finished_upto]):
            self._finished_upto += 1
        if self.lag is None:
            self._show([trial])
        return trial


def _finished(trial: Trial) -> bool:
    return trial.status not in ("pending", "waiting")


def _hidden(trial: Trial) -> Trial:
    return Trial(trial.index, trial.proposal, trial.key, params=trial.params, macs=trial.macs)


def fold(events: Sequence[Event], lag: int | None) -> Ledger:
    """Return the ledger of ``events``."""
    ledger = Ledger(lag)
    for event in events:
        ledger.apply(event)
    return ledger
