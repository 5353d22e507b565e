"""A search space: one function that chooses, and everything derived from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nas.core.registry import Registry, check_named
from nas.core.values import SHORT, Shortened, Task, Value, freeze
from nas.errors import ConfigError, GraphError, Infeasible, SpaceError, printable, unknown
from nas.graph import Graph, cells_key
from nas.graph import key as graph_key
from nas.graph.analysis.canonical import digest
from nas.space.choices import Chooser, Keep, Mix, Options, Path, Probe, Random, Replay, Trace
from nas.space.scalable import (
    PUBLISHED_SIZES,
    UNKNOWN_SEARCH,
    FixedModel,
    ScalableCells,
    ScalableModel,
    ScalableNetwork,
    SearchedAt,
)
from nas.space.skeletons import MEDIUM, Skeleton, skeleton_for, support_of
from nas.types import Architecture

ATTEMPTS = 1_000
"""How often an infeasible combination is drawn again before the space is said to be empty."""
EXACT_SIZE = 1_000_000
_KEY_TASK = Task("key", (3, 32, 32), 10)


@dataclass(frozen=True, repr=False)
class Cells(Shortened):
    """What a cell-based space describes: cells of named operations by name, and the skeleton that stacks them.

    A choice that the skeleton depends on is no part of the cells: give it as ``variant``, or bind it with
    ``functools.partial``; else networks that differ in it would pass for one.
    """

    cells: Mapping[str, Graph]
    skeleton: Skeleton
    variant: tuple[Value, ...] = ()
    widths: tuple[int, int] | None = (1, 1)
    """The least width that a budget may choose, and the step to the next; None: it has no width to choose.

    Odd widths that its operations cannot halve are passed over.
    """

    def key(self) -> str:
        """Return the canonical key of the cells together, and of what the skeleton depends on."""
        bound = self.skeleton
        chosen: list[Any] = list(self.variant)
        if isinstance(bound, partial):
            chosen += [*bound.args, *sorted(bound.keywords.items())]
        key = cells_key(self.cells)
        return digest((key, chosen)) if chosen else key

    def short(self) -> str:
        """Return the names of its cells."""
        return f"Cells({', '.join(self.cells)})"

    def _repr_svg_(self) -> str | None:
        """Return a picture of the cells, for a notebook; None of cells that cannot be drawn."""
        from nas.graph.drawing.svg import side_by_side

        try:
            return side_by_side(self.cells)
        except GraphError:
            return None

    def network(self, task: Task, width: int, depth: int) -> Graph:
        """Return the network for ``task``: ``width`` channels in the first stage, ``depth`` cells a stage."""
        return self.skeleton(self.cells, task, width, depth)


@dataclass(frozen=True)
class Network:
    """What a space of whole networks describes: a function ``build(task, width, depth)`` that returns the graph."""

    build: Callable[[Task, int, Any], Graph]
    widths: tuple[int, int] | None = None
    """The least width that a budget may choose, and the step to the next; None: it has no width to choose."""
    between: bool = False
    """Whether ``build`` takes depths between whole numbers too, which compound scaling then asks for."""

    def key(self) -> str:
        """Return the key of its network for CIFAR-10 at width 16, depth 1; a search takes that of what it evaluates."""
        return graph_key(self.build(_KEY_TASK, 16, 1))

    def network(self, task: Task, width: int, depth: int) -> Graph:
        """Return the network for ``task``."""
        return self.build(task, width, depth)


SpaceFunction = Callable[..., Any]
"""``function(choose, **args)``: how it chooses says :mod:`nas.space.choices`, what it returns :class:`Space`."""


class Size(NamedTuple):
    """The number of architectures of a space."""

    total: float
    """The number, or an estimate of it."""
    error: float
    """The estimate's standard error, 0 where exact."""
    exact: bool


class Space:
    """The search space of ``function(choose, **args)``; see :mod:`nas.space.choices` for the contract.

    The function may return :class:`Cells`, a :class:`Network`, anything else with their two methods, or any other
    value: then the space describes no network, and its decisions are what an evaluator looks at. ``width`` and
    ``depth`` are the defaults for networks. ``starts`` are decisions by name: of architectures known to be good, with
    which a search that learns begins.

    A keyword-only argument at its default is no part of what architectures say of their space, so that one may be
    added and architectures on disk stay as they are.
    """

    def __init__(
        self,
        name: str,
        function: SpaceFunction,
        args: Mapping[str, Value] | None = None,
        source: str = "",
        width: int = 16,
        depth: int = 1,
        starts: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> None:
        self.name, self.function, self.source, self.width, self.depth = name, function, source, width, depth
        self.starts = {} if starts is None else starts
        parameters = list(inspect.signature(function).parameters.values())
        self._unrecorded = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.args = self._recorded({name: freeze(value) for name, value in (args or {}).items()})
        self._known: dict[str, Options] = {}
        self._frozen_args = tuple(self.args.items())
        if not parameters:
            raise ConfigError(f"space '{name}': the function must take 'choose' as its first argument")
        # a function that takes anything checks its arguments itself
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        allowed = [p.name for p in parameters[1:]]
        for arg in self.args:
            if arg not in allowed:
                raise ConfigError(f"space '{name}': {unknown('argument', arg, allowed)}")
        for p in parameters[1:]:
            if p.default is p.empty and p.name not in self.args:
                raise ConfigError(f"space '{name}': argument '{p.name}' is missing; pass --space-arg {p.name}=VALUE")

    def __repr__(self) -> str:
        told = "".join(f", {name}={value!r}" for name, value in self.args.items())
        return printable(f"{type(self).__name__}({self.name!r}{told})", SHORT)

    def with_args(self, args: Mapping[str, Value]) -> Space:
        """Return the space with other arguments; an unknown one raises :class:`ConfigError`."""
        own = (self.source, self.width, self.depth, self.starts)
        return type(self)(self.name, self.function, {**self.args, **args}, *own)

    def start(self, name: str) -> Architecture:
        """Return the architecture of :attr:`starts` with this name."""
        return Architecture(self.name, self.starts[name], self._frozen_args)

    def options(self, name: str) -> Options:
        """Return the options of a decision that some architecture of this space has made."""
        return self._known[name]

    def attempt(self, chooser: Chooser, without: Container[Architecture] = ()) -> Architecture | None:
        """Return the architecture that ``chooser`` chooses, None where that is infeasible.

        Where choices lead to the nearest row of a table, that is none of ``without`` if it can be.
        """
        try:
            trace, _ = self._run(chooser)
        except Infeasible:
            return None
        return Architecture(self.name, trace.decisions, self._frozen_args)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return an architecture with every decision drawn uniformly; infeasible ones are drawn again."""
        return self.draw(lambda: Random(rng))

    def draw(self, make: Callable[[], Chooser], without: Container[Architecture] = ()) -> Architecture:
        """Return an architecture as a chooser decides; after an infeasible one, ``make`` is called for another.

        ``without`` is that of :meth:`attempt`.
        """
        for _ in range(ATTEMPTS):
            architecture = self.attempt(make(), without)
            if architecture is not None:
                return architecture
        raise SpaceError(f"space '{self.name}': no feasible architecture in {ATTEMPTS:,} draws")

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a copy with one decision chosen again, the architecture itself where none has a second option."""
        decisions = self._decisions(architecture)
        open_names = [name for name in decisions if len(self._known[name]) > 1]
        if not open_names:
            return architecture

        def chooser() -> Chooser:
            # another option of one decision, each as likely
            target = open_names[int(rng.integers(len(open_names)))]
            options = self._known[target]
            choice = int(rng.integers(len(options) - 1))
            choice += choice >= options.index(decisions[target])
            return Keep(decisions, target, choice, rng)

        return self.draw(chooser)

    def crossover(self, one: Architecture, other: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a child that takes every decision from one of its parents by name."""
        a, b = self._decisions(one), self._decisions(other)
        return self.draw(lambda: Mix(a, b, rng))

    def moves(self, architecture: Architecture) -> list[tuple[str, int]]:
        """Return every single change of a decision as (name, index of the new option), in order."""
        decisions = self._decisions(architecture)
        every = ((name, i, option) for name in decisions for i, option in enumerate(self._known[name]))
        return [(name, i) for name, i, option in every if option != decisions[name]]

    def move(self, architecture: Architecture, move: tuple[str, int], rng: np.random.Generator) -> Architecture | None:
        """Return the architecture after a move of :meth:`moves`, None where that is infeasible."""
        return self.attempt(Keep(self._decisions(architecture), *move, rng))

    def neighbours(self, architecture: Architecture, rng: np.random.Generator) -> list[Architecture]:
        """Return all feasible architectures that change one decision, in order; what newly appears is drawn."""
        moved = (self.move(architecture, move, rng) for move in self.moves(architecture))
        return list(dict.fromkeys(neighbour for neighbour in moved if neighbour is not None))

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every feasible architecture once, in order."""
        path: list[int] | None = []
        while path is not None:
            chooser = Path(path)
            architecture = self.attempt(chooser)
            if architecture is not None:
                yield architecture
            path = chooser.following()

    def size(self, limit: int = EXACT_SIZE, probes: int = 2_000) -> Size:
        """Return the number of feasible traces: exact up to ``limit``, else Knuth's estimate with its error."""
        rng = np.random.default_rng(0)
        # estimate first: a space far beyond the limit is not enumerated in vain
        tries = [Probe(rng) for _ in range(probes)]
        weights = np.array([probe.product if self.attempt(probe) is not None else 0 for probe in tries], dtype=float)
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
        # a decision that the function never asked for belongs to another space
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
        wide, deep = self.width if width is None else width, self.depth if depth is None else depth
        graph: Graph = described.network(task, wide, deep)
        return graph

    def scalable(
        self,
        architecture: Architecture,
        task: Task,
        width: int | None = None,
        depth: int | None = None,
        searched: SearchedAt = UNKNOWN_SEARCH,
    ) -> ScalableModel:
        """Return what builds the network of ``architecture`` for ``task`` again, at any width and depth.

        Where neither is given, cells for small images and for those of their search have the size of the search, for
        larger ones that of published networks for ImageNet, on a skeleton for large images. A skeleton whose repeats
        were chosen keeps the size of its search, and so do whole networks.
        """
        described = self.describe(architecture)
        if not hasattr(described, "network"):
            raise ConfigError(f"'{task.name}' is of space '{self.name}', which describes no network")
        own = (searched.width or self.width, searched.depth or self.depth)
        if not hasattr(described, "cells"):
            wide, deep = width or own[0], depth or own[1]
            if widths := getattr(described, "widths", None):
                build, between = described.network, getattr(described, "between", False)
                return ScalableNetwork(
                    task.name, task, wide, deep, build, widths=widths, between=between, architecture=architecture
                )
            return FixedModel(task.name, task, lambda task: described.network(task, wide, deep))
        # what was found on small images gets a stem that reduces larger ones, and the size of published networks
        side = min(task.input_shape[1:])
        larger = side >= MEDIUM and task.input_shape != searched.input_shape
        build = partial(described.skeleton, described.cells) if isinstance(described, Cells) else described.network
        chosen = bool(support_of(build).repeats)
        if larger:
            build, own = skeleton_for(side, described.cells, build), own if chosen else PUBLISHED_SIZES[1]
        usual = own[1] if chosen else PUBLISHED_SIZES[larger][1]
        size = width or own[0], depth or own[1]
        found = ScalableCells(task.name, task, *size, build, default_depth=usual, architecture=architecture)
        # the papers' widths are even: what was found at an odd one has those of its space
        widths = getattr(described, "widths", None) if chosen or own[0] % 2 else None
        return replace(found, widths=widths) if widths else found

    def _recorded(self, args: dict[str, Value]) -> dict[str, Value]:
        def unrecorded(name: str, value: Value) -> bool:
            default = self._unrecorded.get(name)
            return name in self._unrecorded and type(value) is type(default) and value == default

        return {name: value for name, value in args.items() if not unrecorded(name, value)}

    def _run(self, chooser: Chooser) -> tuple[Trace, Any]:
        trace = Trace(chooser, self._known)
        return trace, self.function(trace, **self.args)

    def _decisions(self, architecture: Architecture) -> dict[str, Value]:
        self._check_owner(architecture)
        decisions = dict(architecture.decisions)
        # options of a decision are known once a trace has met it; a fresh space has to replay it
        if any(value not in self._known.get(name, ()) for name, value in decisions.items()):
            self.describe(architecture)
        return decisions

    def _check_owner(self, architecture: Architecture) -> None:
        if architecture.space != self.name or self._recorded(dict(architecture.args)) != self.args:
            found = f"'{architecture.space}' with {dict(architecture.args)}"
            raise SpaceError(f"space '{self.name}' with {self.args}: the architecture is of space {found}")


def decisions_key(architecture: Architecture) -> str:
    """Return a key of the decisions alone, for what describes or gives no network."""
    return digest((sorted(architecture.decisions.items(), key=lambda decision: decision[0]),))


def sized_key(key: str, width: int | None) -> str:
    """Return the key of cells at the ``width`` that a budget chose, ``key`` itself where there was none.

    A key leaves dead operations out, what cells cost does not: under a budget cells of one key may differ in width.
    """
    return key if width is None else digest((key, width))


SPACES: Registry[Space] = Registry("space")


def register_space(
    name: str,
    source: str = "a user's own",
    width: int = 16,
    depth: int = 1,
    kind: type[Space] = Space,
    starts: Mapping[str, Mapping[str, Value]] | None = None,
) -> Callable[[SpaceFunction], SpaceFunction]:
    """Register the decorated function as space ``name``; ``kind`` is its class, the others are what that takes."""
    check_named("space", name)

    def register(function: SpaceFunction) -> SpaceFunction:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        SPACES.add(name, kind(name, function, defaults, source, width, depth, starts))
        return function

    return register
