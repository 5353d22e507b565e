"""The choosing protocol: how one function that chooses answers every question asked of a search space.

A space is a function ``space(choose, **args)`` that calls ``choose(name, options)`` for each decision and returns what
it describes. Run with a random choice it is a sampler, with recorded decisions a decoder, with all but one a mutation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from nas.core.text import encodable
from nas.core.values import Value
from nas.errors import SpaceError, unknown

T = TypeVar("T")
Options = tuple[Value, ...]
_PLAIN = (str, int, float, bool, type(None))


class Choose(Protocol):
    """What a space is given: returns one of ``options`` for the decision ``name``.

    A name is chosen once in a trace and always has the same options; options are distinct strings, numbers, booleans,
    None or tuples of them.
    """

    def __call__(self, name: str, options: Sequence[T]) -> T: ...


class Chooser(Protocol):
    """The policy behind a trace: returns the index of the chosen option."""

    def pick(self, name: str, options: Options) -> int: ...


@runtime_checkable
class Exact(Chooser, Protocol):
    """A chooser of single points, that must not be led to others: it keeps account of what it chose.

    Where a space has few of all combinations, it is shown before each :meth:`pick` which options have any.
    """

    def narrow(self, possible: Sequence[bool]) -> None: ...


class Trace:
    """Records what ``chooser`` chooses, and holds every call to the contract of :class:`Choose`.

    ``known`` maps names to the options seen so far; it is shared by all traces of one space.
    """

    def __init__(self, chooser: Chooser, known: dict[str, Options]) -> None:
        self.decisions: dict[str, Value] = {}
        self._pick = chooser.pick
        self._known = known

    def __call__(self, name: str, options: Sequence[T]) -> T:
        if not isinstance(name, str) or not name:
            raise SpaceError(f"decision {name!r}: a name is a non-empty string")
        if name in self.decisions:
            raise SpaceError(f"decision '{name}': chosen twice in one architecture; a name is chosen once")
        known = self._known.get(name)
        # the first trace that meets a name fixes its options for all others
        if known is None:
            known = self._known[name] = _check_options(name, options)
        elif known != (options if type(options) is tuple else _check_options(name, options)):
            found = f"{known} and {tuple(options)}"
            raise SpaceError(f"decision '{name}': a name always has the same options, found {found}")
        choice = known[self._pick(name, known)]
        self.decisions[name] = choice
        return choice  # type: ignore[no-any-return]


def _check_options(name: str, options: Sequence[object]) -> Options:
    if not _is_plain(name):
        raise SpaceError(f"decision {name!r}: a name is text without lone surrogates")
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise SpaceError(f"decision '{name}': options must be a non-empty list or tuple, found {options!r}")
    for option in options:
        if not _is_plain(option):
            rule = "an option is a string, number, boolean, None or a tuple of them, without lone surrogates"
            raise SpaceError(f"decision '{name}': {rule}, found {option!r}")
    if len(set(options)) < len(options):
        raise SpaceError(f"decision '{name}': options must be distinct, found {tuple(options)}")
    return tuple(options)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    if isinstance(value, str):
        return encodable(value)
    return isinstance(value, _PLAIN) and value == value and value not in (float("inf"), float("-inf"))


class Random:
    """Chooses uniformly."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._integers = rng.integers

    def pick(self, name: str, options: Options) -> int:
        return int(self._integers(len(options))) if len(options) > 1 else 0


class Replay:
    """Chooses what ``decisions`` say; a missing name or a value that is no option raises :class:`SpaceError`."""

    def __init__(self, decisions: Mapping[str, Value]) -> None:
        self._decisions = decisions

    def narrow(self, possible: Sequence[bool]) -> None:
        """Take no notice: what is recorded is chosen."""

    def pick(self, name: str, options: Options) -> int:
        if name not in self._decisions:
            raise SpaceError(f"decision '{name}' is missing in the architecture")
        value = self._decisions[name]
        try:
            return options.index(value)
        except ValueError:
            raise SpaceError(f"decision '{name}': {unknown('option', str(value), map(str, options))}") from None


class Keep:
    """Keeps ``decisions`` but for ``target``, which takes option ``choice``; what newly appears is drawn."""

    def __init__(self, decisions: Mapping[str, Value], target: str, choice: int, rng: np.random.Generator) -> None:
        self._decisions = decisions
        self._target = target
        self._choice = choice
        self._fresh = Random(rng)

    def pick(self, name: str, options: Options) -> int:
        if name == self._target:
            return self._choice
        value = self._decisions.get(name, _ABSENT)
        return options.index(value) if value in options else self._fresh.pick(name, options)


class Mix:
    """Takes each decision from one of two parents at random where they have it; what neither has is drawn."""

    def __init__(self, one: Mapping[str, Value], other: Mapping[str, Value], rng: np.random.Generator) -> None:
        self._parents = (one, other)
        self._rng = rng

    def pick(self, name: str, options: Options) -> int:
        # each decision is inherited on its own (uniform crossover)
        first = int(self._rng.integers(2))
        for parent in (self._parents[first], self._parents[1 - first]):
            value = parent.get(name, _ABSENT)
            if value in options:
                return options.index(value)
        return int(self._rng.integers(len(options)))


class Path:
    """Chooses along a path of indices, then always the first option; remembers the number of options on its way."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices: list[int] = []
        self.counts: list[int] = []
        self._path = indices
        self._possible: Sequence[bool] | None = None

    def narrow(self, possible: Sequence[bool]) -> None:
        """Choose the first of the options that are possible where the path has ended."""
        self._possible = possible

    def pick(self, name: str, options: Options) -> int:
        depth = len(self.indices)
        first = 0 if self._possible is None else self._possible.index(True)
        choice = self._path[depth] if depth < len(self._path) else first
        self.indices.append(choice)
        self.counts.append(len(options))
        return choice

    def following(self) -> list[int] | None:
        """Return the next path in order, None after the last."""
        path = list(self.indices)
        # like an odometer: drop the digits that are at their last option, advance the one before
        while path and path[-1] + 1 == self.counts[len(path) - 1]:
            path.pop()
        if not path:
            return None
        path[-1] += 1
        return path


class Probe:
    """Chooses uniformly and multiplies the numbers of options: Knuth's estimate of a tree's size (Knuth 1975)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.product = 1
        self._random = Random(rng)

    def pick(self, name: str, options: Options) -> int:
        self.product *= len(options)
        return self._random.pick(name, options)


_ABSENT = object()
