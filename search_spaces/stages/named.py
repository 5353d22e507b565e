"""Named networks that are plans: registered as networks and as points of the space ``stages`` at once."""

from __future__ import annotations

import importlib

from nas.graph import Graph
from nas.registry import Registry
from nas.types import Shape, Task
from search_spaces.networks.registry import CIFAR, IMAGENET, network
from search_spaces.stages.build import build
from search_spaces.stages.plan import Plan

FAMILIES = ("densenet", "efficientnet", "mobilenet", "resnet", "resnext", "se", "squeezenet", "vgg", "wide")
"""The modules of ``search_spaces.networks`` whose networks are plans."""


def _load() -> None:
    for family in FAMILIES:
        importlib.import_module(f"search_spaces.networks.{family}")


PLANS: Registry[Plan] = Registry("network of stages", _load)


def define(name: str, plan: Plan, source: str, input_shape: Shape = IMAGENET, classes: int = 1000) -> Plan:
    """Register ``plan`` as the network ``name`` and return it."""

    def function(input_shape: Shape, classes: int) -> Graph:
        return build(plan, Task(name, input_shape, classes))

    network(name, source, input_shape, classes)(function)
    return PLANS.add(name, plan)


def define_cifar(name: str, plan: Plan, source: str) -> Plan:
    """Register ``plan`` as a network for 32x32 colour images in 10 classes."""
    return define(name, plan, source, CIFAR, 10)
