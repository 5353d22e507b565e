"""Searches with real trainings: all have the same seconds, and the best of each is trained once more alike."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path

import numpy as np

from nas.core.files import is_file, read_json
from nas.errors import ConfigError, printable
from nas.report.run_view import load_view
from nas.report.statistics import Difference, Question, differences
from nas.runs.run_folder import JOURNAL

ENDED = ("finished", "exhausted")
TRIALS = 100_000
"""More than any search has time for: the seconds end it."""


@dataclass(frozen=True)
class TrainingSearch:
    """One search of one searcher."""

    searcher: str
    """The searcher as it was named: with arguments ``K=V`` and flags ``--zero-cost=auto`` of its own."""
    seed: int
    reward: float
    """The best reward of its trials: its validation accuracy in percent."""
    score: float | None
    """The test accuracy of the best, trained from scratch; None where there is none."""
    trials: int
    seconds: float
    """What its trainings took."""


@dataclass(frozen=True)
class EqualSeconds:
    """What all searches have in common."""

    flags: tuple[str, ...]
    """Flags of ``nas search``."""
    seconds: int
    """Of training, after which a search asks for no more."""
    results: Path

    def words(self, searcher: str, seed: int) -> list[str]:
        """Return the words of one search, or of going on with it where it has begun."""
        name, (method, *own) = self.name(searcher, seed), searcher.split()
        where = ["--results-dir", str(self.results)]
        if is_file(self.results / name / JOURNAL):
            return ["resume", name, *where]
        arguments = [word if word.startswith("--") else f"--searcher-arg={word}" for word in own]
        alone = ["--baseline=none", "--against=none", "--final-seeds=1"]
        budget = [f"--trials={TRIALS}", f"--max-seconds={self.seconds}", f"--seed={seed}", f"--name={name}"]
        return ["search", *alone, *self.flags, f"--searcher={method}", *arguments, *budget, *where]

    def name(self, searcher: str, seed: int) -> str:
        """Return the name of the run of one search: other words, flags or seconds are another run."""
        words = json.dumps([searcher.split(), self.flags, self.seconds])
        digest = blake2b(words.encode(), digest_size=4).hexdigest()
        return f"bench-{re.sub(r'[^A-Za-z0-9_]+', '-', searcher)[:40]}-{digest}-{seed}"

    def run(self, searcher: str, seed: int) -> TrainingSearch:
        """Search, or go on; a search that ends with an error raises :class:`ConfigError` with its last line."""
        folder = self.results / self.name(searcher, seed)
        if not _ended(folder):
            self.results.mkdir(parents=True, exist_ok=True)
            path = folder.with_name(f"{folder.name}.log")
            with path.open("ab") as log:
                command = [sys.executable, "-m", "nas", *self.words(searcher, seed)]
                code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
            if code:
                *_, last = path.read_text("utf-8", "replace").strip().splitlines() or [""]
                raise ConfigError(f"searcher '{searcher}', seed {seed}: {printable(last.removeprefix('error: '))}")
        view = load_view(folder)
        scores = [score for row in view.scores() if row.role == "search" for score in row.scores]
        rewards = [trial.reward for trial in view.ledger.trials if trial.status == "done" and trial.reward is not None]
        if not rewards:
            raise ConfigError(f"searcher '{searcher}', seed {seed}: no trial has a reward; see {folder}")
        spent = sum(part.seconds for part in view.spent() if part.name == "search")
        return TrainingSearch(searcher, seed, max(rewards), scores[0] if scores else None, len(rewards), spent)


def run_all(
    common: EqualSeconds,
    searchers: Sequence[str],
    seeds: int,
    workers: int,
    told: Callable[[TrainingSearch], object],
) -> list[TrainingSearch]:
    """Run every search, seed by seed, ``workers`` at a time; ``told`` is called as each has ended."""
    found = []
    with ThreadPoolExecutor(workers) as pool:
        pairs = product(range(seeds), searchers)
        try:
            for one in pool.map(lambda pair: common.run(pair[1], pair[0]), pairs):
                told(one)
                found.append(one)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def leads(searches: Sequence[TrainingSearch], searchers: Sequence[str]) -> list[Difference | None]:
    """Return the lead of the first searcher over each other one, paired by seed, corrected for being several."""
    scores = {
        name: {s.seed: s.score for s in searches if s.searcher == name and s.score is not None} for name in searchers
    }
    first, *others = searchers
    return differences([Question(first, other, (scores[first], scores[other])) for other in others])


def rows_of(searches: Sequence[TrainingSearch], searchers: Sequence[str]) -> list[list[str]]:
    """Return the cells of each searcher: means over the seeds, and the lead of the first over it."""
    rows = []
    for name, lead in zip(searchers, [None, *leads(searches, searchers)], strict=True):
        own = [search for search in searches if search.searcher == name]
        cells = [_mean([search.reward for search in own])]
        cells.append(_mean([search.score for search in own if search.score is not None]))
        if lead is None:
            cells += ["", ""]
        else:
            span = "" if lead.interval is None else f" ({lead.interval.low:+.2f} to {lead.interval.high:+.2f})"
            cells += [f"{lead.mean:+.2f}{span}", "" if lead.p_holm is None else f"{lead.p_holm:.3f}"]
        cells += [f"{np.mean([s.trials for s in own]):.0f}", f"{np.mean([s.seconds for s in own]):.0f}"]
        rows.append([name, *cells])
    return rows


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "none"
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{error}"


def _ended(folder: Path) -> bool:
    summary = folder / "summary.json"
    return is_file(summary) and read_json(summary).get("status") in ENDED
