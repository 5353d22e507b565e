"""A real search inline and on two Ray workers: the same trials and rewards, the time of each, the use of workers.

    python benchmarks/cluster_search.py --dataset fashion-mnist [--data-dir DIR] [--trials 16] [--workers 2]

NASNet cells (3 nodes, width 8, depth 1) by evolution with a lag of 4, one thread a training, 4,000 training and 1,000
validation images, 2 epochs, seed 0; through the command line, one after the other, the inline search first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT, show

from nas.runs.journal import read

SEARCH = (
    "--space=nasnet --space-arg=nodes=3 --width=8 --depth=1 --searcher=evolution --searcher-arg=population=6",
    "--searcher-arg=tournament=3 --lag=4 --threads=1 --train-images=4000 --validation-images=1000 --epochs=2",
    "--baseline=none --final-seeds=0 --seed=0",
)


def found(journal: Path) -> list[tuple[Any, ...]]:
    """Return what a search proposed and what came of it, in the order of its trials."""
    events = read(journal)
    keys = {e["index"]: e["key"] for e in events if e["event"] == "asked"}
    results = {e["index"]: (e["reward"], e["values"]) for e in events if e["event"] == "done"}
    return [(index, keys[index], results.get(index)) for index in sorted(keys)]


def search(name: str, results: Path, settings: list[str]) -> tuple[float, float | None, list[tuple[Any, ...]]]:
    """Run a search; return its seconds, the busy share of its workers' time, and what it found."""
    command = [sys.executable, str(ROOT / "run_search.py"), "search", f"--results-dir={results}", f"--name={name}"]
    start = time.perf_counter()
    subprocess.run([*command, *" ".join(SEARCH).split(), *settings], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    status = json.loads((results / name / "status.json").read_text())
    return seconds, status["utilisation"], found(results / name / "journal.jsonl")


def main() -> int:
    """Measure and print the table; exit code 1 where the searches differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    o = parser.parse_args()
    data = [f"--dataset={o.dataset}", f"--trials={o.trials}", *([f"--data-dir={o.data_dir}"] if o.data_dir else [])]
    rows, all_found = [], []
    with TemporaryDirectory() as folder:
        for name, settings in (("inline", []), ("ray", ["--executor=ray", f"--workers={o.workers}"])):
            seconds, busy, trials = search(name, Path(folder), [*data, *settings])
            all_found.append(trials)
            shown = "" if busy is None else f"{busy:.0%}"
            rows.append((name, "1" if name == "inline" else str(o.workers), f"{seconds:.1f}", shown))
    same = all_found[0] == all_found[1]
    show(f"One search of {o.trials} trials on {o.dataset}", ("--executor", "workers", "seconds, all", "busy"), rows)
    print(f"proposals, rewards and losses of all trials {'are equal to the last bit' if same else 'DIFFER'}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
