"""From a search on CIFAR-10 to a network for larger images, end to end, beside handcrafted networks.

    python benchmarks/transfer.py --cifar DIR --images DIR [--image-size 64] [--home DIR] [--macs 12M] [--epochs 8]
        [--trials 12] [--search-images 2000] [--train-images N] [--workers 2] [--seed 0]

1. ``nas search``: NASNet cells on a part of CIFAR-10.
2. ``nas transfer --max-macs``: the found cells on the skeleton for larger images, with an auxiliary head where there
   is room, an average of weights, and data-parallel workers on Ray. At half of the epochs the command is killed with
   SIGKILL; ``nas resume`` goes on.
3. The same command, recipe and budget for ResNet-18, MobileNetV2 and EfficientNet-B0, scaled by their widths to as many
   MACs; nobody kills those.

``--cifar`` holds CIFAR-10's binary files, ``--images`` train/CLASS/FILE and val/CLASS/FILE (Imagenette at 64 x 64 where
the table says nothing else). Runs lie in ``--home``; what is finished there is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, show

from nas.errors import NasError
from nas.runs.journal import read
from nas.workflows.train.view import load_training

HANDCRAFTED = ("resnet18", "mobilenet_v2", "efficientnet_b0")
RECIPE = {
    "base": "imagenet-mobile",
    "schedule": "one-cycle",
    "pct_start": 0.25,
    "learning_rate": 0.1,
    "batch_size": 64,
    "crop_scale": [0.35, 1.0],
    "color_jitter": 0.0,
    "ema": 0.999,
    "test_resize": 0,
    "test_size": 0,
}
"""imagenet-mobile for few epochs: one cycle, crops that show more of an image, a shorter average."""
HEAD = ("network", "size", "params", "MACs", "top-1 %", "top-5 %", "s of training", "forecast s", "began")


@dataclass(frozen=True)
class Plan:
    """Where everything lies and how long it is trained."""

    home: Path
    cifar: Path
    images: Path
    image_size: int
    macs: str
    epochs: int
    trials: int
    search_images: int
    train_images: int | None
    workers: int
    seed: int

    def nas(self, *arguments: Any, wait: bool = True) -> subprocess.Popen[str]:
        """Start a command of the toolkit; its output goes to the file ``log``."""
        command = [sys.executable, str(ROOT / "run_search.py"), *map(str, arguments), "--results-dir", str(self.home)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log = (self.home / "log").open("a", encoding="utf-8")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment)
        if wait and process.wait():
            sys.exit(f"error: {' '.join(map(str, arguments))} ended with {process.returncode}; see {self.home / 'log'}")
        return process

    def search(self) -> None:
        """Search for cells on CIFAR-10."""
        if not (self.home / "cell" / "best" / "architecture.json").is_file():
            space = ("--space", "nasnet", "--space-arg", "nodes=3", "--width", 8, "--depth", 1)
            data = (
                "--dataset",
                "cifar10",
                "--data-dir",
                self.cifar,
                "--train-images",
                self.search_images,
                "--validation-images",
                1000,
            )
            length = ("--trials", self.trials, "--epochs", 2, "--final-seeds", 0, "--baseline", "none")
            self.nas("search", *space, *data, *length, "--seed", self.seed, "--name", "cell")

    def train(self, target: str, name: str, kill: bool) -> None:
        """Train a network, or go on with it; ``kill`` ends the command halfway and resumes it."""
        folder = self.home / name
        if folder.is_dir():
            self.nas("resume", name)
            return
        recipe = self.home / "recipe.json"
        recipe.write_text(json.dumps(RECIPE))
        data = ["--dataset", "folder", "--data-dir", self.images, "--image-size", self.image_size]
        data += [] if self.train_images is None else ["--train-images", self.train_images]
        how = ["--recipe", recipe, "--epochs", self.epochs, "--workers", self.workers, "--threads", 1]
        how += ["--max-macs", self.macs, "--seed", self.seed, "--name", name]
        process = self.nas("transfer", target, *data, *how, wait=not kill)
        if kill:
            self._kill_halfway(process, folder)
            self.nas("resume", name)

    def _kill_halfway(self, process: subprocess.Popen[str], folder: Path) -> None:
        while epochs_of(folder) < max(1, self.epochs // 2):
            if process.poll() is not None:
                sys.exit(f"error: the training ended before it could be killed; see {self.home / 'log'}")
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def row(self, name: str) -> tuple[object, ...]:
        """Return the row of a training."""
        view = load_training(self.home / name)
        found, network = view.trained, view.network
        if found is None:
            sys.exit(f"error: '{name}' is not finished; see {self.home / 'log'}")
        size = " x ".join(str(network[k]) for k in ("width", "depth") if k in network)
        top5 = "" if found["top5"] is None else f"{found['top5']:.2f}"
        began = f"{view.begins} times" if view.begins > 1 else "once"
        numbers = f"{network['params']:,}", f"{network['macs']:,}", f"{found['top1']:.2f}", top5
        label = f"cell found on CIFAR-10 ({network['name']})" if name == "found" else network["name"]
        return label, size, *numbers, f"{view.seconds:.0f}", f"{view.forecast or 0:.0f}", began


def epochs_of(folder: Path) -> int:
    """Return how many epochs the journal of a training holds."""
    try:
        return sum(event["event"] == "epoch" for event in read(folder / "journal.jsonl"))
    except NasError:
        return 0


def main() -> int:
    """Do all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=Path("results/transfer"))
    parser.add_argument("--macs", default="12M")
    parser.add_argument("--image-size", type=int, default=64)
    for name, default in (("epochs", 8), ("trials", 12), ("search-images", 2000), ("workers", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--train-images", type=int)
    options = parser.parse_args()
    plan = Plan(**{**vars(options), "home": options.home.resolve()})
    plan.home.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    plan.search()
    searched = time.monotonic() - start
    plan.train("cell", "found", kill=True)
    for name in HANDCRAFTED:
        plan.train(name, name, kill=False)
    images = "all" if plan.train_images is None else f"{plan.train_images:,}"
    budget = f"{plan.epochs} epochs of {images} images at {plan.image_size} x {plan.image_size}, {plan.workers} workers"
    show(f"Transfer (at most {plan.macs} MACs, {budget})", HEAD, [plan.row(name) for name in ("found", *HANDCRAFTED)])
    reads = load_training(plan.home / "found").test_reads
    spent = time.monotonic() - start
    print(f"search {searched:.0f} s, all {spent:.0f} s; the killed run read the test split {reads} time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
