"""Inception of all versions: the modules' counts, GoogLeNet's table row by row, and the references' functions."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from parity import assert_parity, timm_create, torchvision_models
from torch import nn

from nas.errors import GraphError
from nas.graph import Conv, Graph, GraphBuilder, Linear, cost, key, layers
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS
from search_spaces.blocks import auxiliary
from search_spaces.blocks import inception as blocks
from search_spaces.networks import googlenet, inception, inception_resnet  # noqa: F401  (registers the networks)

PARAMS = {
    ("googlenet", False): 6_624_904,
    ("googlenet", True): 13_004_888,
    ("googlenet_paper", False): 6_998_552,
    ("googlenet_paper", True): 13_378_280,
    ("inception_v3", False): 23_834_568,
    ("inception_v3", True): 27_161_264,
    ("inception_v4", False): 42_679_816,
    ("inception_resnet_v2", False): 55_843_464,
}


@pytest.mark.parametrize(("name", "aux"), PARAMS)
def test_parameter_counts_are_exact(name: str, aux: bool) -> None:
    assert cost(NETWORKS[name].build(aux=aux)).params == PARAMS[name, aux]


def module_on_28() -> GraphBuilder:
    return GraphBuilder((256, 28, 28))


def test_naive_module_of_the_lecture() -> None:
    b = module_on_28()
    found = cost(b.build(out=blocks.naive(b, b.input, 128, 192, 96)))
    assert found.output_shape == (672, 28, 28)
    assert found.macs == 854_196_224  # printed 854 M


def test_reduced_module_of_the_lecture() -> None:
    """Printed: 358 M operations; exact 271.4 M. The slide counts the 3x3 convolution twice."""
    b = module_on_28()
    found = cost(b.build(out=blocks.reduced(b, b.input, blocks.Widths(128, 64, 192, 64, 96, 64))))
    assert found.output_shape == (480, 28, 28)
    assert found.macs == 271_351_808
    three = 28 * 28 * 192 * 3 * 3 * 64
    assert round((found.macs + three) / 1e6) == 358


class Row(NamedTuple):
    """A row of arXiv:1409.4842, table 1: what is printed (K = 1024 weights, M operations) and what is exact."""

    prefix: str
    printed_k: float
    printed_m: int
    weights: int
    macs: int
    reason: str = ""


SEPARATE = "printed is 2 * 7 * 3 * 64 weights: the 7x7 counted as a 7x1 and a 1x7 of three channels each"
BIASES = "printed counts the 640 biases too: 379.6 K"
PARAMS_WRONG = "the printed operations are those of the exact weights; only the printed parameters differ"
OTHER_FILTERS = "both printed numbers agree with each other, not with the filters printed in the same row"
ROWS = [
    Row("stem.conv1", 2.7, 34, 9_408, 118_013_952, SEPARATE),
    Row("stem.conv2", 112, 360, 114_688, 359_661_568),
    Row("inception3a", 159, 128, 163_328, 128_049_152),
    Row("inception3b", 380, 304, 388_096, 304_267_264, BIASES),
    Row("inception4a", 364, 73, 375_552, 73_608_192, OTHER_FILTERS),
    Row("inception4b", 437, 88, 448_512, 87_908_352, PARAMS_WRONG),
    Row("inception4c", 463, 100, 509_440, 99_850_240, PARAMS_WRONG),
    Row("inception4d", 580, 119, 604_672, 118_515_712, PARAMS_WRONG),
    Row("inception4e", 840, 170, 867_328, 169_996_288, PARAMS_WRONG),
    Row("inception5a", 1072, 54, 1_042_432, 51_079_168, OTHER_FILTERS),
    Row("inception5b", 1388, 71, 1_442_816, 70_697_984, PARAMS_WRONG),
    Row("classifier", 1000, 1, 1_024_000, 1_024_000),
]


def weights_and_macs(graph: Graph, prefix: str) -> tuple[int, int]:
    """Return the weights without biases, and the MACs, of the layers under ``prefix``."""
    ops = {node.name: node.op for node in graph.nodes}
    weights = macs = 0
    for row in layers(graph):
        op = ops[row.name]
        if row.name == prefix or row.name.startswith(f"{prefix}."):
            weights += row.params - (op.out if isinstance(op, Conv | Linear) else 0)
            macs += row.macs
    return weights, macs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.prefix)
def test_googlenet_row_by_row(row: Row) -> None:
    weights, macs = weights_and_macs(NETWORKS["googlenet_paper"].build(), row.prefix)
    assert (weights, macs) == (row.weights, row.macs)
    grid = macs / weights
    right_k, right_m = abs(weights / 1024 - row.printed_k) < 1, abs(macs / 1e6 - row.printed_m) < 1
    if row.reason == PARAMS_WRONG:
        assert right_m
        assert not right_k
    elif row.reason in (SEPARATE, OTHER_FILTERS):
        assert row.printed_k * 1024 * grid / 1e6 == pytest.approx(row.printed_m, abs=1)
        assert not right_k
    elif row.reason == BIASES:
        assert right_m
        assert round((weights + 640) / 1024) == row.printed_k
    else:
        assert right_k
        assert right_m


def test_googlenet_as_a_whole() -> None:
    """Printed: 22 layers, about 5 M parameters, 12 times fewer than AlexNet. Exact: 7.0 M, 8.7 times fewer.

    The printed rows themselves add up to 7.0 M parameters; 5 M and "12 times fewer" do not follow from them.
    """
    graph = NETWORKS["googlenet_paper"].build()
    depth: dict[str, int] = {}
    for node in graph.nodes:
        depth[node.name] = max((depth[i] for i in node.inputs), default=0) + isinstance(node.op, Conv | Linear)
    assert depth[graph.output("logits")] == 22
    assert round(60_965_224 / cost(graph).params, 1) == 8.7
    assert round(sum(row.printed_k for row in ROWS) * 1024 / 1e6, 1) == 7.0


@pytest.mark.parametrize("name", ["googlenet", "googlenet_paper", "inception_v3"])
def test_auxiliary_heads_are_no_part_of_the_key(name: str) -> None:
    with_heads = NETWORKS[name].build(aux=True)
    assert key(with_heads) == key(NETWORKS[name].build())
    assert with_heads.pruned(("logits",)).nodes == NETWORKS[name].build().nodes


def test_heads_of_the_paper_run() -> None:
    shape = (3, 224, 224)
    outputs = ("logits", "aux", "aux2")
    module = build_module(NETWORKS["googlenet_paper"].build(shape, 5, aux=True), outputs).eval()
    with torch.no_grad():
        assert [tuple(y.shape) for y in module(torch.randn(1, *shape))] == [(1, 5)] * 3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [8, 30, 64])
def test_scaled_module_as_an_operation_of_cells(channels: int, stride: int) -> None:
    b = GraphBuilder((16, 15, 15))
    graph = b.build(logits=blocks.scaled(b, b.input, channels, stride))
    assert cost(graph).output_shape == (channels, *((15, 15) if stride == 1 else (8, 8)))
    with torch.no_grad():
        assert build_module(graph)(torch.randn(2, 16, 15, 15)).shape[1] == channels
    with pytest.raises(GraphError, match="at least 8 channels, found 7"):
        blocks.scaled(b, b.input, 7)


@pytest.mark.parametrize(
    ("block", "channels", "size"),
    [
        (lambda b, x: blocks.v3_a(b, x, 32), 256, 17),
        (blocks.v3_b, 384 + 96 + 40, 8),
        (lambda b, x: blocks.v3_c(b, x, 20), 768, 17),
        (blocks.v3_d, 320 + 192 + 40, 8),
        (blocks.v3_e, 2048, 17),
        (blocks.v4_a, 384, 17),
        (blocks.v4_b, 1024, 17),
        (blocks.v4_c, 1536, 17),
        (lambda b, x: blocks.reduction_a(b, x, 8, 8, 16, 24), 80, 8),
        (blocks.v4_reduction_b, 192 + 320 + 40, 8),
        (blocks.resnet_reduction_b, 384 + 288 + 320 + 40, 8),
        (blocks.resnet_a, 40, 17),
        (blocks.resnet_b, 40, 17),
        (blocks.resnet_c, 40, 17),
        (lambda b, x: auxiliary.auxiliary_v1(b, x, 7), 7, None),
        (lambda b, x: auxiliary.auxiliary_v3(b, x, 7), 7, None),
    ],
)
def test_blocks_take_any_node(block: Any, channels: int, size: int | None) -> None:
    b = GraphBuilder((40, 17, 17))
    out = block(b, b.input)
    assert b.shape(out) == ((channels,) if size is None else (channels, size, size))


@pytest.mark.parametrize(
    ("name", "size", "aux"),
    [
        ("googlenet", 1, False),
        ("googlenet_paper", 60, True),
        ("inception_v3", 74, False),
        ("inception_v3", 200, True),
        ("inception_v4", 74, False),
        ("inception_resnet_v2", 74, False),
    ],
)
def test_an_image_too_small_is_refused_on_one_line(name: str, size: int, aux: bool) -> None:
    with pytest.raises(GraphError, match=r"^node '[a-z0-9_.]+': .*the window of \d+ does not fit.* is allowed$"):
        NETWORKS[name].build((3, size, size), aux=aux)


class WithHeads(nn.Module):
    """A network of torchvision that returns its auxiliary outputs in eval mode too, which it does in training only."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Any:
        self.network.training = True  # of the network alone: its layers stay in eval mode
        return self.network(x)


@pytest.mark.reference
@pytest.mark.parametrize("size", [224, 101])
def test_googlenet_is_torchvisions(size: int) -> None:
    shape = (3, size, size)
    reference = torchvision_models().googlenet(weights=None, aux_logits=False, init_weights=False)
    assert_parity(NETWORKS["googlenet"].build(shape), reference, shape)


@pytest.mark.reference
def test_googlenets_heads_are_torchvisions() -> None:
    reference = WithHeads(torchvision_models().googlenet(weights=None, aux_logits=True, init_weights=False))
    shape = (3, 224, 224)
    assert_parity(NETWORKS["googlenet"].build(aux=True), reference, shape, outputs=("logits", "aux2", "aux"))


@pytest.mark.reference
@pytest.mark.long
def test_inception_v3_is_torchvisions() -> None:
    reference = torchvision_models().inception_v3(weights=None, aux_logits=True, init_weights=False)
    graph = NETWORKS["inception_v3"].build(aux=True)
    assert_parity(graph, WithHeads(reference), (3, 299, 299), outputs=("logits", "aux"))


@pytest.mark.reference
@pytest.mark.long
@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2"])
def test_later_inceptions_are_timms(name: str) -> None:
    shape = (3, 155, 171)
    assert_parity(NETWORKS[name].build(shape), timm_create()(name), shape)
