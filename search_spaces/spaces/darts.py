"""DARTS' search space: a normal and a reduction cell of four nodes, each the sum of two operations on states."""

from __future__ import annotations

from itertools import combinations

from nas.space import Cells, Choose, register_space
from search_spaces.genotypes import CELLS, Edge, cell_graph
from search_spaces.large_skeleton import darts_cifar

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The eight of arXiv:1806.09055, section 3.1, without "none", which no final cell has."""
NODES = 4
PAIRS = tuple(tuple(combinations(range(node + 2), 2)) for node in range(NODES))
"""The pairs of distinct earlier states that each node may have as inputs."""


@register_space("darts", source="arXiv:1806.09055, sections 2.1 and 3.1", width=16, depth=2)
def darts(choose: Choose) -> Cells:
    """Each node takes two distinct earlier states, one operation on each; all nodes are concatenated."""
    concat = range(2, NODES + 2)
    return Cells(
        {kind: cell_graph(_edges(choose, kind), concat, stride) for kind, stride in CELLS.items()}, darts_cifar
    )


def _edges(choose: Choose, kind: str) -> list[Edge]:
    edges = []
    for node, pairs in enumerate(PAIRS):
        states = choose(f"{kind}.{node}.inputs", pairs)
        for side, state in zip(("left", "right"), states, strict=True):
            edges.append((choose(f"{kind}.{node}.{side}.op", OPERATIONS), state))
    return edges
