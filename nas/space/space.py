"""A search space: one function that chooses, and everything derived from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from nas.errors import ConfigError, Infeasible, SpaceError, unknown
from nas.graph import Graph, cells_key
from nas.graph import key as graph_key
from nas.registry import Registry
from nas.space.choices import Chooser, Keep, Mix, Options, Path, Probe, Random, Replay, Trace
from nas.types import Architecture, Task, Value, freeze

ATTEMPTS = 1_000
"""How often an infeasible combination is drawn again before the space is said to be empty."""
EXACT_SIZE = 1_000_000
_KEY_TASK = Task("key", (3, 32, 32), 10)

Skeleton = Callable[[Mapping[str, Graph], Task, int, int], Graph]
"""Builds a network of cells: ``skeleton(cells, task, width, depth)``."""


@dataclass(frozen=True)
class Cells:
    """What a cell-based space describes: cells of named operations by name, and the skeleton that stacks them.

    A choice that the skeleton depends on is no part of the cells: give it as ``variant``, or bind it with
    ``functools.partial``; else networks that differ in it would pass for one.
    """

    cells: Mapping[str, Graph]
    skeleton: Skeleton
    variant: tuple[Value, ...] = ()

    def key(self) -> str:
        """Return the canonical key of the cells together, and of what the skeleton depends on."""
        bound = self.skeleton
        chosen: list[Any] = list(self.variant)
        if isinstance(bound, partial):
            chosen += [*bound.args, *sorted(bound.keywords.items())]
        key = cells_key(self.cells)
        return _hash(key, chosen) if chosen else key

    def network(self, task: Task, width: int, depth: int) -> Graph:
        """Return the network for ``task``: ``width`` channels in the first stage, ``depth`` cells a stage."""
        return self.skeleton(self.cells, task, width, depth)


@dataclass(frozen=True)
class Network:
    """What a space of whole networks describes: a function ``build(task, width, depth)`` that returns the graph."""

    build: Callable[[Task, int, int], Graph]

    def key(self) -> str:
        """Return the key of the network for 32x32 colour images in 10 classes at width 16, depth 1, to name it.

        A search takes the key of the network that it evaluates: a choice may act at other sizes only.
        """
        return graph_key(self.build(_KEY_TASK, 16, 1))

    def network(self, task: Task, width: int, depth: int) -> Graph:
        """Return the network for ``task``."""
        return self.build(task, width, depth)


class Size(NamedTuple):
    """The number of architectures of a space: exact, or an estimate with its standard error."""

    total: float
    error: float
    exact: bool


class Space:
    """The search space of ``function(choose, **args)``; see :mod:`nas.space.choices` for the contract.

    The function may return :class:`Cells`, a :class:`Network`, anything else with their two methods, or any other
    value: then the space describes no network, and its decisions are what an evaluator looks at. ``width`` and
    ``depth`` are the defaults for networks.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Mapping[str, Value] | None = None,
        source: str = "",
        width: int = 16,
        depth: int = 1,
    ) -> None:
        self.name, self.function, self.source, self.width, self.depth = name, function, source, width, depth
        self.args = {name: freeze(value) for name, value in (args or {}).items()}
        self._known: dict[str, Options] = {}
        self._frozen_args = tuple(self.args.items())
        _check_args(name, function, self.args)

    def with_args(self, args: Mapping[str, Value]) -> Space:
        """Return the space with other arguments; an unknown one raises :class:`ConfigError`."""
        return Space(self.name, self.function, {**self.args, **args}, self.source, self.width, self.depth)

    def options(self, name: str) -> Options:
        """Return the options of a decision that some architecture of this space has made."""
        return self._known[name]

    def attempt(self, chooser: Chooser) -> Architecture | None:
        """Return the architecture that ``chooser`` chooses, None where that is infeasible."""
        return self._try(chooser)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return an architecture with every decision drawn uniformly; infeasible ones are drawn again."""
        return self._feasible(lambda: Random(rng))

    def draw(self, make: Callable[[], Chooser]) -> Architecture:
        """Return an architecture as a chooser decides; after an infeasible one, ``make`` is called for another."""
        return self._feasible(make)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a copy with one decision chosen anew; what newly appears is drawn.

        A space with no second option anywhere returns the architecture itself.
        """
        decisions = self._decisions(architecture)
        open_names = [name for name in decisions if len(self._known[name]) > 1]
        if not open_names:
            return architecture

        def chooser() -> Chooser:
            target = open_names[int(rng.integers(len(open_names)))]
            options = self._known[target]
            choice = int(rng.integers(len(options) - 1))
            choice += choice >= options.index(decisions[target])
            return Keep(decisions, target, choice, rng)

        return self._feasible(chooser)

    def crossover(self, one: Architecture, other: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a child that takes every decision from one of its parents by name."""
        a, b = self._decisions(one), self._decisions(other)
        return self._feasible(lambda: Mix(a, b, rng))

    def moves(self, architecture: Architecture) -> list[tuple[str, int]]:
        """Return every single change of a decision as (name, index of the new option), in order."""
        decisions = self._decisions(architecture)
        return [
            (name, choice)
            for name, value in decisions.items()
            for choice, option in enumerate(self._known[name])
            if option != value
        ]

    def move(self, architecture: Architecture, move: tuple[str, int], rng: np.random.Generator) -> Architecture | None:
        """Return the architecture after a move of :meth:`moves`, None where that is infeasible."""
        return self._try(Keep(self._decisions(architecture), *move, rng))

    def neighbours(self, architecture: Architecture, rng: np.random.Generator) -> list[Architecture]:
        """Return all feasible architectures that change one decision, in order; what newly appears is drawn."""
        moved = (self.move(architecture, move, rng) for move in self.moves(architecture))
        return list(dict.fromkeys(neighbour for neighbour in moved if neighbour is not None))

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every feasible architecture once, in order."""
        path: list[int] | None = []
        while path is not None:
            chooser = Path(path)
            architecture = self._try(chooser)
            if architecture is not None:
                yield architecture
            path = chooser.following()

    def size(self, limit: int = EXACT_SIZE, probes: int = 2_000) -> Size:
        """Return the number of feasible traces: exact up to ``limit``, else Knuth's estimate with its error."""
        rng = np.random.default_rng(0)
        weights = np.array([self._probe(rng) for _ in range(probes)], dtype=float)
        mean, error = float(weights.mean()), float(weights.std(ddof=1) / np.sqrt(probes))
        if mean - 4 * error <= limit:
            count = 0
            for count, _ in enumerate(self.enumerate(), 1):
                if count > limit:
                    return Size(mean, error, False)
            return Size(count, 0.0, True)
        return Size(mean, error, False)

    def describe(self, architecture: Architecture) -> Any:
        """Replay the decisions and return what the function returns; refuse decisions that do not fit the space."""
        self._check_owner(architecture)
        decisions = dict(architecture.decisions)
        trace, result = self._run(Replay(decisions))
        extra = decisions.keys() - trace.decisions.keys()
        if extra:
            raise SpaceError(f"space '{self.name}': {unknown('decision', min(extra), trace.decisions)}")
        return result

    def key(self, architecture: Architecture) -> str:
        """Return the canonical key; for a space without networks, a hash of the decisions."""
        described = self.describe(architecture)
        return str(described.key()) if hasattr(described, "key") else decisions_key(architecture)

    def has_networks(self, architecture: Architecture) -> bool:
        """Return whether the architecture describes a network, so that :meth:`build` works."""
        return hasattr(self.describe(architecture), "network")

    def build(
        self, architecture: Architecture, task: Task, width: int | None = None, depth: int | None = None
    ) -> Graph:
        """Return the network of ``architecture`` for ``task`` at a width (channels) and depth (cells a stage)."""
        described = self.describe(architecture)
        if not hasattr(described, "network"):
            raise SpaceError(f"space '{self.name}' describes no network, only decisions; use an evaluator of its own")
        graph: Graph = described.network(
            task, self.width if width is None else width, self.depth if depth is None else depth
        )
        return graph

    def _run(self, chooser: Chooser) -> tuple[Trace, Any]:
        trace = Trace(chooser, self._known)
        return trace, self.function(trace, **self.args)

    def _try(self, chooser: Chooser) -> Architecture | None:
        try:
            trace, _ = self._run(chooser)
        except Infeasible:
            return None
        return Architecture(self.name, tuple(trace.decisions.items()), self._frozen_args)

    def _feasible(self, chooser: Callable[[], Chooser]) -> Architecture:
        for _ in range(ATTEMPTS):
            architecture = self._try(chooser())
            if architecture is not None:
                return architecture
        raise SpaceError(f"space '{self.name}': no feasible architecture in {ATTEMPTS:,} draws")

    def _probe(self, rng: np.random.Generator) -> int:
        probe = Probe(rng)
        return probe.product if self._try(probe) is not None else 0

    def _decisions(self, architecture: Architecture) -> dict[str, Value]:
        self._check_owner(architecture)
        decisions = dict(architecture.decisions)
        if any(value not in self._known.get(name, ()) for name, value in decisions.items()):
            self.describe(architecture)
        return decisions

    def _check_owner(self, architecture: Architecture) -> None:
        if architecture.space != self.name or dict(architecture.args) != self.args:
            found = f"'{architecture.space}' with {dict(architecture.args)}"
            raise SpaceError(f"space '{self.name}' with {self.args}: the architecture is of space {found}")


def decisions_key(architecture: Architecture) -> str:
    """Return a key of the decisions alone, for what describes or gives no network."""
    return _hash(sorted(architecture.decisions, key=lambda decision: decision[0]))


def _hash(*values: Any) -> str:
    return blake2b(repr(values).encode(), digest_size=16).hexdigest()


def _check_args(name: str, function: Callable[..., Any], args: Mapping[str, Value]) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise ConfigError(f"space '{name}': the function must take 'choose' as its first argument")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    allowed = [p.name for p in parameters[1:]]
    for arg in args:
        if arg not in allowed:
            raise ConfigError(f"space '{name}': {unknown('argument', arg, allowed)}")
    for p in parameters[1:]:
        if p.default is p.empty and p.name not in args:
            raise ConfigError(f"space '{name}': argument '{p.name}' is missing; pass --space-arg {p.name}=VALUE")


SPACES: Registry[Space] = Registry("space")


def register_space(
    name: str, source: str, width: int = 16, depth: int = 1
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as space ``name`` with its ``source`` and default width and depth."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SPACES.add(name, Space(name, function, _defaults(function), source, width, depth))
        return function

    return register


def _defaults(function: Callable[..., Any]) -> dict[str, Value]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not p.empty}
