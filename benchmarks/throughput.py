"""What the toolkit itself costs: 10,000 trials of nasnet with an evaluator that does nothing, evolution, a journal.

    python benchmarks/throughput.py [--trials 10000]

Reports the time of all (sampling, keys, networks, costs, journal), memory, and the time of one ask at the end.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from tempfile import TemporaryDirectory

from common import show

import nas
from nas.api import space_of
from nas.run.seeds import SEARCH, stream
from nas.searchers import SEARCHERS, make_searcher
from nas.types import History, Job


def reward(job: Job) -> float:
    """Return a number that depends on the architecture and its cost."""
    return int(job.key[:8], 16) / 0xFFFFFFFF - (job.macs or 0) / 1e10


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = nas.search("nasnet", reward, trials=trials, name="throughput", results_dir=folder)
        seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [(f"{trials:,} trials, evolution", f"{seconds:.1f} s, {memory:.0f} MiB", "30 s, 500 MiB")]
    space, history = space_of("nasnet"), History(result.trials)
    for name in SEARCHERS:
        searcher = make_searcher(name, space, {})
        searcher.ask(history, stream(0, 0, 0, SEARCH))  # folds the history once; a search does so step by step
        times = []
        for i in range(200):
            rng = stream(1, i, 0, SEARCH)
            begin = time.perf_counter()
            searcher.ask(history, rng)
            times.append((time.perf_counter() - begin) * 1e3)
        rows.append(
            (f"one ask of {name} at {len(result.trials):,} trials", f"{statistics.median(times):.2f} ms", "5 ms")
        )
    show("Overhead of a search (nasnet, 5 nodes, width 16, depth 2)", ("what", "measured", "bar"), rows)


if __name__ == "__main__":
    main()
