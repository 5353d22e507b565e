"""NAS-Bench-201's search space: a cell of four summed states with one of five operations on each of six edges."""

from __future__ import annotations

from nas.graph import Add, GraphBuilder, Named
from nas.space import Cells, Choose, register_space
from search_spaces.skeletons import small_images as skeleton
from search_spaces.skeletons.macro_decisions import CellSpace, on_skeleton

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@register_space("nb201", source="arXiv:2001.00326, section 2.1", width=16, depth=5, kind=CellSpace)
def nb201(choose: Choose, *, macro: bool = False) -> Cells:
    """Every pair of states i < j has an edge with an operation; a state is the sum of its edges.

    With ``macro`` the skeleton is chosen too, see :mod:`search_spaces.skeletons.macro_decisions`.
    """
    b = GraphBuilder()
    states = [b.input]
    for j in range(1, 4):
        edges = []
        for i in range(j):
            op = choose(f"edge_{i}_{j}", OPERATIONS)
            edges.append(b(Named(op), states[i], name=f"edge_{i}_{j}"))
        states.append(b(Add(), *edges, name=f"state{j}"))
    return on_skeleton(choose, {"cell": b.build(cell=states[3])}, skeleton.nb201, macro)
