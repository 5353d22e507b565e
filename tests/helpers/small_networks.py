"""Small networks of every lecture family, built by hand: together they use every primitive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nas.core.values import Task
from nas.graph import (
    PRIMITIVES,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Crop,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Relu6,
    Scale,
    Sigmoid,
    Swish,
    Tanh,
    TransposedConv,
    Zero,
)
from nas.space import SPACES
from search_spaces.networks.resnet import cifar_resnet
from search_spaces.spaces import nasnet, nb101, nb201  # noqa: F401  (registers the spaces)

TASK = Task("small", (3, 32, 32), 10)


def sampled(space: str, seed: int, width: int, depth: int) -> Graph:
    """A random network of a space."""
    found = SPACES[space]
    return found.build(found.sample(np.random.Generator(np.random.PCG64(seed))), TASK, width, depth)


def head(b: GraphBuilder, x: str) -> Graph:
    """Global average pool and a linear layer."""
    return b.build(logits=b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x))))


def vgg(width: int = 16) -> Graph:
    """Convolutions with biases, max pools and two hidden linear layers with dropout; lists as in torchvision."""
    b = GraphBuilder(TASK.input_shape)
    x, i = b.input, 0
    with b.scope("features"):
        for stage in range(3):
            for _ in range(2):
                x = b(Conv(width * 2**stage, 3, padding=1, bias=True), x, name=f"{i}")
                x = b(Relu(), x, name=f"{i + 1}")
                i += 2
            x = b(MaxPool(2), x, name=f"{i}")
            i += 1
    x = b(Flatten(), x)
    with b.scope("classifier"):
        for i in range(2):
            x = b(Dropout(), b(Relu(), b(Linear(16 * width), x, name=f"{3 * i}"), name=f"{3 * i + 1}"))
        return b.build(logits=b(Linear(10), x, name="6"))


def alexnet(width: int = 16) -> Graph:
    """Local response norms, overlapping pools, grouped convolutions, tanh."""
    b = GraphBuilder((3, 63, 63))
    x = b(Relu(), b(Conv(width, 11, 4, bias=True), b.input))
    x = b(LocalResponseNorm(), b(MaxPool(3, 2, ceil_mode=True), x))
    x = b(Relu(), b(Conv(2 * width, 5, 1, 2, groups=2, bias=True), x))
    x = b(LocalResponseNorm(3, 1e-3, 0.5, 2.0), b(MaxPool(3, 2), x))
    x = b(Flatten(), b(Relu(), b(Conv(2 * width, 3, 1, 1, groups=2), x)))
    return b.build(logits=b(Linear(10), b(Tanh(), b(Linear(8 * width), x))))


def bottlenecks(width: int = 8) -> Graph:
    """Pre-activated bottlenecks with scope names, projections and drop path."""
    b = GraphBuilder(TASK.input_shape)
    x = b(Conv(4 * width, 3, padding=1), b.input, name="stem")
    for i in range(4):
        with b.scope(f"block{i + 1}"):
            y = b(Relu(), b(BatchNorm(), x))
            short = b(Conv(4 * width * 2 ** (i // 2), 1, 1 + i % 2), y) if i else x
            y = b(Relu(), b(BatchNorm(), b(Conv(width, 1), y)))
            y = b(Relu(), b(BatchNorm(), b(Conv(width, 3, 1 + i % 2, 1), y)))
            y = b(DropPath(0.1 * i), b(Conv(b.channels(short), 1), y))
            x = b(Add(), y, short)
    return head(b, b(Relu(), b(BatchNorm(), x)))


def densenet(growth: int = 8) -> Graph:
    """Dense blocks of bottlenecks with transitions."""
    b = GraphBuilder(TASK.input_shape)
    x = b(Conv(2 * growth, 3, padding=1), b.input, name="stem")
    for block in range(3):
        for layer in range(4):
            with b.scope(f"dense{block + 1}.layer{layer + 1}"):
                y = b(Conv(4 * growth), b(Relu(), b(BatchNorm(), x)))
                y = b(Conv(growth, 3, padding=1), b(Relu(), b(BatchNorm(), y)))
                x = b(Concat(), x, y)
        if block < 2:
            with b.scope(f"transition{block + 1}"):
                x = b(AvgPool(2), b(Conv(b.channels(x) // 2), b(Relu(), b(BatchNorm(), x))))
    return head(b, b(Relu(), b(BatchNorm(), x)))


def mobilenet(width: int = 8, act: Callable[[], Swish | Relu6] = Swish, gates: bool = True) -> Graph:
    """Inverted residuals, with squeeze-and-excitation gates and drop path as in EfficientNet."""
    b = GraphBuilder(TASK.input_shape)
    x = b(act(), b(BatchNorm(), b(Conv(2 * width, 3, 2, 1), b.input)))
    for i, stride in enumerate((1, 2, 1, 2, 1)):
        with b.scope(f"blocks.{i}"):
            inner = 4 * b.channels(x)
            y = b(act(), b(BatchNorm(), b(Conv(inner), x)))
            y = b(act(), b(BatchNorm(), b(Conv(inner, 3, stride, 1, groups=inner), y)))
            if gates:
                with b.scope("se"):
                    gate = b(Swish(), b(Conv(b.channels(x) // 4, bias=True), b(GlobalAvgPool(), y)))
                    y = b(Multiply(), y, b(Sigmoid(), b(Conv(inner, bias=True), gate)))
            y = b(BatchNorm(eps=1e-3, momentum=0.01), b(Conv(width * (2 + i)), y))
            x = b(Add(), x, b(DropPath(0.2), y)) if b.shape(x) == b.shape(y) else y
    return head(b, b(act(), b(BatchNorm(), b(Conv(16 * width), x))))


def shufflenet(width: int = 16) -> Graph:
    """Channel splits and shuffles."""
    b = GraphBuilder(TASK.input_shape)
    x = b(Relu(), b(BatchNorm(), b(Conv(width, 3, padding=1), b.input)))
    for i in range(3):
        with b.scope(f"unit{i + 1}"):
            left = b(ChannelSlice(0, width // 2), x)
            y = b(Relu(), b(BatchNorm(), b(Conv(width // 2), b(ChannelSlice(width // 2, width), x))))
            y = b(BatchNorm(), b(Conv(width // 2, 3, padding=1, groups=width // 2), y))
            x = b(ChannelShuffle(2), b(Concat(), left, b(Relu(), b(BatchNorm(), b(Conv(width // 2), y)))))
    return head(b, x)


def inception(width: int = 8, modules: int = 2) -> Graph:
    """Parallel branches of several widths and kernels, and a second output."""
    b = GraphBuilder(TASK.input_shape)
    x = b(MaxPool(3, 2, 1), b(Relu(), b(Conv(4 * width, 3, padding=1, bias=True), b.input)))
    aux = None
    for i in range(modules):
        with b.scope(f"inception{i + 1}"):
            ends = [b(Relu(), b(Conv(width * (i + 1), bias=True), x))]
            for kernel in (3, 5):
                y = b(Relu(), b(Conv(width, bias=True), x))
                ends.append(b(Relu(), b(Conv(2 * width, kernel, padding=kernel // 2, bias=True), y)))
            ends.append(b(Conv(width, bias=True), b(MaxPool(3, 1, 1), x)))
            x = b(Concat(), *ends)
        aux = aux or b(Linear(10), b(Flatten(), b(AvgPool(4, 4), x)), name="aux_head")
    assert aux is not None
    logits = b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x)))
    return b.build(logits=logits, aux=aux)


def norms() -> Graph:
    """Every norm, mirrored borders, a transposed convolution, margins, zeros, a wide sum, a factor, adaptive pools."""
    b = GraphBuilder((3, 20, 17))
    x = b(Conv(8, (3, 5), (1, 2), (1, 2), padding_mode="reflect"), b.input)
    x = b(GroupNorm(4), b(InstanceNorm(affine=True), x))
    x = b(LayerNorm(), b(Identity(), b(InstanceNorm(), x)))
    x = b(TransposedConv(6, 3, 2, 1, 1), x)
    x = b(Crop(top=1, left=2, bottom=1), b(Pad(1, 0, 2, 1), b(Pad(2, 2, 1, 1, mode="reflect"), x)))
    ends = [b(op, x) for op in (Relu(), Relu6(), Sigmoid(), Tanh(), Swish(), Zero(), Conv(6))]
    x = b(Add(), *ends)
    x = b(Add(), b(Zero(2), x), b(Conv(6, 3, 2, 1, dilation=1), x))
    x = b(AdaptiveAvgPool((8, 5)), b(Scale(0.3), b(BatchNorm(affine=False), b(Multiply(), x, x))))
    y = b(Linear(12, bias=False), b(Flatten(), b(AvgPool((3, 2), 2, (1, 1), count_include_pad=False), x)))
    return b.build(logits=b(Linear(10), b(BatchNorm(), b(LayerNorm(affine=False), y))))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "vgg": vgg,
    "alexnet": alexnet,
    "resnet": lambda: cifar_resnet(TASK, 2),
    "bottlenecks": bottlenecks,
    "densenet": densenet,
    "mobilenet": lambda: mobilenet(act=Relu6, gates=False),
    "efficientnet": mobilenet,
    "shufflenet": shufflenet,
    "inception": inception,
    "norms": norms,
}


def used_primitives() -> set[str]:
    """The kinds of primitives that the networks use together."""
    return {node.op.kind for build in NETWORKS.values() for node in build().nodes} & set(PRIMITIVES)
