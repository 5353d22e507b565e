"""Skeletons: what makes a network of cells, what each says that it supports, and which one suits images of a size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from nas.core.plugins import load_on_demand
from nas.core.registry import Registry
from nas.core.values import Task
from nas.graph import Graph

Skeleton = Callable[[Mapping[str, Graph], Task, int, int], Graph]
"""Builds a network of cells: ``skeleton(cells, task, width, depth)``, with the keywords that it says it supports."""
BoundSkeleton = Callable[..., Graph]
"""A skeleton with its cells in it: ``build(task, width, depth)``, with the same keywords."""
AnySkeleton = TypeVar("AnySkeleton", bound=Callable[..., Graph])

MEDIUM, LARGE = 48, 112
"""From which side of the image on a stem reduces it, twice and three times: 64 pixels to 16, 224 to 28."""


@dataclass(frozen=True)
class Support:
    """What a skeleton takes besides cells, task, width and depth, all of it by keyword."""

    aux: bool = False
    """``aux``: True for an auxiliary head, the output ``aux``."""
    drop_path: bool = False
    """``drop_path``: the rate at which operations are dropped in training, 0 to 1."""
    depths: bool = False
    """``depths``: the normal cells of each stage, where they differ."""
    reductions: bool = False
    """``reductions``: how often the stem halves the image, see :func:`reductions_for`."""
    stages: int = 3
    """How many stages it has where it is not told."""
    repeats: tuple[int, ...] = ()
    """How many times ``depth`` normal cells each stage has, where that is bound to it; empty: once each."""

    def asked(self, aux: bool, drop_path: float) -> dict[str, Any]:
        """Return the keywords for a head and for dropped paths, of those that are asked for and supported."""
        asked: dict[str, Any] = {"aux": True} if aux and self.aux else {}
        return asked | ({"drop_path": drop_path} if drop_path and self.drop_path else {})


PLAIN = Support()
"""Nothing but cells, task, width and depth."""
HEADS_AND_PATHS = Support(aux=True, drop_path=True)
"""What the networks of found cells are trained with."""


@dataclass(frozen=True)
class SkeletonInfo:
    """A registered skeleton."""

    name: str
    function: Callable[..., Graph]
    source: str
    """The paper, its section, and whose code it follows."""
    support: Support
    cells: Mapping[str, int] | None
    """The cells by name that it needs, with how many inputs they have; None where it takes any."""
    large: bool
    """Whether it is made for images from :data:`MEDIUM` pixels on, of any cells of that kind."""

    def carries(self, cells: Mapping[str, Graph]) -> bool:
        """Return whether ``cells`` are those that it needs."""
        needed = self.cells
        return needed is None or all(n in cells and len(cells[n].inputs) == count for n, count in needed.items())


SKELETONS: Registry[SkeletonInfo] = Registry("skeleton", partial(load_on_demand, "skeleton"))


def supports(support: Support) -> Callable[[AnySkeleton], AnySkeleton]:
    """Let the decorated skeleton say what it supports; one that says nothing takes cells, task, width and depth."""

    def declare(function: AnySkeleton) -> AnySkeleton:
        function.support = support  # type: ignore[attr-defined]
        return function

    return declare


def register_skeleton(
    name: str, source: str, support: Support = PLAIN, *, cells: Mapping[str, int] | None = None, large: bool = False
) -> Callable[[AnySkeleton], AnySkeleton]:
    """Register the decorated function as the skeleton ``name``; see :class:`SkeletonInfo` for the rest."""

    def register(function: AnySkeleton) -> AnySkeleton:
        SKELETONS.add(name, SkeletonInfo(name, supports(support)(function), source, support, cells, large))
        return function

    return register


def support_of(skeleton: Callable[..., Graph]) -> Support:
    """Return what a skeleton says that it supports, also where arguments are bound to it by ``functools.partial``."""
    if isinstance(skeleton, partial):  # what is bound may be bound again, but a number of stages counts
        inner, bound = support_of(skeleton.func), skeleton.keywords
        repeats = tuple(bound.get("repeats", inner.repeats))
        stages = len(repeats) or bound.get("stages", inner.stages)
        return replace(inner, reductions=inner.reductions or "reductions" in bound, stages=stages, repeats=repeats)
    found = getattr(skeleton, "support", None)
    return found if isinstance(found, Support) else PLAIN


def reductions_for(side: int) -> int:
    """Return how often the stem halves images of ``side`` pixels: 0 as for CIFAR, 3 as for ImageNet, 2 between."""
    return 0 if side < MEDIUM else 2 if side < LARGE else 3


def skeleton_for(side: int, cells: Mapping[str, Graph], own: BoundSkeleton) -> BoundSkeleton:
    """Return what builds networks of ``cells`` for images of ``side`` pixels, where their ``own`` is for small ones.

    For larger images it is their own with ``reductions`` where it takes them, else the first registered one for large
    images that carries such cells (for two cells of two inputs DARTS' network for ImageNet), else their own as it is.
    Where reductions are bound already, as a space has chosen them, the larger number counts.
    """
    reductions = reductions_for(side)
    if not reductions:
        return own
    if support_of(own).reductions:
        chosen = own.keywords.get("reductions", 0) if isinstance(own, partial) else 0
        return partial(own, reductions=max(reductions, chosen))
    # by name, so that the order in which plugins are loaded does not matter
    larger = next((s for s in map(SKELETONS.__getitem__, SKELETONS) if s.large and s.carries(cells)), None)
    return own if larger is None else partial(larger.function, cells, reductions=reductions)
