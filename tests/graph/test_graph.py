"""The graph: names, order, arity, outputs, pruning, sizes, and the builder that checks them."""

from __future__ import annotations

import keyword
from collections.abc import Callable

import pytest
import torch
from graph_examples import resnet50, squeeze_excite
from torch import fx, nn

from nas.errors import GraphError
from nas.graph import (
    Add,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Input,
    Linear,
    MaxPool,
    Multiply,
    Named,
    Node,
    Primitive,
    Relu,
    cost,
    key,
    shapes_of,
)
from nas.graph.drawing.svg import draw_svg
from nas.graph.lowering.python_source import source_code
from nas.graph.lowering.torch_module import build_module

IMAGE = Node("image", Input((3, 8, 8)), ())


def chain(*names: str) -> Graph:
    nodes = [IMAGE]
    for name in names:
        nodes.append(Node(name, Relu(), (nodes[-1].name,)))
    return Graph(tuple(nodes), (("logits", nodes[-1].name),))


def builder_chain(*names: str) -> Graph:
    b = GraphBuilder((3, 8, 8))
    x = b.input
    for name in names:
        x = b(Relu(), x, name=name)
    return b.build(logits=x)


WAYS = pytest.mark.parametrize("build", [chain, builder_chain])


def refused(build: Callable[[], object], *says: str) -> None:
    with pytest.raises(GraphError) as caught:
        build()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in says), message


@WAYS
def test_names_are_unique(build: Callable[..., Graph]) -> None:
    refused(lambda: build("a", "b", "a"), "'a'", "taken")
    refused(lambda: build("s.a", "s.a"), "'s.a'", "taken")
    refused(lambda: build("image"), "'image'", "taken")
    build("a.b", "b", "c.b", "c.a")


@WAYS
def test_no_name_is_the_path_of_another_in_either_order(build: Callable[..., Graph]) -> None:
    refused(lambda: build("a", "a.b"), "'a'", "path")
    refused(lambda: build("a.b", "a"), "'a'", "path")
    refused(lambda: build("a.b", "a.b.c.d"), "'a.b'", "path")
    refused(lambda: build("a.b.c.d", "a.b"), "'a.b'", "path")
    build("a.b", "ab", "a.bc", "a1.b")


@WAYS
@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "a-b", "a\n", "é", "_a", "a.__b", "a/b"])
def test_names_are_dotted_words(build: Callable[..., Graph], name: str) -> None:
    with pytest.raises(GraphError, match="a name is segments of letters"):
        build(name)


def test_reserved_names_are_refused_wherever_they_stand() -> None:
    module = fx.GraphModule(nn.Module(), fx.Graph())
    names = {name for name in dir(module) if not name.startswith("_")} | {"self"} | set(keyword.kwlist)
    assert {"training", "forward", "code", "type", "class", "None"} <= names
    for name in sorted(names):
        for build in (chain, builder_chain):
            refused(lambda: build(name), f"'{name}'", "choose another")  # noqa: B023
            refused(lambda: build(f"stage1.{name}"), f"'{name}'", "choose another")  # noqa: B023
            refused(lambda: build(f"{name}.conv"), f"'{name}'", "choose another")  # noqa: B023


def test_private_names_of_modules_are_refused() -> None:
    for name in dir(fx.GraphModule(nn.Module(), fx.Graph())):
        if name.startswith("_"):
            refused(lambda: chain(name), "underscore")  # noqa: B023


def test_every_other_name_lowers() -> None:
    names = [
        "image2",
        "torch",
        "len",
        "getattr",
        "device",
        "inf",
        "weight",
        "bias",
        "0",
        "1a",
        "match",
        "conv2d",
        "x.0",
    ]
    b = GraphBuilder((3, 8, 8))
    x = b.input
    for name in names:
        x = b(Concat(), b(Conv(2), x, name=name), x)
    module = build_module(b.build(logits=x))
    assert list(module.state_dict()) == [f"{name}.weight" for name in names]
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 3 + 2 * len(names), 8, 8)


def test_inputs_are_earlier_nodes() -> None:
    late = (Node("b", Relu(), ("a",)), Node("a", Relu(), ("image",)))
    refused(lambda: Graph((IMAGE, *late), (("logits", "b"),)), "'b'", "'a' is not an earlier node")
    itself = Node("a", Add(), ("image", "a"))
    refused(lambda: Graph((IMAGE, itself), (("logits", "a"),)), "'a'", "not an earlier node")
    b = GraphBuilder((3, 8, 8))
    refused(lambda: b(Relu(), "nothing"), "'nothing' is not an earlier node")


@pytest.mark.parametrize(
    ("op", "count", "says"),
    [
        (Relu(), 0, "exactly 1 inputs, found 0"),
        (Relu(), 2, "exactly 1 inputs, found 2"),
        (Multiply(), 1, "exactly 2 inputs, found 1"),
        (Multiply(), 3, "exactly 2 inputs, found 3"),
        (Add(), 0, "at least 1 inputs, found 0"),
        (Concat(), 0, "at least 1 inputs, found 0"),
        (Input((3, 8, 8)), 1, "exactly 0 inputs, found 1"),
    ],
)
def test_arity(op: Primitive, count: int, says: str) -> None:
    inputs = ("image",) * count
    refused(lambda: Graph((IMAGE, Node("a", op, inputs)), (("logits", "a"),)), "'a'", op.kind, says)
    b = GraphBuilder((3, 8, 8))
    refused(lambda: b(op, *inputs), op.kind, says)


def test_outputs_are_nodes_and_there_is_one() -> None:
    refused(lambda: Graph((IMAGE,), ()), "at least one output")
    refused(lambda: Graph((), (("logits", "image"),)), "'logits'", "unknown node 'image'")
    refused(lambda: Graph((IMAGE,), (("logits", "imagee"),)), "unknown node 'imagee'", "did you mean 'image'")
    refused(lambda: Graph((IMAGE,), (("logits", "image"), ("logits", "image"))), "'logits'", "unique")
    b = GraphBuilder((3, 8, 8))
    refused(lambda: b.build(), "at least one output")
    refused(lambda: b.build(logits="nothing"), "'logits'", "unknown node 'nothing'")
    refused(lambda: squeeze_excite().pruned(()), "at least one output")
    refused(lambda: squeeze_excite().pruned(("logit",)), "unknown output 'logit'", "did you mean 'logits'")
    refused(lambda: squeeze_excite().output("auxx"), "unknown output 'auxx'", "did you mean 'aux'")


def test_pruning_keeps_what_the_wanted_outputs_need() -> None:
    graph = squeeze_excite()
    names = {node.name for node in graph.nodes}
    lean = {node.name for node in graph.pruned().nodes}
    assert names - lean == {"aux_head", "flatten", "global_avg_pool2"}
    assert {node.name for node in graph.pruned(("aux",)).nodes} == {
        *("image", "stem", "global_avg_pool", "conv", "sigmoid", "gated", "global_avg_pool2", "flatten", "aux_head")
    }
    both = graph.pruned(("aux", "logits"))
    assert both.nodes == graph.nodes
    assert both.outputs == (("aux", "aux_head"), ("logits", "head"))


def test_the_builder_leaves_out_dead_nodes_but_no_inputs() -> None:
    b = GraphBuilder((3, 8, 8))
    b(Conv(64), b.input, name="dead")
    assert [n.name for n in b.build(logits=b(Relu(), b.input)).nodes] == ["image", "relu"]
    cell = GraphBuilder(inputs=3)
    graph = cell.build(cell=cell(Named("conv"), cell.inputs[1]))
    assert [n.name for n in graph.nodes] == ["input0", "input1", "input2", "named"]


def test_the_builder_names_nodes_by_kind_and_scope() -> None:
    b = GraphBuilder((3, 8, 8))
    first, second = b(Relu(), b.input), b(Relu(), b.input)
    with b.scope("stage1"), b.scope("block1"):
        third = b(Relu(), second)
        fourth = b(Conv(4), third, name="conv1")
    fifth = b(Relu(), fourth)
    assert (first, second, third, fourth, fifth) == (
        *("relu", "relu2", "stage1.block1.relu", "stage1.block1.conv1", "relu3"),
    )
    assert b.shape(fourth) == (4, 8, 8)
    assert b.channels(fourth) == 4


def test_a_number_that_is_taken_is_passed_over() -> None:
    b = GraphBuilder((3, 8, 8))
    b(Relu(), b.input, name="relu2")
    with b.scope("relu3"):
        b(Relu(), b.input)
    assert [b(Relu(), b.input) for _ in range(3)] == ["relu", "relu4", "relu5"]


def test_the_builder_checks_shapes_at_once() -> None:
    b = GraphBuilder((3, 8, 8))
    refused(lambda: b(Conv(8, 9), b.input, name="big"), "'big'", "conv", "window of 9")


def test_a_cell_has_no_shapes() -> None:
    b = GraphBuilder(inputs=2)
    graph = b.build(cell=b(Add(), b(Named("conv"), b.inputs[0]), b.inputs[1]))
    for ask in (cost, shapes_of, build_module):
        refused(lambda: ask(graph.pruned(("cell",))))  # noqa: B023
    refused(lambda: graph.input_shape, "exactly one input", "2")
    refused(lambda: graph.resized((3, 8, 8)), "exactly one input", "2")
    single = GraphBuilder()
    refused(lambda: single.build(cell=single(Relu(), single.input)).input_shape, "cell")


def test_resized_changes_the_input_alone() -> None:
    graph = resnet50(224)
    assert graph.input_shape == (3, 224, 224)
    small = graph.resized((3, 64, 96))
    assert small.input_shape == (3, 64, 96)
    assert small.nodes[1:] == graph.nodes[1:]
    assert small.outputs == graph.outputs
    assert small.resized([3, 224, 224]) == graph
    assert cost(small).params == cost(graph).params


def test_resized_shows_what_no_longer_fits() -> None:
    b = GraphBuilder((3, 8, 8))
    graph = b.build(logits=b(MaxPool(8), b.input, name="pool"))
    refused(lambda: cost(graph.resized((3, 4, 4))), "'pool'", "window of 8")
    flat = b.build(logits=b(Linear(10), b(Flatten(), b(GlobalAvgPool(), b.input))))
    assert cost(flat.resized((5, 2, 2))).params == 5 * 10 + 10


def test_graphs_are_values() -> None:
    assert resnet50() == resnet50()
    assert hash(resnet50()) == hash(resnet50())
    assert resnet50(224) != resnet50(192)
    assert chain("a") != chain("b")


def test_a_graph_answers_for_itself_as_the_functions_do() -> None:
    graph = squeeze_excite()
    assert graph.cost() == cost(graph)
    assert graph.key() == key(graph)
    assert graph.to_svg() == draw_svg(graph)
    outputs = [name for name, _ in graph.outputs]
    assert graph.to_source(outputs) == source_code(graph, outputs)
    images = torch.randn(2, *graph.input_shape)
    module, again = graph.to_module(outputs).eval(), build_module(graph, outputs).eval()
    again.load_state_dict(module.state_dict())
    assert all(map(torch.equal, as_tuple(module(images)), as_tuple(again(images))))


def as_tuple(found):
    return found if isinstance(found, tuple) else (found,)
