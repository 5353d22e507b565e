"""How fast small networks train on this CPU: the engine against the plain loop of a tutorial, and the roofline.

    python benchmarks/train_speed.py [--rounds 5] [--seconds 4] [--batch 64] [--network nb201]

Workers are started once and take turns in one run, so all of them meet the same machine. Figures are medians of the
rounds. "Two workers" are two one-thread processes at the same time, the plain loop beside them has both cores in one
process. The roofline is what a wide convolution and a copy of 256 MiB reach in the same rounds: a training step
computes three times the multiply-accumulates of the forward pass, and moves each activation at least five times.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from train_loops import NETWORKS, RECIPE, Graph, ours, plain, random_images

from nas.graph import cost
from nas.training.device import ON_CPU

LEAST_RATIO = 1.5
MOVES = 5
PASSES = 3


class Worker:
    """A process that trains, or measures the machine, when it is told to."""

    def __init__(self, what: str, network: str, threads: int, batch: int) -> None:
        command = [sys.executable, __file__, "--worker", what, network, str(threads), str(batch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, seconds: float) -> None:
        """Let it work for ``seconds``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def rates(self) -> tuple[float, float]:
        """Return what it did in a second, and in a second of the CPU's time."""
        assert self.process.stdout is not None
        wall, cpu = self.process.stdout.readline().split()
        return float(wall), float(cpu)

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()


def work(what: str, network: str, threads: int, batch: int) -> None:
    """Answer each line of seconds with images (or GFLOP, or GB) a second."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = ROOFS[what]() if what in ROOFS else training(what, NETWORKS[network](), batch)
    for _ in range(3):
        next(steps)
    for line in sys.stdin:
        start, cpu, done = time.perf_counter(), time.process_time(), 0.0
        while time.perf_counter() - start < float(line):
            done += next(steps)
        print(done / (time.perf_counter() - start), done / (time.process_time() - cpu), flush=True)


def training(what: str, graph: Graph, batch: int) -> Iterator[float]:
    """Yield the images of each step."""
    recipe, device = replace(RECIPE, batch_size=batch), torch.device("cpu")
    images = random_images(20 * batch, graph)
    loop = ours(graph, images, recipe, device, ON_CPU) if what == "ours" else plain(graph, images, recipe, device)
    return (float(count) for count, _ in loop)


def products() -> Iterator[float]:
    """Yield the GFLOP of a convolution wide enough to be nothing but products.

    It has the kernels that training has: on some processors torch's matrix product comes from a slower library.
    """
    x = torch.randn(16, 256, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        while True:
            F.conv2d(x, weight, padding=1)
            yield 2 * 16 * 256 * 256 * 9 * 32 * 32 / 1e9


def copies() -> Iterator[float]:
    """Yield the GB that copies read and write."""
    a = torch.zeros(64 * 2**20)
    b = torch.empty_like(a)
    while True:
        b.copy_(a)
        yield 8 * a.numel() / 1e9


ROOFS: dict[str, Callable[[], Iterator[float]]] = {"products": products, "copies": copies}


def measure(network: str, batch: int, rounds: int, seconds: float) -> dict[str, tuple[float, float]]:
    """Return the median rates of every kind of work by name: in a second, and in a second of the CPU's time."""
    kinds = {
        "plain, 1 thread": [("plain", 1)],
        "ours, 1 thread": [("ours", 1)],
        "plain, 2 threads": [("plain", 2)],
        "ours, 2 threads": [("ours", 2)],
        "ours, two workers": [("ours", 1), ("ours", 1)],
        "GFLOP": [("products", 1)],
        "GB": [("copies", 1)],
    }
    workers = {name: [Worker(w, network, n, batch) for w, n in each] for name, each in kinds.items()}
    walls: dict[str, list[float]] = {name: [] for name in kinds}
    cpus: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, crew in workers.items():
            for worker in crew:
                worker.start(seconds)
            found = [worker.rates() for worker in crew]
            walls[name].append(sum(wall for wall, _ in found))
            cpus[name].append(statistics.mean(cpu for _, cpu in found))
    for worker in (worker for crew in workers.values() for worker in crew):
        worker.stop()
    return {name: (statistics.median(walls[name]), statistics.median(cpus[name])) for name in kinds}


def report(network: str, batch: int, rounds: int, seconds: float) -> bool:
    """Print one network's table and return whether it reaches the bars."""
    from common import show

    graph = NETWORKS[network]()
    total, found = cost(graph), measure(network, batch, rounds, seconds)
    compute = PASSES * 2 * total.macs / 1e9
    moved = MOVES * 4 * total.activations / 1e9
    bound = 1 / (compute / found["GFLOP"][1] + moved / found["GB"][1])
    base, mine = found["plain, 1 thread"], found["ours, 1 thread"]
    one, one_cpu = mine[0] / base[0], mine[1] / base[1]
    both = found["ours, two workers"][0] / found["plain, 2 threads"][0]
    rows = [
        (name, f"{wall:,.0f}", f"{wall / base[0]:.2f}", f"{cpu:,.0f}", f"{cpu / base[1]:.2f}")
        for name, (wall, cpu) in list(found.items())[:5]
    ]
    title = f"{network}: {total.macs / 1e6:.1f} M MACs, batch {batch}, {rounds} rounds of {seconds:g} s"
    head = ("what", "images/s", "times plain", "images a CPU second", "times plain")
    show(f"Training on the CPU, {title}", head, rows)
    print(f"one thread: {one:.2f} times the plain loop, {one_cpu:.2f} times in the CPU's own time, which others on the")
    print(f"machine disturb less; two workers: {both:.2f} times the plain loop with two threads")
    print(f"a CPU second: {found['GFLOP'][1]:.0f} GFLOP, {found['GB'][1]:.1f} GB; so at most {bound:,.0f} images")
    print(f"ours reaches {mine[1] / bound:.0%} of that, {mine[1] * compute:.0f} GFLOP")
    passed = min(one, both) >= LEAST_RATIO
    print(f"bar: at least {LEAST_RATIO} times: {'met' if passed else 'MISSED'}\n", flush=True)
    return passed


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    if sys.argv[1:2] == ["--worker"]:
        what, network, threads, batch = sys.argv[2:]
        work(what, network, int(threads), int(batch))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--network", choices=sorted(NETWORKS), help="one of the networks alone")
    arguments = parser.parse_args()
    names = [arguments.network] if arguments.network else list(NETWORKS)
    passed = [report(name, arguments.batch, arguments.rounds, arguments.seconds) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
