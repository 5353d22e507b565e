"""The built-in spaces keep the contract, and are what their papers say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nas.core.values import Task
from nas.errors import ConfigError, GraphError, SpaceError
from nas.graph import Named
from nas.space import SPACES, Space
from nas.types import Architecture
from search_spaces.spaces import nasnet, nb101, nb201

TASK = Task("tiny", (3, 8, 8), 4)
NAMES = ["nasnet", "nb101", "nb201"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def valid(space: Space, architecture: Architecture) -> bool:
    """Whether the space replays the architecture to the very same trace."""
    trace = space.crossover(architecture, architecture, rng())
    space.describe(architecture)
    return trace == architecture


@pytest.mark.parametrize("name", NAMES)
def test_the_contract(name: str) -> None:
    space, drawn = SPACES[name], rng(3)
    for _ in range(60):
        one, other = space.sample(drawn), space.sample(drawn)
        mutant, child = space.mutate(one, drawn), space.crossover(one, other, drawn)
        assert all(valid(space, a) for a in (one, other, mutant, child))
        assert sum(a != b for a, b in zip(mutant.decisions.items(), one.decisions.items(), strict=True)) == 1
        for decision in child.decisions.items():
            assert decision in one.decisions.items() or decision in other.decisions.items()
        again = Architecture.from_json(json.loads(json.dumps(mutant.to_json())))
        assert again == mutant
        assert space.key(again) == space.key(mutant)


@pytest.mark.parametrize("name", NAMES)
def test_samples_repeat_with_their_stream(name: str) -> None:
    space = SPACES[name]
    assert [space.sample(rng(5)) for _ in range(2)] == [space.with_args({}).sample(rng(5))] * 2
    assert len({space.sample(rng(seed)) for seed in range(50)}) >= 49


@pytest.mark.long
def test_nb201_has_15625_architectures_with_24_neighbours_each() -> None:
    space = SPACES["nb201"]
    assert space.size() == (5**6, 0.0, True)
    points = list(space.enumerate())
    assert len(set(points)) == 5**6
    drawn = rng()
    for i in range(0, len(points), 500):
        neighbours = space.neighbours(points[i], drawn)
        assert len(set(neighbours)) == len(neighbours) == 24
        assert points[i] not in neighbours
        for n in neighbours:
            assert sum(a != b for a, b in zip(n.decisions.items(), points[i].decisions.items(), strict=True)) == 1


def test_nb201_edges_lead_from_lower_to_higher_states() -> None:
    space = SPACES["nb201"]
    (cell,) = space.describe(space.sample(rng())).cells.values()
    edges = [n for n in cell.nodes if isinstance(n.op, Named)]
    assert [n.name for n in edges] == ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]
    assert [n.inputs[0] for n in edges] == ["input0", "input0", "state1", "input0", "state1", "state2"]
    assert len(nb201.OPERATIONS) == 5


@pytest.mark.parametrize("nodes", [1, 3, 5, 7])
def test_nasnet_of_any_number_of_blocks(nodes: int) -> None:
    space = SPACES["nasnet"].with_args({"nodes": nodes})
    for seed in range(20):
        architecture = space.sample(rng(seed))
        assert len(architecture.decisions) == 2 * nodes * 4
        assert architecture.args == (("nodes", nodes),)
        for kind, cell in space.describe(architecture).cells.items():
            named = {n.name: n for n in cell.nodes if isinstance(n.op, Named)}
            used = {n.inputs[0] for n in named.values()}
            assert len(named) == 2 * nodes
            concat = cell.nodes[-1]
            assert set(concat.inputs) == {f"block{i}.sum" for i in range(nodes)} - used
            for node in named.values():
                from_input = node.inputs[0].startswith("input")
                assert node.op.stride == (2 if kind == "reduction" and from_input else 1)


def test_nasnet_size() -> None:
    """A block chooses two of i + 2 states and two of 13 operations; two cells."""
    one = SPACES["nasnet"].with_args({"nodes": 1})
    cell = (2 * 13) ** 2
    size = one.size(limit=1000)
    assert not size.exact
    assert size.total == cell**2
    five = SPACES["nasnet"].size()
    assert five.total == pytest.approx(float(np.prod([((i + 2) * 13) ** 2 for i in range(5)], dtype=float) ** 2))
    assert len(nasnet.OPERATIONS) == 13


def test_nasnet_arguments() -> None:
    space = SPACES["nasnet"]
    with pytest.raises(ConfigError, match="unknown argument 'node'; did you mean 'nodes'"):
        space.with_args({"node": 5})
    for wrong in (0, 13, 2.0, True, "5"):
        with pytest.raises(SpaceError, match="nodes must be an integer from 1 to 12, found"):
            space.with_args({"nodes": wrong}).sample(rng())
    with pytest.raises(SpaceError, match="the architecture is of space"):
        space.with_args({"nodes": 4}).describe(space.sample(rng()))


def test_nb101_cells_keep_the_rules_of_the_benchmark() -> None:
    """At most 7 vertices and 9 edges, every vertex on a path from the input to the output."""
    space, drawn = SPACES["nb101"], rng(1)
    sizes = set()
    for _ in range(300):
        cell = space.describe(space.sample(drawn))
        matrix = np.array(cell.matrix)
        size = len(matrix)
        sizes.add(size)
        assert matrix.shape == (size, size)
        assert size <= 7
        assert 1 <= matrix.sum() <= 9
        assert not np.tril(matrix).any()
        reach = np.linalg.matrix_power(matrix + np.eye(size, dtype=int), size)
        assert reach[0].all()
        assert reach[:, -1].all()
        assert len(cell.ops) == size - 2
        assert set(cell.ops) <= set(nb101.OPERATIONS)
    assert len(sizes) >= 4


def test_nb101_refuses_what_the_benchmark_refuses() -> None:
    edges = [f"edge_{i}_{j}" for i in range(7) for j in range(i + 1, 7)]
    ops = {f"op_{v}": "conv3x3" for v in range(1, 6)}

    def point(present: set[str]) -> Architecture:
        return Architecture("nb101", tuple({**{e: int(e in present) for e in edges}, **ops}.items()))

    space = SPACES["nb101"]
    assert space.describe(point({"edge_0_6"})).matrix == ((0, 1), (0, 0))
    with pytest.raises(SpaceError, match="a path must lead from the input to the output"):
        space.describe(point({"edge_0_1", "edge_2_6"}))
    chain = {f"edge_{i}_{i + 1}" for i in range(6)}
    nine = chain | {"edge_0_2", "edge_0_3", "edge_0_4"}
    assert len(space.describe(point(nine)).matrix) == 7
    with pytest.raises(SpaceError, match="at most 9 edges"):
        space.describe(point(nine | {"edge_0_5"}))
    # a tenth edge that lies on no path is pruned before edges are counted
    loose = {"edge_0_1", "edge_1_6", "edge_0_2", "edge_2_6", "edge_3_4", "edge_3_5", "edge_4_5", "edge_3_6"}
    assert len(space.describe(point(loose | {"edge_4_6", "edge_5_6"})).matrix) == 4


def test_nb101_channels_follow_the_paper() -> None:
    """Vertices before the output share its channels, the remainder to the first; others take their users' largest."""
    three = ((0, 1, 1, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0))
    assert nb101.vertex_channels(128, three) == [128, 43, 43, 42, 128]
    inner = ((0, 1, 1, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0))
    assert nb101.vertex_channels(128, inner) == [128, 64, 64, 64, 128]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "depth"), [(4, 1), (6, 2)])
def test_networks_at_any_width_depth_and_task(name: str, width: int, depth: int) -> None:
    space = SPACES[name]
    architecture = space.sample(rng(2))
    graph = space.build(architecture, TASK, width, depth)
    assert graph.input_shape == TASK.input_shape
    assert [output for output, _ in graph.outputs] == ["logits"]
    deeper = space.build(architecture, TASK, width, depth + 1)
    assert len(deeper.nodes) > len(graph.nodes)
    grey = space.build(architecture, Task("grey", (1, 28, 28), 7), width, depth)
    assert grey.input_shape == (1, 28, 28)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(-4, 1), (4, -1), (1.5, 1)])
def test_networks_of_no_size_are_refused(name: str, size: tuple[Any, Any]) -> None:
    space = SPACES[name]
    with pytest.raises((SpaceError, GraphError), match="must be an integer"):
        space.build(space.sample(rng(2)), TASK, *size)
