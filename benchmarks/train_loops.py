"""Two ways to train a network: this toolkit's engine, and the plain loop of a tutorial, for the benchmarks of speed.

The plain loop is what most code does: a DataLoader that crops, mirrors and normalizes image by image, weights and
images in NCHW order, torch's default optimizer, one eager step after another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nas.core.values import Task
from nas.data.image_set import ImageSet
from nas.graph import Add, Graph, GraphBuilder, Named
from nas.graph.lowering.torch_module import build_module
from nas.training.device import BackendOptions
from nas.training.recipe import Recipe
from nas.training.train_step import InMemoryBatches, TrainStep, init_weights
from search_spaces.genotypes.published import DARTS_V2
from search_spaces.skeletons import small_images as skeleton

RECIPE = Recipe(batch_size=64, clip_norm=0, warmup_epochs=0, schedule="constant", learning_rate=0.01)
MIXED = ("nor_conv_3x3", "avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_3x3", "nor_conv_1x1")


def nb201_cell(operations: tuple[str, ...] = MIXED) -> Graph:
    """Return a cell of NAS-Bench-201 with these operations on the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    b = GraphBuilder()
    states, edges = [b.input], iter(operations)
    for j in range(1, 4):
        into = [b(Named(next(edges)), states[i], name=f"edge_{i}_{j}") for i in range(j)]
        states.append(b(Add(), *into, name=f"state{j}"))
    return b.build(cell=states[3])


def nb201_network(width: int = 16, depth: int = 5, side: int = 32, operations: tuple[str, ...] = MIXED) -> Graph:
    """Return the network of NAS-Bench-201 with this cell; 16 and 5 are the benchmark's own size."""
    return skeleton.nb201({"cell": nb201_cell(operations)}, Task("cifar10", (3, side, side), 10), width, depth)


def small_nasnet() -> Graph:
    """Return a stack of DARTS_V2's cells: 8 channels, one normal cell in each of three stages, images of 16 x 16."""
    return skeleton.cifar(DARTS_V2.cells(), Task("small", (3, 16, 16), 10), 8, 1)


NETWORKS: dict[str, Callable[[], Graph]] = {"nb201": nb201_network, "nasnet": small_nasnet}


def random_images(count: int, graph: Graph, classes: int = 10) -> ImageSet:
    """Return images of noise of the network's size."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, *graph.input_shape), dtype=np.uint8)
    return ImageSet(pixels, rng.integers(0, classes, count))


def ours(
    graph: Graph, images: ImageSet, recipe: Recipe, device: torch.device, switches: BackendOptions
) -> Iterator[tuple[int, Tensor]]:
    """Train without end and yield after each step the number of images and the loss."""
    train_step, source = TrainStep(graph, recipe, device, switches), InMemoryBatches(images, recipe, device)
    generator = torch.Generator().manual_seed(0)
    while True:
        for x, targets in source.epoch(generator):
            train_step.set_rate(recipe.learning_rate)
            yield len(x), train_step.step(x, targets)


class Samples(Dataset[tuple[Tensor, int]]):
    """Images one by one, cropped, mirrored and normalized as torchvision's transforms do."""

    def __init__(self, images: ImageSet, recipe: Recipe) -> None:
        self.images, self.recipe = images, recipe
        self.mean, self.deviation = (torch.from_numpy(a).view(-1, 1, 1) / 255 for a in images.moments)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        padding = self.recipe.crop_padding
        x = torch.from_numpy(self.images.images[index])
        height, width = x.shape[1:]
        x = F.pad(x, (padding,) * 4)
        top, left = (int(torch.randint(0, 2 * padding + 1, ())) for _ in range(2))
        x = x[:, top : top + height, left : left + width]
        if self.recipe.flip and float(torch.rand(())) < 0.5:
            x = x.flip(2)
        x = x.float().div(255)
        return (x - self.mean) / self.deviation, int(self.images.labels[index])


def plain(
    graph: Graph, images: ImageSet, recipe: Recipe, device: torch.device, workers: int = 0
) -> Iterator[tuple[int, Tensor]]:
    """Train as :func:`ours` does, in the plain loop; ``workers`` processes prepare the images, 0: this one."""
    module = build_module(graph).train()
    init_weights(module)
    module.to(device)
    optimizer = torch.optim.SGD(
        module.parameters(),
        recipe.learning_rate,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(
        Samples(images, recipe),
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    while True:
        for x, labels in loader:
            x, labels = x.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(module(x), labels)
            loss.backward()
            optimizer.step()
            yield len(x), loss.detach()
