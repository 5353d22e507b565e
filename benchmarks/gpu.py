"""Training on a GPU, all figures by one command that needs torch and numpy only; nothing has to be installed.

    python benchmarks/gpu.py [--data-dir FOLDER] [--quick] [--device cuda] [--only PART ...] [--out FILE]

Parts, each a table in Markdown on standard output:

- ``steps``: images/s of ResNet-20, the DARTS_V2 network (36 channels, 20 cells) and a network of NAS-Bench-201 in the
  plain loop of a tutorial, and here with each switch: eager, bfloat16, captured.
- ``children``: networks of NAS-Bench-201's size trained for 12 epochs by the hour, one at a time and packed, several
  processes on one GPU.
- ``accuracy``: ResNet-20 and a good cell under the recipe ``proxy``; on CIFAR-10 with ``--data-dir``, else made data.
- ``memory``: predicted and measured peaks of 30 networks.

``--device cpu --quick`` runs the same code with sizes of seconds: it checks the logic, its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from train_loops import RECIPE, Graph, nb201_network, ours, plain, random_images

from nas.core.values import Task
from nas.data.splits import ImageSet, Splits, load_splits
from nas.errors import EvaluationError
from nas.graph import cost
from nas.space.networks import NETWORKS
from nas.training.backend_tuning import choose
from nas.training.device import BackendOptions
from nas.training.memory_estimate import training_memory
from nas.training.published_recipes import named_recipe
from nas.training.train_step import TrainStep
from nas.training.trainer import train
from search_spaces.genotypes.published import DARTS_V2
from search_spaces.skeletons.published import darts_cifar

GOOD_CELL = ("nor_conv_3x3", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1")
"""Among the best of NAS-Bench-201 on CIFAR-10: 94.4 % after 200 epochs (arXiv:2001.00326, table 5)."""
CIFAR_TRAIN = 45_000


@dataclass(frozen=True)
class Sizes:
    """How much is done: images, seconds of one measurement, epochs, processes side by side, networks."""

    batch: int = 256
    seconds: float = 5.0
    images: int = 25_000
    epochs: int = 12
    packed: tuple[int, ...] = (1, 2, 4, 8)
    width: int = 16
    depth: int = 5
    darts: tuple[int, int] = (36, 6)
    memory: int = 30


QUICK = Sizes(8, 0.05, 64, 1, (1, 2), 2, 1, (4, 1), 3)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print(f"### {title}\n\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def describe(device: torch.device) -> str:
    """Return the device, torch's version and the date."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return f"{name}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"


def wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(steps: Iterator[tuple[int, object]], device: torch.device, seconds: float) -> float:
    """Return images a second, the first steps left out: they allocate, choose kernels and capture."""
    for _ in range(8):
        next(steps)
    wait(device)
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            images += next(steps)[0]
        wait(device)
    return images / (time.perf_counter() - start)


def networks(sizes: Sizes) -> dict[str, Graph]:
    """Return the networks that steps are timed on."""
    task = Task("cifar10", (3, 32, 32), 10)
    return {
        "ResNet-20": NETWORKS["resnet20_cifar"].build((3, 32, 32), 10),
        "DARTS_V2": darts_cifar(DARTS_V2.cells(), task, *sizes.darts),
        "nb201": nb201_network(sizes.width, sizes.depth, 32, GOOD_CELL),
    }


def switch_sets(device: torch.device) -> dict[str, BackendOptions]:
    """Return the switches that are compared."""
    found = {"eager": BackendOptions(), "eager, NCHW": BackendOptions(channels_last=False)}
    if device.type == "cuda":
        found["captured"] = BackendOptions(capture=True)
        if torch.cuda.get_device_capability(device) >= (8, 0):
            found["bfloat16"] = BackendOptions(bf16=True)
            found["bfloat16, captured"] = BackendOptions(bf16=True, capture=True)
            found["bfloat16, captured, NCHW"] = BackendOptions(bf16=True, capture=True, channels_last=False)
    return found


def steps(device: torch.device, sizes: Sizes, data: Splits | None) -> None:
    """Time steps of the plain loop and of each set of switches."""
    recipe, rows = replace(RECIPE, batch_size=sizes.batch), []
    torch.backends.cudnn.benchmark = True
    for name, graph in networks(sizes).items():
        images = random_images(max(sizes.images // 5, 2 * sizes.batch), graph)
        workers = min(8, os.cpu_count() or 1) if device.type == "cuda" else 0
        base = rate(plain(graph, images, recipe, device, workers), device, sizes.seconds)
        rows.append((name, "plain loop", f"{base:,.0f}", "1.0", ""))
        for how, switches in switch_sets(device).items():
            found = rate(ours(graph, images, recipe, device, switches), device, sizes.seconds)
            work = f"{6 * cost(graph).macs * found / 1e12:.2f}"
            rows.append((name, how, f"{found:,.0f}", f"{found / base:.1f}", work))
    table(f"Steps of {sizes.batch} images", ("network", "how", "images/s", "times plain", "TFLOP/s"), rows)


def toy(count: int, seed: int = 0) -> ImageSet:
    """Return images of 32 x 32 in ten classes that a network can learn: noise with a bright square, placed by class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 10
    pixels = rng.integers(0, 160, (count, 3, 32, 32)).astype(np.uint8)
    for i, label in enumerate(labels):
        row, column = 8 + 8 * (label % 2), 3 * label + 1
        pixels[i, label % 3, row : row + 4, column : column + 4] += 80
    return ImageSet(pixels, labels)


def made(sizes: Sizes, validation: int = 100) -> Splits:
    """Return splits of made images."""
    return Splits("made", toy(sizes.images), toy(validation, 1), lambda: toy(validation, 2), 10)


def child(device: torch.device, sizes: Sizes, seed: int) -> float:
    """Train one network of NAS-Bench-201's size and return its seconds."""
    graph = nb201_network(sizes.width, sizes.depth, 32, GOOD_CELL)
    recipe = replace(named_recipe("nb201-12"), batch_size=sizes.batch, epochs=sizes.epochs)
    start = time.perf_counter()
    train(graph, made(sizes), recipe, seed, device=str(device), threads=1)
    return time.perf_counter() - start


def launch(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a process that trains when told to."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def children(device: torch.device, sizes: Sizes, data: Splits | None) -> None:
    """Count the trainings an hour, one process after another and several side by side, their start left out."""
    rows = []
    for packed in sizes.packed:
        command = [sys.executable, __file__, "--child", str(device), "quick" if sizes is QUICK else "full"]
        crew = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(packed)
        ]
        for process in crew:
            assert process.stdout is not None
            process.stdout.readline()  # it has trained one network: kernels are loaded and chosen
        start = time.perf_counter()
        results = together(crew)
        seconds = time.perf_counter() - start
        assert all(float(result) > 0 for result in results)
        rows.append((packed, f"{seconds:.1f}", f"{3600 * packed / seconds:,.0f}"))
    title = f"Children of {sizes.images:,} images and {sizes.epochs} epochs"
    table(title, ("processes", "seconds", "children/GPU-hour"), rows)


def together(crew: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let all processes begin, then wait for each."""
    for process in crew:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in crew]


def be_child(device: str, size: str) -> None:
    """Train one network to warm up, say so, wait for a line, train another and print its seconds."""
    sizes = QUICK if size == "quick" else Sizes()
    child(torch.device(device), replace(sizes, epochs=1), 0)
    print("ready", flush=True)
    sys.stdin.readline()
    print(child(torch.device(device), sizes, 1), flush=True)


def accuracy(device: torch.device, sizes: Sizes, data: Splits | None) -> None:
    """Train two networks under ``proxy`` and measure them on the test split."""
    splits, rows = data or made(sizes, 1_000 if sizes is not QUICK else 64), []
    recipe = named_recipe("proxy") if sizes is not QUICK else replace(named_recipe("proxy"), batch_size=8, epochs=1)
    for name, graph in networks(sizes).items():
        if name == "DARTS_V2":
            continue
        for epochs in (recipe.epochs, 2 * recipe.epochs):
            result = train(
                graph,
                splits,
                recipe,
                0,
                epochs,
                train_on=("train", "validation"),
                measure_on="test",
                device=str(device),
            )
            speed = f"{result.images_per_second:,.0f}"
            rows.append((name, epochs, f"{result.accuracy:.2f} %", f"{result.seconds:.1f}", speed))
    what = splits.name if data else "made images, not CIFAR-10: accuracies mean nothing"
    table(f"Accuracy under proxy ({what})", ("network", "epochs", "test", "seconds", "images/s"), rows)


def memory(device: torch.device, sizes: Sizes, data: Splits | None) -> None:
    """Compare predicted peaks with what torch's allocator reached in float32."""
    names = [name for name in NETWORKS if cost(NETWORKS[name].build()).params < 3e7][: 2 * sizes.memory]
    rows, errors = [], []
    for name in names:
        graph = NETWORKS[name].build()
        predicted = training_memory(graph, RECIPE, 8)
        measured = peak(graph, device, 8)
        if measured is not None:
            errors.append(predicted / measured - 1)
            rows.append((name, f"{predicted / 2**20:,.0f}", f"{measured / 2**20:,.0f}", f"{errors[-1]:+.0%}"))
        if len(rows) == sizes.memory or (sizes is QUICK and device.type != "cuda"):
            break
    within = sum(abs(e) <= 0.2 for e in errors)
    head = ("network, batch 8", "predicted MiB", "measured MiB", "error")
    table(f"Peaks of memory: {within} of {len(errors)} within 20 %", head, rows)


def peak(graph: Graph, device: torch.device, batch: int) -> int | None:
    """Return the greatest bytes of tensors in three steps; None where there is no such figure or not enough memory."""
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    try:
        # without trying out kernels, whose workspaces depend on the device
        torch.backends.cudnn.benchmark = False
        train_step = TrainStep(graph, RECIPE, device, BackendOptions())
        images = torch.randn(batch, *graph.input_shape).to(device, memory_format=torch.channels_last)
        labels = torch.randint(10, (batch,)).to(device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(3):
            train_step.step(images, labels)
        wait(device)
    except torch.OutOfMemoryError:
        return None
    return torch.cuda.max_memory_allocated(device) - before


PARTS: dict[str, Callable[[torch.device, Sizes, Splits | None], None]] = {
    "steps": steps,
    "children": children,
    "accuracy": accuracy,
    "memory": memory,
}


def main() -> int:
    """Run the parts asked for and return 1 where one of them failed."""
    if sys.argv[1:2] == ["--child"]:
        be_child(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data-dir", help="folder of CIFAR-10's binary files")
    parser.add_argument("--quick", action="store_true", help="sizes of seconds")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", help="write the tables to this file too")
    arguments = parser.parse_args()
    device, sizes = torch.device(arguments.device), QUICK if arguments.quick else Sizes()
    if arguments.out:
        with Path(arguments.out).open("w", encoding="utf-8") as file, redirect_stdout(file):
            return run(device, sizes, arguments)
    return run(device, sizes, arguments)


def run(device: torch.device, sizes: Sizes, arguments: argparse.Namespace) -> int:
    """Run the parts one after another; one that fails does not keep the others from running."""
    data = load_splits("cifar10", arguments.data_dir) if arguments.data_dir else None
    print(f"{describe(device)}\n\nswitches chosen: {choose(device).to_json()}\n", flush=True)
    failed = False
    for name in arguments.only:
        try:
            PARTS[name](device, sizes, data)
        except (EvaluationError, RuntimeError) as error:
            failed = True
            print(f"part '{name}' failed: {error}\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
