"""The registry of zero-cost scores, and how those of one network are computed together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from nas.core.registry import Registry, check_named
from nas.errors import ConfigError, unknown
from nas.graph import Graph

if TYPE_CHECKING:
    from nas.zero_cost.network import UntrainedNetwork

VERSION = 1
"""Of the scores: raised whenever one of them gives another number for the same network."""
DEFAULT_SCORES = ("synflow", "naswot", "jacov", "zen", "params", "macs", "depth")
"""What a search computes where nothing else is asked for. They are fixed, and were not chosen on any benchmark."""
Score: TypeAlias = "Callable[[UntrainedNetwork], float]"


@dataclass(frozen=True)
class ZeroCostInfo:
    """A registered score."""

    compute: Score
    """Returns the score of an :class:`nas.zero_cost.network.UntrainedNetwork`; not a finite number: it has none."""
    source: str
    """Its paper."""

    @property
    def summary(self) -> str:
        """The first line of the score's docstring."""
        return (inspect.getdoc(self.compute) or "").split("\n")[0]


ZERO_COST: Registry[ZeroCostInfo] = Registry("zero-cost score")
F = TypeVar("F", bound=Callable[..., float])


def register_zero_cost(name: str, source: str = "a user's own") -> Callable[[F], F]:
    """Register the decorated function of an :class:`nas.zero_cost.network.UntrainedNetwork` as the score ``name``."""
    check_named("zero-cost score", name)

    def register(compute: F) -> F:
        ZERO_COST.add(name, ZeroCostInfo(compute, source))
        return compute

    return register


def check_scores(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return ``names``, each once; an unknown one raises :class:`ConfigError` that begins with ``where``."""
    for name in (found := tuple(dict.fromkeys(names))):
        if name not in ZERO_COST:
            raise ConfigError(f"{where}: {unknown('zero-cost score', name, ZERO_COST)}")
    return found


def zero_cost_scores(graph: Graph, names: Sequence[str] = DEFAULT_SCORES) -> dict[str, float]:
    """Return the scores ``names`` of the untrained network ``graph``, without those that it does not have.

    A score that is not finite is left out: ``naswot`` of a network without activations, ``synflow`` and ``zen`` of one
    whose output does not depend on its input. They are the same numbers on every call: weights, images and labels come
    from fixed seeds and sums are made by one thread. Torch's global random state, threads and modes are left as they
    were. An unknown name raises :class:`nas.errors.ConfigError`; a graph that is no network of one input and one output
    :class:`nas.errors.GraphError`.
    """
    from nas.zero_cost.network import UntrainedNetwork, isolated

    infos = {name: ZERO_COST[name] for name in names}
    with isolated():
        network = UntrainedNetwork(graph)
        found = {name: float(info.compute(network)) for name, info in infos.items()}
    return {name: score for name, score in found.items() if math.isfinite(score)}
