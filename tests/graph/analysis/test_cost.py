"""Costs against published numbers and hand counts."""

from __future__ import annotations

import types

import pytest
from graph_examples import VGG16, alexnet, equal_paths, resnet50, squeeze_excite, vgg16

import nas.graph
from nas.errors import GraphError
from nas.graph import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    MaxPool,
    Relu,
    cost,
    layers,
    shapes_of,
)


def test_the_room_exports_functions_not_files() -> None:
    shadowed = [n for n in nas.graph.__all__ if isinstance(getattr(nas.graph, n), types.ModuleType)]
    assert shadowed == []


def test_vgg16() -> None:
    graph = vgg16()
    total = cost(graph)
    assert total.params == 138_357_544
    assert total.macs == 15_470_264_320
    assert total.output_shape == (1000,)
    rows = {row.name: row for row in layers(graph)}
    assert rows["fc1"].params == 102_760_448 + 4096
    assert rows["fc3"].params == 4096 * 1000 + 1000


def test_vgg16_activations_of_the_lecture() -> None:
    """15.24 million for input, convolutions, pools and fully connected layers; 28.8 million with the ReLUs'."""
    graph = vgg16()
    counted = [row for row in layers(graph) if row.kind in ("input", "conv", "max_pool", "linear")]
    assert len(counted) == 1 + len(VGG16) + 3
    lecture = sum(row.activations for row in counted)
    assert round(lecture / 1e6, 2) == 15.24
    relus = sum(row.activations for row in layers(graph) if row.kind == "relu")
    assert round((lecture + relus) / 1e6, 1) == 28.8
    flat = 7 * 7 * 512
    assert cost(graph).activations == lecture + relus + flat
    # "most memory in the first convolutions": the lecture prints 3.2 million for each of the first two
    assert [row.activations for row in counted[1:3]] == [3_211_264, 3_211_264]


def test_alexnet_of_the_lecture() -> None:
    rows = {row.name: row for row in layers(alexnet())}
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool3"]
    printed = ["55x55x96", "27x27x96", "27x27x256", "13x13x256", "13x13x384", "13x13x384", "13x13x256", "6x6x256"]
    assert ["{1}x{2}x{0}".format(*rows[name].shape) for name in names] == printed
    assert rows["conv1"].params == 34_944
    assert all(rows[f"pool{i}"].params == 0 for i in (1, 2, 3))
    assert 60e6 < cost(alexnet()).params < 63e6


def test_resnet50() -> None:
    graph = resnet50()
    assert len(graph.nodes) == 1 + 175
    assert cost(graph).params == 25_557_032
    assert cost(graph).macs == 4_089_184_256


def test_naive_inception_module_of_the_lecture() -> None:
    """28x28x256 into 128 1x1, 192 3x3, 96 5x5 and a pool: 672 channels and 854 million operations."""
    b = GraphBuilder((256, 28, 28))
    branches = [b(Conv(width, k, 1, k // 2), b.input) for k, width in ((1, 128), (3, 192), (5, 96))]
    graph = b.build(out=b(Concat(), *branches, b(MaxPool(3, 1, 1), b.input)))
    assert cost(graph).output_shape == (672, 28, 28)
    assert round(cost(graph).macs / 1e6) == 854


def test_small_filters_of_the_lecture() -> None:
    """Three 3x3 convolutions have 27 C^2 weights and 27 HWC^2 operations, one 7x7 has 49 of each."""
    c, size = 6, 10

    def stack(kernel: int, count: int) -> Graph:
        b = GraphBuilder((c, size, size))
        x = b.input
        for _ in range(count):
            x = b(Conv(c, kernel, 1, kernel // 2), x)
        return b.build(out=x)

    assert (cost(stack(3, 3)).params, cost(stack(7, 1)).params) == (27 * c**2, 49 * c**2)
    assert (cost(stack(3, 3)).macs, cost(stack(7, 1)).macs) == (27 * size**2 * c**2, 49 * size**2 * c**2)


def test_memory_is_four_bytes_a_number() -> None:
    b = GraphBuilder((2, 4, 4))
    x = b(BatchNorm(), b(Conv(3, 3, padding=1, bias=True), b.input))
    graph = b.build(logits=b(Linear(5), b(Flatten(), b(GlobalAvgPool(), b(Relu(), x)))))
    params = (2 * 9 * 3 + 3) + 2 * 3 + (3 * 5 + 5)
    activations = 2 * 16 + 3 * (3 * 16) + 3 + 3 + 5
    total = cost(graph)
    assert (total.params, total.activations) == (params, activations)
    assert total.memory_forward == 4 * activations
    assert total.memory_lecture() == 4 * (params + params + params + activations + activations)
    assert total.memory_lecture(16) == 4 * (3 * params + 16 * 2 * activations)


@pytest.mark.parametrize("make", [vgg16, alexnet, resnet50, squeeze_excite, lambda: equal_paths(3, 2)])
def test_the_table_adds_up_to_the_totals(make: type[Graph]) -> None:
    graph = make()
    rows, total = layers(graph), cost(graph)
    assert [row.name for row in rows] == [node.name for node in graph.nodes]
    assert sum(row.params for row in rows) == total.params
    assert sum(row.macs for row in rows) == total.macs
    assert sum(row.activations for row in rows) == total.activations
    assert {row.name: row.shape for row in rows} == shapes_of(graph)


def test_the_reported_shape_is_that_of_the_output_asked_for() -> None:
    b = GraphBuilder((3, 8, 8))
    graph = b.build(logits=b(Conv(4), b.input), aux=b(Conv(7, 3), b.input))
    assert cost(graph).output_shape == (4, 8, 8)
    assert cost(graph, "aux").output_shape == (7, 6, 6)
    with pytest.raises(GraphError, match="unknown output 'au'; did you mean 'aux'"):
        cost(graph, "au")


def test_errors_name_the_node() -> None:
    graph = alexnet().resized((3, 40, 40))
    for ask in (cost, shapes_of, layers):
        with pytest.raises(GraphError, match="node 'pool3': max_pool: the window of 3"):
            ask(graph)


def test_shared_nodes_count_once() -> None:
    b = GraphBuilder((3, 8, 8))
    conv = b(Conv(3), b.input)
    graph = b.build(logits=b(Add(), conv, conv, conv))
    assert cost(graph).params == 9
