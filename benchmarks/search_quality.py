"""How good the searchers are on published tables: mean final score over many seeds, by queries and by simulated time.

    python benchmarks/search_quality.py [--searchers random,predictor] [--datasets cifar10] [--queries 20,50,100,200]
    python benchmarks/search_quality.py --datasets cifar10 --seconds 12000,20000 ...
    python benchmarks/search_quality.py --table nb101 --queries 150 ...

NAS-Bench-201: the reward is val_acc_12; the score of a search is test_acc_200 of its best trial by reward, the mean
over ties. NAS-Bench-101 (the 20,001 cells of the file; others are refused and are no queries): the reward is the
validation accuracy at 108 epochs and the score is that of the best trial, as the file has no test accuracies. Only
distinct networks count as queries. A trial that ends after the simulated seconds does not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import ROOT, shared_data, show
from scipy.stats import mannwhitneyu

from nas import space_of
from nas.space import Space
from nas.tables.benchmark_table import Table, load_table
from nas.workflows.bench.queries import Curve, TableTask

PUBLISHED = {
    "nb201": {"random": "93.70 ± 0.36", "reinforce": "93.85 ± 0.37", "evolution": "93.92 ± 0.30"},
    "nb101": {"random": "93.66", "reinforce": "93.56", "optuna:tpe": "93.58", "evolution": "93.89", "local": "94.07"},
}
"""For orientation, other protocols: arXiv:2001.00326, CIFAR-10 in 12,000 simulated seconds, 500 runs; NAS-Bench-101's
test accuracy after 150 queries of all 423,624 cells, arXiv:1910.11858 and arXiv:2005.02960."""
COLUMNS = {"nb201": ("val_acc_12", "test_acc_200"), "nb101": ("val_acc_108", "val_acc_108")}
EPOCHS = {"nb201": 12, "nb101": 108}
ALL = "random,local,evolution,reinforce,predictor,optuna:tpe"


class Bench(TableTask):
    """One table with the space it belongs to, by the columns that its literature reports."""

    def __init__(self, table: Table, space: Space, dataset: str | None) -> None:
        super().__init__(table, space, dataset, *COLUMNS[space.name], EPOCHS[space.name])

    def final_score(self, searcher: str, trials: int, seed: int) -> float:
        """Return the final score after ``trials`` queries."""
        return self.curve(searcher, trials, seed).after(trials)


def converted(name: str, folder: Path) -> Table:
    """Return the converted table ``nb201`` or ``nb101``."""
    sys.path.insert(0, str(ROOT / "tools"))
    module = __import__(f"convert_{name}")
    target = folder / f"{name}-table.npz"
    module.convert(shared_data() / {"nb201": "nb201.npz", "nb101": "nb101_20k.npz"}[name], target)
    return load_table(target)


def nb201_table(folder: Path) -> Table:
    """Return the converted NAS-Bench-201 table."""
    return converted("nb201", folder)


_bench: Bench


def _one(task: tuple[str, int, int]) -> Curve:
    return _bench.curve(*task)


def measure(bench: Bench, searcher: str, queries: int, seeds: int, workers: int) -> tuple[list[Curve], float]:
    """Return the curves of all seeds and the seconds a query took on average, the table's own not counted."""
    global _bench
    _bench = bench  # what forked workers inherit
    tasks = [(searcher, queries, seed) for seed in range(seeds)]
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        curves = pool.map(_one, tasks, chunksize=1)
    spent = (time.perf_counter() - start) * workers
    return curves, spent / sum(len(c.rewards) for c in curves)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


def table_of(bench: Bench, name: str, options: argparse.Namespace) -> None:
    """Measure every searcher on one dataset and print the table."""
    rows, last = [], max(options.queries)
    random: list[float] = []
    published = PUBLISHED[name] if bench.dataset in (None, "cifar10") else {}
    for searcher in options.searchers:
        curves, each = measure(bench, searcher, last, options.seeds, options.workers)
        row = [_mean([c.after(q) for c in curves]) for q in options.queries]
        for seconds in options.seconds:
            enough = all(c.simulated[-1] >= seconds for c in curves)
            row.append(_mean([c.within(seconds) for c in curves]) if enough else "")
        final = [c.after(last) for c in curves]
        random = random or final
        p = "" if final is random else f"{mannwhitneyu(final, random, alternative='greater').pvalue:.0e}"
        rows.append((searcher, *row, p, published.get(searcher, ""), f"{1000 * each:.1f} ms"))
        sys.stderr.write(f"{bench.dataset} {rows[-1]}\n")
    scores = bench.table.column(bench.score, bench.dataset)
    rewards = bench.table.column(bench.reward, bench.dataset)
    ceiling = f"best score {scores.max():.2f}, score of the best reward {scores[rewards.argmax()]:.2f}"
    heads = [*(f"{q} queries" for q in options.queries), *(f"{s:,} s" for s in options.seconds)]
    title = f"{name}, {bench.dataset or 'cifar10'}, {options.seeds} seeds, mean ± standard error ({ceiling})"
    head = ("searcher", *heads, f"p against {options.searchers[0]} at {last}", "published", "a query")
    show(title, head, rows)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=COLUMNS, default="nb201")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--queries", type=_numbers, default=[20, 50, 100])
    parser.add_argument("--seconds", type=_numbers, default=[])
    parser.add_argument("--datasets", type=lambda text: text.split(","))
    parser.add_argument("--searchers", type=lambda text: text.split(","), default=ALL.split(","))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    space = space_of(options.table)
    with TemporaryDirectory() as folder:
        table = converted(options.table, Path(folder))
    for dataset in options.datasets or table.datasets or (None,):
        bench = Bench(table, space, dataset)
        for architecture in space.enumerate() if options.table == "nb201" else ():
            bench.prepare(architecture)  # before workers are forked, so that all share it
        table_of(bench, options.table, options)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
