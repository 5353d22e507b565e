"""What the toolkit itself costs: 10,000 trials of nasnet with an evaluator that does nothing, evolution, a journal.

    python benchmarks/throughput.py [--trials 10000] [--command-line]

Reports the time of all (sampling, keys, networks, costs, journal), memory, and for every searcher the time of one ask
at the end with the results of all trials, and of folding them again, as a resumed search does without a cache.
``--command-line``: instead the time and memory of ``nas search`` and ``nas report``, with all that they write.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import ROOT, show

import nas
from nas import space_of
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.prepare import cached, make_prepare
from nas.engine.random_streams import SEARCH, stream
from nas.searchers import SEARCHERS, make_searcher
from nas.types import Context, History, Job


def reward(job: Job) -> float:
    """Return a number that depends on the architecture and its cost."""
    return int(job.key[:8], 16) / 0xFFFFFFFF - (job.macs or 0) / 1e10


BARS = {"reinforce": "60 ms", "predictor": "1,000 ms", "optuna:tpe": "as measured"}


def one_ask(name: str, history: History, asks: int) -> tuple[str, str, str]:
    """Return the row of a searcher: the median time of an ask, and the time of the first, which folds the history."""
    space = space_of("nasnet")
    context = Context(cached(make_prepare(space, DEFAULT_TASK, None, None)), 1, len(history))
    searcher = make_searcher(name, space, {}, context)
    times = []
    for i in range(asks + 1):
        rng = stream(1, i, 0, SEARCH)
        begin = time.perf_counter()
        searcher.ask(history, rng)
        times.append((time.perf_counter() - begin) * 1e3)
    measured = f"{statistics.median(times[1:]):.2f} ms; the first, with the fold, {times[0] / 1e3:.2f} s"
    return f"one ask of {name} at {len(history):,} trials", measured, BARS.get(name, "10 ms")


PLUGIN = """
from nas.evaluators import register_evaluator

@register_evaluator("hash")
def hash_of(job):
    return int(job.key[:8], 16) / 0xFFFFFFFF - (job.macs or 0) / 1e10
"""


def command(words: list[str], folder: str) -> tuple[float, float]:
    """Run ``nas`` and return its seconds and the most MiB that it had."""
    start = time.perf_counter()
    words = [sys.executable, str(ROOT / "run_search.py"), *words]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def command_line(trials: int) -> None:
    """Measure the commands and print the table."""
    rows = []
    with TemporaryDirectory() as folder:
        (Path(folder) / "plugin.py").write_text(PLUGIN)
        own = ["--plugin", "plugin.py"]
        search = ["search", "--name", "m", "--trials", str(trials), "--space", "nasnet", "--searcher", "evolution"]
        search += ["--evaluator", "hash", "--baseline", "none"]
        for words, what in ((search, "search"), (["report", "m"], "report")):
            seconds, memory = command([*words, *own], folder)
            rows.append((f"nas {what}, {trials:,} trials, evolution", f"{seconds:.1f} s, {memory:.0f} MiB", "200 MiB"))
    show("The command line (nasnet, 5 nodes, width 16, depth 2)", ("what", "measured", "bar"), rows)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--command-line", action="store_true", help="measure the commands instead")
    options = parser.parse_args()
    trials = options.trials
    if options.command_line:
        command_line(trials)
        return
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = nas.search("nasnet", reward, "evolution", trials=trials, name="throughput", results_dir=folder)
        seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [(f"{trials:,} trials, evolution", f"{seconds:.1f} s, {memory:.0f} MiB", "30 s, 500 MiB")]
    history = History(result.trials)
    rows += [one_ask(name, history, 50) for name in [*SEARCHERS, "optuna:tpe"]]
    show("Overhead of a search (nasnet, 5 nodes, width 16, depth 2)", ("what", "measured", "bar"), rows)


if __name__ == "__main__":
    main()
