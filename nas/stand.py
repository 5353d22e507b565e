"""How a search stands, from its journals and, while it runs, from what it says of itself; nothing disturbs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.forecast import gpus_of
from nas.report.view import BASELINE
from nas.run.config import RunConfig, config_of, search_name
from nas.run.journal import Event, read
from nas.run.ledger import Ledger, fold
from nas.run.snapshot import ENDED, JOURNAL, LATEST, Snapshot, without, worker_hours
from nas.run.status import RunningTrial
from nas.types import WorkerState

COUNTED = ("done", "failed", "reused", "refused")


@dataclass(frozen=True)
class Stand(Snapshot):
    """A search as it is seen, with the events of its random search's journal."""

    random_events: Sequence[Event] = ()

    @cached_property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return config_of(self.events[0], self.folder.name)

    @cached_property
    def ledger(self) -> Ledger:
        """What the search knows."""
        return fold(self.events, self.config.lag or None)

    @cached_property
    def random(self) -> Ledger:
        """What the random search knows."""
        return fold(self.random_events, self.config.lag or None)

    @property
    def phase(self) -> str | None:
        """Where it is or was: ``search``, ``random`` or ``final``; None when all is done."""
        if self.state in ENDED:
            return None
        if self.said is not None:
            return self.said.phase
        if any(event["event"] in ("test_read", "final") for event in self.events):
            return "final"
        if not self.random_events:
            return "search"
        ended = self.random_events[-1].get("reason", "interrupted") != "interrupted"
        return "final" if ended and self.finals else "random"

    @property
    def finals(self) -> int:
        """The number of final trainings or look-ups that the run ends with."""
        config = self.config
        if config.evaluator not in ("train", "table"):
            return 0
        rows = 1 + (config.baseline == "random") + (config.evaluator == "train")
        return rows * (config.final_seeds if config.evaluator == "train" else min(1, config.final_seeds))

    @cached_property
    def phases(self) -> dict[str, tuple[int, int]]:
        """What is done of how much, by phase."""
        found = {"search": (_done(self.ledger), self.config.trials)}
        if self.config.baseline == "random":
            header = self.random_events[0]["config"] if self.random_events else {}
            found["random"] = (_done(self.random), header.get("trials", self.config.trials))
        if self.finals:
            found["final"] = (len(self.ledger.finals), self.finals)
        return found

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers, as the run told last; what has a result since then is no longer theirs."""
        if self.phase in ("search", "random"):
            return self.at_work(self.pending, self.pending)
        reads = self.phase == "final" and self.events[-1]["event"] == "test_read"
        return self.at_work(None, [len(self.ledger.finals)] if reads else [])

    @property
    def pending(self) -> list[int]:
        """The trials of the phase that were asked and have no result."""
        ledgers = {"search": self.ledger, "random": self.random}
        return [trial.index for trial in ledgers[self.phase].pending] if self.phase in ledgers else []

    @property
    def under_way(self) -> list[RunningTrial]:
        """What runs: by the workers if they are known, else what the journal holds as asked."""
        if not self.running:
            return []
        attempts = {} if self.said is None else {trial.index: trial.attempt for trial in self.said.trials}
        if self.workers:
            busy = [(w.trial, w) for w in self.workers if w.trial is not None]
            return [RunningTrial(trial, attempts.get(trial, 0), w.name, w.since) for trial, w in busy]
        return [RunningTrial(index, 0, "", self.written) for index in self.pending]

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON data: see :meth:`nas.run.snapshot.Snapshot.frame`."""
        best = self.ledger.best()
        return self.frame(
            "search",
            f"{search_name(self.config)} in {self.config.space}",
            phase=self.phase,
            phases={
                name: {"done": done, "total": total, "counts": self._counts(name)}
                for name, (done, total) in self.phases.items()
            },
            running=[
                {**without(asdict(trial), "since"), "seconds": round(self.now - trial.since, 3)}
                for trial in self.under_way
            ],
            failed=_kinds(self._all_events, "failed"),
            retried=_kinds(self._all_events, "retried"),
            best=None
            if best is None
            else {"index": best.index, "reward": best.reward, "params": best.params, "macs": best.macs},
            left=self._left(),
            cost=self._cost(),
            failures=self._failures(),
        )

    def _counts(self, phase: str) -> dict[str, int]:
        if phase == "final":
            return dict(Counter("failed" if final["score"] is None else "done" for final in self.ledger.finals))
        counts = (self.ledger if phase == "search" else self.random).counts
        return {name: counts[name] for name in COUNTED if name in counts}

    @property
    def _all_events(self) -> list[Event]:
        return [*self.events, *self.random_events]

    def _spent(self) -> float:
        walls: float = sum(event.get("wall", 0.0) for event in self._all_events)
        finals: float = sum(final["seconds"] for final in self.ledger.finals)
        return walls + finals + sum(max(0.0, self.now - trial.since) for trial in self.under_way)

    @cached_property
    def _to_come(self) -> dict[str, float] | None:
        """Worker-seconds to come by phase; None before anything is measured."""
        ended = [t for ledger in (self.ledger, self.random) for t in ledger.trials if t.status in ("done", "failed")]
        if self.state in ENDED:
            return {}
        if not ended:
            return None
        each, trained = sum(t.seconds for t in ended) / len(ended), sum(t.proposal.epochs for t in ended)
        final = each * len(ended) / max(1, trained) * self.config.final_epochs
        if self.config.evaluator != "train":
            final = 0.0
        elif self.ledger.finals:
            final = sum(f["seconds"] for f in self.ledger.finals) / len(self.ledger.finals)
        passed = list(self.phases)[: list(self.phases).index(self.phase or "search")]
        return {
            name: 0.0 if name in passed else max(0, total - done) * (final if name == "final" else each)
            for name, (done, total) in self.phases.items()
        }

    def _left(self) -> dict[str, float] | None:
        """Return the seconds that the phase and the run will go on."""
        to_come = self._to_come
        if not self.running or to_come is None or self.phase is None:
            return None
        workers = max(1, len(self.workers))
        phase = to_come.get(self.phase, 0.0) / workers
        if self.left is not None:
            phase = self.left
        others = sum(seconds for name, seconds in to_come.items() if name != self.phase) / workers
        return {"phase": round(phase, 3), "run": round(phase + others, 3)}

    def _cost(self) -> dict[str, Any]:
        """Return hours of workers, or of GPUs where they have any; simulated ones are what a table says."""
        gpus = gpus_of(self.config, self.workers, [event.get("notes", {}) for event in self._all_events])
        to_come = self._to_come
        cost = worker_hours(self._spent(), None if to_come is None else sum(to_come.values()), gpus)
        if self.config.evaluator == "table":
            cost["simulated"] = round((self.ledger.seconds + self.random.seconds) / 3600, 6)
        return cost

    def _failures(self) -> list[dict[str, Any]]:
        """Return the last failures, the newest last; ``retried`` are those that were begun anew."""
        found = [
            {"trial": e["index"], "kind": e["kind"], "message": e["message"], "retried": e["event"] == "retried"}
            for e in self._all_events
            if e["event"] in ("failed", "retried")
        ]
        return found[-LATEST:]


def look(folder: Path) -> Stand:
    """Return how the search in ``folder`` stands."""
    found, below = Stand.of(folder), folder / BASELINE / JOURNAL
    if not below.is_file():
        return found
    return replace(found, random_events=read(below), written=max(found.written, below.stat().st_mtime))


def _done(ledger: Ledger) -> int:
    return ledger.queries - len(ledger.pending)


def _kinds(events: Sequence[Event], name: str) -> dict[str, int]:
    return dict(Counter(event["kind"] for event in events if event["event"] == name).most_common())
