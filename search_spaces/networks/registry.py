"""The registry of networks: every one a function that returns a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from nas.errors import GraphError
from nas.graph import Graph, GraphBuilder, Linear
from nas.registry import Registry
from nas.types import Shape

Build = Callable[..., Graph]
IMAGENET: Shape = (3, 224, 224)
CIFAR: Shape = (3, 32, 32)


@dataclass(frozen=True)
class NetworkInfo:
    """A named network: ``function(input_shape, classes, **options) -> Graph``, its paper, and its usual task."""

    name: str
    function: Build
    source: str
    input_shape: Shape
    classes: int

    def build(self, input_shape: Shape | None = None, classes: int | None = None, aux: bool = False) -> Graph:
        """Return the network with output ``logits``; ``aux`` adds its auxiliary heads where it has them."""
        options = {"aux": True} if aux else {}
        if aux and "aux" not in self.function.__code__.co_varnames:
            raise GraphError(f"network '{self.name}' has no auxiliary heads")
        return self.function(input_shape or self.input_shape, classes or self.classes, **options)


def _load() -> None:
    """Import every module of this package: each registers its networks."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")


NETWORKS: Registry[NetworkInfo] = Registry("network", _load)


def network(name: str, source: str, input_shape: Shape = IMAGENET, classes: int = 1000) -> Callable[[Build], Build]:
    """Register the decorated ``function(input_shape, classes, **options) -> Graph`` under ``name``."""

    def register(function: Build) -> Build:
        NETWORKS.add(name, NetworkInfo(name, function, source, input_shape, classes))
        return function

    return register


def linear_head(b: GraphBuilder, x: str, classes: int, name: str = "classifier") -> str:
    """Return one linear layer from features (F,) to one logit a class."""
    return b(Linear(classes), x, name=name)
