"""The values that everything else is made of: shapes, decisions, tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from nas.errors import ConfigError, printable

Shape: TypeAlias = tuple[int, ...]
"""Sizes without the batch: ``(C, H, W)`` for images, ``(F,)`` for vectors."""


Value: TypeAlias = Any
"""A decision: a string, a number, a boolean, or a tuple of them."""

Json: TypeAlias = dict[str, Value]
"""A JSON object as it is read from, or written to, a file."""


SHORT = 120
"""Characters of the repr of a large value, at most."""
_IN_FULL: ContextVar[bool] = ContextVar("in_full", default=False)


class Shortened:
    """A large value whose repr is one line that describes it: a dataclass with ``repr=False`` that has ``short()``.

    Such a line is for people. Whatever is compared or digested is :func:`spelled`.
    """

    __slots__ = ()

    def short(self) -> str:
        """Return what people read of the value, cut to :data:`SHORT` characters where it is shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        if not _IN_FULL.get():
            return printable(self.short(), SHORT)
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def spelled(value: object) -> str:
    """Return the repr of ``value`` with everything that is :class:`Shortened`, however deep inside, in full."""
    token = _IN_FULL.set(True)
    try:
        return repr(value)
    finally:
        _IN_FULL.reset(token)


@dataclass(frozen=True)
class Task:
    """What a network must do: classify images of ``input_shape`` (C, H, W) into ``classes`` classes."""

    name: str
    input_shape: Shape
    classes: int

    def to_json(self) -> Json:
        """Return the task as JSON data."""
        return {"name": self.name, "input_shape": list(self.input_shape), "classes": self.classes}

    @classmethod
    def from_json(cls, data: Json) -> Task:
        """Read what :meth:`to_json` wrote."""
        return cls(str(data["name"]), tuple(data["input_shape"]), int(data["classes"]))


@dataclass(frozen=True)
class ClassCounts:
    """How many test images of each class there are, and how many of them were classified right."""

    correct: tuple[int, ...]
    images: tuple[int, ...]

    def __post_init__(self) -> None:
        pairs = list(zip(self.correct, self.images, strict=False))
        whole = all(type(number) is int for pair in pairs for number in pair)
        if len(self.correct) != len(self.images) or not whole or not all(0 <= c <= n < 2**53 for c, n in pairs):
            raise ConfigError("counts by class must be as many correct ones as numbers of images, each at most that")

    def to_json(self) -> Json:
        """Return the counts as JSON data."""
        return {"correct": list(self.correct), "images": list(self.images)}

    @classmethod
    def from_json(cls, data: Any) -> ClassCounts:
        """Read what :meth:`to_json` wrote; anything else raises :class:`ConfigError`."""
        if not isinstance(data, Mapping) or not all(isinstance(data.get(n), list) for n in ("correct", "images")):
            raise ConfigError("counts by class must be an object of the lists 'correct' and 'images'")
        return cls(tuple(data["correct"]), tuple(data["images"]))


@dataclass(frozen=True)
class Budget:
    """How large the networks of a search are to be: as close below it as their widths allow."""

    macs: int | None = None
    """Multiply-accumulates an image; None: as they come."""
    params: int | None = None
    """Parameters; None: as they come."""

    def __bool__(self) -> bool:
        return self.macs is not None or self.params is not None

    def share(self, params: int, macs: int) -> float:
        """Return the share of the budget that a network uses, of the tighter of its two numbers; over 1: too large."""
        shares = [cost / most for cost, most in ((params, self.params), (macs, self.macs)) if most is not None]
        return max(shares, default=0.0)


NESTING = 100
"""The most levels of lists and objects in a value from outside."""


def levels_of(data: Any, where: str) -> Iterator[list[Any]]:
    """Yield the values of ``data``, level by level; more than :data:`NESTING` levels raise :class:`ConfigError`."""
    level, depth = [data], 0
    while level:
        if depth >= NESTING and any(isinstance(value, Mapping | list | tuple) for value in level):
            raise ConfigError(f"{where}: nested too deeply; at most {NESTING} levels are allowed")
        yield level
        inner: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                inner += value
                inner += value.values()
            elif isinstance(value, list | tuple):
                inner += value
        level, depth = inner, depth + 1


JSON_LIMIT = 2**20
"""Characters of JSON that other people's code may hand over at a time."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(data: Mapping[str, Any]) -> Json:
    """Return a copy of ``data`` that is plain JSON and that every encoding of Unicode can hold.

    What is no JSON of finite numbers, and what is over :data:`JSON_LIMIT` or :data:`NESTING`, raises ValueError with
    the rule.
    """
    parts, size = [], 0
    try:
        for part in json.JSONEncoder(allow_nan=False, ensure_ascii=False).iterencode(dict(data)):
            parts.append(part)
            size += len(part)
            if size > JSON_LIMIT:
                raise ValueError(f"it has more than {JSON_LIMIT:,} characters")
    except (TypeError, RecursionError) as error:
        deep = f"it is nested deeper than {NESTING} levels"
        raise ValueError(deep if isinstance(error, RecursionError) else str(error)) from None
    # no pair of surrogates is left in a Python string: each of them is a lone one, and becomes the text of its escape
    found: Json = json.loads(_SURROGATE.sub(lambda found: "\\" + printable(found[0]), "".join(parts)))
    try:
        for _ in levels_of(found, "it"):
            pass
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return found


def freeze(value: object) -> Value:
    """Return ``value`` with lists turned into tuples, so that JSON and Python agree on decisions.

    More than :data:`NESTING` levels raise :class:`ConfigError`.
    """
    if not isinstance(value, list | tuple):
        return value
    for _ in levels_of(value, "a value"):
        pass
    return _frozen(value)


def _frozen(value: object) -> Value:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
