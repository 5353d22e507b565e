"""What a search knows from an earlier one: NAS-Bench-201, CIFAR-10 first, then the two other datasets of the table.

    python benchmarks/learn_from.py [--seeds 20] [--queries 10,20,50] [--earlier 100]

Four searches a seed and dataset: cold, with the earlier search, with the same whose rewards are shuffled, as if it had
been about something unrelated, and with its rewards turned over, the worst that could be said. The protocol is that of
search_quality.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import show
from search_quality import Bench, nb201_table

from nas import space_of
from nas.report.statistics import mean_interval
from nas.types import EarlierRun

FIRST, THEN = "cifar10", ("cifar100", "ImageNet16-120")
HOW = ("cold", "earlier", "shuffled", "turned over")
_benches: dict[str, Bench] = {}
Scores = dict[tuple[str, str], list[float]]
"""By dataset and how a search begins: the score after each number of queries."""


def one_seed(task: tuple[int, int, list[int]]) -> Scores:
    """Return what the searches of one seed find, the earlier one of ``earlier`` queries."""
    seed, earlier, queries = task
    trials = _benches[FIRST].curve("predictor", earlier, seed).trials
    run = EarlierRun(FIRST, tuple(t.architecture for t in trials), tuple(t.reward for t in trials))
    order = np.random.default_rng(seed).permutation(len(trials))
    shuffled = EarlierRun("shuffled", run.architectures, tuple(run.rewards[i] for i in order))
    turned = EarlierRun("turned over", run.architectures, tuple(-reward for reward in run.rewards))
    found: Scores = {}
    for dataset in THEN:
        for how, known in zip(HOW, ((), (run,), (shuffled,), (turned,)), strict=True):
            curve = _benches[dataset].curve("predictor", max(queries), seed, earlier=known)
            found[dataset, how] = [curve.after(q) for q in queries]
    return found


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


def _lead(values: Sequence[float], cold: Sequence[float]) -> str:
    differences = [a - b for a, b in zip(values, cold, strict=True)]
    interval = mean_interval(differences)
    span = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return f"{np.mean(differences):+.2f}{span}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--queries", type=_numbers, default=[10, 20, 50])
    parser.add_argument("--earlier", type=int, default=100, help="queries of the earlier search")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    space = space_of("nb201")
    with TemporaryDirectory() as folder:
        table = nb201_table(Path(folder))
    for dataset in (FIRST, *THEN):
        _benches[dataset] = Bench(table, space, dataset)
    for architecture in space.enumerate():
        candidate = _benches[FIRST].prepare(architecture)  # before workers are forked, so that all share it
        assert not candidate.problem
    for dataset in THEN:
        _benches[dataset].prepare = _benches[FIRST].prepare
    tasks = [(seed, options.earlier, options.queries) for seed in range(options.seeds)]
    with multiprocessing.get_context("fork").Pool(options.workers) as pool:
        seeds = pool.map(one_seed, tasks, chunksize=1)
    rows = []
    for dataset in THEN:
        for how in HOW:
            columns = [[found[dataset, how][i] for found in seeds] for i in range(len(options.queries))]
            cold = [[found[dataset, HOW[0]][i] for found in seeds] for i in range(len(options.queries))]
            leads = [_lead(*pair) if how != HOW[0] else "" for pair in zip(columns, cold, strict=True)]
            rows.append((dataset, how, *map(_mean, columns), *leads))
    title = f"nb201 after {options.earlier} queries on {FIRST}, {options.seeds} seeds, mean ± standard error"
    heads = [*(f"{q} queries" for q in options.queries), *(f"over cold at {q} (95 %)" for q in options.queries)]
    show(title, ("dataset", "begins", *heads), rows)


if __name__ == "__main__":
    main()
