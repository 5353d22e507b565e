"""Transfer: an architecture rebuilt for another task, as large as a budget of MACs allows.

NASNet's N @ F: the cells found on small images are stacked for ImageNet, N in a stage at F channels, so that the
network meets the mobile setting of at most 600 million multiply-accumulates (arXiv:1707.07012, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas.core.values import Budget, Task
from nas.errors import ConfigError, GraphError, Infeasible
from nas.graph import Graph
from nas.models.resolve import RESULTS, SizeOptions, resolve
from nas.space.budget import fit
from nas.space.scalable import FixedModel, ScalableModel, macs_of

USUAL_DEPTH = 4
"""Normal cells a stage in the mobile networks of NASNet, AmoebaNet and DARTS; PNASNet has 3."""
NEAR = 0.1
"""What of the most MACs within the budget is given up for a depth nearer to the usual one.

A step of two channels changes the MACs of a mobile network by as much: most MACs alone would pick a depth by chance.
"""
START = 32
"""The width that is tried first."""

Build = Callable[..., Graph]
"""``build(width, depth)``."""


@dataclass(frozen=True)
class Size:
    """A network's size N @ F."""

    width: int
    """F, channels of the first stage."""
    depth: int
    """N, normal cells a stage."""
    params: int
    macs: int
    """Multiply-accumulates for one image."""


@dataclass(frozen=True)
class Solution(Size):
    """The chosen size."""

    candidates: tuple[Size, ...]
    """The widest network within the budget at every depth."""


@dataclass(frozen=True, eq=False)
class Transferred:
    """A network built for a task."""

    name: str
    graph: Graph
    """May have an output ``aux`` besides ``logits``."""
    width: int | None
    """None, and so the depth, where it has a size of its own."""
    depth: int | None
    params: int
    """Those of ``logits``, without auxiliary heads, as the MACs."""
    macs: int


def solve(
    build: Build,
    max_macs: int,
    depths: Sequence[int] = range(1, 13),
    widths: tuple[int, int] = (8, 2),
    default_depth: int = USUAL_DEPTH,
) -> Solution:
    """Return the largest network of ``build(width, depth)`` within ``max_macs``.

    At each of ``depths`` the width is the greatest within the budget, in steps: ``widths`` is the least and the step.
    Of those networks the one is chosen whose depth is nearest to ``default_depth`` among all with at least 90 % of
    the most MACs; then the one of the most MACs, then the deeper one. MACs must not fall as the width grows. Raises
    :class:`ConfigError` where not even the smallest fits.
    """
    # at every depth the widest network within the budget
    found: list[Size] = []
    problem = ""
    for depth in depths:
        try:
            fitted = fit(partial(build, depth=depth), Budget(max_macs), widths, START, least_share=0.0)
        except (GraphError, Infeasible) as error:
            problem = problem or f"at depth {depth} {error}"
        else:
            found.append(Size(fitted.width, depth, fitted.params, fitted.macs))
    if not found:
        raise ConfigError(f"at most {max_macs:,} MACs: {problem}")
    # of those with about the most MACs, the one of the most usual depth
    most = max(size.macs for size in found)
    near = [size for size in found if size.macs >= (1 - NEAR) * most]
    best = min(near, key=lambda size: (abs(size.depth - default_depth), -size.macs, -size.depth))
    return Solution(best.width, best.depth, best.params, best.macs, tuple(found))


def _measured(build: Build, width: int, depth: int) -> Size:
    return Size(width, depth, *macs_of(build(width, depth)))


def solved(found: ScalableModel, max_macs: int, width: int | None = None, depth: int | None = None) -> Solution:
    """Return the largest network of a model within ``max_macs``; a given width or depth stays as it is.

    Widths of cells are even, as the papers' 44, 48, 50 and 54 are, but where they were found at an odd one or below 8.
    The usual depth is the published one, for found cells that of DARTS. A table of stages keeps its depth and takes
    sixteenths of its channels; a whole network of a space keeps its depth too and takes the widths of its space.
    """
    if isinstance(found, FixedModel):
        raise ConfigError(f"'{found.name}' has a size of its own; a budget of MACs cannot make it fit")
    depths = found.depths if depth is None else (depth,)
    if width is None:
        return solve(found.build, max_macs, depths, found.widths, found.default_depth)
    sizes = [size for size in (_measured(found.build, width, n) for n in depths) if size.macs <= max_macs]
    if not sizes:
        raise ConfigError(f"at most {max_macs:,} MACs: no network of width {width} is that small")
    best = max(sizes, key=lambda size: size.macs)
    return Solution(best.width, best.depth, best.params, best.macs, tuple(sizes))


def transferred(
    text: str,
    task: Task,
    width: int | None = None,
    depth: int | None = None,
    max_macs: int | None = None,
    plugins: Sequence[str] = (),
    results: Path = RESULTS,
    *,
    aux: bool = True,
    drop_path: float = 0.0,
) -> Transferred:
    """Return what ``text`` names (a run, a network, a genotype or a file) as a network for ``task``.

    Cells get the skeleton that suits the images (:func:`nas.space.skeletons.skeleton_for`), with an auxiliary
    head where ``aux`` and there is room for it, and dropped paths at the rate ``drop_path``. A table of stages is
    rebuilt at width 16 = as written, any other network as it is. ``max_macs`` solves for what is not given of width and
    depth. Raises :class:`ConfigError` for a network that cannot be built for the task or is over the budget.
    """
    # a budget is solved for width and depth, where it has them
    found = resolve(text, SizeOptions(task.input_shape, task.classes), plugins, results).scalable
    try:
        if max_macs is not None and not isinstance(found, FixedModel):
            size = solved(found, max_macs, width, depth)
            width, depth = size.width, size.depth
        width, depth = found.size(width, depth)
        graph = found.build(width, depth, aux=aux, drop_path=drop_path)
        params, macs = macs_of(graph)
    except GraphError as error:
        shape = "x".join(map(str, task.input_shape))
        raise ConfigError(f"'{text}' cannot be built for images of {shape}: {error}") from None
    if max_macs is not None and macs > max_macs:
        raise ConfigError(f"'{text}' has {macs:,} MACs and a size of its own; at most {max_macs:,} are wanted")
    return Transferred(found.name, graph, width, depth, params, macs)
