"""Paths and neighbourhoods of graphs: counted by hand, by brute force, and the same for isomorphic graphs."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas import space_of
from nas.graph import Add, GraphBuilder, Named, key, normal_form
from nas.space.encoding import MOST_PATHS, longest_path, neighbourhoods, paths

NB201 = space_of("nb201")


def cell(*ops):
    """Return NAS-Bench-201's cell of the operations on edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    b = GraphBuilder()
    edges = dict(zip([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)], ops, strict=True))
    states = [b.input]
    for j in range(1, 4):
        states.append(b(Add(), *(b(Named(edges[i, j]), states[i]) for i in range(j))))
    return normal_form(b.build(cell=states[3]))


def test_paths_of_a_cell_counted_by_hand():
    form = cell("nor_conv_3x3", "nor_conv_3x3", "skip_connect", "none", "nor_conv_1x1", "avg_pool_3x3")
    c3, c1, pool = "nor_conv_3x3/1", "nor_conv_1x1/1", "avg_pool_3x3/1"
    assert paths(form) == {f">input0>{c3}>{c1}": 1, f">input0>{c3}>{pool}": 2}
    assert longest_path(form) == 2


def test_neighbourhoods_of_radius_0_are_the_operations():
    form = cell("nor_conv_3x3", "nor_conv_3x3", "skip_connect", "none", "nor_conv_1x1", "avg_pool_3x3")
    assert sum(neighbourhoods(form, 0).values()) == len(form.labels)
    assert neighbourhoods(form, 0)["0 nor_conv_3x3/1"] == 2


def test_a_cell_of_zeros_has_no_path():
    form = cell(*["none"] * 6)
    assert paths(form) == {}
    assert longest_path(form) == 0


def every_way(form, vertex, tail=()):
    label = form.labels[vertex]
    tail = tail if label.startswith("add") else (label, *tail)
    if not form.inputs[vertex]:
        return [tail]
    return [way for i in form.inputs[vertex] for way in every_way(form, i, tail)]


@given(st.integers(0, 2**32))
def test_paths_are_those_of_a_walk_back_from_the_output(seed):
    architecture = NB201.sample(np.random.default_rng(seed))
    form = normal_form(NB201.describe(architecture).cells["cell"])
    if form.labels == ("zero",):
        return
    expected = Counter("".join(f">{op}" for op in way) for way in every_way(form, len(form.labels) - 1))
    assert paths(form) == expected
    assert longest_path(form) == max(len(way) - 1 for way in every_way(form, len(form.labels) - 1))


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_equal_keys_have_equal_parts(one, other):
    rng = np.random.default_rng(one)
    a = NB201.sample(rng)
    found = {}
    for b in (a, *NB201.neighbours(a, np.random.default_rng(other))):
        graph = NB201.describe(b).cells["cell"]
        form = normal_form(graph)
        parts = paths(form), neighbourhoods(form), longest_path(form)
        assert found.setdefault(key(graph), parts) == parts


def test_a_graph_of_many_paths_keeps_the_shortest():
    b = GraphBuilder()
    x = b.input
    for step in range(12):
        x = b(Add(), b(Named(f"a{step}"), x), x, name=f"sum{step}")
    found = paths(normal_form(b.build(cell=x)))
    assert len(found) == MOST_PATHS
    assert ">input0" in found
    assert all(f">input0>a{step}/1" in found for step in range(12))
