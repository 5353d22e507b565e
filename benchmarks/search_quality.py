"""How good the searchers are on NAS-Bench-201: mean final score over many seeds, after equally many distinct queries.

    python benchmarks/search_quality.py [--seeds 200] [--trials 100] [--dataset cifar10]

The reward is val_acc_12; the score of a search is test_acc_200 of its best trial by reward, the mean over ties.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import ROOT, shared_data, show

from nas.api import space_of
from nas.evaluators.table import TableEvaluator
from nas.executors.inline import InlineExecutor
from nas.run.journal import MemoryJournal
from nas.run.ledger import Ledger
from nas.run.loop import Loop, Prepared, Settings
from nas.searchers import SEARCHERS, make_searcher
from nas.space import Space
from nas.study import DEFAULT_TASK
from nas.table import Table, load_table
from nas.types import Architecture

PUBLISHED = {"random": "93.70 ± 0.36", "evolution": "93.92 ± 0.30"}
"""arXiv:2001.00326, CIFAR-10 in 12,000 simulated seconds, 500 runs: another protocol, for orientation."""


class Bench:
    """One table with the space it belongs to; canonical keys are computed once for all searches."""

    def __init__(self, table: Table, space: Space, dataset: str) -> None:
        self.table, self.space, self.dataset = table, space, dataset
        self._keys: dict[Architecture, Prepared] = {}

    def prepare(self, architecture: Architecture) -> Prepared:
        """Return the key of an architecture."""
        if architecture not in self._keys:
            self._keys[architecture] = Prepared(self.space.key(architecture))
        return self._keys[architecture]

    def final_score(self, searcher: str, trials: int, seed: int) -> float:
        """Return test_acc_200 of the best by reward after ``trials`` queries."""
        ledger = Ledger()
        evaluator = TableEvaluator(self.table, "val_acc_12", self.dataset)
        executor, settings = InlineExecutor(evaluator), Settings(DEFAULT_TASK, trials, 12, seed)
        made = make_searcher(searcher, self.space, {})
        Loop(made, self.prepare, executor, MemoryJournal(), ledger, settings).run()
        done = [t for t in ledger.trials if t.status == "done"]
        best = max(t.reward for t in done)
        tests = self.table.column("test_acc_200", self.dataset)
        return float(np.mean([tests[self.table.row(t.architecture)] for t in done if t.reward == best]))


def nb201_table(folder: Path) -> Table:
    """Return the converted NAS-Bench-201 table."""
    import sys

    sys.path.insert(0, str(ROOT / "tools"))
    from convert_nb201 import convert

    target = folder / "nb201-table.npz"
    convert(shared_data() / "nb201.npz", target)
    return load_table(target)


def measure(dataset: str, trials: int, seeds: int, searchers: list[str]) -> dict[str, tuple[float, float]]:
    """Return mean and standard error of the final score for every searcher."""
    with TemporaryDirectory() as folder:
        bench = Bench(nb201_table(Path(folder)), space_of("nb201"), dataset)
    scores = {name: [bench.final_score(name, trials, seed) for seed in range(seeds)] for name in searchers}
    return {name: (float(np.mean(s)), float(np.std(s, ddof=1) / np.sqrt(len(s)))) for name, s in scores.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--dataset", default="cifar10")
    options = parser.parse_args()
    start = time.perf_counter()
    space_of("nb201")
    found = measure(options.dataset, options.trials, options.seeds, list(SEARCHERS))
    published = PUBLISHED if options.dataset == "cifar10" else {}
    rows = [(n, f"{mean:.3f}", f"{error:.3f}", published.get(n, "")) for n, (mean, error) in found.items()]
    title = f"NAS-Bench-201 {options.dataset}: {options.trials} queries, {options.seeds} seeds"
    show(title, ("searcher", "test_acc_200", "standard error", "published, 12,000 s"), rows)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
