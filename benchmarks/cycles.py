"""Starts and ends a Ray with a tiny search on it COUNT times in one process: ``python cycles.py FOLDER COUNT``.

Prints, as JSON, what there is more of at the end than after the first cycles, by kind, the growth of this process's
memory per cycle in KiB, and the seconds of a cycle.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path

import common  # noqa: F401  (the toolkit of this checkout)
from nodes import below

from nas.engine.executor_factory import evaluator_of
from nas.executors.ray.cluster import disconnect
from nas.executors.ray.executor import RayExecutor
from nas.executors.ray.worker_pool import WorkerResources
from nas.testing.searches import SearcherUnderTest, run_search
from nas.testing.spaces import FLAT

WARM = 3
"""Cycles after which caches are filled."""
EVALUATOR = '''"""An evaluator of no time."""

from nas.evaluators import register_evaluator


@register_evaluator("quick")
def quick(job):
    "Rewards the key."
    return int(job.key[:8], 16)
'''


def cycle(plugin: Path) -> None:
    """Start Ray, search, end it."""
    make = partial(evaluator_of, {"evaluator": "quick", "plugins": [str(plugin)]}, {}, {})
    executor = RayExecutor(WorkerResources(workers=2, wants_gpu=False), make)
    found = run_search(SearcherUnderTest.of("random", None, None).make, FLAT, 4, lag=2, executor=executor)
    assert len(found.evaluated_trials) == 4, found
    executor.close()
    disconnect()


def held() -> dict[str, set[str]]:
    """Return what this process and the machine hold on to."""
    targets = [_target(descriptor) for descriptor in os.listdir("/proc/self/fd")]
    return {
        "processes": {str(pid) for pid in below(os.getpid())},
        "shared memory": set(os.listdir("/dev/shm")),
        "folders": {path.name for path in Path("/tmp").glob(f"nas-ray-{os.getpid()}-*")},
        "threads": set(os.listdir("/proc/self/task")),
        "open files": {target for target in targets if target.startswith("/")},
        "sockets": {target for target in targets if target.startswith("socket:")},
    }


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def main() -> None:
    """Run the cycles and print what they left."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    plugin = folder / "quick.py"
    plugin.write_text(EVALUATOR)
    start = time.monotonic()
    for number in range(count):
        cycle(plugin)
        if number == WARM - 1:
            before, memory = held(), _memory()
    more = {what: len(things) - len(before[what]) for what, things in held().items()}
    kib = (_memory() - memory) / (count - WARM) / 1024
    print(json.dumps({"more": more, "kib": kib, "seconds": (time.monotonic() - start) / count}))


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
