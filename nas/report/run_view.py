"""A run as a reader sees it: the fold of its journals, without locks and without the parts of a search."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from nas.core.files import read_json
from nas.core.text import count
from nas.core.values import Json
from nas.engine.config import RunConfig, config_of
from nas.engine.loop import Ledger, fold
from nas.errors import TOO_SLOW
from nas.report.chance import MeasuredOn, reads_text
from nas.report.classes import ClassAccuracy, ClassTable, class_accuracies, class_table
from nas.report.statistics import Interval, accuracy_interval
from nas.runs.event_fields import class_names_of
from nas.runs.inputs import accepted_changes
from nas.runs.journal import Event, stream
from nas.runs.run_folder import BASELINE, JOURNAL, RIVALS
from nas.schedulers.finalists import finalist_of
from nas.searchers.pareto import asked_objectives
from nas.types import Trial

NAMED = 10
"""How many damaged files a report names."""
FIRST = 3
"""How many of them a sentence names."""


@dataclass(frozen=True)
class Score:
    """One row of the final comparison."""

    role: str
    """``search``, ``random``, ``handcrafted``, ``handcrafted_in_time``, or ``against NAME``."""
    name: str
    scores: tuple[float, ...]
    """One a seed: of trainings the accuracy in percent of the test split, of a table what it holds."""
    params: int | None
    macs: int | None
    seconds: float
    """Mean of a training."""
    failures: tuple[str, ...] = ()
    """Why seeds have no score."""
    seeds: tuple[int, ...] = ()
    """The number of each score's seed; where not given 0, 1, 2, ..."""
    latency: float | None = None
    """Milliseconds that one image takes; None where that was not measured."""
    images: int | None = None
    """Test images of a training; None where that is not known, and of a table."""

    @property
    def style(self) -> str:
        """The role by which it is drawn: all that is neither found nor drawn at random is handcrafted."""
        return self.role if self.role in ("search", "random") else "handcrafted"

    @property
    def by_seed(self) -> dict[int, float]:
        """The scores by the number of the seed; equal numbers are equal random streams for all rows."""
        return dict(zip(self.seeds or range(len(self.scores)), self.scores, strict=True))

    @property
    def mean(self) -> float:
        """Mean over the seeds; a network whose every training failed has none and ranks last."""
        return statistics.fmean(self.scores) if self.scores else float("-inf")

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean over the seeds; of a single score that of its test images, None without these."""
        return accuracy_interval(self.scores, self.images) if len(self.scores) > 1 or self.images else None

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds, 0 for one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def shown(self) -> tuple[str, str]:
        """Return mean and spread as text; a single score has no spread."""
        if not self.scores:
            return "failed", ""
        return f"{self.mean:.2f}", f"{self.spread:.2f}" if len(self.scores) > 1 else ""


@dataclass(frozen=True)
class Spent:
    """What a part of a run took."""

    name: str
    seconds: float
    """Of its evaluations on their workers, those that were tried again among them."""
    simulated: float = 0.0
    """What a table says that they would have taken."""


@dataclass(frozen=True)
class RunView:
    """Everything the outputs show of a search."""

    folder: Path
    config: RunConfig
    ledger: Ledger
    baseline: Ledger | None
    """The random search, where there is one."""
    status: str
    """Why it ended, or ``running or killed``."""
    environment: Json
    """What ``environment.json`` holds: the machine and the versions."""
    notes: tuple[Json, ...] = ()
    """What the toolkit's own trainings noted, final ones with the ``role`` and ``name`` of the network; the notes of
    another evaluator are the user's, under whatever names, and are not read here."""
    input_changes: tuple[str, ...] = ()
    """A sentence for each time that the search, or one below it, went on with another table, plugin or such."""
    rivals: Ledger | None = None
    """The search among handcrafted networks of the budget, where there is one."""
    measured_precision: Json = field(default_factory=dict)
    """The precision that was ``chosen`` when the search began, and the ``speedup`` of bfloat16; empty: none was."""

    class_names: tuple[str, ...] = ()
    """By label; empty where the dataset, or the version that made the run, knows none."""

    @property
    def per_class(self) -> list[ClassAccuracy]:
        """How the winner's final trainings did by class, the lowest accuracy first; empty where nothing was counted."""
        return class_accuracies((e for e in self.ledger.finals if e["role"] == "search"), self.class_names)

    @property
    def class_table(self) -> ClassTable | None:
        """The same as a report shows it."""
        seeds = sum(e["role"] == "search" and "per_class" in e for e in self.ledger.finals)
        return class_table({"accuracy, %": self.per_class}, seeds, "summary.json")

    @property
    def normalization(self) -> Json | None:
        """That of the pixels in the final trainings (:class:`nas.data.image_set.Normalization`), where it is known."""
        return next((note["normalization"] for note in self.notes if "normalization" in note), None)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """The number of trials by what became of them."""
        refused = [t.failure for t in self.ledger.trials if t.status == "refused" and t.failure is not None]
        slow = sum(failure.kind == TOO_SLOW for failure in refused)
        told = {"refused": f"refused ({slow:,} as too slow)"} if slow else {}
        return [(told.get(status, status), number) for status, number in sorted(self.ledger.counts.items())]

    @property
    def precision(self) -> str:
        """A sentence about the precision that was chosen when the search began; empty where none was."""
        if not self.measured_precision.get("chosen"):
            return ""
        speedup = f"bf16 trained a small dense network {self.measured_precision['speedup']:.2f} times as fast"
        return f"Precision {self.measured_precision['chosen']}: when the search began {speedup} as float32."

    @property
    def unit(self) -> str:
        """What differences of final scores are counted in; of a table that is unknown."""
        return "points" if self.config.evaluator == "train" else ""

    @property
    def damaged(self) -> tuple[int, list[str]]:
        """The number of image files that could not be read, and the first ten of them with reasons."""
        return damaged_files(self.notes)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the scores must know of the images, a sentence each."""
        return data_remarks(self.notes)

    @property
    def trained_on(self) -> list[str]:
        """The devices that trained, with the switches that were on."""
        found = [note["trained_on"] for note in self.notes if "trained_on" in note]
        return sorted({f"{one['device']} ({', '.join(one['switches'])})" for one in found})

    @property
    def image_counts(self) -> Json:
        """How many images the splits have, as the latest trainings noted it; empty where none did."""
        return {name: number for note in self.notes for name, number in note.get("images", {}).items()}

    @property
    def validation(self) -> MeasuredOn | None:
        """What rewards are measured on; None where they are no accuracies, or the images were not counted."""
        return MeasuredOn.of(self.image_counts, "validation")

    @property
    def tested(self) -> str:
        """How often the test split was read for the trainings of the final comparison, of which equal ones are one."""
        return reads_text(len({(e["key"], e["number"]) for e in self.ledger.finals}), self.ledger.test_reads)

    def plateau_of(self, final: bool) -> str:
        """Return what the plateau schedule of the trials, or the final trainings, followed; empty for another one."""
        found = {note["plateau_of"] for note in self.notes if "plateau_of" in note and ("role" in note) == final}
        return " and ".join(sorted(found))

    def not_applied(self, final: bool) -> list[str]:
        """Return the recipe's fields that networks of the trials, or the final comparison, had no place for."""
        names = {"search": "the winner", "random": "the best of random search"}
        found: dict[str, None] = {}  # in their order, each once
        for note in self.notes:
            if ("role" in note) != final:  # only notes of final trainings have a role
                continue
            for missing in note.get("not_applied", ()):
                found[f"{missing} ({names.get(note['role']) or note['name']})" if final else missing] = None
        return list(found)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What a search minimises beside the reward; that for the reward alone has none."""
        return asked_objectives(self.config.searcher.name, self.config.searcher.args)[0]

    @property
    def limits(self) -> dict[str, float]:
        """The bounds of a search with several objectives, by name."""
        return asked_objectives(self.config.searcher.name, self.config.searcher.args)[1]

    def best_trials(self, most: int) -> list[Trial]:
        """Return at ``most`` this number of trials with a reward, those of most epochs first, then by reward."""
        return sorted(scored(self.ledger), key=lambda t: (-t.proposal.epochs, -(t.reward or 0.0), t.index))[:most]

    @property
    def finalists(self) -> list[Trial]:
        """The trials of the second stage."""
        return [t for t in self.ledger.trials if finalist_of(t) is not None]

    @property
    def second_stage(self) -> str:
        """What to say of a winner that is a finalist; nothing of another, as where all of them failed."""
        best = self.ledger.best()
        if best is None or finalist_of(best) is None:
            return ""
        scored_ = count(sum(t.status == "done" for t in self.finalists), "finalist")
        how = f"trained again for {count(best.proposal.epochs, 'epoch')} with another seed"
        return f"It is the best of {scored_}, {how}; scores of fewer epochs do not win."

    def spent(self) -> list[Spent]:
        """Return what every part took; equal networks of the final comparison have one training in common."""
        found, second = [], sum(t.seconds for t in self.finalists)
        arms = (("search", self.ledger), ("random search", self.baseline), ("handcrafted rivals", self.rivals))
        for name, ledger in arms:
            if ledger is None:
                continue
            tabled = [t.metrics for t in ledger.trials if t.status == "done" and t.metrics and t.metrics.simulated]
            # attempts that were retried count too, but for those of a table, which take no time to speak of
            wall = sum(t.seconds for t in ledger.trials) if tabled else ledger.seconds
            own = second if ledger is self.ledger else 0.0
            found.append(Spent(name, wall - own, sum(m.seconds for m in tabled)))
            if own:
                found.append(Spent("finalists", own))
        if self.ledger.finals:
            trainings = {(final["key"], final["number"]): final["seconds"] for final in self.ledger.finals}
            found.append(Spent("final comparison", sum(trainings.values())))
        return found

    def scores(self) -> list[Score]:
        """Return the final comparison, best mean first."""
        grouped: dict[str, list[Json]] = defaultdict(list)
        test = MeasuredOn.of(self.image_counts, "test")
        images = None if test is None else test.images
        for event in self.ledger.finals:
            grouped[event["role"]].append(event)
        rows = []
        for role, events in grouped.items():
            done, first = [e for e in events if e["score"] is not None], events[0]
            scores, seeds = tuple(e["score"] for e in done), tuple(e["number"] for e in done)
            seconds = statistics.fmean(e["seconds"] for e in events)
            failures = tuple(e["failure"] for e in events if e["score"] is None)
            latency = self.ledger.latencies.get(role, {}).get("milliseconds")
            size = first["params"], first["macs"]
            rows.append(Score(role, first["name"], scores, *size, seconds, failures, seeds, latency, images))
        return sorted(rows, key=lambda row: -row.mean)


def damaged_files(notes: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Return the number of image files that evaluations noted as damaged, and the first ten of them with reasons."""
    found = [note["damaged"] for note in notes if "damaged" in note]
    lines = sorted({line for one in found for line in one["first"]})
    return max((one["count"] for one in found), default=0), lines[:NAMED]


def data_remarks(notes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what evaluations noted of the images, a sentence each: the newest of every topic, then damaged files."""
    found: dict[str, str] = {}
    for note in notes:
        found |= note.get("remarks", {})
    number, lines = damaged_files(notes)
    damaged = [f"{count(number, 'damaged file')} left out, first: {'; '.join(lines[:FIRST])}"] if number else []
    return [*found.values(), *damaged]


def scored(ledger: Ledger) -> list[Trial]:
    """Return the trials that were evaluated and have a reward."""
    return [t for t in ledger.trials if t.status == "done" and t.reward is not None]


def _folded(path: Path, name: str) -> tuple[list[Event], Ledger]:
    """Return the events of a journal without the architectures, most of it, which the ledger has; and the ledger."""
    kept: list[Event] = []

    def events() -> Iterator[Event]:
        for event in stream(path):
            kept.append({field: value for field, value in event.items() if field != "architecture"})
            yield event

    found = events()
    first = next(found)
    return kept, fold(chain([first], found), config_of(first, name).lag or None)


def load_view(folder: Path) -> RunView:
    """Read the run in ``folder``, running or not."""
    events, ledger = _folded(folder / JOURNAL, folder.name)
    config = config_of(events[0], folder.name, events)
    paths = [folder / name / JOURNAL for name in (BASELINE, RIVALS)]
    (random, baseline), (others, rivals) = (_folded(p, folder.name) if p.is_file() else ([], None) for p in paths)
    last = events[-1]
    status = last["reason"] if last["event"] == "stopped" else "running or killed"
    path = folder / "environment.json"
    environment = read_json(path) if path.is_file() else {}
    notes = []
    for event in (e for e in (*events, *random, *others) if "notes" in e and config.evaluator == "train"):
        who = {name: event[name] for name in ("role", "name")} if event["event"] == "final" else {}
        notes.append({**event["notes"], **who})
    changes = list(accepted_changes(events))
    for where, found in (("random search", random), ("search among rivals", others)):
        changes += [f"In the {where}: {text}" for text in accepted_changes(found)]
    return RunView(
        folder,
        config,
        ledger,
        baseline,
        status,
        environment,
        tuple(notes),
        tuple(changes),
        rivals,
        events[0].get("precision", {}),
        class_names_of(events[0]),
    )
