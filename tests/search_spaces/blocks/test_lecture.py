"""The blocks of the lectures as operations of cells, and the space that chooses among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import search_spaces.spaces  # noqa: F401  (registers the spaces)
from nas.core.values import Task
from nas.errors import GraphError, SpaceError
from nas.graph import GraphBuilder, cost
from nas.graph.lowering.torch_module import build_module
from nas.space import SPACES
from nas.space.operations import OPERATIONS
from nas.space.validate import problems
from search_spaces.blocks.lecture_operations import NAMES

# parameters at 32 channels in and out, stride 1, derived by hand from the papers' blocks (2 a channel for batch norm)
BN = 2 * 32
PARAMS = {
    "lenet_conv_5x5": 25 * 32**2 + 32 + BN,
    "vgg_conv_3x3": 2 * (9 * 32**2 + 32 + BN),
    "residual_basic": 2 * (9 * 32**2 + BN),
    "residual_preact": 2 * (9 * 32**2 + BN),
    "residual_bottleneck": 2 * 32 * 8 + 9 * 8**2 + 2 * 16 + BN,
    "resnext": 2 * 32 * 16 + 9 * 16 * 4 + 2 * 32 + BN,
    "se_residual": 2 * (9 * 32**2 + BN) + 2 * 32 * 2 + 2 + 32,
    "se_gate": 2 * 32 * 2 + 2 + 32,
    "depthwise_separable": 9 * 32 + BN + 32**2 + BN,
    "inverted_residual": 2 * 32 * 192 + 9 * 192 + 2 * 2 * 192 + BN,
    "mbconv": 2 * 32 * 192 + 9 * 192 + 2 * 2 * 192 + BN + 2 * 192 * 8 + 8 + 192,
    "fire": 32 * 4 + 2 * 4 + 4 * 16 + 2 * 16 + 9 * 4 * 16 + 2 * 16,
    "shuffle_v1": 2 * 32 * 8 // 2 + 9 * 8 + 2 * 8 * 2 + BN,
    "shuffle_v2": 2 * 16**2 + 9 * 16 + 3 * 2 * 16,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [8, 24])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_every_block_is_an_operation_at_any_width_and_stride(name, stride, channels, size):
    b = GraphBuilder((12, *size))
    out = OPERATIONS[name](b, b.input, channels, stride)
    assert b.shape(out) == (channels, *(-(-extent // stride) for extent in size))
    module = build_module(b.build(logits=out))
    assert module(torch.randn(2, 12, *size)).isfinite().all()


@pytest.mark.parametrize("name", PARAMS)
def test_blocks_have_the_parameters_of_their_papers(name):
    b = GraphBuilder((32, 8, 8))
    assert cost(b.build(logits=OPERATIONS[name](b, b.input, 32, 1))).params == PARAMS[name]


def test_blocks_refuse_channels_that_they_cannot_have():
    for name, rule in (("fire", "even number"), ("shuffle_v2", "even number"), ("inception", "at least 8")):
        b = GraphBuilder((7, 8, 8))
        with pytest.raises(GraphError, match=rule):
            OPERATIONS[name](b, b.input, 7, 1)


def test_the_lecture_space_keeps_the_contract():
    space = SPACES["lecture"]
    assert list(problems(space, draws=15)) == []
    with pytest.raises(SpaceError, match="'lecture': nodes must be an integer"):
        space.with_args({"nodes": 0}).sample(np.random.default_rng(0))


@pytest.mark.long
def test_every_operation_is_chosen_and_networks_train():
    space, rng = SPACES["lecture"], np.random.default_rng(1)
    drawn = [space.sample(rng) for _ in range(40)]
    chosen = {value for a in drawn for name, value in a.decisions.items() if name.endswith(".op")}
    assert set(NAMES) < chosen
    for architecture in drawn[:5]:
        module = build_module(space.build(architecture, Task("tiny", (1, 8, 8), 3), 8, 1)).train()
        module(torch.randn(2, 1, 8, 8)).sum().backward()
