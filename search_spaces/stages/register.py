"""Plans at any size, and those that are named networks: registered as networks and as points of ``stages`` at once."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nas.core.registry import Registry
from nas.core.values import Shape, Task, Value
from nas.graph import Graph
from nas.space.networks import CIFAR, IMAGENET, register_network
from nas.space.scalable import ScalableModel, Scaled
from nas.types import Architecture
from search_spaces.stages.builder import BASE_WIDTH, build
from search_spaces.stages.plan import NetworkPlan, choose_plan

SPACE = "stages"
"""The name of the space whose points are plans."""
FAMILIES = ("densenet", "efficientnet", "mobilenet", "resnet", "resnext", "se", "squeezenet", "vgg", "wide")
"""The modules of ``search_spaces.networks`` whose networks are plans."""


def _load() -> None:
    for family in FAMILIES:
        importlib.import_module(f"search_spaces.networks.{family}")


@dataclass(frozen=True)
class ScalablePlan(ScalableModel):
    """A table of stages: ResNet to EfficientNet. It has no auxiliary heads and keeps its own stochastic depth.

    Solvers take sixteenths of its channels. Scaled channels are multiples of 8 that lose at most a tenth, repeats are
    rounded up: EfficientNet's rules.
    """

    plan: NetworkPlan
    width: int = BASE_WIDTH
    """Sixteenths of the table's channels."""
    depth: int = 1
    """What the table's repeats are multiplied by."""

    @property
    def depths(self) -> Sequence[int]:
        """The table's repeats alone: a budget is met by the width, as in the papers' tables."""
        return (self.depth,)

    def size(self, width: int | None, depth: int | None) -> tuple[int, int]:
        return width or self.width, depth or self.depth

    def build(
        self, width: int | None = None, depth: int | None = None, *, aux: bool = False, drop_path: float = 0.0
    ) -> Graph:
        return build(self.plan, self.task, *self.size(width, depth))

    def rounded(self, width: float, depth: float) -> tuple[float, float]:
        """Return the multipliers of the table's channels and repeats."""
        wide = self.plan.scale_width * self.width / BASE_WIDTH * width
        return round(wide, 6), round(self.plan.scale_depth * self.depth * depth, 6)

    def scaled(self, width: float, depth: float, side: int) -> Scaled:
        wide, deep = self.rounded(width, depth)
        plan = replace(self.plan, scale_width=wide, scale_depth=deep)
        task = replace(self.task, input_shape=(self.task.input_shape[0], side, side))
        return Scaled(build(plan, task), f"width x {wide:.3g}, depth x {deep:.3g}")


PLANS: Registry[NetworkPlan] = Registry("network of stages", _load)


def define(
    name: str, plan: NetworkPlan, source: str, input_shape: Shape = IMAGENET, classes: int = 1000
) -> NetworkPlan:
    """Register ``plan`` as the network ``name`` and return it."""

    def function(input_shape: Shape, classes: int) -> Graph:
        return build(plan, Task(name, input_shape, classes))

    def scale(task: Task, width: int | None, depth: int | None) -> ScalablePlan:
        return ScalablePlan(name, task, plan, width or BASE_WIDTH, depth or 1)

    # the same table is a network, a starting point of a search, and what is scaled
    points = {SPACE: partial(architecture_of, plan)}
    register_network(name, source, input_shape, classes, scale=scale, points=points)(function)
    return PLANS.add(name, plan)


def define_cifar(name: str, plan: NetworkPlan, source: str) -> NetworkPlan:
    """Register ``plan`` as a network for 32x32 colour images in 10 classes."""
    return define(name, plan, source, CIFAR, 10)


def architecture_of(plan: NetworkPlan) -> Architecture:
    """Return the plan as a point of the space ``stages``: every decision that it answers."""
    decisions: dict[str, Value] = {}

    def choose(name: str, options: Sequence[Any]) -> Any:
        decisions[name] = plan(name, options)
        return decisions[name]

    choose_plan(choose)
    return Architecture(SPACE, decisions)
