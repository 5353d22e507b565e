"""The status of a search, from its journals and, while it runs, from its ``status.json``; nothing disturbs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from nas.core.values import Json
from nas.engine.config import RunConfig, config_of, search_name
from nas.engine.forecast import gpus_of
from nas.engine.loop import Ledger, fold
from nas.engine.rivals import families_of, final_rows
from nas.runs.journal import Event, read
from nas.runs.progress import RunningTrial
from nas.runs.run_folder import BASELINE, JOURNAL, RIVALS, SEARCH
from nas.runs.snapshot import ENDED, LATEST, Snapshot, without, worker_hours
from nas.schedulers.finalists import finalist_of, trained_finalists
from nas.types import WorkerState

COUNTED = ("done", "failed", "reused", "refused")


@dataclass(frozen=True)
class SearchStatus(Snapshot):
    """A search at one moment."""

    events_below: Mapping[str, Sequence[Event]] = field(default_factory=dict)
    """The events of the journals of the searches below it, by their phase; those that have begun."""

    @cached_property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return config_of(self.events[0], self.folder.name, self.events)

    @cached_property
    def ledger(self) -> Ledger:
        """What the search knows."""
        return fold(self.events, self.config.lag or None)

    @cached_property
    def ledgers(self) -> dict[str, Ledger]:
        """What each search knows, by its phase."""
        below = {name: fold(events, self.config.lag or None) for name, events in self.events_below.items()}
        return {SEARCH: self.ledger, **below}

    @property
    def state(self) -> str:
        """As of any run; that of an earlier version's ``nas.search``, which does not say it, by what is left open."""
        found = super().state
        return "finished" if found == "killed" and "study" in self.events[0] and not self.ledger.pending else found

    @property
    def phase(self) -> str | None:
        """Where it is or was, one of :attr:`phases`; None when all is done."""
        if self.state in ENDED:
            return None
        if self.last_status is not None:
            return self.last_status.phase
        if any(event["event"] in ("test_read", "final") for event in self.events):
            return "final"
        if not self.events_below:
            last = self.ledger.trials[-1:]
            return "finalists" if last and finalist_of(last[0]) is not None else SEARCH
        # between the end of the last search below and the first final training nothing tells the two apart but this
        name, events = list(self.events_below.items())[-1]
        wanted = [phase for phase in self.phases if phase in (BASELINE, RIVALS)]
        over = events[-1].get("reason") in ENDED and name in (wanted or [name])[-1:]
        return "final" if over and self.finals else name

    @property
    def finals(self) -> int:
        """The number of final trainings or look-ups that the run ends with."""
        config = self.config
        rows = final_rows(config, self.ledger, self.ledgers.get(RIVALS))
        return rows * (config.comparison.seeds if config.evaluator == "train" else min(1, config.comparison.seeds))

    @cached_property
    def phases(self) -> dict[str, tuple[int, int]]:
        """What is done of how much, by phase."""
        config, done = self.config, self.ledger.queries - len(self.ledger.pending)
        found = {SEARCH: (done, config.trials)}
        if second := config.finalists.count:
            trained = len(trained_finalists(self.ledger.trials))
            second = max(second, trained)  # a larger budget has finalists of its own
            found = {SEARCH: (done - trained, config.trials - second), "finalists": (trained, second)}
        wanted = {BASELINE: config.comparison.baseline == "random", RIVALS: bool(families_of(config))}
        for name in (name for name, asked in wanted.items() if asked):
            below = self.ledgers.get(name, Ledger())
            header = self.events_below[name][0]["config"] if name in self.events_below else {}
            found[name] = (below.queries - len(below.pending), header.get("trials", config.trials))
        if self.finals:
            found["final"] = (len(self.ledger.finals), self.finals)
        return found

    @cached_property
    def workers(self) -> tuple[WorkerState, ...]:
        """The workers in the latest status; what has a result since then is no longer theirs."""
        if self.phase is not None and self.phase != "final":
            return self.at_work(self.pending, self.pending)
        reads = self.phase == "final" and self.events[-1]["event"] == "test_read"
        return self.at_work(None, [len(self.ledger.finals)] if reads else [])

    @property
    def pending(self) -> list[int]:
        """The trials of the phase that were asked and have no result."""
        ledger = self.ledgers.get(SEARCH if self.phase == "finalists" else self.phase or "")
        return [] if ledger is None else [trial.index for trial in ledger.pending]

    @property
    def under_way(self) -> list[RunningTrial]:
        """What runs: by the workers if they are known, else what the journal holds as asked."""
        if not self.running:
            return []
        status = self.last_status
        attempts = {} if status is None else {trial.index: trial.attempt for trial in status.trials}
        if self.workers:
            busy = [(w.trial, w) for w in self.workers if w.trial is not None]
            return [RunningTrial(trial, attempts.get(trial, 0), w.name, w.since) for trial, w in busy]
        return [RunningTrial(index, 0, "", self.written) for index in self.pending]

    def facts(self) -> Json:
        """Return everything as JSON data: see :meth:`nas.runs.snapshot.Snapshot.frame`."""
        events = [*self.events, *(event for below in self.events_below.values() for event in below)]
        to_come, under_way, best = self._to_come(), self.under_way, self.ledger.best()
        phases: Json = {}
        for name, (done, total) in self.phases.items():
            second = name == "finalists"
            trials = self.ledgers[name].trials if name in self.ledgers else self.ledger.trials if second else []
            split = name == SEARCH or second  # those of the searches below are told with their trials
            own = Counter(t.status for t in trials if not split or (finalist_of(t) is not None) == second)
            counts = {status: own[status] for status in COUNTED if status in own}
            if name == "final":
                scores = (final["score"] for final in self.ledger.finals)
                counts = dict(Counter("failed" if score is None else "done" for score in scores))
            phases[name] = {"done": done, "total": total, "counts": counts}

        # worker-seconds that are spent; of a table there are simulated ones besides
        walls: float = sum(event.get("wall", 0.0) for event in events)
        finals: float = sum(final["seconds"] for final in self.ledger.finals)
        spent = walls + finals + sum(max(0.0, self.now - trial.since) for trial in under_way)
        # notes of another evaluator are the user's
        notes = [event.get("notes", {}) for event in events] if self.config.evaluator == "train" else []
        gpus = gpus_of(self.config.executor, self.workers, notes)
        cost = worker_hours(spent, None if to_come is None else sum(to_come.values()), gpus)
        if self.config.evaluator == "table":
            cost["simulated"] = round(sum(ledger.seconds for ledger in self.ledgers.values()) / 3600, 6)

        # seconds that the phase and the run will go on
        left = None
        if self.running and to_come is not None and self.phase is not None:
            workers = max(1, len(self.workers))
            phase = to_come.get(self.phase, 0.0) / workers if self.left is None else self.left
            others = sum(seconds for name, seconds in to_come.items() if name != self.phase) / workers
            left = {"phase": round(phase, 3), "run": round(phase + others, 3)}
        failures = [
            {"trial": e["index"], "kind": e["kind"], "message": e["message"], "retried": e["event"] == "retried"}
            for e in events
            if e["event"] in ("failed", "retried")
        ]
        return self.frame(
            SEARCH,
            f"{search_name(self.config)} in {self.config.space.name}",
            phase=self.phase,
            phases=phases,
            running=[{**without(asdict(t), "since"), "seconds": round(self.now - t.since, 3)} for t in under_way],
            failed=_kinds(events, "failed"),
            retried=_kinds(events, "retried"),
            best=best and {name: getattr(best, name) for name in ("index", "reward", "params", "macs")},
            left=left,
            cost=cost,
            failures=failures[-LATEST:],
        )

    def _to_come(self) -> dict[str, float] | None:
        """Return worker-seconds to come by phase; None before anything is measured."""
        # a trial costs what those did that have ended, a final training what its epochs would have cost as a trial
        ended = [t for ledger in self.ledgers.values() for t in ledger.trials if t.status in ("done", "failed")]
        if self.state in ENDED:
            return {}
        if not ended:
            return None
        each, trained = sum(t.seconds for t in ended) / len(ended), sum(t.proposal.epochs for t in ended)
        epoch = each * len(ended) / max(1, trained)
        final, second = epoch * self.config.comparison.epochs, epoch * self.config.finalist_epochs
        if self.config.evaluator != "train":
            final, second = 0.0, each
        elif self.ledger.finals:
            final = sum(f["seconds"] for f in self.ledger.finals) / len(self.ledger.finals)
        # of phases that are over nothing is to come, even where one ended early
        passed = list(self.phases)[: list(self.phases).index(self.phase or "search")]
        costs = {"final": final, "finalists": second}
        return {
            name: 0.0 if name in passed else max(0, total - done) * costs.get(name, each)
            for name, (done, total) in self.phases.items()
        }


def read_status(folder: Path) -> SearchStatus:
    """Return the status of the search in ``folder``."""
    found = SearchStatus.of(folder)
    paths = {name: path for name in (BASELINE, RIVALS) if (path := folder / name / JOURNAL).is_file()}
    if not paths:
        return found
    written = max(found.written, *(path.stat().st_mtime for path in paths.values()))
    return replace(found, events_below={name: read(path) for name, path in paths.items()}, written=written)


def _kinds(events: Sequence[Event], name: str) -> dict[str, int]:
    return dict(Counter(event["kind"] for event in events if event["event"] == name).most_common())
