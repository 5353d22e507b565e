"""Folding batch norms: the same function with fewer parameters."""

from __future__ import annotations

import pytest
import torch
from small_networks import sampled
from torch import Tensor

from nas.errors import GraphError
from nas.graph import (
    Add,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    Relu,
    TransposedConv,
    cost,
    fold_batch_norms,
    shapes_of,
)
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS

# how many norms there are, and how many follow a conv that nothing else uses
NAMED = {
    "resnet18": (64, 20, 20),
    "mobilenet_v2": (64, 52, 52),
    "densenet121": (64, 121, 59),  # the stem's and the second of each of 58 layers; all others follow a concat or pool
    "vgg11_bn": (32, 8, 8),
    "googlenet": (64, 57, 57),
    "efficientnet_b0": (64, 49, 49),
}


def with_statistics(graph: Graph, outputs: tuple[str, ...] = ("logits",)) -> torch.fx.GraphModule:
    """Return the module in eval mode with random norms, as after training."""
    torch.manual_seed(0)
    module = build_module(graph, outputs).eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith(("running_mean", ".bias")):
                value.copy_(torch.randn_like(value) * 0.2)
            elif value.is_floating_point() and value.dim() == 1:
                value.copy_(torch.rand_like(value) + 0.5)
    return module


def assert_folds(graph: Graph, count: int | None = None, outputs: tuple[str, ...] = ("logits",)) -> Graph:
    """Check everything that folding promises; return the folded graph."""
    module = with_statistics(graph, outputs)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    folded, folded_state = fold_batch_norms(graph, state)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    lean = build_module(folded, outputs).eval()
    lean.load_state_dict(folded_state, strict=True)
    image = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        for expected, found in zip(as_tuple(module(image)), as_tuple(lean(image)), strict=True):
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    gone = {node.name for node in graph.nodes} - {node.name for node in folded.nodes}
    assert gone == set(foldable(graph)) if count is None else len(gone) == count
    assert not foldable(folded)
    assert Graph.from_json(folded.to_json()) == folded
    assert cost(folded).macs == cost(graph).macs
    assert cost(graph).params - cost(folded).params == saved(graph, gone)
    return folded


def as_tuple(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def foldable(graph: Graph) -> list[str]:
    """Names of the norms that follow a layer of weights which nothing else uses."""
    nodes = {node.name: node for node in graph.nodes}
    used = [i for node in graph.nodes for i in node.inputs] + [name for _, name in graph.outputs]
    return [
        node.name
        for node in graph.nodes
        if node.op.kind == "batch_norm"
        and nodes[node.inputs[0]].op.kind in ("conv", "transposed_conv", "linear")
        and used.count(node.inputs[0]) == 1
    ]


def saved(graph: Graph, gone: set[str]) -> int:
    """Parameters of the norms in ``gone``, less the biases that their layers got."""
    nodes, shapes = {node.name: node for node in graph.nodes}, shapes_of(graph)
    total = 0
    for name in gone:
        norm, layer = nodes[name].op, nodes[nodes[name].inputs[0]].op
        biased = getattr(layer, "bias", True)  # a norm after a norm finds the bias there
        total += shapes[name][0] * (2 * norm.affine - (not biased))
    return total


@pytest.mark.parametrize("name", NAMED)
def test_named_networks_fold(name: str) -> None:
    size, norms, count = NAMED[name]
    graph = NETWORKS[name].build((3, size, size), 10)
    folded = assert_folds(graph, count)
    kinds = [node.op.kind for node in graph.nodes]
    assert kinds.count("batch_norm") == norms
    assert [node.op.kind for node in folded.nodes].count("batch_norm") == norms - count


@pytest.mark.parametrize("seed", range(10))
def test_random_architectures_fold(seed: int) -> None:
    assert_folds(sampled(("nasnet", "nb201")[seed % 2], seed, 4, 1 + seed % 2))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_every_kind_of_layer_folds(affine: bool, bias: bool) -> None:
    b = GraphBuilder((4, 9, 9))
    norm = BatchNorm(eps=1e-3, affine=affine)
    x = b(Relu(), b(norm, b(Conv(6, 3, 2, 1, 1, 2, bias, "reflect"), b.input)))
    x = b(Relu(), b(norm, b(TransposedConv(9, 3, 2, 1, 1, groups=3, bias=bias), x)))
    x = b(Relu(), b(BatchNorm(), b(norm, b(Conv(5, bias=bias), x))))  # two in a row
    x = b(Relu(), b(norm, b(Linear(7, bias=bias), b(Flatten(), b(GlobalAvgPool(), x)))))
    graph = b.build(logits=b(norm, b(Linear(3, bias=bias), x, name="last"), name="norm"))
    folded = assert_folds(graph, 6)
    assert folded.output("logits") == "last"


def test_what_others_need_stays() -> None:
    b = GraphBuilder((3, 8, 8))
    shared = b(Conv(4, 3), b.input, name="shared")
    x = b(Add(), b(BatchNorm(), shared, name="second_user"), shared)
    x = b(BatchNorm(), b(Relu(), x), name="after_relu")
    end = b(Conv(4), x, name="end")
    x = b(BatchNorm(), end, name="after_output")
    inner = b(BatchNorm(), b(Conv(4), x, name="kept"), name="goes")
    graph = b.build(logits=b(Flatten(), b(BatchNorm(), inner, name="after_norm")), end=end, inner=inner)
    folded = assert_folds(graph, 1, ("logits", "end", "inner"))
    assert {n.name for n in graph.nodes} - {n.name for n in folded.nodes} == {"goes"}
    assert dict(folded.outputs) == {"logits": "flatten", "end": "end", "inner": "kept"}


def test_a_state_that_lacks_a_tensor_is_refused() -> None:
    graph = NETWORKS["googlenet"].build((3, 64, 64), 10, aux=True)
    state = build_module(graph).state_dict()  # without the heads
    with pytest.raises(GraphError, match="the state has no tensor"):
        fold_batch_norms(graph, state)
    assert fold_batch_norms(graph.pruned(), state)
