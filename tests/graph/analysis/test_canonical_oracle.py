"""Equal keys exactly for isomorphic graphs: networkx says which are."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import networkx as nx
import numpy as np
import pytest
from graph_examples import nearly, random_form, random_lift, regular_form, relabelled, shuffled_form
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import categorical_edge_match, categorical_node_match

from nas.graph import Graph, Named, Node, normal_form
from nas.graph.analysis.canonical import NormalForm, certificate
from nas.space import SPACES
from search_spaces.spaces.nb101 import Nb101Cell


def oracle_graph(form: NormalForm) -> Any:
    """``form`` in networkx: labels and the output on the nodes, the sorted ports of an edge on the edge."""
    graph = nx.DiGraph()
    for v, label in enumerate(form.labels):
        graph.add_node(v, label=label, out=v == len(form.labels) - 1)
    for v, sources in enumerate(form.inputs):
        ports = defaultdict(list)
        for port, u in enumerate(sources):
            ports[u].append(-1 if form.unordered[v] else port)
        for u, entered in ports.items():
            graph.add_edge(u, v, ports=tuple(sorted(entered)))
    return graph


def isomorphic(a: NormalForm, b: NormalForm) -> bool:
    one, other = oracle_graph(a), oracle_graph(b)
    return bool(
        nx.faster_could_be_isomorphic(one, other)
        and nx.is_isomorphic(
            one,
            other,
            node_match=categorical_node_match(["label", "out"], [None, None]),
            edge_match=categorical_edge_match("ports", None),
        )
    )


def agree(a: NormalForm, b: NormalForm) -> bool:
    """Check the key against the oracle, and return what both say."""
    same = isomorphic(a, b)
    assert (certificate(a) == certificate(b)) == same, (a, b)
    return same


def form_pairs(rng: random.Random, count: int, size: int) -> int:
    """Compare ``count`` random pairs, half of them shuffled copies and half near misses; return the equal ones."""
    equal = 0
    for i in range(count):
        form = random_form(rng, rng.randint(2, size), rng.randint(1, 3), rng.randint(1, 3))
        if i % 2:
            other = shuffled_form(form, rng)
            assert agree(form, other)
            equal += 1
        else:
            equal += agree(form, shuffled_form(nearly(form, rng), rng))
    return equal


def lift_pairs(rng: random.Random, count: int) -> int:
    """Compare ``count`` pairs of lifts of one base, which color refinement cannot tell; return the equal ones."""
    equal = 0
    for _ in range(count):
        base = random_form(rng, rng.randint(3, 6), rng.randint(1, 3), rng.randint(1, 3))
        copies = rng.randint(2, 3)
        equal += agree(random_lift(rng, base, copies), shuffled_form(random_lift(rng, base, copies), rng))
    return equal


def test_random_labelled_graphs() -> None:
    assert 150 <= form_pairs(random.Random(1), 300, 9) < 250


def test_lifts_of_one_graph() -> None:
    assert 40 < lift_pairs(random.Random(2), 300) < 260


def regular_pairs(rng: random.Random, count: int) -> int:
    """Compare ``count`` pairs of random regular graphs and a shuffled copy of each; return the equal ones."""
    equal = 0
    for _ in range(count):
        size, degree = rng.choice([(6, 3), (7, 4), (8, 3)])
        one, other = regular_form(rng, size, degree), regular_form(rng, size, degree)
        equal += agree(one, other)
        # networkx takes exponential time on these
        large = regular_form(rng, 16, degree)
        assert certificate(large) == certificate(shuffled_form(large, rng))
    return equal


@pytest.mark.long
def test_regular_graphs() -> None:
    assert 0 < regular_pairs(random.Random(7), 12) < 12


@pytest.mark.long
def test_many_regular_graphs() -> None:
    assert 10 < regular_pairs(random.Random(8), 100) < 90


@pytest.mark.long
def test_many_random_labelled_graphs() -> None:
    assert form_pairs(random.Random(3), 4000, 10) >= 2000


@pytest.mark.long
def test_many_lifts_of_one_graph() -> None:
    assert 800 < lift_pairs(random.Random(4), 6000) < 5200


def near_miss(graph: Graph, rng: random.Random) -> Graph:
    """The cell with one edge moved to another earlier node, or one named operation exchanged."""
    nodes = list(graph.nodes)
    movable = [i for i, n in enumerate(nodes) if n.inputs and i > 1]
    named = [i for i, n in enumerate(nodes) if isinstance(n.op, Named)]
    if rng.random() < 0.5:
        i = rng.choice(movable)
        inputs = list(nodes[i].inputs)
        port = rng.randrange(len(inputs))
        inputs[port] = rng.choice([n.name for n in nodes[:i] if n.name != inputs[port]])
        nodes[i] = Node(nodes[i].name, nodes[i].op, tuple(inputs))
    else:
        i = rng.choice(named)
        ops = sorted({nodes[j].op.op for j in named} | {"conv", "skip_connect", "none"})
        nodes[i] = Node(nodes[i].name, Named(rng.choice(ops), nodes[i].op.stride), nodes[i].inputs)
    return Graph(tuple(nodes), graph.outputs)


def cell_pairs(name: str, count: int, seed: int) -> int:
    space, draw, rng = SPACES[name], np.random.default_rng(seed), random.Random(seed)
    equal = 0
    for i in range(count):
        described = space.describe(space.sample(draw))
        cell = described.graph() if isinstance(described, Nb101Cell) else next(iter(described.cells.values()))
        if not any(isinstance(n.op, Named) for n in cell.nodes):
            continue
        if i % 2:
            assert agree(normal_form(cell), normal_form(relabelled(cell, rng)))
        else:
            equal += agree(normal_form(cell), normal_form(relabelled(near_miss(cell, rng), rng)))
    return equal


@pytest.mark.parametrize("name", ["nasnet", "nb101", "nb201"])
def test_cells(name: str) -> None:
    assert cell_pairs(name, 100, 5) < 45


@pytest.mark.long
@pytest.mark.parametrize("name", ["nasnet", "nb101", "nb201"])
def test_many_cells(name: str) -> None:
    assert cell_pairs(name, 2000, 6) < 900


@st.composite
def forms(draw: Any, size: int = 6) -> NormalForm:
    n = draw(st.integers(1, size))
    labels = tuple(draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n)))
    inputs = tuple(tuple(draw(st.lists(st.integers(0, v - 1), max_size=3))) if v else () for v in range(n))
    flags = {label: draw(st.booleans()) for label in "ab"}
    return NormalForm(labels, inputs, tuple(flags[label] for label in labels))


@pytest.mark.long
@given(one=forms(), other=forms(), seed=st.integers(0, 99))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_equal_exactly_when_isomorphic(one: NormalForm, other: NormalForm, seed: int) -> None:
    # what is unordered is part of a primitive's label, so graphs are compared that agree on it
    kinds = dict(zip(one.labels, one.unordered, strict=True)) | dict(zip(other.labels, other.unordered, strict=True))
    other = NormalForm(other.labels, other.inputs, tuple(kinds[label] for label in other.labels))
    one = NormalForm(one.labels, one.inputs, tuple(kinds[label] for label in one.labels))
    agree(one, other)
    rng = random.Random(seed)
    assert certificate(one) == certificate(shuffled_last(one, rng))
    agree(one, nearly(one, rng))


def shuffled_last(form: NormalForm, rng: random.Random) -> NormalForm:
    """A shuffled copy whose output is still the last vertex."""
    last = len(form.labels)
    closed = NormalForm((*form.labels, "end"), (*form.inputs, (*range(last), last - 1)), (*form.unordered, True))
    while True:
        shuffled = shuffled_form(closed, rng)
        if shuffled.inputs[-1].count(last - 1) == 2:
            return NormalForm(shuffled.labels[:-1], shuffled.inputs[:-1], shuffled.unordered[:-1])
