"""The input pipeline alone: batched augmentation of resident images against a per-sample DataLoader.

    python benchmarks/input_pipeline.py [--threads 1 2] [--repeats 7] [--folder DIR]

The same work on both sides: an epoch of shuffled 3x32x32 images in batches of 128, each padded by 4 and cropped at
random, mirrored or not, normalised, float32. The other side is what torchvision's CIFAR training scripts do: a Dataset
of pillow images, torchvision's RandomCrop, RandomHorizontalFlip, ToTensor and Normalize, a DataLoader. Ours has N
threads, theirs N persistent workers or none, whichever is faster. Epochs of both take turns in one process; ratios are
of medians. ``--folder``: a folder of image files in ImageNet's layout, streamed with random-resized crops of 224, by
both sides too. Run it on an idle machine: threads that wait for each other suffer most from others on their cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import show
from PIL import Image
from torch.utils.data import DataLoader

from nas.data.augment import Augmentation, batch, draw, finish
from nas.data.image_folder import open_folder
from nas.data.streaming import IMAGENET_DEVIATION, IMAGENET_MEAN, ImageStream

COUNT, BATCH, SIDE, PADDING = 10_240, 128, 32, 4
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CROP = 224
BAR = 8
Epoch = Callable[[], object]


def torchvision_parts() -> tuple[Any, Any]:
    """Return torchvision's transforms and datasets, also beside a torch that its compiled operators do not fit."""
    try:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a torchvision with its own operators has defined them already
    try:
        import torchvision
    except ImportError:
        sys.exit("error: this comparison needs torchvision: pip install --no-deps torchvision")
    return torchvision.transforms, torchvision.datasets


class Samples:
    """A Dataset as torchvision's CIFAR10 is: an array of images, each through pillow and the transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def exhaust(batches: Iterator[Any]) -> None:
    """Take all batches, as a training does."""
    for _ in batches:
        pass


def ours(images: np.ndarray, labels: np.ndarray) -> Epoch:
    """Return an epoch of the batched pipeline, its random numbers included."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2)  # in channels_last order, as the engine holds them
    y = torch.from_numpy(labels)
    augmentation = Augmentation(crop_padding=PADDING, flip=True)
    mean, deviation = 255 * torch.tensor(MEAN), 255 * torch.tensor(DEVIATION)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        draws = draw(COUNT, augmentation, (3, SIDE, SIDE), generator)
        for start in range(0, COUNT, BATCH):
            batch(x, y, draws, slice(start, start + BATCH), augmentation, mean, deviation)

    return epoch


def theirs(images: np.ndarray, labels: np.ndarray, workers: int) -> Epoch:
    """Return an epoch of the per-sample pipeline."""
    t, _ = torchvision_parts()
    steps = [t.RandomCrop(SIDE, PADDING), t.RandomHorizontalFlip(), t.ToTensor(), t.Normalize(MEAN, DEVIATION)]
    samples: Any = Samples(images, labels, t.Compose(steps))
    loader = DataLoader(samples, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda: exhaust(iter(loader))


def our_stream(folder: Path, workers: int) -> Epoch:
    """Return an epoch of our stream of files, normalised."""
    stream = open_folder(folder, CROP, 0).train()
    assert isinstance(stream, ImageStream)
    mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)
    augmentation = Augmentation(flip=True)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        draws = draw(len(stream), augmentation, (3, CROP, CROP), generator)
        for i, (x, y) in enumerate(stream.batches(50, draws.order, draws.seed, workers=workers)):
            finish(x, y, draws.at(slice(50 * i, 50 * i + 50)), augmentation, mean, deviation)

    return epoch


def their_stream(folder: Path, workers: int) -> Epoch:
    """Return an epoch of torchvision's ImageFolder."""
    t, datasets = torchvision_parts()
    mean, deviation = ([v / 255 for v in values] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    steps = [t.RandomResizedCrop(CROP), t.RandomHorizontalFlip(), t.ToTensor(), t.Normalize(mean, deviation)]
    images = datasets.ImageFolder(str(folder / "train"), t.Compose(steps))
    loader = DataLoader(images, 50, shuffle=True, num_workers=workers, drop_last=True)
    return lambda: exhaust(iter(loader))


def compare(sides: dict[str, Epoch], repeats: int) -> dict[str, float]:
    """Return the median seconds of an epoch of every side; the sides take turns, after one epoch of each."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, epoch in sides.items():
            start = time.perf_counter()
            epoch()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, COUNT)
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        # with one thread in this process too: a worker would be a second one
        counts = [0] if threads == 1 else [0, threads]
        sides = {f"{n} workers": theirs(images, labels, n) for n in counts}
        found = compare({"ours": ours(images, labels), **sides}, options.repeats)
        best = min(sides, key=lambda name: found[name])
        rates = f"{COUNT / found['ours']:,.0f}", f"{COUNT / found[best]:,.0f} ({best})"
        rows.append((threads, *rates, f"{found[best] / found['ours']:.1f}", BAR))
    head = ("threads", "batched, images/s", "DataLoader, images/s", "ratio", "bar")
    show("Input pipeline: crop, flip, normalise 3x32x32 in batches of 128", head, rows)
    if options.folder:
        show("Epoch over image files, random-resized crops of 224", *streams(options.folder, options.threads))


def streams(folder: Path, threads: list[int]) -> tuple[Sequence[str], list[tuple[object, ...]]]:
    """Return head and rows of the table of streams; this process has one thread, decoding as many as ``threads``."""
    torch.set_num_threads(1)
    rows: list[tuple[object, ...]] = []
    for workers in (n if n > 1 else 0 for n in threads):
        found = compare({"ours": our_stream(folder, workers), "theirs": their_stream(folder, workers)}, 5)
        seconds = (f"{s:.2f} s" for s in found.values())
        rows.append((workers, *seconds, f"{found['theirs'] / found['ours']:.2f}"))
    return ("workers", "ours", "torchvision", "ratio"), rows


if __name__ == "__main__":
    main()
