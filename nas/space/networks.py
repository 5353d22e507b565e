"""The registry of named networks, and that of families that give a reference network of any cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from nas.core.plugins import load_on_demand
from nas.core.registry import Registry
from nas.core.values import Shape, Task
from nas.errors import GraphError
from nas.graph import Graph
from nas.space.scalable import FixedModel, ScalableModel
from nas.space.skeletons import PLAIN, Support
from nas.types import Architecture

IMAGENET: Shape = (3, 224, 224)
CIFAR: Shape = (3, 32, 32)
BuildNetwork = Callable[..., Graph]
"""``function(input_shape, classes)``, with ``aux`` and ``drop_path`` where it is registered with them."""
Scale = Callable[[Task, int | None, int | None], ScalableModel]
"""``scale(task, width, depth)``: what builds the same architecture at any size; None is its own."""
BuildReference = Callable[[Task, int], tuple[str, Graph]]
"""``function(task, macs)``: name and graph of the member of a family whose MACs come closest to ``macs``."""


@dataclass(frozen=True)
class NetworkInfo:
    """A named network."""

    name: str
    function: BuildNetwork
    source: str
    """The paper and its table, and whose code the network follows."""
    input_shape: Shape
    """The usual image, (C, H, W)."""
    classes: int
    """The usual number of classes."""
    support: Support = PLAIN
    """Whether it takes ``aux`` and ``drop_path``."""
    scale: Scale | None = None
    """Builds it at any size; None where it has one size."""
    points: Mapping[str, Callable[[], Architecture]] = field(default_factory=dict)
    """The spaces of which it is a point, by name, each with what returns that point."""

    def build(self, input_shape: Shape | None = None, classes: int | None = None, aux: bool = False) -> Graph:
        """Return the network with output ``logits``; ``aux`` adds its auxiliary heads where it has them."""
        if aux and not self.support.aux:
            raise GraphError(f"network '{self.name}' has no auxiliary heads")
        options = {"aux": True} if aux else {}
        return self.function(input_shape or self.input_shape, classes or self.classes, **options)

    def scalable(
        self,
        input_shape: Shape | None = None,
        classes: int | None = None,
        width: int | None = None,
        depth: int | None = None,
    ) -> ScalableModel:
        """Return what builds it for such images, None its own; a size that it cannot have raises ConfigError."""
        task = Task(self.name, input_shape or self.input_shape, classes or self.classes)
        if self.scale is not None:
            return self.scale(task, width, depth)
        # written as a function, it has no table that could grow
        kind = "a network with a function of its own"

        def builder(task: Task, **asked: object) -> Graph:
            return self.function(task.input_shape, task.classes, **asked)

        fixed = FixedModel(self.name, task, builder, self.support, kind=kind)
        fixed.size(width, depth)
        return fixed


NETWORKS: Registry[NetworkInfo] = Registry("network", partial(load_on_demand, "network"))
REFERENCES: Registry[BuildReference] = Registry("family of references", partial(load_on_demand, "network"))


def register_network(
    name: str,
    source: str,
    input_shape: Shape = IMAGENET,
    classes: int = 1000,
    *,
    support: Support = PLAIN,
    scale: Scale | None = None,
    points: Mapping[str, Callable[[], Architecture]] | None = None,
) -> Callable[[BuildNetwork], BuildNetwork]:
    """Register the decorated function as the network ``name``; for the rest see :class:`NetworkInfo`."""

    def register(function: BuildNetwork) -> BuildNetwork:
        NETWORKS.add(name, NetworkInfo(name, function, source, input_shape, classes, support, scale, points or {}))
        return function

    return register


def register_references(name: str) -> Callable[[BuildReference], BuildReference]:
    """Register the decorated ``function(task, macs)`` as the family ``name`` of networks of any cost."""
    return partial(REFERENCES.add, name)
