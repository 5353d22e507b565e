"""What searchers share: their registry, their arguments, and folding the history step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nas.errors import ConfigError, unknown
from nas.registry import Registry
from nas.space import Space
from nas.types import Context, History, Prepared, Searcher, Trial, Value

S = TypeVar("S")


@dataclass(frozen=True)
class SearcherInfo:
    """A registered searcher: ``make(space, **args)`` returns it; ``source`` names its paper.

    A ``make`` with a parameter ``context`` is given the search's :class:`nas.types.Context` by that name.
    """

    make: Callable[..., Searcher]
    source: str
    family: bool = False

    @property
    def summary(self) -> str:
        """The first line of the searcher's docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]

    @property
    def args(self) -> dict[str, Value]:
        """The searcher's arguments and their defaults."""
        return {p.name: p.default for p in self._parameters if p.name != "context"}

    @property
    def wants_context(self) -> bool:
        """Whether ``make`` takes the context of the search."""
        return any(p.name == "context" for p in self._parameters)

    @property
    def _parameters(self) -> list[inspect.Parameter]:
        found = list(inspect.signature(self.make).parameters.values())[1:]
        return [p for p in found[1:] if p.kind is not p.VAR_KEYWORD] if self.family else found


SEARCHERS: Registry[SearcherInfo] = Registry("searcher")
FAMILIES: Registry[SearcherInfo] = Registry("family of searchers")
"""Searchers named ``family:member``: ``make(space, member, **args)`` returns one and checks its arguments itself."""
M = TypeVar("M", bound=Callable[..., Any])


def register_searcher(name: str, source: str) -> Callable[[M], M]:
    """Register the decorated class (or function) as searcher ``name``; called with the space and its arguments."""

    def register(make: M) -> M:
        SEARCHERS.add(name, SearcherInfo(make, source))
        return make

    return register


def register_family(name: str, source: str) -> Callable[[M], M]:
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
    chosen = (member,) if info.family else ()
    for arg in () if info.family else args:
        if arg not in info.args:
            raise ConfigError(f"searcher '{name}': {unknown('argument', arg, info.args)}")
    if info.wants_context:
        args = {**args, "context": context or Context(lambda architecture: Prepared(space.key(architecture)))}
    searcher = info.make(space, *chosen, **args)
    if not callable(getattr(searcher, "ask", None)):
        raise ConfigError(
            f"searcher '{name}': it must have a method ask(history, rng), found {type(searcher).__name__}"
        )
    return searcher


def whole(owner: str, name: str, value: Any, least: int, kind: str = "searcher") -> int:
    """Return ``value`` if it is a whole number of at least ``least``, else raise :class:`ConfigError`."""
    if type(value) is not int or value < least:
        raise ConfigError(f"{kind} '{owner}': {name} must be a whole number of at least {least}, found {value!r}")
    return value


def number(searcher: str, name: str, value: Any, least: float = 0, most: float = 1) -> float:
    """Return ``value`` if it is a number from ``least`` to ``most``, else raise :class:`ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        rule = f"{name} must be a number from {least} to {most}"
        raise ConfigError(f"searcher '{searcher}': {rule}, found {value!r}")
    return float(value)


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
