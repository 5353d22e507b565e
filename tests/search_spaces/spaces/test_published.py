"""Our networks of the benchmarks' cells have the parameters and multiply-adds that the benchmarks published."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.core.values import Task
from nas.graph import Cost, cost
from nas.space import SPACES
from nas.types import Architecture
from search_spaces.spaces import nb101, nb201
from search_spaces.spaces.nb101 import Nb101Cell, prune

CIFAR10 = Task("cifar10", (3, 32, 32), 10)
NB201_EDGES = ("edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3")


@pytest.fixture(scope="module")
def nb201_table(shared_data: Path) -> Any:
    return np.load(shared_data / "nb201.npz")


@pytest.fixture(scope="module")
def nb101_table(shared_data: Path) -> Any:
    with np.load(shared_data / "nb101_20k.npz") as table:
        return {name: table[name] for name in ("adj_bits", "n_vertices", "ops", "op_names", "params")}


def test_the_tables_name_our_operations(nb201_table: Any, nb101_table: Any) -> None:
    assert tuple(nb201_table["op_names"]) == nb201.OPERATIONS
    assert set(nb101.OPERATIONS) <= {str(op).removesuffix("-bn-relu") for op in nb101_table["op_names"]}


def mult_adds(total: Cost, task: Task) -> float:
    """Millions as the benchmark counts them: the classifier's biases are additions of their own."""
    return (total.macs + task.classes) / 1e6


def check_nb201(table: Any, rows: Any) -> None:
    space = SPACES["nb201"]
    assert (space.width, space.depth) == (16, 5)
    for row in rows:
        ops = (str(table["op_names"][i]) for i in table["ops"][row])
        architecture = Architecture("nb201", tuple(zip(NB201_EDGES, ops, strict=True)))
        total = cost(space.build(architecture, CIFAR10))
        assert total.params / 1e6 == pytest.approx(float(table["params_m"][row, 0]), abs=1e-6), row
        assert mult_adds(total, CIFAR10) == pytest.approx(float(table["flops_m"][row, 0]), abs=2e-5), row


def test_nas_bench_201_params_and_flops(nb201_table: Any) -> None:
    check_nb201(nb201_table, [0, 1462, 6111, 11472, *np.random.default_rng(0).integers(15625, size=26)])


@pytest.mark.long
def test_nas_bench_201_params_and_flops_of_200_cells(nb201_table: Any) -> None:
    check_nb201(nb201_table, np.random.default_rng(1).choice(15625, 200, replace=False))


def test_nas_bench_201_on_other_tasks(nb201_table: Any) -> None:
    """The best cell of CIFAR-100, and ImageNet16-120's 16x16 images in 120 classes."""
    space = SPACES["nb201"]
    tasks = [CIFAR10, Task("cifar100", (3, 32, 32), 100), Task("ImageNet16-120", (3, 16, 16), 120)]
    row = 9930
    ops = (str(nb201_table["op_names"][i]) for i in nb201_table["ops"][row])
    architecture = Architecture("nb201", tuple(zip(NB201_EDGES, ops, strict=True)))
    for i, task in enumerate(tasks):
        total = cost(space.build(architecture, task))
        assert total.params / 1e6 == pytest.approx(float(nb201_table["params_m"][row, i]), abs=1e-6)
        assert mult_adds(total, task) == pytest.approx(float(nb201_table["flops_m"][row, i]), abs=2e-5)


def nb101_cell(table: Any, row: int) -> tuple[list[list[int]], list[str]]:
    n = int(table["n_vertices"][row])
    matrix = np.unpackbits(table["adj_bits"][row])[:49].reshape(7, 7)[:n, :n]
    names = [str(table["op_names"][i]).removesuffix("-bn-relu") for i in table["ops"][row][1 : n - 1]]
    return matrix.tolist(), names


def orders(matrix: list[list[int]], ops: list[str]) -> Iterator[Nb101Cell]:
    """All topological orders of the cell's inner vertices."""
    last = len(matrix) - 1
    for inner in itertools.permutations(range(1, last)):
        order = (0, *inner, last)
        moved = tuple(tuple(matrix[u][v] for v in order) for u in order)
        if not any(moved[i][j] for i in range(last + 1) for j in range(i + 1)):
            yield Nb101Cell(moved, tuple(ops[v - 1] for v in inner))


def check_nb101(table: Any, rows: Any) -> tuple[int, int]:
    """Compare parameters; return how many cells divide their channels evenly, and how many do not."""
    even = uneven = 0
    for row in rows:
        matrix, ops = nb101_cell(table, row)
        cell = prune(tuple(map(tuple, matrix)), tuple(ops))
        assert cell is not None
        assert cell.ops == tuple(ops), "the table's cells are pruned"
        published = int(table["params"][row])
        before_output = sum(line[-1] for line in matrix[1:])
        if before_output == 0 or 128 % before_output == 0:
            even += 1
            assert cost(cell.network(CIFAR10, 128, 3)).params == published, row
        else:
            # the remainder of the channels goes to the first vertices, and the table does not keep their order
            uneven += 1
            assert any(cost(c.network(CIFAR10, 128, 3)).params == published for c in orders(matrix, ops)), row
    return even, uneven


def test_nas_bench_101_params(nb101_table: Any) -> None:
    even, _ = check_nb101(nb101_table, np.random.default_rng(0).choice(20_001, 60, replace=False))
    assert even > 30


@pytest.mark.long
def test_nas_bench_101_params_of_1000_cells(nb101_table: Any) -> None:
    even, uneven = check_nb101(nb101_table, np.random.default_rng(1).choice(20_001, 1300, replace=False))
    assert even >= 1000
    assert uneven > 0


def test_nas_bench_101_best_cell(nb101_table: Any) -> None:
    """Rows of one graph hash are one cell: no two of the sample's first 2,000 cells share a key."""
    keys = {
        Nb101Cell(tuple(map(tuple, m)), tuple(o)).key() for m, o in (nb101_cell(nb101_table, i) for i in range(2000))
    }
    assert len(keys) == 2000
