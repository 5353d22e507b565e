"""How long the registered networks take: building and costing all of them, and ``inspect resnet152`` as a process.

Run ``python benchmarks/networks.py``; it prints one table and ends with 1 where a bar is missed. Figures of all
networks together are medians of five passes after a first one that is shown by itself; the process is started again for
each of its five.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from common import ROOT, show

from nas.graph import cost
from nas.space.networks import NETWORKS

REPEATS = 5
MOST_COST_SECONDS = 0.5
MOST_INSPECT_SECONDS = 1.0
INSPECT = (sys.executable, str(ROOT / "run_search.py"), "inspect", "resnet152")


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that one call of ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def inspect() -> None:
    """Run ``inspect resnet152`` as a user does."""
    subprocess.run(INSPECT, cwd=ROOT, check=True, capture_output=True)


def main() -> int:
    """Measure, print the table, and return 1 where a bar is missed."""
    infos = [NETWORKS[name] for name in NETWORKS]
    first_build = seconds(lambda: [info.build() for info in infos])
    graphs = [info.build() for info in infos]
    first_cost = seconds(lambda: [cost(graph) for graph in graphs])
    build = statistics.median(seconds(lambda: [info.build() for info in infos]) for _ in range(REPEATS))
    costs = statistics.median(seconds(lambda: [cost(graph) for graph in graphs]) for _ in range(REPEATS))
    process = statistics.median(seconds(inspect) for _ in range(REPEATS))
    rows = [
        ("registered networks", f"{len(graphs)} ({sum(len(g.nodes) for g in graphs):,} nodes)", ""),
        ("building all", f"{build:.3f} s (the first time {first_build:.3f} s)", ""),
        ("costs of all", f"{costs:.3f} s (the first time {first_cost:.3f} s)", f"{MOST_COST_SECONDS} s"),
        ("building and costs of all, the first time", f"{first_build + first_cost:.3f} s", ""),
        ("`inspect resnet152` as a process", f"{process:.3f} s", f"{MOST_INSPECT_SECONDS:.0f} s"),
    ]
    show("Named networks", ("what", "measured", "bar"), rows)
    return int(first_cost > MOST_COST_SECONDS or process > MOST_INSPECT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
