"""The registry of genotypes: published cells by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from nas.core.plugins import load_on_demand
from nas.core.registry import Registry
from nas.core.values import Shape, Task
from nas.graph import Graph, cells_key
from nas.space.networks import CIFAR
from nas.space.scalable import PUBLISHED_SIZES, ScalableCells, ScalableModel, Sizes
from nas.space.skeletons import MEDIUM, skeleton_for
from nas.types import Architecture


class HasCells(Protocol):
    """What a genotype is, in whatever notation."""

    def cells(self) -> dict[str, Graph]:
        """Return its cells by name, graphs of named operations."""


@dataclass(frozen=True)
class GenotypeInfo:
    """A published genotype."""

    name: str
    genotype: HasCells
    source: str
    """The paper, and what about the cells is not in it."""
    skeleton: Callable[..., Graph]
    """Carries the cells for small images; for larger ones see :func:`nas.space.skeletons.skeleton_for`."""
    sizes: Sizes = PUBLISHED_SIZES
    """The published width and depth, first on small images, then on larger ones."""
    points: Mapping[str, Callable[[], Architecture]] = field(default_factory=dict)
    """The spaces of which it may be a point, by name; each returns that point or raises SpaceError."""

    @property
    def key(self) -> str:
        """The canonical key of its cells, that of the point of a space which it is."""
        return cells_key(self.genotype.cells())

    def scalable(
        self,
        input_shape: Shape | None = None,
        classes: int | None = None,
        width: int | None = None,
        depth: int | None = None,
    ) -> ScalableModel:
        """Return what builds its network for such images at any size; the published one where none is given."""
        task = Task(self.name, input_shape or CIFAR, classes or 10)
        side, cells = min(task.input_shape[1:]), self.genotype.cells()
        usual_width, usual_depth = self.sizes[side >= MEDIUM]
        build = skeleton_for(side, cells, partial(self.skeleton, cells))
        width, depth = width or usual_width, depth or usual_depth
        return ScalableCells(self.name, task, width, depth, build, default_depth=usual_depth)


GENOTYPES: Registry[GenotypeInfo] = Registry("genotype", partial(load_on_demand, "genotype"))


def register_genotype(info: GenotypeInfo) -> None:
    """Register a genotype under its name."""
    GENOTYPES.add(info.name, info)
