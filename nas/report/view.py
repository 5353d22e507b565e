"""A run as a reader sees it: the fold of its journals, without locks and without the parts of a search."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import ConfigError
from nas.files import read_json
from nas.run.config import RunConfig, config_of
from nas.run.journal import Event, read
from nas.run.ledger import Ledger, fold
from nas.searchers.pareto import DEFAULT_OBJECTIVES, front, limits_of, objective_names, violation
from nas.types import Trial

BASELINE = "random"
"""Sub-folder of a run that holds its random search."""
NAMED = 10
"""How many damaged files a report names."""


@dataclass(frozen=True)
class Score:
    """One row of the final comparison: the scores of every seed, in percent of the test split for trainings."""

    role: str
    name: str
    scores: tuple[float, ...]
    params: int | None
    macs: int | None
    seconds: float

    failures: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over the seeds; a network whose every training failed has none and ranks last."""
        return statistics.fmean(self.scores) if self.scores else float("-inf")

    def shown(self) -> tuple[str, str]:
        """Return mean and spread as text; a single score has no spread."""
        if not self.scores:
            return "failed", ""
        return f"{self.mean:.2f}", f"{self.spread:.2f}" if len(self.scores) > 1 else ""

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds, 0 for one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0


@dataclass(frozen=True)
class RunView:
    """Everything the outputs show."""

    folder: Path
    config: RunConfig
    ledger: Ledger
    baseline: Ledger | None
    status: str
    environment: dict[str, Any]
    notes: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def test_reads(self) -> int:
        """How often a test score was read."""
        return self.ledger.test_reads

    @property
    def damaged(self) -> tuple[int, list[str]]:
        """The number of image files that could not be read, and the first ten of them with reasons."""
        found = [note["damaged"] for note in self.notes if "damaged" in note]
        lines = sorted({line for one in found for line in one["first"]})
        return max((one["count"] for one in found), default=0), lines[:NAMED]

    @property
    def trained_on(self) -> list[str]:
        """The devices that trained, with the switches that were on."""
        found = [note["trained_on"] for note in self.notes if "trained_on" in note]
        return sorted({f"{one['device']} ({', '.join(one['switches'])})" for one in found})

    def not_applied(self, final: bool) -> list[str]:
        """Return the recipe's fields that networks of the trials, or the final comparison, had no place for."""
        found = {}
        for note in self.notes:
            if ("role" in note) == final:
                name = {"search": "the winner", "random": "the best of random search"}.get(note.get("role", ""), "")
                for field in note.get("not_applied", ()):
                    found[f"{field} ({name or note['name']})" if final else field] = True
        return list(found)

    def front(self) -> tuple[tuple[str, ...], list[Trial]]:
        """Return the objectives beside the reward, and the front of the trials of most epochs within the limits.

        A search for the reward alone has neither.
        """
        if self.config.searcher != "nsga2":
            return (), []
        args = self.config.searcher_args
        names, limits = objective_names(args.get("objectives", DEFAULT_OBJECTIVES)), limits_of(args.get("limits", ""))
        scored = [t for t in self.ledger.trials if t.status == "done"]
        most = max((t.proposal.epochs for t in scored), default=0)
        try:
            kept = [t for t in scored if t.proposal.epochs == most and not violation(t, limits)]
            return names, front(kept, names)
        except ConfigError:  # an objective that no trial has ended the search
            return names, []

    def scores(self) -> list[Score]:
        """Return the final comparison, best mean first."""
        grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.ledger.finals:
            grouped[event["role"]].append(event)
        rows = [
            Score(
                role,
                events[0]["name"],
                tuple(e["score"] for e in events if e["score"] is not None),
                events[0]["params"],
                events[0]["macs"],
                statistics.fmean(e["seconds"] for e in events),
                tuple(e["failure"] for e in events if e["score"] is None),
            )
            for role, events in grouped.items()
        ]
        return sorted(rows, key=lambda row: -row.mean)


def load_view(folder: Path) -> RunView:
    """Read the run in ``folder``, running or not."""
    events = read(folder / "journal.jsonl")
    config = config_of(events[0], folder.name)
    below = folder / BASELINE / "journal.jsonl"
    below_events = read(below) if below.is_file() else []
    baseline = fold(below_events, config.lag or None) if below_events else None
    stopped = [e for e in events if e["event"] == "stopped"]
    status = stopped[-1]["reason"] if events[-1]["event"] == "stopped" else "running or killed"
    path = folder / "environment.json"
    found = read_json(path) if path.is_file() else {}
    notes = tuple(_notes(events)) + tuple(_notes(below_events))
    return RunView(folder, config, fold(events, config.lag or None), baseline, status, found, notes)


def _notes(events: Sequence[Event]) -> Iterator[dict[str, Any]]:
    """Yield the notes of trials and of final trainings, the latter with their role and name."""
    for event in events:
        if "notes" in event:
            who = {name: event[name] for name in ("role", "name")} if event["event"] == "final" else {}
            yield {**event["notes"], **who}
