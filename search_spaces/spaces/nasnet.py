"""NASNet's search space: a normal and a reduction cell of blocks that combine two operations by a sum."""

from __future__ import annotations

from nas.errors import SpaceError
from nas.graph import Add, Concat, Graph, GraphBuilder, Named
from nas.space import Cells, Choose, register_space
from search_spaces.skeletons.macro_decisions import CellSpace, on_skeleton
from search_spaces.skeletons.small_images import cifar

OPERATIONS = (
    "identity",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)


@register_space("nasnet", source="arXiv:1707.07012, section 3 and figure 3", width=16, depth=2, kind=CellSpace)
def nasnet(choose: Choose, nodes: int = 5, *, macro: bool = False) -> Cells:
    """Two cells of ``nodes`` blocks; a block sums two operations on earlier outputs, unused blocks are concatenated.

    With ``macro`` the skeleton is chosen too, see :mod:`search_spaces.skeletons.macro_decisions`.
    """
    check_nodes("nasnet", nodes)
    cells = {kind: choose_cell(choose, kind, nodes, OPERATIONS) for kind in ("normal", "reduction")}
    return on_skeleton(choose, cells, cifar, macro)


def check_nodes(space: str, nodes: object) -> None:
    """Refuse a number of blocks a cell that is not from 1 to 12."""
    if type(nodes) is not int or not 1 <= nodes <= 12:
        raise SpaceError(f"space '{space}': nodes must be an integer from 1 to 12, found {nodes!r}")


def choose_cell(choose: Choose, kind: str, nodes: int, operations: tuple[str, ...]) -> Graph:
    """Choose the inputs and ``operations`` of every block of the cell ``kind`` ("normal" or "reduction")."""
    b = GraphBuilder(inputs=2)
    states = list(b.inputs)
    used = set()
    for i in range(nodes):
        terms = []
        for side in ("left", "right"):
            source = choose(f"{kind}.{i}.{side}.input", tuple(range(i + 2)))
            op = choose(f"{kind}.{i}.{side}.op", operations)
            stride = 2 if kind == "reduction" and source < 2 else 1
            terms.append(b(Named(op, stride), states[source], name=f"block{i}.{side}"))
            used.add(source)
        states.append(b(Add(), *terms, name=f"block{i}.sum"))
    loose = [state for i, state in enumerate(states) if i >= 2 and i not in used]
    return b.build(cell=b(Concat(any_order=True), *loose, name="concat"))
