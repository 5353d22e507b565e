"""What primitives compute, by hand: regularisers, shuffles, margins, gates and zeros."""

from __future__ import annotations

import math

import pytest
import torch

from nas.graph import (
    ChannelShuffle,
    ChannelSlice,
    Crop,
    Dropout,
    DropPath,
    GraphBuilder,
    Multiply,
    Pad,
    Primitive,
    Zero,
)
from nas.graph.lowering.torch_module import build_module


def run(op: Primitive, x: torch.Tensor, training: bool = False) -> torch.Tensor:
    b = GraphBuilder(tuple(x.shape[1:]))
    module = build_module(b.build(logits=b(op, b.input))).train(training)
    result: torch.Tensor = module(x)
    return result


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_drop_path_drops_whole_examples_and_scales_the_rest(rate: float) -> None:
    torch.manual_seed(0)
    n = 4000
    y = run(DropPath(rate), torch.ones(n, 3, 2, 2), training=True).flatten(1)
    assert torch.equal(y, y[:, :1].expand_as(y))
    dropped = (y[:, 0] == 0).sum().item()
    assert abs(dropped - n * rate) < 5 * math.sqrt(n * rate * (1 - rate))
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / (1 - rate)))


def test_dropout_drops_single_numbers_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    rate, n = 0.3, 24_000
    y = run(Dropout(rate), torch.ones(n // 12, 3, 2, 2), training=True)
    dropped = (y == 0).sum().item()
    assert abs(dropped - n * rate) < 5 * math.sqrt(n * rate * (1 - rate))
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / (1 - rate)))
    mixed = (y == 0).flatten(1).float().mean(1)
    assert ((mixed > 0) & (mixed < 1)).float().mean() > 0.9


@pytest.mark.parametrize("op", [Dropout(0.9), DropPath(0.9)])
def test_nothing_is_dropped_in_evaluation(op: Primitive) -> None:
    x = torch.randn(64, 2, 3, 3)
    assert torch.equal(run(op, x), x)


@pytest.mark.parametrize("op", [Dropout(1.0), DropPath(1.0)])
def test_rate_one_drops_all(op: Primitive) -> None:
    assert not run(op, torch.ones(8, 2, 3, 3), training=True).any()


def channels(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1).expand(2, -1, 2, 2)


def test_channel_shuffle_interleaves_groups() -> None:
    assert torch.equal(run(ChannelShuffle(2), channels(0, 1, 2, 3, 4, 5)), channels(0, 3, 1, 4, 2, 5))
    assert torch.equal(run(ChannelShuffle(3), channels(0, 1, 2, 3, 4, 5)), channels(0, 2, 4, 1, 3, 5))


def test_channel_slice_takes_start_and_leaves_stop() -> None:
    assert torch.equal(run(ChannelSlice(1, 3), channels(0, 1, 2, 3)), channels(1, 2))


GRID = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])


def test_pad_adds_zeros_or_mirrors() -> None:
    zeros = [[0, 0, 0, 0], [0, 1, 2, 3], [0, 4, 5, 6]]
    assert run(Pad(top=1, left=1), GRID).tolist() == [[zeros]]
    mirrored = [[1, 2, 3, 2, 1], [4, 5, 6, 5, 4], [1, 2, 3, 2, 1]]
    assert run(Pad(bottom=1, right=2, mode="reflect"), GRID).tolist() == [[mirrored]]


def test_crop_takes_rows_and_columns_away() -> None:
    assert run(Crop(), GRID).tolist() == GRID.tolist()
    assert run(Crop(top=1, right=1), GRID).tolist() == [[[[4, 5]]]]
    assert run(Crop(bottom=1, left=2), GRID).tolist() == [[[[3]]]]


@pytest.mark.parametrize("gate_first", [True, False])
def test_multiply_broadcasts_a_gate_over_the_pixels(gate_first: bool) -> None:
    b = GraphBuilder((2, 2, 2))
    gate = b(Crop(top=1, left=1), b.input)
    assert b.shape(gate) == (2, 1, 1)
    module = build_module(b.build(logits=b(Multiply(), *((gate, b.input) if gate_first else (b.input, gate)))))
    x = torch.arange(1.0, 9).view(1, 2, 2, 2)
    assert module(x).tolist() == [[[[4, 8], [12, 16]], [[40, 48], [56, 64]]]]


@pytest.mark.parametrize(("stride", "size"), [(1, (5, 7)), (2, (3, 4)), (3, (2, 3))])
def test_zero_subsamples_and_passes_no_gradient(stride: int, size: tuple[int, int]) -> None:
    x = torch.ones(2, 3, 5, 7, requires_grad=True)
    y = run(Zero(stride), x)
    assert y.shape == (2, 3, *size)
    assert not y.any()
    assert not y.requires_grad
