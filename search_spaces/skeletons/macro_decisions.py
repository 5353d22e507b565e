"""The skeleton as part of what a space of cells chooses: where the resolution falls, how wide and deep stages are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from nas.core.values import Value
from nas.errors import SpaceError
from nas.graph import Graph
from nas.space import SPACES, Cells, Choose, Space

STEM_STRIDES = (1, 2, 4)
"""By how much the stem reduces the image."""
STAGES = (2, 3, 4)
"""Each stage but the first halves the resolution."""
GROWTHS = (1.0, 1.4, 2.0, 2.8)
"""By how much the channels grow from stage to stage."""
REPEATS = (1, 2, 3)
"""The normal cells of a stage."""
LEAST_WIDTH = 4
"""The least channels of a first stage that a budget may leave a chosen skeleton."""


def on_skeleton(
    choose: Choose,
    cells: Mapping[str, Graph],
    skeleton: Callable[..., Graph],
    macro: object,
    least_width: int = LEAST_WIDTH,
) -> Cells:
    """Return ``cells`` on ``skeleton``, with ``macro`` its stem, stages, growth and repeats chosen and bound to it.

    The skeleton takes the keywords ``reductions``, ``repeats`` and ``growth``; then ``least_width`` is the width of the
    narrowest networks.
    A ``macro`` that is neither True nor False raises :class:`SpaceError`.
    """
    if type(macro) is not bool:
        raise SpaceError(f"macro must be true or false, found {macro!r}")
    if not macro:
        return Cells(cells, skeleton)
    stride = choose("macro.stem_stride", STEM_STRIDES)
    stages = choose("macro.stages", STAGES)
    growth = choose("macro.growth", GROWTHS)
    repeats = tuple(choose(f"macro.stage{stage}.cells", REPEATS) for stage in range(1, stages + 1))
    bound = partial(skeleton, reductions=STEM_STRIDES.index(stride), repeats=repeats, growth=growth)
    return Cells(cells, bound, widths=(least_width, 1))


class CellSpace(Space):
    """A space of cells that chooses its skeleton too where its argument ``macro`` is true.

    Then depth is what the chosen repeats are multiplied by, 1 where nothing else is said.
    """

    def with_args(self, args: Mapping[str, Value]) -> Space:
        """Return the space with other arguments; an unknown one raises :class:`ConfigError`."""
        space = super().with_args(args)
        space.depth = 1 if space.args.get("macro") else SPACES[self.name].depth
        return space
