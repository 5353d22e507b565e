"""DARTS' search space: a normal and a reduction cell of four nodes, each the sum of two operations on states."""

from __future__ import annotations

from itertools import combinations

from nas.space import Cells, Choose, register_space
from search_spaces.genotypes.published import CELLS, Edge, cell_graph
from search_spaces.skeletons.macro_decisions import CellSpace, on_skeleton
from search_spaces.skeletons.published import darts_cifar
from search_spaces.spaces.nasnet import check_nodes

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


@register_space("darts", source="arXiv:1806.09055, sections 2.1 and 3.1", width=16, depth=2, kind=CellSpace)
def darts(choose: Choose, *, nodes: int = NODES, macro: bool = False) -> Cells:
    """Each of ``nodes`` takes two distinct earlier states, one operation on each; all nodes are concatenated.

    With ``macro`` the skeleton is chosen too, see :mod:`search_spaces.skeletons.macro_decisions`.
    """
    check_nodes("darts", nodes)
    concat = range(2, nodes + 2)
    cells = {kind: cell_graph(_edges(choose, kind, nodes), concat, stride) for kind, stride in CELLS.items()}
    return on_skeleton(choose, cells, darts_cifar, macro)


def _edges(choose: Choose, kind: str, nodes: int) -> list[Edge]:
    edges = []
    for node in range(nodes):
        # the pairs of distinct earlier states that it may have as inputs
        pairs = tuple(combinations(range(node + 2), 2))
        states = choose(f"{kind}.{node}.inputs", pairs)
        for side, state in zip(("left", "right"), states, strict=True):
            edges.append((choose(f"{kind}.{node}.{side}.op", OPERATIONS), state))
    return edges
