"""The space of the lectures: NASNet's cells, whose operations are the blocks of LeNet-5 to EfficientNet."""

from __future__ import annotations

from nas.space import Cells, Choose, register_space
from search_spaces.blocks.lecture_operations import NAMES
from search_spaces.skeletons.macro_decisions import CellSpace, on_skeleton
from search_spaces.skeletons.small_images import cifar
from search_spaces.spaces.nasnet import check_nodes, choose_cell

OPERATIONS = ("identity", "max_pool_3x3", "avg_pool_3x3", *NAMES)
LEAST_WIDTH = 8
"""An Inception module has four branches of two channels at least."""


@register_space(
    "lecture", source="cells: arXiv:1707.07012, section 3; blocks: LeNet-5 to EfficientNet", width=16, kind=CellSpace
)
def lecture(choose: Choose, nodes: int = 3, *, macro: bool = False) -> Cells:
    """Two cells of ``nodes`` blocks; a block sums two operations on earlier outputs, unused blocks are concatenated.

    With ``macro`` the skeleton is chosen too, see :mod:`search_spaces.skeletons.macro_decisions`.
    """
    check_nodes("lecture", nodes)
    cells = {kind: choose_cell(choose, kind, nodes, OPERATIONS) for kind in ("normal", "reduction")}
    return on_skeleton(choose, cells, cifar, macro, LEAST_WIDTH)
