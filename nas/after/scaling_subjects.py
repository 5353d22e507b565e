"""What can be built anew at any size: cells on a skeleton, and tables of stages.

Scaling and transfer both begin here: a :class:`Subject` builds the same architecture for another task, at another width
and depth.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from nas.errors import ConfigError, GraphError
from nas.graph import Graph, cost
from nas.types import Architecture, Task
from search_spaces.networks.registry import NETWORKS
from search_spaces.skeleton import spread
from search_spaces.stages import Plan
from search_spaces.stages import build as build_plan
from search_spaces.stages.build import BASE_WIDTH

SCALABLE = (
    "a run or an architecture file of a space of cells or of 'stages', a genotype (nas list genotypes), or a network "
    "that is a table of stages, such as resnet18, mobilenet_v2 or efficientnet_b0"
)


class Scaled(NamedTuple):
    """A network after scaling; ``size`` says its width and depth in a few characters."""

    graph: Graph
    size: str


class Subject(Protocol):
    """An architecture that can be built anew for ``task``."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def task(self) -> Task:
        """What it is built for where nothing else is said."""

    @property
    def architecture(self) -> Architecture | None:
        """The point of a search space that it is, where it is one."""

    @property
    def widths(self) -> tuple[int, int]:
        """The least width that a solver should try, and the step to the next."""

    @property
    def depths(self) -> Sequence[int]:
        """The depths that a solver should try."""

    @property
    def usual(self) -> int:
        """The depth that a solver should prefer."""

    def size(self, width: int | None, depth: int | None) -> tuple[int | None, int | None]:
        """Return width and depth, its own in place of None; None where it has no such size."""

    def sized(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        """Return the network for the task at a width and a depth, its own by default.

        With ``aux`` it has an auxiliary head where its skeleton has one and the image leaves room for it; ``drop_path``
        is the rate of the skeleton's operations where it takes one.
        """

    def rounded(self, width: float, depth: float) -> tuple[Any, ...]:
        """Return what ``width`` times the channels and ``depth`` times the layers come to; equal ones build equally."""

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        """Return the network of the multipliers ``width`` and ``depth`` for images of ``side`` pixels.

        Rounding is the subject's own; the skeleton stays that of the task.
        """


@dataclass(frozen=True)
class CellSubject:
    """Cells on a skeleton: ``width`` channels in the first of ``stages`` stages, ``depth`` normal cells in each.

    ``build(task, width, depth, ...)`` is the skeleton with the cells in it. Scaled widths are even numbers, below 32
    channels also odd ones where no operation halves them. Scaled depths are whole cells, to the nearest, spread evenly
    over the stages where the skeleton takes ``depths``, else as many in every stage.
    """

    name: str
    task: Task
    width: int
    depth: int
    build: Callable[..., Graph]
    usual: int = 4
    architecture: Architecture | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """Even numbers from 8 on: the papers' 44, 48, 50 and 54 are such; NASNet's stem needs 8."""
        return 8, 2

    @property
    def depths(self) -> Sequence[int]:
        """1 to 12 normal cells a stage: the papers have 2 to 7."""
        return range(1, 13)

    @property
    def _takes(self) -> Any:
        return inspect.signature(self.build).parameters

    @property
    def stages(self) -> int:
        """The stages of the skeleton."""
        given = self._takes.get("stages")
        return int(given.default) if given is not None else 3

    def size(self, width: int | None, depth: int | None) -> tuple[int | None, int | None]:
        """Return width and depth, its own in place of None."""
        return width or self.width, depth or self.depth

    def sized(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        """Return the network; see :meth:`Subject.sized`."""
        wide, deep = self.size(width, depth)
        extras = _taken(self._takes, aux, drop_path)
        return _with_room(lambda more: self.build(self.task, wide, deep, **more), extras)

    @cached_property
    def _takes_odd(self) -> bool:
        try:
            self.build(self.task, 9, 1)
        except GraphError:
            return False
        return True

    def rounded(self, width: float, depth: float) -> tuple[int, tuple[int, ...]]:
        """Return the channels, and the normal cells of each stage."""
        channels = self.width * width
        unit = 1 if channels < 32 and self._takes_odd else 2
        wide = self.width if width == 1 else max(2, round(channels / unit) * unit)
        if depth != 1 and "depths" in self._takes:
            return wide, spread(max(self.stages, round(self.depth * self.stages * depth)), self.stages)
        return wide, (max(1, round(self.depth * depth)),) * self.stages

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        """Return the scaled network; see :meth:`Subject.scaled`."""
        channels, cells = self.rounded(width, depth)
        task = replace(self.task, input_shape=(self.task.input_shape[0], side, side))
        uneven = {"depths": cells} if len(set(cells)) > 1 else {}
        size = f"{channels} channels, {'+'.join(map(str, cells))} cells"
        return Scaled(self.build(task, channels, max(cells), **uneven), size)


@dataclass(frozen=True)
class PlanSubject:
    """A table of stages: ResNet to EfficientNet. Width 16 and depth 1 are the table as written.

    Scaled channels are multiples of 8 that lose at most a tenth, repeats are rounded up: EfficientNet's rules.
    """

    name: str
    task: Task
    plan: Plan
    width: int = BASE_WIDTH
    depth: int = 1
    architecture: Architecture | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """Sixteenths of the table's channels."""
        return 1, 1

    @property
    def depths(self) -> Sequence[int]:
        """The table's repeats alone: a budget is met by the width, as in the papers' tables."""
        return (self.depth,)

    @property
    def usual(self) -> int:
        """The table's."""
        return self.depth

    def size(self, width: int | None, depth: int | None) -> tuple[int | None, int | None]:
        """Return width and depth, its own in place of None."""
        return width or self.width, depth or self.depth

    def sized(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        """Return the network, which has no auxiliary heads and keeps the table's own stochastic depth."""
        return build_plan(self.plan, self.task, width or self.width, depth or self.depth)

    def rounded(self, width: float, depth: float) -> tuple[float, float]:
        """Return the multipliers of the table's channels and repeats."""
        wide = self.plan.scale_width * self.width / BASE_WIDTH * width
        return round(wide, 6), round(self.plan.scale_depth * self.depth * depth, 6)

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        """Return the scaled network; see :meth:`Subject.scaled`."""
        wide, deep = self.rounded(width, depth)
        plan = replace(self.plan, scale_width=wide, scale_depth=deep)
        task = replace(self.task, input_shape=(self.task.input_shape[0], side, side))
        return Scaled(build_plan(plan, task), f"width x {wide:.3g}, depth x {deep:.3g}")


@dataclass(frozen=True)
class FixedSubject:
    """A network that has a size of its own: built for the task, never scaled. ``builder(task, **extras)``."""

    name: str
    task: Task
    builder: Callable[..., Graph]
    extras: tuple[str, ...] = ()
    architecture: Architecture | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """None to choose from."""
        return 1, 1

    @property
    def depths(self) -> Sequence[int]:
        """None to choose from."""
        return ()

    @property
    def usual(self) -> int:
        """Its own."""
        return 1

    def size(self, width: int | None, depth: int | None) -> tuple[int | None, int | None]:
        """Return no size; refuse a wanted one."""
        for name, value in (("width", width), ("depth", depth)):
            if value is not None:
                raise ConfigError(f"--{name}: '{self.name}' has a size of its own; what has none: {SCALABLE}")
        return None, None

    def sized(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        """Return the network; see :meth:`Subject.sized`."""
        self.size(width, depth)
        return _with_room(lambda more: self.builder(self.task, **more), _taken(self.extras, aux, drop_path))

    def rounded(self, width: float, depth: float) -> tuple[Any, ...]:
        """Refuse: there is nothing to round."""
        raise self._no_scaling()

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        """Refuse: there is nothing that says how it would grow."""
        raise self._no_scaling()

    def _no_scaling(self) -> ConfigError:
        what = "a network with a function of its own" if self.name in NETWORKS else "one graph of layers"
        return ConfigError(f"'{self.name}' is {what} and cannot be scaled; what can: {SCALABLE}")


def _taken(parameters: Any, aux: bool, drop_path: float) -> dict[str, Any]:
    wanted: dict[str, Any] = {"aux": True} if aux else {}
    wanted |= {"drop_path": drop_path} if drop_path else {}
    return {name: value for name, value in wanted.items() if name in parameters}


def _with_room(build: Callable[[dict[str, Any]], Graph], extras: dict[str, Any]) -> Graph:
    """Build with ``extras``, without the head where the image leaves no room for it."""
    if "aux" in extras:
        with suppress(GraphError):
            return build(extras)
    return build({name: value for name, value in extras.items() if name != "aux"})


def macs_of(graph: Graph) -> tuple[int, int]:
    """Return parameters and MACs of the network without its auxiliary heads."""
    total = cost(graph.pruned((graph.outputs[0][0],)))
    return total.params, total.macs
