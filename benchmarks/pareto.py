"""How much of the true Pareto front nsga2 finds on NAS-Bench-201 with measured latencies, beside random search.

    python benchmarks/pareto.py [--seeds 30] [--queries 500 1000] [--devices pixel3 raspi4 eyeriss fpga]

A search maximises val_acc_12 of CIFAR-10 and minimises a device's latency. Its score is the hypervolume of what it
evaluated as a share of that of all 15,625 cells, both values scaled to [0, 1] over the true front, with the front's
nadir as reference: its worst accuracy and its worst latency. Points beyond the nadir count nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import shared_data, show
from search_quality import nb201_table

from nas import space_of
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.loop import Ledger, Loop, Settings
from nas.evaluators.table import TableEvaluator
from nas.executors.inline import InlineExecutor
from nas.runs.journal import MemoryJournal
from nas.searchers import make_searcher
from nas.searchers.pareto import Floats, hypervolume, non_dominated
from nas.space import Space
from nas.space.from_table import table_space
from nas.tables.benchmark_table import Table
from nas.types import Architecture, Candidate, Context, Trial

REWARD, DATASET, EPOCHS = "val_acc_12", "cifar10", 12
DEVICES = ("pixel3", "raspi4", "eyeriss", "fpga")
"""Those of HW-NAS-Bench; pixel3 and raspi4 have near-zero latencies for disconnected cells."""


@dataclass(frozen=True)
class Truth:
    """The true front of a device: ``low`` and ``high`` are its best and worst values, ``volume`` its hypervolume."""

    low: Floats
    high: Floats
    volume: float
    size: int

    def share(self, points: Floats) -> float:
        """Return the hypervolume of points (N, 2) of -accuracy and latency as a share of the true front's."""
        return _volume(points, self.low, self.high) / self.volume


class ParetoBench:
    """NAS-Bench-201 with the latencies of all devices as columns; keys are computed once for all searches."""

    def __init__(self, folder: Path) -> None:
        table, latency = nb201_table(folder), np.load(shared_data() / "nb201_latency.npz")
        measured = latency["latency_ms"].astype(np.float64)
        columns = {f"latency_{name}": measured[:, i] for i, name in enumerate(latency["devices"].tolist())}
        self.table: Table = replace(table, columns={**table.columns, **columns})
        # the decisions of nb201 without its cells, which take longer to build than a search takes for all else
        self.space: Space = table_space(self.table)
        self._cells: Space = space_of("nb201")
        self._prepared: dict[Architecture, Candidate] = {}

    def prepare(self, architecture: Architecture) -> Candidate:
        """Return the key of an architecture's cell."""
        if architecture not in self._prepared:
            cell = Architecture(self._cells.name, architecture.decisions)
            self._prepared[architecture] = Candidate(self._cells.key(cell))
        return self._prepared[architecture]

    def truth(self, device: str) -> Truth:
        """Return the front of the whole table."""
        values = (-self.table.column(REWARD, DATASET), self.table.column(f"latency_{device}", None))
        points = np.column_stack(values)
        front = points[non_dominated(points)]
        low, high = front.min(axis=0), front.max(axis=0)
        return Truth(low, high, _volume(front, low, high), len(np.unique(front, axis=0)))

    def search(self, searcher: str, args: Mapping[str, Any], device: str, queries: int, seed: int) -> list[Trial]:
        """Return the evaluated trials of one search."""
        column, ledger = f"latency_{device}", Ledger()
        evaluator = TableEvaluator(self.table, REWARD, DATASET, [column])
        given = {"objectives": column, **args} if searcher == "nsga2" else args
        made = make_searcher(searcher, self.space, given, Context(self.prepare, EPOCHS))
        settings = Settings(DEFAULT_TASK, queries, EPOCHS, seed)
        Loop(made, self.prepare, InlineExecutor(evaluator), MemoryJournal(), ledger, settings).run()
        return [t for t in ledger.trials if t.status == "done"]

    def shares(
        self, searcher: str, device: str, queries: Sequence[int], seeds: Sequence[int], **args: Any
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the hypervolume's share (seeds, queries) after each number of queries, of searches of the longest."""
        truth, column = self.truth(device), f"latency_{device}"
        rows = []
        for seed in seeds:
            trials = self.search(searcher, args, device, max(queries), seed)
            points = np.array([(-t.metrics.reward, t.metrics.values[column]) for t in trials if t.metrics])
            rows.append([truth.share(points[:count]) for count in queries])
        return np.array(rows)


def _volume(points: Floats, low: Floats, high: Floats) -> float:
    return hypervolume((points - low) / (high - low), (1.0, 1.0))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--queries", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--devices", nargs="+", default=list(DEVICES))
    options = parser.parse_args()
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        bench = ParetoBench(Path(folder))
    rows = []
    for device in options.devices:
        truth = bench.truth(device)
        for searcher in ("random", "nsga2"):
            found = 100 * bench.shares(searcher, device, options.queries, range(options.seeds))
            errors = found.std(axis=0, ddof=1) / np.sqrt(len(found))
            cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in zip(found.mean(axis=0), errors, strict=True)]
            rows.append((device, truth.size, f"{-truth.high[0]:.2f} %, {truth.high[1]:.3g} ms", searcher, *cells))
    title = f"Share of the true front's hypervolume, %: {REWARD} against latency, {options.seeds} seeds"
    head = ("device", "front", "reference", "searcher", *(f"{count} queries" for count in options.queries))
    show(title, head, rows)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
