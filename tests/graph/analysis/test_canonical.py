"""Normal form and key: published numbers of classes, relabelled copies, symmetric graphs, keys that never change."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph_examples import (
    all_but_one,
    equal_paths,
    golden_keys,
    relabelled,
    resnet50,
    rows_and_columns,
    squeeze_excite,
    twice_or_crossed,
    vgg16,
)

from nas.graph import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Graph,
    GraphBuilder,
    Identity,
    Multiply,
    Named,
    Node,
    Relu,
    Sigmoid,
    Zero,
    cells_key,
    key,
    normal_form,
)
from nas.graph.analysis.canonical import certificate
from nas.space import SPACES
from search_spaces.spaces.nb101 import OPERATIONS, Nb101Cell, prune

GOLDEN = Path(__file__).parents[2] / "golden" / "keys.json"


def nb101_cells(most: int) -> set[Nb101Cell]:
    """All NAS-Bench-101 cells of at most ``most`` vertices, pruned."""
    found = set()
    for size in range(2, most + 1):
        pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
        for bits in itertools.product((0, 1), repeat=len(pairs)):
            rows = [[0] * size for _ in range(size)]
            for (i, j), bit in zip(pairs, bits, strict=True):
                rows[i][j] = bit
            for ops in itertools.product(OPERATIONS, repeat=size - 2):
                cell = prune(tuple(map(tuple, rows)), ops)
                if cell is not None and sum(map(sum, cell.matrix)) <= 9:
                    found.add(cell)
    return found


def ordered(graph: Graph) -> Graph:
    """The cell with an output concatenation whose order counts."""
    nodes = tuple(Node(n.name, Concat(), n.inputs) if isinstance(n.op, Concat) else n for n in graph.nodes)
    return Graph(nodes, graph.outputs)


def test_nas_bench_101_cells_of_at_most_four_vertices() -> None:
    """6 = 1 + 3 + ... by hand for three vertices: the plain edge, and each operation with or without it."""
    assert len({cell.key() for cell in nb101_cells(3)}) == 1 + 2 * 3


@pytest.mark.long
def test_nas_bench_101_cells_of_at_most_five_vertices() -> None:
    """2,532 classes as NAS-Bench-101 counts them; 3,112 if the order of the output's inputs counted."""
    cells = nb101_cells(5)
    assert len({cell.key() for cell in cells}) == 2532
    assert len({key(ordered(cell.graph())) for cell in cells}) == 3112


@pytest.mark.long
def test_nas_bench_201_classes() -> None:
    """5,425 classes of the 15,625 cells; 11,870 when zero edges stay."""
    space = SPACES["nb201"]
    whole, folded = set(), set()
    for architecture in space.enumerate():
        (cell,) = space.describe(architecture).cells.values()
        whole.add(normal_form(cell))
        folded.add(normal_form(cell, remove_zeros=False))
    assert len(set(map(certificate, whole))) == 5425
    assert len(set(map(certificate, folded))) == 11870


def space_cells(name: str, count: int, seed: int = 0) -> list[Graph]:
    space, rng = SPACES[name], np.random.default_rng(seed)
    found: list[Graph] = []
    while len(found) < count:
        described = space.describe(space.sample(rng))
        found += [described.graph()] if isinstance(described, Nb101Cell) else described.cells.values()
    return found[:count]


@pytest.mark.parametrize("name", ["nasnet", "nb101", "nb201"])
def test_relabelled_cells_keep_their_key(name: str) -> None:
    rng = random.Random(1)
    for cell in space_cells(name, 300):
        assert key(relabelled(cell, rng)) == key(cell)


@pytest.mark.parametrize("make", [resnet50, squeeze_excite, vgg16, lambda: equal_paths(6, 3), lambda: all_but_one(6)])
def test_relabelled_networks_keep_their_key(make: Callable[[], Graph]) -> None:
    rng = random.Random(2)
    graph = make()
    for _ in range(20):
        assert key(relabelled(graph, rng)) == key(graph)


def cell(build: Callable[[GraphBuilder], str], inputs: int = 2) -> str:
    b = GraphBuilder(inputs=inputs)
    return key(b.build(cell=build(b)))


def test_the_normal_form_folds_what_computes_the_same() -> None:
    plain = cell(lambda b: b(Named("conv"), b.input))
    assert plain == cell(lambda b: b(Identity(), b(Named("conv"), b(Named("skip_connect"), b.input))))
    assert plain == cell(lambda b: b(Add(), b(Concat(), b(Named("conv"), b.input))))
    assert plain == cell(lambda b: b(Add(), b(Named("conv"), b.input), b(Named("none"), b.inputs[1])))
    assert plain == cell(lambda b: b(Add(), b(Named("conv"), b.input), b(Named("pool"), b(Zero(), b.input))))
    nested = cell(lambda b: b(Add(), b(Add(), b(Named("a"), b.input), b(Named("b"), b.input)), b.inputs[1]))
    flat = cell(lambda b: b(Add(), b.inputs[1], b(Named("b"), b.input), b(Named("a"), b.input)))
    assert nested == flat


def test_a_strided_skip_is_no_identity() -> None:
    strided = cell(lambda b: b(Named("conv"), b(Named("skip_connect", 2), b.input)))
    assert strided != cell(lambda b: b(Named("conv"), b.input))


def test_zeros_reach_as_far_as_zeros_stay_zeros() -> None:
    nothing = cell(lambda b: b(Named("none"), b.input))
    assert nothing == cell(lambda b: b(Multiply(), b.inputs[1], b(BatchNorm(), b(Relu(), b(Zero(), b.input)))))
    assert nothing == cell(lambda b: b(Concat(), b(Zero(), b.input), b(Conv(8), b(Zero(), b.inputs[1]))))
    half = cell(lambda b: b(Sigmoid(), b(Zero(), b.input)))
    assert half != nothing
    assert half == cell(lambda b: b(Sigmoid(), b(Zero(), b.inputs[1])))
    kept = cell(lambda b: b(Concat(), b(Zero(), b.input), b.inputs[1]))
    assert kept != cell(lambda b: b(Concat(), b.inputs[1]))
    assert kept != cell(lambda b: b(Concat(), b.inputs[1], b(Zero(), b.input)))


def test_order_counts_where_it_is_seen() -> None:
    def merge(op: Add | Concat | Multiply, swap: bool) -> str:
        return cell(lambda b: b(op, *sorted([b(Named("a"), b.input), b(Named("b"), b.input)], reverse=swap)))

    assert merge(Concat(), False) != merge(Concat(), True)
    for op in (Add(), Multiply(), Concat(any_order=True)):
        assert merge(op, False) == merge(op, True)
    assert len({merge(op, False) for op in (Add(), Multiply(), Concat(), Concat(any_order=True))}) == 4


def test_distinct_nodes_are_never_merged() -> None:
    def two(b: GraphBuilder) -> str:
        return b(Add(), b(Named("conv"), b.input), b(Named("conv"), b.input))

    def one(b: GraphBuilder) -> str:
        conv = b(Named("conv"), b.input)
        return b(Add(), conv, conv)

    assert cell(two) != cell(one)
    assert cell(one) != cell(lambda b: b(Named("conv"), b.input))


def test_attributes_inputs_and_outputs_count() -> None:
    assert cell(lambda b: b(Conv(8), b.input)) != cell(lambda b: b(Conv(9), b.input))
    assert cell(lambda b: b(Dropout(0.1), b.input)) != cell(lambda b: b(Dropout(0.2), b.input))
    assert cell(lambda b: b(Relu(), b.inputs[0])) != cell(lambda b: b(Relu(), b.inputs[1]))
    b = GraphBuilder(inputs=1)
    first = b(Relu(), b.input)
    graph = b.build(aux=first, logits=b(Relu(), first))
    assert key(graph) == key(graph, "logits") != key(graph, "aux")
    assert key(graph, "aux") == cell(lambda c: c(Relu(), c.input))


def test_cells_have_one_key_together() -> None:
    b = GraphBuilder()
    x, y = b.build(cell=b(Named("a"), b.input)), b.build(cell=b(Named("b"), b.input))
    keys = {cells_key(cells) for cells in ({"n": x, "r": y}, {"n": y, "r": x}, {"n": x, "r": x}, {"n": x}, {"r": x})}
    assert len(keys) == 5
    assert cells_key({"n": x, "r": y}) == cells_key({"r": y, "n": x})


def test_refinement_alone_would_not_do() -> None:
    assert key(twice_or_crossed(True)) != key(twice_or_crossed(False))


@pytest.mark.parametrize(
    "make",
    [
        lambda: equal_paths(32, 16),
        lambda: all_but_one(24),
        lambda: rows_and_columns(7),
        lambda: long_chain(3000),
    ],
    ids=["equal_paths", "all_but_one", "rows_and_columns", "long_chain"],
)
def test_symmetric_and_long_graphs_are_fast(make: Callable[[], Graph]) -> None:
    graph = make()
    start = time.perf_counter()
    found = key(graph)
    assert time.perf_counter() - start < 5
    if len(graph.nodes) < 1000:
        assert key(relabelled(graph, random.Random(0))) == found


def long_chain(length: int) -> Graph:
    b = GraphBuilder((3, 8, 8))
    x = b.input
    for _ in range(length):
        x = b(Conv(3), x)
    return b.build(logits=x)


def test_golden_keys_in_other_processes() -> None:
    """Keys are stored in journals: they may not change with the process, the hash seed or the version."""
    golden = json.loads(GOLDEN.read_text())
    assert golden_keys() == golden
    assert len(set(golden.values())) == len(golden)
    assert all(len(k) == 32 and int(k, 16) >= 0 for k in golden.values())
    script = Path(__file__).parents[2] / "helpers" / "graph_examples.py"
    for seed in ("1", "2718"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == golden
