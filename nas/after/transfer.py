"""Transfer: an architecture rebuilt for another task, as large as a budget of MACs allows.

NASNet's N @ F: the cells found on small images are stacked for ImageNet, N in a stage at F channels, so that the
network meets the mobile setting of at most 600 million multiply-accumulates (arXiv:1707.07012, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.after.scaling_lookup import subject
from nas.after.scaling_subjects import FixedSubject, Subject, macs_of
from nas.errors import ConfigError, GraphError
from nas.graph import Graph
from nas.targets import Wanted
from nas.types import Task

USUAL_DEPTH = 4
"""Normal cells a stage in the mobile networks of NASNet, AmoebaNet and DARTS; PNASNet has 3."""
NEAR = 0.1
"""What of the most MACs within the budget is given up for a depth nearer to the usual one.

A step of two channels changes the MACs of a mobile network by as much: most MACs alone would pick a depth by chance.
"""
WIDEST = 4096

Build = Callable[[int, int], Graph]
"""``build(width, depth)``."""


@dataclass(frozen=True)
class Size:
    """A network's width F and depth N, parameters, and MACs for one image."""

    width: int
    depth: int
    params: int
    macs: int


@dataclass(frozen=True)
class Solution(Size):
    """The chosen size, and ``candidates``: the widest network within the budget at every depth."""

    candidates: tuple[Size, ...]


@dataclass(frozen=True, eq=False)
class Transferred:
    """A network built for a task; ``width`` and ``depth`` are None where it has a size of its own.

    ``graph`` may have an output ``aux`` besides ``logits``; parameters and MACs are without it.
    """

    name: str
    graph: Graph
    width: int | None
    depth: int | None
    params: int
    macs: int


def solve(
    build: Build,
    max_macs: int,
    depths: Sequence[int] = range(1, 13),
    widths: tuple[int, int] = (8, 2),
    usual: int = USUAL_DEPTH,
) -> Solution:
    """Return the largest network of ``build(width, depth)`` within ``max_macs``.

    At each of ``depths`` the width is the greatest within the budget, in steps: ``widths`` is the least and the step.
    Of those networks the one is chosen whose depth is nearest to the ``usual`` among all that have at least 90 % of the
    most MACs; then the one of the most MACs, then the deeper one. MACs must not fall as the width grows. Raises
    :class:`ConfigError` where not even the smallest fits.
    """
    found = [size for size in (_widest(build, depth, max_macs, *widths) for depth in depths) if size is not None]
    if not found:
        least = _measured(build, widths[0], min(depths))
        raise ConfigError(
            f"at most {max_macs:,} MACs: the smallest network, width {least.width} and depth {least.depth}, has "
            f"{least.macs:,}"
        )
    most = max(size.macs for size in found)
    near = [size for size in found if size.macs >= (1 - NEAR) * most]
    best = min(near, key=lambda size: (abs(size.depth - usual), -size.macs, -size.depth))
    return Solution(best.width, best.depth, best.params, best.macs, tuple(found))


def _measured(build: Build, width: int, depth: int) -> Size:
    return Size(width, depth, *macs_of(build(width, depth)))


def _widest(build: Build, depth: int, max_macs: int, least: int, step: int) -> Size | None:
    """Return the widest network of a depth within the budget, None where none is.

    MACs grow at most with the square of the width, so a guess by that law comes from below and is near after few steps.
    """
    best = _measured(build, least, depth)
    if best.macs > max_macs:
        return None
    over = WIDEST + 1
    while over - best.width > step:
        guess = best.width * (max_macs / best.macs) ** 0.5 if best.macs else over
        steps = max(1, min(int(guess - best.width), over - 1 - best.width) // step)
        tried = _measured(build, best.width + steps * step, depth)
        if tried.macs <= max_macs:
            best = tried
        else:
            over = tried.width
    return best


def solved(found: Subject, max_macs: int, width: int | None = None, depth: int | None = None) -> Solution:
    """Return the largest network of a subject within ``max_macs``; a given width or depth stays as it is.

    Widths are even numbers of channels, as the papers' 44, 48, 50 and 54 are. The usual depth is the published one, for
    found cells that of DARTS. A table of stages keeps its depth and takes sixteenths of its channels.
    """
    if isinstance(found, FixedSubject):
        raise ConfigError(f"'{found.name}' has a size of its own; a budget of MACs cannot make it fit")
    depths = found.depths if depth is None else (depth,)
    if width is None:
        return solve(found.sized, max_macs, depths, found.widths, found.usual)
    sizes = [size for size in (_measured(found.sized, width, n) for n in depths) if size.macs <= max_macs]
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
    results: Path = Path("results"),
    *,
    aux: bool = True,
    drop_path: float = 0.0,
) -> Transferred:
    """Return what ``text`` names (a run, a network, a genotype or a file) as a network for ``task``.

    Cells get the skeleton that suits the images (:func:`search_spaces.sized.build_for`), with an auxiliary head where
    ``aux`` and there is room for it, and dropped paths at the rate ``drop_path``. A table of stages is rebuilt at width
    16 = as written, any other network as it is. ``max_macs`` solves for what is not given of width and depth. Raises
    :class:`ConfigError` for a network that cannot be built for the task or is over the budget.
    """
    found = subject(text, Wanted(task.input_shape, task.classes), plugins, results)
    try:
        if max_macs is not None and not isinstance(found, FixedSubject):
            size = solved(found, max_macs, width, depth)
            width, depth = size.width, size.depth
        width, depth = found.size(width, depth)
        graph = found.sized(width, depth, aux=aux, drop_path=drop_path)
        params, macs = macs_of(graph)
    except GraphError as error:
        shape = "x".join(map(str, task.input_shape))
        raise ConfigError(f"'{text}' cannot be built for images of {shape}: {error}") from None
    if max_macs is not None and macs > max_macs:
        raise ConfigError(f"'{text}' has {macs:,} MACs and a size of its own; at most {max_macs:,} are wanted")
    return Transferred(found.name, graph, width, depth, params, macs)
