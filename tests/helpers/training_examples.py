"""Small networks and image sets for the tests of training."""

from __future__ import annotations

import numpy as np

from nas.core.values import Task
from nas.data.splits import ImageSet, Splits
from nas.graph import BatchNorm, Conv, Dropout, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu


def convnet(task: Task, width: int = 8, dropout: float = 0.0, norm: bool = True) -> Graph:
    """Two 3x3 convolutions, the second of stride 2, and a linear layer."""
    b = GraphBuilder(task.input_shape)
    x = b.input
    for i, (channels, stride) in enumerate(((width, 1), (2 * width, 2)), 1):
        x = b(Conv(channels, 3, stride, 1, bias=not norm), x, name=f"conv{i}")
        x = b(BatchNorm(), x, name=f"bn{i}") if norm else x
        x = b(Relu(), x)
    x = b(Flatten(), b(GlobalAvgPool(), x))
    x = b(Dropout(dropout), x) if dropout else x
    return b.build(logits=b(Linear(task.classes), x, name="classifier"))


def linear(task: Task) -> Graph:
    """One linear layer on the pixels."""
    b = GraphBuilder(task.input_shape)
    return b.build(logits=b(Linear(task.classes), b(Flatten(), b.input), name="classifier"))


def bright_or_dark(count: int, shape: tuple[int, int, int] = (1, 6, 6), seed: int = 0) -> ImageSet:
    """Images of two classes, dark ones (0) and bright ones (1), in turn."""
    labels = np.arange(count, dtype=np.int64) % 2
    noise = np.random.default_rng(seed).integers(0, 100, (count, *shape))
    return ImageSet((noise + 120 * labels[:, None, None, None]).astype(np.uint8), labels)


def forbidden() -> ImageSet:
    """A reader of a split that nobody may read."""
    raise AssertionError("the test split was read")


def toy_splits(train: int = 32, validation: int = 16, shape: tuple[int, int, int] = (1, 6, 6)) -> Splits:
    """Splits of bright and dark images whose test split must not be read."""
    return Splits("toy", bright_or_dark(train, shape), bright_or_dark(validation, shape, 1), forbidden, 2)
