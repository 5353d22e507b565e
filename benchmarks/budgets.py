"""What a budget of simulated seconds buys on NAS-Bench-201: trials of 12 epochs, of 200 epochs, or of both.

    python benchmarks/budgets.py [--seconds 20000] [--seeds 100] [--searchers random evolution local] [--jobs 1]

The reward is val_acc_12 or val_acc_200; the score of a search is test_acc_200 of its best trial by reward (the mean
over ties) among those of the most epochs that ended within the budget. A training of 200 epochs costs as much as 16.7
of 12, and nothing less after one of 12: the two are separate trainings in the table. CIFAR-100 and ImageNet16-120 cost
2 and 6 times as much as CIFAR-10 and get as many times the seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import show
from search_quality import nb201_table

from nas import space_of
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.loop import Ledger, Loop, Settings
from nas.evaluators.table import TableEvaluator
from nas.executors.inline import InlineExecutor
from nas.runs.journal import MemoryJournal
from nas.schedulers import make_scheduler
from nas.searchers import make_searcher
from nas.space import Space
from nas.tables.benchmark_table import Table, load_table
from nas.types import Architecture, Candidate, Context, Trial

SHORT, LONG = 12, 200
SCALE = {"cifar10": 1, "cifar100": 2, "ImageNet16-120": 6}
SEARCHERS = ("random", "evolution", "local")
ENOUGH = 1_000_000


@dataclass(frozen=True)
class Arm:
    """A way to spend the budget: trials of ``epochs``, or of 12 and 200 epochs under a scheduler."""

    name: str
    epochs: int = LONG
    scheduler: str = ""
    args: dict[str, Any] = field(default_factory=dict)


def scheduled(scheduler: str, **args: Any) -> Arm:
    """Return an arm of 12 and 200 epochs."""
    given = ", ".join(f"{name}={value}" for name, value in args.items())
    return Arm(f"{scheduler} {given}".strip(), LONG, scheduler, {"rungs": (SHORT, LONG), **args})


ARMS = (
    Arm("12 epochs", SHORT),
    Arm("200 epochs", LONG),
    scheduled("halving"),
    scheduled("halving", eta=32),
    scheduled("halving", eta=32, size=96),
    scheduled("halving", eta=56, size=112),
    scheduled("hyperband"),
    scheduled("hyperband", eta=32),
    scheduled("asha", eta=3),
    scheduled("asha"),
    scheduled("asha", eta=32),
    scheduled("asha", eta=48),
)


class Bench:
    """The table with its space; canonical keys are computed once for all searches."""

    def __init__(self, table: Table, space: Space) -> None:
        self.table, self.space = table, space
        self._keys: dict[Architecture, Candidate] = {}

    def prepare(self, architecture: Architecture) -> Candidate:
        """Return the key of an architecture."""
        if architecture not in self._keys:
            self._keys[architecture] = Candidate(self.space.key(architecture))
        return self._keys[architecture]

    def trials(self, arm: Arm, searcher: str, dataset: str, seconds: float, seed: int) -> list[Trial]:
        """Return the trials of a search that ended within ``seconds``."""
        ledger = Ledger()
        evaluator = TableEvaluator(self.table, "val_acc_{epochs}", dataset)
        made = make_searcher(searcher, self.space, {}, Context(self.prepare, arm.epochs))
        if arm.scheduler:
            made = make_scheduler(arm.scheduler, made, arm.epochs, arm.args)
        settings = Settings(DEFAULT_TASK, ENOUGH, arm.epochs, seed, max_seconds=seconds)
        Loop(made, self.prepare, InlineExecutor(evaluator), MemoryJournal(), ledger, settings).run()
        return within(ledger.trials, seconds)

    def score(self, arm: Arm, searcher: str, dataset: str, seconds: float, seed: int) -> float:
        """Return test_acc_200 of the best within ``seconds``, the mean over ties."""
        trials = self.trials(arm, searcher, dataset, seconds, seed)
        most = max(t.proposal.epochs for t in trials)
        best = max(t.reward or 0.0 for t in trials if t.proposal.epochs == most)
        tests = self.table.column("test_acc_200", dataset)
        found = [t for t in trials if t.proposal.epochs == most and t.reward == best]
        return float(np.mean([tests[self.table.row(t.architecture)] for t in found]))


def within(trials: Sequence[Trial], seconds: float) -> list[Trial]:
    """Return the evaluated trials, one after the other, that ended before ``seconds`` of evaluation had passed."""
    found, spent = [], 0.0
    for trial in trials:
        if trial.status == "done" and trial.metrics is not None:
            spent += trial.metrics.seconds
            if spent > seconds:
                break
            found.append(trial)
    return found


@lru_cache(maxsize=1)
def bench_of(path: Path) -> Bench:
    """Return the benchmark of a converted table, read once a process."""
    return Bench(load_table(path), space_of("nb201"))


def measured(path: Path, seconds: float, seeds: int, case: tuple[Arm, str, str]) -> tuple[float, float]:
    """Return mean and standard error of the score over ``seeds``."""
    arm, searcher, dataset = case
    bench, budget = bench_of(path), seconds * SCALE[dataset]
    scores = [bench.score(arm, searcher, dataset, budget, seed) for seed in range(seeds)]
    return float(np.mean(scores)), float(np.std(scores, ddof=1) / np.sqrt(seeds))


def main() -> None:
    """Measure and print a table for every budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[20_000], help="simulated, on CIFAR-10")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--searchers", nargs="+", default=list(SEARCHERS))
    parser.add_argument("--datasets", nargs="+", default=list(SCALE), choices=list(SCALE))
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS], help="by name, as in the table")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    start = time.perf_counter()
    space_of("nb201")
    arms = [arm for arm in ARMS if arm.name in options.arms]
    cases = [(arm, s, d) for s in options.searchers for arm in arms for d in options.datasets]
    with TemporaryDirectory() as folder, ProcessPoolExecutor(options.jobs) as pool:
        path = nb201_table(Path(folder)).path
        for seconds in options.seconds:
            work: Callable[[tuple[Arm, str, str]], tuple[float, float]]
            work = partial(measured, path, seconds, options.seeds)
            found = dict(zip(((s, a.name, d) for a, s, d in cases), pool.map(work, cases), strict=True))
            rows = [
                (s, arm.name, *("{:.3f} ± {:.3f}".format(*found[s, arm.name, d]) for d in options.datasets))
                for s in options.searchers
                for arm in arms
            ]
            title = f"NAS-Bench-201 in {seconds:,} simulated seconds: test_acc_200, {options.seeds} seeds"
            show(title, ("searcher", "trials", *options.datasets), rows)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
