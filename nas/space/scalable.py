"""What can be built again for another task, width and depth, for scaling and for transfer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

from nas.core.values import Shape, Task
from nas.errors import ConfigError, GraphError
from nas.graph import Graph, cost
from nas.space.skeletons import PLAIN, BoundSkeleton, Support, support_of
from nas.types import Architecture

SCALABLE = (
    "a run or an architecture file of a space of cells or of 'stages', 'macro' or 'handcrafted', a genotype "
    "(nas list genotypes), or a network that is a table of stages, such as resnet18, mobilenet_v2 or efficientnet_b0"
)
Sizes = tuple[tuple[int, int], tuple[int, int]]
"""Width and depth on small images, then on larger ones."""
PUBLISHED_SIZES: Sizes = ((36, 6), (48, 4))
"""Those of DARTS' networks for CIFAR and ImageNet, on which most found cells are published."""


@dataclass(frozen=True)
class SearchedAt:
    """The size at which a search built its networks."""

    width: int | None = None
    """Channels of the first stage, or what else its space counts in; None: its space's own."""
    depth: int | None = None
    """Cells a stage; None: its space's own."""
    input_shape: Shape | None = None
    """The images, (C, H, W); None where they are not known."""
    by_budget: bool = False
    """Whether a budget chose the width."""


UNKNOWN_SEARCH = SearchedAt()


class Scaled(NamedTuple):
    """A network after scaling."""

    graph: Graph
    size: str
    """Its width and depth in a few characters."""


@dataclass(frozen=True)
class ScalableModel(ABC):
    """An architecture that can be built again for ``task`` at any size."""

    name: str
    """What the user called it."""
    task: Task
    """What it is built for where nothing else is said."""
    default_depth: int = field(default=1, kw_only=True)
    """The depth that a solver should prefer."""
    architecture: Architecture | None = field(default=None, kw_only=True)
    """The point of a search space that it is, where it is one."""
    widths: tuple[int, int] = field(default=(1, 1), kw_only=True)
    """The least width that a solver should try, and the step to the next."""

    @property
    def depths(self) -> Sequence[int]:
        """The depths that a solver should try."""
        return ()

    @abstractmethod
    def size(self, width: int | None, depth: int | None) -> tuple[int | None, int | None]:
        """Return width and depth, its own in place of None; None where it has no such size."""

    @abstractmethod
    def build(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        """Return the network for the task at a width and a depth, its own by default.

        ``aux`` adds an auxiliary head and ``drop_path`` a rate, where the skeleton has one and the image has room.
        """

    @abstractmethod
    def rounded(self, width: float, depth: float) -> tuple[Any, ...]:
        """Return what ``width`` times the channels and ``depth`` times the layers come to; equal ones build equally."""

    @abstractmethod
    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        """Return the network of the multipliers ``width`` and ``depth`` for ``side`` pixels, on the task's skeleton."""


@dataclass(frozen=True)
class ScalableCells(ScalableModel):
    """Cells on a skeleton.

    Scaled widths are even, below 32 channels also odd where no operation halves them. Scaled depths are whole cells, to
    the nearest, spread evenly over the stages where the skeleton supports ``depths``, else as many in every stage.
    """

    width: int
    """Channels in the first stage."""
    depth: int
    """Normal cells in each stage; where the skeleton has ``repeats``, what they are multiplied by."""
    skeleton: BoundSkeleton
    # even numbers from 8 on: the papers' 44, 48, 50 and 54 are such, and NASNet's stem needs 8
    widths: tuple[int, int] = field(default=(8, 2), kw_only=True)

    @property
    def depths(self) -> Sequence[int]:
        """1 to 12 normal cells a stage, in the longest one: the papers have 2 to 7."""
        return range(1, 12 // max(support_of(self.skeleton).repeats, default=1) + 1)

    def size(self, width: int | None, depth: int | None) -> tuple[int, int]:
        return width or self.width, depth or self.depth

    def build(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        wide, deep = self.size(width, depth)
        asked = support_of(self.skeleton).asked(aux, drop_path)
        return with_room(lambda **more: self.skeleton(self.task, wide, deep, **more), asked)

    @cached_property
    def _takes_odd(self) -> bool:
        # which operations halve channels, the cells alone know: 9 channels tell
        try:
            self.skeleton(self.task, 9, 1)
        except GraphError:
            return False
        return True

    def rounded(self, width: float, depth: float) -> tuple[int, tuple[int, ...]]:
        """Return the channels, and the normal cells of each stage."""
        # 1 leaves a width as it is, also an odd one
        channels = self.width * width
        unit = 1 if channels < 32 and self._takes_odd else 2
        wide = self.width if width == 1 else max(2, round(channels / unit) * unit)
        support = support_of(self.skeleton)
        if support.repeats:  # stages of chosen lengths keep their proportions
            return wide, tuple(max(1, round(self.depth * repeat * depth)) for repeat in support.repeats)
        if depth != 1 and support.depths:
            return wide, spread(max(support.stages, round(self.depth * support.stages * depth)), support.stages)
        return wide, (max(1, round(self.depth * depth)),) * support.stages

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        channels, cells = self.rounded(width, depth)
        task = replace(self.task, input_shape=(self.task.input_shape[0], side, side))
        uneven = {"depths": cells} if len(set(cells)) > 1 or support_of(self.skeleton).repeats else {}
        size = f"{channels} channels, {'+'.join(map(str, cells))} cells"
        return Scaled(self.skeleton(task, channels, max(cells), **uneven), size)


@dataclass(frozen=True)
class ScalableNetwork(ScalableModel):
    """A whole network whose space says which widths it has.

    Scaled widths are those of the space: its least one and steps from there. Scaled depths are whole numbers where the
    space does not say that it takes others.
    """

    width: int
    """The width of its space, mostly channels in the first stage."""
    depth: int
    """What its space multiplies the repeats of a stage by."""
    builder: Callable[[Task, int, Any], Graph]
    """``builder(task, width, depth)``."""
    between: bool = field(default=False, kw_only=True)
    """Whether it takes depths between whole numbers."""

    @property
    def depths(self) -> Sequence[int]:
        """Its own alone: the shape is what was found, and a budget is met by the width."""
        return (self.depth,)

    def size(self, width: int | None, depth: int | None) -> tuple[int, int]:
        return width or self.width, depth or self.depth

    def build(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        return self.builder(self.task, *self.size(width, depth))

    def rounded(self, width: float, depth: float) -> tuple[int, float]:
        """Return the width and the depth."""
        least, step = self.widths
        wide = self.width if width == 1 else least + max(0, round((self.width * width - least) / step)) * step
        return wide, round(self.depth * depth, 6) if self.between else max(1, round(self.depth * depth))

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        wide, deep = self.rounded(width, depth)
        task = replace(self.task, input_shape=(self.task.input_shape[0], side, side))
        return Scaled(self.builder(task, wide, deep), f"width {wide}, depth {deep:.3g}")


@dataclass(frozen=True)
class FixedModel(ScalableModel):
    """A network that has a size of its own: built for the task, never scaled."""

    builder: Callable[..., Graph]
    """``builder(task)``, with ``aux`` and ``drop_path`` where ``support`` says so."""
    support: Support = PLAIN
    kind: str = "one graph of layers"
    """What it is, for the message that it cannot be scaled."""

    def size(self, width: int | None, depth: int | None) -> tuple[None, None]:
        """Return no size; refuse a wanted one."""
        for name, value in (("width", width), ("depth", depth)):
            if value is not None:
                raise ConfigError(f"--{name}: '{self.name}' has a size of its own; what has none: {SCALABLE}")
        return None, None

    def build(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        self.size(width, depth)
        return with_room(lambda **more: self.builder(self.task, **more), self.support.asked(aux, drop_path))

    def rounded(self, width: float, depth: float) -> NoReturn:
        """Refuse: there is nothing that says how it would grow."""
        raise ConfigError(f"'{self.name}' is {self.kind} and cannot be scaled; what can: {SCALABLE}")

    def scaled(self, width: float, depth: float, side: int) -> NoReturn:
        """Refuse, as :meth:`rounded` does."""
        self.rounded(width, depth)


def spread(cells: int, stages: int = 3) -> tuple[int, ...]:
    """Spread normal cells evenly over the stages; the rest goes to inner stages first, to later before earlier."""
    # inner stages have fewer pixels than the first and fewer channels than the last
    middle = (stages - 1) / 2
    order = sorted(range(stages), key=lambda stage: (abs(stage - middle), -stage))
    return tuple(cells // stages + (order.index(stage) < cells % stages) for stage in range(stages))


def with_room(build: Callable[..., Graph], asked: dict[str, Any]) -> Graph:
    """Return ``build(**asked)``, without the auxiliary head where the image leaves no room for it."""
    if "aux" in asked:
        with suppress(GraphError):
            return build(**asked)
    return build(**{name: value for name, value in asked.items() if name != "aux"})


def macs_of(graph: Graph) -> tuple[int, int]:
    """Return parameters and MACs of the network without its auxiliary heads."""
    total = cost(graph.pruned((graph.outputs[0][0],)))
    return total.params, total.macs
