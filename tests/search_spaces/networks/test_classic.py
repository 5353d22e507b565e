"""LeNet-5, AlexNet, ZFNet and SENet-154: the lecture's numbers, exact counts, and the references' functions."""

from __future__ import annotations

import pytest
import torch
from parity import assert_parity, timm_create, torchvision_models

from nas.errors import GraphError
from nas.graph import Graph, cost, layers
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS
from search_spaces.networks import alexnet, lenet, senet  # noqa: F401  (registers the networks)
from search_spaces.networks.alexnet import LRN

PARAMS = {
    "lenet5": 61_706,  # 156 + 2,416 + 48,120 + 10,164 + 850
    "alexnet": 61_100_840,
    "alexnet_lecture": 62_378_344,
    "alexnet_two_gpus": 60_965_224,
    "zfnet": 107_627_624,
    "senet154": 115_088_984,
    "legacy_senet154": 115_088_984,
}
# (layer, its kind, output height x width x channels), as the lecture lists them
ALEXNET_SHAPES = [
    ("stage1.conv1.conv", (96, 55, 55)),
    ("stage1.max_pool", (96, 27, 27)),
    ("stage2.conv1.conv", (256, 27, 27)),
    ("stage2.max_pool", (256, 13, 13)),
    ("stage3.conv1.conv", (384, 13, 13)),
    ("stage4.conv1.conv", (384, 13, 13)),
    ("stage5.conv1.conv", (256, 13, 13)),
    ("stage5.max_pool", (256, 6, 6)),
    ("hidden1.linear", (4096,)),
    ("hidden2.linear", (4096,)),
    ("classifier", (1000,)),
]


def built(name: str, shape: tuple[int, int, int] | None = None, classes: int | None = None) -> Graph:
    return NETWORKS[name].build(shape, classes)


@pytest.mark.parametrize(("name", "params"), PARAMS.items())
def test_parameter_counts_are_exact(name: str, params: int) -> None:
    assert cost(built(name)).params == params


@pytest.mark.parametrize("name", ["alexnet_lecture", "alexnet_two_gpus"])
def test_alexnet_has_the_shapes_of_the_lecture(name: str) -> None:
    rows = {row.name: row for row in layers(built(name))}
    assert [(layer, rows[layer].shape) for layer, _ in ALEXNET_SHAPES] == ALEXNET_SHAPES
    assert rows["stage1.conv1.conv"].params == (11 * 11 * 3 + 1) * 96 == 34_944
    assert rows["stage1.max_pool"].params == 0


def test_alexnet_in_megabytes() -> None:
    """Printed: about 60 M parameters, 230 MB. Exact: 60.97 M with two GPUs' groups, 232.6 MiB at 4 bytes each."""
    params = cost(built("alexnet_two_gpus")).params
    assert round(4 * params / 2**20, 1) == 232.6


def test_two_gpus_halve_the_weights_of_the_grouped_layers_only() -> None:
    one = {row.name: row.params for row in layers(built("alexnet_lecture"))}
    two = {row.name: row.params for row in layers(built("alexnet_two_gpus"))}
    halved = {name for name in one if one[name] != two[name]}
    assert halved == {f"stage{i}.conv1.conv" for i in (2, 4, 5)}
    for name, bias in (("stage2", 256), ("stage4", 384), ("stage5", 256)):
        layer = f"{name}.conv1.conv"
        assert one[layer] - bias == 2 * (two[layer] - bias)


def test_local_response_norm_is_the_formula_of_the_paper() -> None:
    """b_i = a_i / (k + alpha * sum of a_j ** 2 over the n nearest maps) ** beta, k 2, n 5, alpha 1e-4, beta 0.75."""
    a = 50 * torch.randn(1, 9, 3, 3)
    layer = LRN.layer(((9, 3, 3),))
    found = getattr(torch.nn, layer.name)(**layer.arguments)(a)
    for i in range(9):
        near = a[:, max(0, i - 2) : i + 3].square().sum(1)
        torch.testing.assert_close(found[:, i], a[:, i] / (2 + 1e-4 * near) ** 0.75)


def test_zfnet_has_the_maps_of_figure_3() -> None:
    rows = {row.name: row.shape for row in layers(built("zfnet"))}
    names = ["stage1.conv1.conv", "stage1.max_pool", "stage2.conv1.conv", "stage2.max_pool", "stage5.max_pool"]
    assert [rows[name][1] for name in names] == [110, 55, 26, 13, 6]
    assert [rows[f"stage{i}.conv1.conv"][0] for i in (3, 4, 5)] == [512, 1024, 512]


def test_lenet5_reads_28_and_32_pixels() -> None:
    small, large = built("lenet5", (1, 28, 28)), built("lenet5", (1, 32, 32))
    assert cost(small).params == cost(large).params == PARAMS["lenet5"]
    kinds = [row.kind for row in layers(small) if row.kind in ("conv", "avg_pool", "linear", "tanh")]
    assert kinds == [*["conv", "tanh", "avg_pool"] * 2, *["linear", "tanh"] * 2, "linear"]
    assert lenet.lenet5((1, 28, 28), 10, "sigmoid") != small


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "alexnet_lecture", "alexnet_two_gpus", "zfnet"])
def test_networks_run_on_other_sizes_and_classes(name: str) -> None:
    shape = (1, 40, 36) if name == "lenet5" else (3, 71, 90)
    graph = built(name, shape, 7)
    module = build_module(graph).eval()
    assert sum(p.numel() for p in module.parameters()) == cost(graph).params
    with torch.no_grad():
        assert module(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", 11),
        ("alexnet", 62),
        ("alexnet_lecture", 66),
        ("alexnet_two_gpus", 66),
        ("zfnet", 40),
        ("legacy_senet154", 1),
    ],
)
def test_an_image_too_small_is_refused_on_one_line(name: str, size: int) -> None:
    with pytest.raises(GraphError, match=r"^node '[a-z0-9_.]+': .*the window of \d+ does not fit.* is allowed$"):
        built(name, (NETWORKS[name].input_shape[0], size, size))


@pytest.mark.reference
@pytest.mark.parametrize("size", [224, 100])
def test_alexnet_is_torchvisions(size: int) -> None:
    shape = (3, size, size)
    assert_parity(built("alexnet", shape), torchvision_models().alexnet(weights=None), shape)


@pytest.mark.reference
@pytest.mark.long
@pytest.mark.parametrize("name", ["senet154", "legacy_senet154"])
def test_senet154_is_timms(name: str) -> None:
    shape = (3, 97, 90)
    assert_parity(built(name, shape), timm_create()(name), shape)
