"""The registry of the operations that cells name: functions ``op(b, x, channels, stride) -> node`` on a builder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nas.core.plugins import load_on_demand
from nas.core.registry import Registry, check_named
from nas.graph import Operation

OPERATIONS: Registry[Operation] = Registry("operation", partial(load_on_demand, "operation"))


def register_operation(name: str) -> Callable[[Operation], Operation]:
    """Register the decorated function as the operation ``name`` of cells."""
    check_named("operation", name)
    return partial(OPERATIONS.add, name)
