"""ShuffleNet v1 and v2: the papers' tables, the unit against plain torch, and torchvision's function."""

from __future__ import annotations

import pytest
import torch
from parity import assert_parity, our_layers, randomise, torchvision_models
from torch.nn import functional as F

from nas.errors import GraphError
from nas.graph import GraphBuilder, cost, layers
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS
from search_spaces.blocks.shuffle import shuffle_v1, shuffle_v2
from search_spaces.networks.shufflenet import shufflenet_v1, shufflenet_v2

# exact parameters and MACs at 224 pixels; then what is printed, in millions
V1 = [
    ("shufflenet_v1_x0_5", 718_324, 37_589_856, None, 38),
    ("shufflenet_v1_x1_0", 1_865_728, 137_460_672, None, 137),
    ("shufflenet_v1_x1_5", 3_442_168, 292_443_552, 3.4, 292),
    ("shufflenet_v1_x2_0", 5_450_776, 524_045_184, 5.4, 524),
]
V2 = {
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "shufflenet_v2_x1_5": 3_503_624,
    "shufflenet_v2_x2_0": 7_393_996,
}
IMAGE = (3, 224, 224)


@pytest.mark.parametrize(("name", "params", "macs", "printed_params", "printed_macs"), V1)
def test_v1_by_width(name: str, params: int, macs: int, printed_params: float | None, printed_macs: int) -> None:
    found = cost(NETWORKS[name].build())
    assert (found.params, found.macs) == (params, macs)
    assert round(macs / 1e6) == printed_macs
    # 5.45 M is printed as 5.4
    assert printed_params is None or abs(params / 1e6 - printed_params) <= 0.051


@pytest.mark.parametrize(("groups", "printed"), [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)])
def test_v1_by_groups(groups: int, printed: int) -> None:
    """arXiv:1707.01083, table 2: the printed complexity is that of the convolutions, without the last linear layer."""
    rows = layers(shufflenet_v1(IMAGE, 1000, 1.0, groups))
    assert round(sum(row.macs for row in rows if row.kind == "conv") / 1e6) == printed


@pytest.mark.parametrize("name", V2)
def test_v2_counts_are_torchvisions(name: str) -> None:
    assert cost(NETWORKS[name].build()).params == V2[name]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3, 4])
def test_v1_unit_is_figure_2(groups: int, stride: int) -> None:
    channels, out = 48, 48 if stride == 1 else 144
    b = GraphBuilder((channels, 9, 9))
    graph = b.build(logits=shuffle_v1(b, b.input, out, groups, stride))
    module = build_module(graph).eval()
    randomise(module)
    first, bn1, middle, bn2, last, bn3 = (layer for _, layer in our_layers(graph, module))
    x = torch.randn(2, channels, 9, 9)
    narrow = out // 4
    with torch.no_grad():
        y = F.conv2d(x, first.weight, groups=groups)
        y = bn1(y).relu()
        y = y.reshape(2, groups, narrow // groups, 9, 9).transpose(1, 2).reshape(2, narrow, 9, 9)
        y = bn2(F.conv2d(y, middle.weight, stride=stride, padding=1, groups=narrow))
        y = bn3(F.conv2d(y, last.weight, groups=groups))
        y = x + y if stride == 1 else torch.cat([F.avg_pool2d(x, 3, 2, 1), y], 1)
        torch.testing.assert_close(module(x), y.relu())


def test_only_the_first_pointwise_convolution_of_a_network_is_not_grouped() -> None:
    nodes = {node.name: node.op for node in NETWORKS["shufflenet_v1_x1_0"].build().nodes}
    pointwise = [op for name, op in nodes.items() if op.kind == "conv" and op.kernel == (1, 1)]
    assert [op.groups for op in pointwise] == [1] + [3] * (2 * 16 - 1)


def test_wrong_arguments_are_refused() -> None:
    b = GraphBuilder((24, 8, 8))
    with pytest.raises(GraphError, match="groups must divide"):
        shuffle_v1(b, b.input, 24, 5)
    with pytest.raises(GraphError, match="stride 1 or 2, found 3"):
        shuffle_v1(b, b.input, 48, 2, 3)
    with pytest.raises(GraphError, match="keeps the channels, found 24 -> 48"):
        shuffle_v1(b, b.input, 48, 2)
    with pytest.raises(GraphError, match="must widen its input, found 24 -> 24"):
        shuffle_v1(b, b.input, 24, 2, 2)
    with pytest.raises(GraphError, match="keeps the channels, found 24 -> 48"):
        shuffle_v2(b, b.input, 48)
    with pytest.raises(GraphError, match="even number of channels, found 25"):
        shuffle_v2(b, b.input, 25)
    with pytest.raises(GraphError, match=r"width must be one of 0.5, 1.0, 1.5, 2.0, found 3"):
        shufflenet_v2(IMAGE, 10, 3)
    with pytest.raises(GraphError, match=r"groups must be one of 1, 2, 3, 4, 8, found 5"):
        shufflenet_v1(IMAGE, 10, 1.0, 5)


@pytest.mark.parametrize("name", ["shufflenet_v1_x0_5", "shufflenet_v2_x0_5"])
def test_networks_run_on_small_images(name: str) -> None:
    graph = NETWORKS[name].build((3, 32, 32), 10)
    module = build_module(graph).eval()
    assert sum(p.numel() for p in module.parameters()) == cost(graph).params
    with torch.no_grad():
        assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.reference
@pytest.mark.parametrize("name", V2)
def test_v2_is_torchvisions(name: str) -> None:
    shape = (3, 128, 96)
    assert_parity(NETWORKS[name].build(shape), getattr(torchvision_models(), name)(weights=None), shape)
