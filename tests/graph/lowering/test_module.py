"""Lowering: plain layers under the nodes' names, no interpreter, what is not wanted left out."""

from __future__ import annotations

import re

import pytest
import torch
from graph_examples import resnet50, squeeze_excite, vgg16
from torch import fx, nn

from nas.errors import GraphError
from nas.graph import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu, cost
from nas.graph.lowering.torch_module import build_module


def test_resnet50_matches_the_published_state() -> None:
    module = build_module(resnet50())
    state = module.state_dict()
    assert sum(p.numel() for p in module.parameters()) == 25_557_032
    # 53 convolutions, 53 batch norms of five tensors each, one linear layer of two
    assert len(state) == 53 + 53 * 5 + 2
    graph = resnet50()
    weighted = {n.name for n in graph.nodes if n.op.kind in ("conv", "batch_norm", "linear")}
    assert {name.rpartition(".")[0] for name in state} == weighted


def test_layers_carry_the_names_of_nodes_in_scopes() -> None:
    b = GraphBuilder((3, 8, 8))
    with b.scope("stage2"), b.scope("block1"):
        x = b(BatchNorm(), b(Conv(4, 3, bias=True), b.input, name="conv1"), name="bn1")
    x = b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x)), name="0")
    module = build_module(b.build(logits=x))
    assert set(module.state_dict()) == {
        "stage2.block1.conv1.weight",
        "stage2.block1.conv1.bias",
        *(f"stage2.block1.bn1.{t}" for t in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        "0.weight",
        "0.bias",
    }
    assert isinstance(module.get_submodule("stage2.block1.conv1"), nn.Conv2d)
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_state_dicts_load_into_a_fresh_module() -> None:
    one, other = build_module(squeeze_excite()).eval(), build_module(squeeze_excite()).eval()
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def test_the_code_is_plain_python() -> None:
    module = build_module(squeeze_excite(), name="Gated")
    assert isinstance(module, fx.GraphModule)
    assert type(module).__name__ == "Gated"
    code = module.code
    assert "def forward(self, image):" in code
    assert not re.search(r"\b(for|while|if|exec|eval|nas|_graph_module)\b", code)
    assert "self.stem(image)" in code
    kinds = {type(child).__module__ for child in module.modules() if child is not module}
    # fx holds the paths of dotted names in plain modules
    assert all(kind.startswith("torch.nn.") for kind in kinds)


def test_a_whole_network_calls_each_layer_once() -> None:
    graph = vgg16()
    module = build_module(graph.resized((3, 32, 32)))
    calls = [node.target for node in module.graph.nodes if node.op == "call_module"]
    assert calls == [node.name for node in graph.nodes if node.op.kind != "input"]


def test_several_outputs_give_a_tuple_in_the_order_asked_for() -> None:
    graph = squeeze_excite()
    x = torch.randn(2, 3, 16, 16)
    both = build_module(graph, ["aux", "logits"])(x)
    assert type(both) is tuple
    assert [tuple(y.shape) for y in both] == [(2, 4), (2, 4)]
    module = build_module(graph, ["logits", "aux"]).eval()
    swapped = build_module(graph, ["aux", "logits"]).eval()
    swapped.load_state_dict(module.state_dict())
    assert torch.equal(module(x)[1], swapped(x)[0])
    alone = build_module(graph, ["aux"])(x)
    assert isinstance(alone, torch.Tensor)


def test_the_auxiliary_head_is_left_out_unless_wanted() -> None:
    graph = squeeze_excite()
    assert "aux_head.weight" not in build_module(graph).state_dict()
    assert "aux_head.weight" in build_module(graph, ["logits", "aux"]).state_dict()
    assert "head.weight" not in build_module(graph, ["aux"]).state_dict()
    lean = sum(p.numel() for p in build_module(graph).parameters())
    assert lean == cost(graph.pruned()).params < cost(graph).params


def test_refusals() -> None:
    with pytest.raises(GraphError, match="unknown output 'logit'; did you mean 'logits'"):
        build_module(squeeze_excite(), ["logit"])
    with pytest.raises(GraphError, match="at least one output"):
        build_module(squeeze_excite(), [])
    b = GraphBuilder(inputs=2)
    with pytest.raises(GraphError, match="input"):
        build_module(b.build(logits=b(Add(), *b.inputs)))
    with pytest.raises(GraphError, match="node 'max_pool5': max_pool: the window of 2"):
        build_module(vgg16().resized((3, 16, 16)))


def test_the_input_itself_may_be_an_output() -> None:
    b = GraphBuilder((3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(build_module(b.build(logits=b.input))(x), x)
    pair = build_module(b.build(logits=b(Relu(), b.input), image=b.input), ["logits", "image"])(x)
    assert torch.equal(pair[0], x.clamp(min=0))
    assert torch.equal(pair[1], x)


def test_export_gives_the_same_numbers() -> None:
    module = build_module(squeeze_excite(), ["logits", "aux"]).eval()
    x = torch.randn(2, 3, 16, 16)
    exported = torch.export.export(module, (x,))
    assert set(exported.state_dict) == set(module.state_dict())
    for ours, theirs in zip(module(x), exported.module()(x), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.long
def test_compile_has_no_graph_break() -> None:
    module = build_module(resnet50(64)).eval()
    x = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
