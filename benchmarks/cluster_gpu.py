"""Trials that share one GPU by fractions, and recovery from running out of its memory.

    python benchmarks/cluster_gpu.py [--trials 16] [--workers 4] [--cpu]

Needs a CUDA machine with ray; ``--cpu`` tries the script itself where there is none, with memory that only pretends to
run out. One row for trials that come one at a time with the whole GPU, one for ``--workers`` that share it, and one for
trials of which two do not fit together: they must run out of memory, be tried again alone, and all be done in the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import torch
from common import show

import nas
from nas.data.splits import load_splits
from nas.engine.loop import Ledger
from nas.training.recipe import Recipe
from nas.training.trainer import train
from nas.types import Job

SHARE = 0.6
"""The part of the GPU's memory that a trial of the last row takes."""


def trained(job: Job) -> float:
    """Train a NAS-Bench-201 network for an epoch on digits: as small as trials that leave a GPU half idle."""
    assert job.graph is not None
    return train(job.graph, load_splits("digits"), Recipe(batch_size=64), job.seed, 1).accuracy


def hungry(job: Job, cpu: bool) -> float:
    """Take :data:`SHARE` of the GPU's memory for a second."""
    if cpu:
        time.sleep(0.2)
        if not job.alone and job.index % 2:
            raise MemoryError("pretended")
        return 1.0
    total = torch.cuda.mem_get_info()[1]
    held = torch.empty(int(SHARE * total), dtype=torch.uint8, device="cuda")
    time.sleep(1.0)
    return float(held[0] >= 0)


@dataclass
class Usage:
    """Samples of the GPU's utilisation, in percent, while it is entered."""

    samples: list[float] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Usage:
        threading.Thread(target=self._sample, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def _sample(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while torch.cuda.is_available() and not self.done.wait(0.2):
            self.samples.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    def shown(self) -> str:
        """Return the mean, or that there is no GPU."""
        return f"{sum(self.samples) / len(self.samples):.0f}%" if self.samples else "no GPU"


def row(what: str, evaluator: object, trials: int, workers: int, cpu: bool) -> tuple[str, ...]:
    """Search once; return the row."""
    retried: Counter[str] = Counter()

    def observe(ledger: Ledger) -> None:
        retried.clear()
        retried.update(kind for kinds in ledger.retried.values() for kind in kinds)

    gpus = 0.0 if cpu else 1 / workers
    task = nas.Task("digits", (1, 8, 8), 10)
    start = time.perf_counter()
    with Usage() as usage:
        how = {"workers": workers, "gpus_per_trial": gpus, "observe": observe}
        result = nas.search("nb201", evaluator, "random", trials, task=task, width=16, depth=1, **how)
    seconds = time.perf_counter() - start
    status = ", ".join(f"{count} {name}" for name, count in sorted(Counter(t.status for t in result.trials).items()))
    again = ", ".join(f"{count} {kind}" for kind, count in retried.items()) or "none"
    return what, str(workers), f"{seconds:.1f}", f"{3600 * trials / seconds:,.0f}", usage.shown(), status, again


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--cpu", action="store_true")
    o = parser.parse_args(arguments)
    if not o.cpu and not torch.cuda.is_available():
        sys.exit("error: no CUDA device here; --cpu tries the script without one")
    rows = [
        row("trainings, one at a time", trained, o.trials, 1, o.cpu),
        row("trainings that share the device", trained, o.trials, o.workers, o.cpu),
        row(f"trials of {SHARE:.0%} of its memory", partial(hungry, cpu=o.cpu), o.trials, o.workers, o.cpu),
    ]
    head = ("what", "workers", "seconds", "trials/h", "GPU busy", "trials", "tried again")
    show("One GPU shared by trials on Ray" if not o.cpu else "The script, tried without a GPU", head, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
