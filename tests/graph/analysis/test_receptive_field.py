"""Receptive fields: the lectures' numbers, and brute force by gradients of linear copies of random networks."""

from __future__ import annotations

import random

import pytest
import torch
from graph_examples import resnet50, vgg16
from torch import nn

from nas.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Crop,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Sigmoid,
    TransposedConv,
    Zero,
    receptive_field,
)
from nas.graph.lowering.torch_module import build_module

SIZE = 96


def stack(*ops: Conv | MaxPool | AvgPool | TransposedConv) -> Graph:
    b = GraphBuilder((2, SIZE, SIZE))
    x = b.input
    for op in ops:
        x = b(op, x)
    return b.build(logits=x)


@pytest.mark.parametrize(("count", "side"), [(1, 3), (2, 5), (3, 7)])
def test_stacked_3x3_convolutions(count: int, side: int) -> None:
    assert receptive_field(stack(*[Conv(2, 3)] * count)) == (side, side)
    assert receptive_field(stack(*[Conv(2, 3, 1, 1)] * count)) == (side, side)
    assert receptive_field(stack(*[Conv(2, (1, 3))] * count)) == (1, side)


def test_published_networks() -> None:
    """VGG-16's 212 is in Araujo et al., Distill 2019; ResNet-50 is counted by hand, the stride in the 3x3."""
    graph = vgg16()
    last_pool = [node.name for node in graph.nodes if node.op.kind == "max_pool"][-1]
    assert receptive_field(Graph(graph.nodes, (("features", last_pool),))) == (212, 212)
    graph = resnet50()
    last_relu = [node.name for node in graph.nodes if node.op.kind == "relu"][-1]
    by_hand = 7 + 2 * 2 + 3 * 2 * 4 + (2 * 4 + 3 * 2 * 8) + (2 * 8 + 5 * 2 * 16) + (2 * 16 + 2 * 2 * 32)
    assert receptive_field(Graph(graph.nodes, (("features", last_relu),))) == (by_hand, by_hand) == (427, 427)


def test_dilation_and_stride() -> None:
    assert receptive_field(stack(Conv(2, 3, dilation=2))) == (5, 5)
    assert receptive_field(stack(Conv(2, 3, 2), Conv(2, 3))) == (7, 7)
    assert receptive_field(stack(Conv(2, 1, 2), MaxPool(2), Conv(2, 3))) == (1 + 2 + 8, 11)


def test_a_global_pool_sees_all() -> None:
    b = GraphBuilder((2, 9, 13))
    pooled = b(GlobalAvgPool(), b(Conv(2, 3), b.input))
    flat = b(Linear(4), b(Flatten(), b.input))
    graph = b.build(logits=pooled, flat=flat)
    assert receptive_field(graph) == (9, 13)
    assert receptive_field(graph, "flat") == (9, 13)


def test_zeros_see_nothing() -> None:
    b = GraphBuilder((2, 16, 16))
    blind = b(Zero(2), b(Conv(2, 5, 1, 2), b.input))
    seeing = b(Conv(2, 3, 2, 1), b.input)
    graph = b.build(logits=b(Add(), b(Conv(2), blind), seeing), blind=b(Conv(2, 3), blind))
    assert receptive_field(graph) == (3, 3)
    assert receptive_field(graph, "blind") == (0, 0)


def test_branches_that_look_beside_each_other() -> None:
    """NASNet's factorised reduction: two pixels side by side, one to each branch (arXiv:1707.07012, A.4)."""
    b = GraphBuilder((2, 16, 16))
    shifted = b(Crop(top=1, left=1), b.input)
    halves = [b(Conv(2, 1, 2), x) for x in (b.input, b(Pad(bottom=1, right=1), shifted))]
    graph = b.build(logits=b(Concat(), *halves))
    assert receptive_field(graph) == (2, 2) == seen(graph)


def test_transposed_convolutions_are_bounded() -> None:
    rng = random.Random(5)
    for _ in range(40):
        stride = rng.randint(1, 3)
        kernel = rng.randint(stride, 5)
        ops = [Conv(2, 3, 2, 1)] if rng.random() < 0.5 else []
        after = [Conv(2, rng.randint(1, 4))] if rng.random() < 0.7 else []
        graph = stack(*ops, TransposedConv(2, kernel, stride, rng.randint(0, kernel // 2)), *after)
        found = max(seen(graph, y) for y in range(40, 40 + stride))
        assert receptive_field(graph) >= found
        if not ops:
            assert receptive_field(graph) == found


def seen(graph: Graph, at: int | None = None) -> tuple[int, int]:
    """Height and width of the pixels that an output pixel, the middle one by default, truly depends on.

    Maxima become means and gates become sums, so that all weights being positive no path is blocked or cancels out.
    """
    module = build_module(graph, [graph.outputs[0][0]]).double().eval()
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.MaxPool2d):
            mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
            module.set_submodule(name, mean)
    for p in module.parameters():
        nn.init.constant_(p, 0.1)
    x = torch.ones(1, *graph.input_shape, dtype=torch.float64, requires_grad=True)
    y = module(x)
    row, column = (y.shape[2] // 2, y.shape[3] // 2) if at is None else (at, at)
    (slope,) = torch.autograd.grad(y[0, :, row, column].sum(), x)
    rows, columns = slope[0].abs().sum(0).nonzero().unbind(1)
    assert rows.min() > 0
    assert columns.min() > 0
    assert rows.max() < x.shape[2] - 1
    assert columns.max() < x.shape[3] - 1
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def random_network(rng: random.Random) -> Graph:
    """Random windows, margins, norms and activations in sequence, with branches of equal stride that meet again."""
    b = GraphBuilder((2, SIZE, SIZE))
    x = b.input
    stride = 1
    for _ in range(rng.randint(2, 4)):
        step = rng.choice([1, 1, 2]) if stride < 4 else 1
        stride *= step
        branches = [_branch(b, x, rng, step) for _ in range(rng.choice([1, 1, 2, 3]))]
        height = min(b.shape(y)[1] for y in branches)
        width = min(b.shape(y)[2] for y in branches)
        trimmed = []
        for y in branches:
            _, h, w = b.shape(y)
            top, left = rng.randint(0, h - height), rng.randint(0, w - width)
            trimmed.append(b(Crop(top, h - height - top, left, w - width - left), y))
        x = b(rng.choice([Add(), Concat()]), *trimmed)
        x = b(Conv(2), b(rng.choice([Relu(), BatchNorm(), Add()]), x))
    return b.build(logits=x)


def _branch(b: GraphBuilder, x: str, rng: random.Random, step: int) -> str:
    kernel = (rng.randint(step, 4), rng.randint(step, 4))
    padding = (rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2))
    kind = (
        rng.choice(["conv", "conv", "max", "avg", "pad", "none"]) if step == 1 else rng.choice(["conv", "max", "avg"])
    )
    if kind == "conv":
        dilation = (rng.randint(1, 3), rng.randint(1, 2))
        return b(Conv(2, kernel, step, padding, dilation), x)
    if kind == "max":
        return b(MaxPool(kernel, step, padding), x)
    if kind == "avg":
        return b(AvgPool(kernel, step, padding), x)
    if kind == "pad":
        return b(Pad(rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2)), x)
    return b(Zero(), x) if rng.random() < 0.3 else x


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_by_brute_force(seed: int) -> None:
    _compare(seed, 5)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_random_networks_by_brute_force(seed: int) -> None:
    _compare(seed, 40)


def _compare(seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        graph = random_network(rng)
        field = receptive_field(graph)
        if field != (0, 0):
            assert field == seen(graph), graph.to_json()


def test_a_gate_sees_all_of_the_image() -> None:
    b = GraphBuilder((2, 12, 12))
    x = b(Conv(2, 3, 2), b.input)
    gate = b(Sigmoid(), b(Conv(2), b(GlobalAvgPool(), x)))
    graph = b.build(logits=b(Multiply(), x, gate), gate=gate)
    assert receptive_field(graph, "gate") == (11, 11)
    assert receptive_field(graph) >= (11, 11)
