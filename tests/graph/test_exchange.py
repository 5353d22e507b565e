"""Graphs in networkx and back, and the files that networkx and graphviz read."""

from __future__ import annotations

import io
import json
import re
import shlex
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from graph_examples import equal_paths, squeeze_excite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import NETWORKS as SMALL

from nas.cli.main import main
from nas.errors import GraphError
from nas.graph import PRIMITIVES, Add, Concat, Graph, GraphBuilder, Input, Multiply, Named, Node, Primitive, primitive
from nas.graph.exchange import WRITERS, dot, graphml, node_link_json
from nas.space import SPACES
from nas.space.genotypes import GENOTYPES
from nas.space.networks import NETWORKS

OPS = sorted({node.op for build in SMALL.values() for node in build().nodes if node.inputs}, key=repr)


@st.composite
def graphs(draw: Any) -> Graph:
    """A random graph of nodes of every kind, whose shapes need not fit; nodes may read one input twice."""
    nodes = [Node("image", Input(draw(st.sampled_from([(), (3, 8, 8), (4,)]))), ())]
    for i in range(draw(st.integers(0, 9))):
        op = draw(st.sampled_from([*OPS, Named("sep_conv_3x3", 2), Add(), Concat(True), Multiply()]))
        least, most = op.arity
        size = draw(st.integers(least, most or 4))
        inputs = draw(st.lists(st.sampled_from([n.name for n in nodes]), min_size=size, max_size=size))
        nodes.append(Node(f"{draw(st.sampled_from(['', 'a.', 'a.b.', '0.']))}n{i}", op, tuple(inputs)))
    names = draw(st.lists(st.from_regex("[A-Za-z0-9_]{1,4}", fullmatch=True), min_size=1, max_size=3, unique=True))
    return Graph(tuple(nodes), tuple((name, draw(st.sampled_from(nodes)).name) for name in names))


@pytest.mark.long
@given(graph=graphs(), seed=st.integers(0, 9))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_graph_comes_back(graph: Graph, seed: int) -> None:
    found = graph.to_networkx()
    assert Graph.from_networkx(found) == graph
    assert list(found) == [node.name for node in graph.nodes]
    assert found.number_of_edges() == sum(len(node.inputs) for node in graph.nodes)
    assert found.is_multigraph() == any(len(set(n.inputs)) < len(n.inputs) for n in graph.nodes)
    # nodes in any order and a multigraph for a plain one describe the same graph in another order
    other = nx.MultiDiGraph(**found.graph)
    names = list(found)
    np.random.default_rng(seed).shuffle(names)
    other.add_nodes_from((name, found.nodes[name]) for name in names)
    other.add_edges_from(found.edges(data=True))
    read = Graph.from_networkx(other)
    assert sorted(read.nodes, key=lambda n: n.name) == sorted(graph.nodes, key=lambda n: n.name)
    assert read.outputs == graph.outputs
    check_files(graph)


def check_files(graph: Graph) -> None:
    """Check that the files hold the nodes and edges of the graph, and that the node-link data is the graph."""
    found = graph.to_networkx()
    assert Graph.from_networkx(nx.node_link_graph(json.loads(node_link_json(graph)), edges="edges")) == graph
    if all(name.isprintable() for name, _ in graph.outputs):  # XML has no control characters
        read = nx.read_graphml(io.BytesIO(graphml(graph).encode()), force_multigraph=True)
        assert set(read) == set(found)
        assert sorted(read.edges()) == sorted(found.edges())
        assert {n: d["op"] for n, d in read.nodes(data=True)} == dict(found.nodes(data="op"))
        assert sorted(p for *_, p in read.edges(data="position")) == sorted(p for *_, p in found.edges(data="position"))
    statements = dot_statements(dot(graph))
    boxes = {ids[0] for ids in statements if len(ids) == 1}
    assert boxes == set(found) | {f"output {name}".replace("\n", " ") for name, _ in graph.outputs}
    ends = [("->".join(ids)) for ids in statements if len(ids) == 2 and not ids[1].startswith("output ")]
    assert sorted(ends) == sorted(f"{u}->{v}" for u, v in found.edges())


def dot_statements(text: str) -> list[list[str]]:
    """Return the quoted names of each statement of a dot file: of a node one, of an edge two."""
    first, *lines, last = text.removesuffix("\n").split("\n")
    assert (first, last) == ("digraph {", "}")
    string = r'"((?:[^"\\]|\\.)*)"'
    found = []
    for line in lines[1:]:
        match = re.fullmatch(rf"  {string}(?: -> {string}| \[label={string}(?:, shape=ellipse)?\]);", line)
        assert match, line
        found.append([re.sub(r"\\(.)", r"\1", name) for name in match.groups()[:2] if name is not None])
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_comes_back(name: str) -> None:
    graph = NETWORKS[name].build()
    found = graph.to_networkx()
    assert Graph.from_networkx(found) == graph
    assert found.graph["input_shape"] == graph.input_shape == found.nodes[graph.inputs[0].name]["shape"]
    assert nx.is_directed_acyclic_graph(found)


def test_every_published_cell_and_cells_of_spaces_come_back() -> None:
    cells = [cell for name in GENOTYPES for cell in GENOTYPES[name].genotype.cells().values()]
    rng = np.random.default_rng(0)
    for name in ("nb101", "nb201", "nasnet", "darts", "lecture"):
        made = SPACES[name].describe(SPACES[name].sample(rng))
        cells += made.cells.values() if hasattr(made, "cells") else [made.graph()]
    assert len(cells) > 20
    for cell in cells:
        found = cell.to_networkx()
        assert Graph.from_networkx(found) == cell
        check_files(cell)


def test_what_networkx_is_told() -> None:
    found = squeeze_excite().to_networkx()
    assert type(found) is nx.DiGraph
    assert found.graph == {
        "format": "nas/graph/1",
        "outputs": {"logits": "head", "aux": "aux_head"},
        "input_shape": (3, 16, 16),
    }
    stem = found.nodes["stem"]
    assert (stem["op"], stem["out"], stem["kernel"], stem["bias"], stem["shape"]) == (
        "conv",
        8,
        (3, 3),
        False,
        (8, 16, 16),
    )
    assert {u: p for u, _, p in found.in_edges("gated", data="position")} == {"stem": 0, "sigmoid": 1}
    b = GraphBuilder()
    named = b.build(cell=b(Named("sep_conv_3x3"), b.input, name="x")).to_networkx()
    assert dict(named.nodes["x"]) == {"op": "named", "op_": "sep_conv_3x3", "stride": 1}


def by_hand() -> nx.DiGraph:
    found = nx.DiGraph(outputs={"logits": "sum"})
    found.add_node("sum", op="add")
    found.add_node("relu", op="relu")
    found.add_node("image", op="input", size=[3, 4, 4])
    found.add_edge("image", "relu")  # the only input needs no position
    found.add_edge("relu", "sum", position=1)
    found.add_edge("image", "sum", position=0)
    return found


def test_a_graph_built_by_hand_in_any_order() -> None:
    graph = Graph.from_networkx(by_hand())
    assert [(n.name, n.inputs) for n in graph.nodes] == [
        ("image", ()),
        ("relu", ("image",)),
        ("sum", ("image", "relu")),
    ]
    assert graph.input_shape == (3, 4, 4)


WRONG = {
    "no networkx": (lambda g: [1], "a graph is read from a networkx.DiGraph or MultiDiGraph, found list"),
    "undirected": (lambda g: nx.Graph(g), "found Graph"),
    "format": (lambda g: g.graph.update(format="nas/graph/9"), "format must be 'nas/graph/1', found 'nas/graph/9'"),
    "no outputs": (lambda g: g.graph.clear(), "'outputs' must give the node of each output's name"),
    "unknown output": (lambda g: g.graph.update(outputs={"logits": "sun"}), "unknown node 'sun'; did you mean 'sum'?"),
    "missing op": (lambda g: g.nodes["relu"].clear(), "node 'relu': the attribute 'op', the kind of its primitive"),
    "unknown op": (lambda g: g.nodes["relu"].update(op="rellu"), "unknown primitive 'rellu'; did you mean 'relu'?"),
    "unknown attribute": (
        lambda g: g.nodes["image"].update(sise=3),
        "node 'image': input: unknown attribute 'sise'; did you mean 'size'?",
    ),
    "wrong attribute": (lambda g: g.nodes["image"].update(size=(3, 0, 4)), "node 'image': input: size must be"),
    "cycle": (lambda g: g.add_edge("sum", "relu", position=1), "the nodes sum -> relu -> sum form a cycle"),
    "loop": (lambda g: g.add_edge("relu", "relu", position=1), "the nodes relu -> relu form a cycle"),
    "gap": (
        lambda g: g.edges["relu", "sum"].update(position=2),
        "node 'sum': the positions of its inputs must be 0 to 1, found 2, 0",
    ),
    "twice": (lambda g: g.edges["relu", "sum"].update(position=0), "must be 0 to 1, found 0, 0"),
    "no position": (lambda g: g.edges["relu", "sum"].clear(), "must be 0 to 1, found None, 0"),
    "text position": (lambda g: g.edges["relu", "sum"].update(position="1"), "must be 0 to 1, found 1, 0"),
    "too many inputs": (lambda g: g.nodes["sum"].update(op="relu"), "node 'sum': relu takes exactly 1 inputs, found 2"),
    "no name": (lambda g: g.add_node(3, op="relu"), "node 3: a node's name must be a string"),
    "bad name": (lambda g: nx.relabel_nodes(g, {"relu": "a..b"}), "node 'a.': a name is segments"),
    "no input": (lambda g: g.remove_edge("image", "relu"), "node 'relu': relu takes exactly 1 inputs, found 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_graph_is_one_line(case: str) -> None:
    damage, words = WRONG[case]
    found = by_hand()
    changed = damage(found)
    with pytest.raises(GraphError) as caught:
        Graph.from_networkx(found if changed is None else changed)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_attributes_that_are_called_as_the_own_ones_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PRIMITIVES, "_items", dict(PRIMITIVES._items))

    @primitive("odd", "a test")
    @dataclass(frozen=True)
    class Odd(Primitive):
        shape_: int = 1
        op: str = "x"
        op_: str = "y"
        shapes: int = 3

    b = GraphBuilder()
    graph = b.build(cell=b(Odd(2, "a", "b", 4), b.input))
    found = graph.to_networkx()
    assert dict(found.nodes["odd"]) == {"op": "odd", "shape__": 2, "op_": "a", "op__": "b", "shapes": 4}
    assert Graph.from_networkx(found) == graph


def test_files_of_networks(tmp_path: Path) -> None:
    for graph in (*(build() for build in SMALL.values()), squeeze_excite(), equal_paths(3, 2)):
        check_files(graph)
    path = tmp_path / "x.graphml"
    path.write_text(graphml(squeeze_excite()))
    read = nx.read_graphml(path)
    assert read.nodes["stem"]["kernel"] == "[3, 3]"
    assert read.nodes["stem"]["out"] == 8
    assert json.loads(read.graph["outputs"]) == {"logits": "head", "aux": "aux_head"}


@pytest.mark.parametrize("flags", ["-o {}/x.{}", "--format {1} -o {0}/x", "--format {1} -o {0}/x.svg"])
@pytest.mark.parametrize("name", ["svg", "graphml", "dot", "json"])
def test_the_command_writes_every_format(flags: str, name: str, tmp_path: Path) -> None:
    assert main(shlex.split(f"draw DARTS_V2 --cell normal {flags.format(tmp_path, name)}")) == 0
    (path,) = tmp_path.iterdir()
    text, graph = path.read_text(), GENOTYPES["DARTS_V2"].genotype.cells()["normal"]
    if name == "svg":
        assert ET.fromstring(text).tag.endswith("svg")
    else:
        assert text == WRITERS[name](graph)


def test_quotes_and_backslashes_in_dot() -> None:
    b = GraphBuilder()
    graph = b.build(out=b(Named('a"b\\'), b.input, name="x"))
    text = dot(graph)
    assert '"x" [label="x\\na\\"b\\\\"];' in text
    assert '"output out" [label="out", shape=ellipse];' in text
