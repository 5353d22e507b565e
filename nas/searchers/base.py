"""What searchers share: registry, arguments, starting from what is known, and folding the history step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from nas.core.registry import Registry, check_named
from nas.core.values import Value
from nas.errors import ConfigError, unknown
from nas.space import Space
from nas.types import Architecture, Candidate, Context, History, Proposal, Searcher, Trial

S = TypeVar("S")


@dataclass(frozen=True)
class SearcherInfo:
    """A registered searcher, or a family of them."""

    make: Callable[..., Searcher]
    """``make(space, **args)``; where it has a parameter ``context``, it is given the :class:`nas.types.Context`."""
    source: str
    """Its paper."""
    family: bool = False

    @property
    def summary(self) -> str:
        """The first line of the searcher's docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]

    @property
    def learns_from_earlier(self) -> bool:
        """Whether it makes use of :attr:`nas.types.Context.earlier`: its class says so."""
        return bool(getattr(self.make, "learns_from_earlier", False))

    @property
    def args(self) -> dict[str, Value]:
        """The searcher's arguments and their defaults."""
        # the space comes first, for a family the member follows; what a family takes besides depends on the member
        found = list(inspect.signature(self.make).parameters.values())[1 + self.family :]
        named = [p for p in found if not (self.family and p.kind is p.VAR_KEYWORD)]
        return {p.name: p.default for p in named if p.name != "context"}


SEARCHERS: Registry[SearcherInfo] = Registry("searcher")
FAMILIES: Registry[SearcherInfo] = Registry("family of searchers")
"""Searchers named ``family:member``: ``make(space, member, **args)`` returns one and checks its arguments itself."""
M = TypeVar("M", bound=Callable[..., Searcher])


def register_searcher(name: str, source: str = "a user's own") -> Callable[[M], M]:
    """Register the decorated class (or function) as searcher ``name``; called with the space and its arguments."""
    check_named("searcher", name)

    def register(make: M) -> M:
        SEARCHERS.add(name, SearcherInfo(make, source))
        return make

    return register


def register_family(name: str, source: str = "a user's own") -> Callable[[M], M]:
    """Register the decorated class (or function) for searchers ``name:MEMBER``; see :data:`FAMILIES`."""

    def register(make: M) -> M:
        FAMILIES.add(name, SearcherInfo(make, source, family=True))
        return make

    return register


def make_searcher(name: str, space: Space, args: Mapping[str, Value], context: Context | None = None) -> Searcher:
    """Return the registered searcher ``name`` for ``space``; unknown arguments raise :class:`ConfigError`.

    Without a ``context``, architectures have the keys of their space and no cost.
    """
    family, colon, member = name.partition(":")
    if colon and family in FAMILIES:
        info = FAMILIES[family]
    elif name in SEARCHERS:
        info = SEARCHERS[name]
    else:
        raise ConfigError(unknown("searcher", name, [*SEARCHERS, *(f"{known}:NAME" for known in FAMILIES)]))
    # members of a family check their arguments themselves: what they are depends on the member
    chosen = (member,) if info.family else ()
    for arg in () if info.family else args:
        if arg not in info.args:
            raise ConfigError(f"searcher '{name}': {unknown('argument', arg, info.args)}")
    if "context" in list(inspect.signature(info.make).parameters)[1:]:
        args = {**args, "context": context or Context(lambda architecture: Candidate(space.key(architecture)))}
    searcher = info.make(space, *chosen, **args)
    if not callable(getattr(searcher, "ask", None)):
        found = type(searcher).__name__
        raise ConfigError(f"searcher '{name}': it must have a method ask(history, rng), found {found}")
    return searcher


def whole(owner: str, name: str, value: object, least: int, kind: str = "searcher") -> int:
    """Return ``value`` if it is an integer of at least ``least``, else raise :class:`ConfigError`."""
    if type(value) is not int or value < least:
        raise ConfigError(f"{kind} '{owner}': {name} must be an integer of at least {least}, found {value!r}")
    return value


def number(searcher: str, name: str, value: object, least: float = 0, most: float = 1) -> float:
    """Return ``value`` if it is a number from ``least`` to ``most``, else raise :class:`ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        rule = f"{name} must be a number from {least} to {most}"
        raise ConfigError(f"searcher '{searcher}': {rule}, found {value!r}")
    return float(value)


class StartFrom:
    """Proposes ``architectures`` one by one, then whatever ``searcher`` asks with their results in the history."""

    def __init__(self, searcher: Searcher, architectures: Sequence[Architecture]) -> None:
        self._searcher = searcher
        self._architectures = tuple(architectures)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the next given architecture, or the searcher's proposal."""
        index = len(history)
        if index < len(self._architectures):
            return Proposal(self._architectures[index], info={"start": index})
        return self._searcher.ask(history, rng)


class Fold(Generic[S]):
    """A state folded over the history's results: ``step`` updates the state by one trial.

    The state is kept between calls and only new results are folded, but it is a memo, never a memory: for any other
    history it is folded from the start, so the same history always gives the same state.
    """

    def __init__(self, start: Callable[[], S], step: Callable[[S, Trial], None]) -> None:
        self._start, self._step = start, step
        self._state, self._count, self._digest = start(), 0, 0

    def __call__(self, history: History) -> S:
        if self._count > len(history.results) or history.digest(self._count) != self._digest:
            self._state, self._count = self._start(), 0
        for i in range(self._count, len(history.results)):
            self._step(self._state, history.results[i])
        self._count = len(history.results)
        self._digest = history.digest(self._count)
        return self._state
