"""The text of an expression over tensors: what a primitive's ``apply`` computes, as Python code.

``apply`` is called with stand-ins for its inputs, its layer and torch; they write down what is done to them. So the
code of a primitive, also of one that a plugin brings, is written once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nas.graph.primitive import Primitive

_SUM, _PRODUCT, _SIGN, _ATOM = range(4)


class Text:
    """Code that stands for a value, and how tightly its outermost operator binds."""

    def __init__(self, code: str, binding: int = _ATOM) -> None:
        self._code, self._binding = code, binding

    def __str__(self) -> str:
        return self._code

    def _within(self, binding: int) -> str:
        return self._code if self._binding >= binding else f"({self._code})"

    def __getattr__(self, name: str) -> Text:
        if name.startswith("__"):
            raise AttributeError(name)
        return Text(f"{self._within(_ATOM)}.{name}")

    def __call__(self, *args: Any, **keywords: Any) -> Text:
        parts = [*map(code_of, args), *(f"{name}={code_of(value)}" for name, value in keywords.items())]
        return Text(f"{self._within(_ATOM)}({', '.join(parts)})")

    def __getitem__(self, index: Any) -> Text:
        parts = index if isinstance(index, tuple) else (index,)
        return Text(f"{self._within(_ATOM)}[{', '.join(map(code_of, parts))}]")

    def __neg__(self) -> Text:
        return Text(f"-{self._within(_ATOM)}", _SIGN)

    def __add__(self, other: Any) -> Text:
        return _binary(self, "+", other, _SUM)

    def __radd__(self, other: Any) -> Text:
        return _binary(other, "+", self, _SUM)

    def __sub__(self, other: Any) -> Text:
        return _binary(self, "-", other, _SUM)

    def __rsub__(self, other: Any) -> Text:
        return _binary(other, "-", self, _SUM)

    def __mul__(self, other: Any) -> Text:
        return _binary(self, "*", other, _PRODUCT)

    def __rmul__(self, other: Any) -> Text:
        return _binary(other, "*", self, _PRODUCT)

    def __truediv__(self, other: Any) -> Text:
        return _binary(self, "/", other, _PRODUCT)

    def __rtruediv__(self, other: Any) -> Text:
        return _binary(other, "/", self, _PRODUCT)


def _binary(left: Any, sign: str, right: Any, binding: int) -> Text:
    first = left._within(binding) if isinstance(left, Text) else code_of(left)
    # the right operand of equal binding keeps its brackets: floating point is not associative
    second = right._within(binding + 1) if isinstance(right, Text) else code_of(right)
    return Text(f"{first} {sign} {second}", binding)


def code_of(value: Any) -> str:
    """Return the code of a value: numbers, text, slices, tuples and what stands for code itself."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, slice):
        start, stop, step = ("" if v is None else code_of(v) for v in (value.start, value.stop, value.step))
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    if isinstance(value, tuple | list):
        inner = ", ".join(map(code_of, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def expression(op: Primitive, layer: str | None, inputs: Sequence[str]) -> str:
    """Return the code that computes ``op`` from the local variables ``inputs`` with the layer called ``layer``."""
    result = op.apply(Text("torch"), None if layer is None else Text(layer), *map(Text, inputs))
    return str(result)


LINE = 120
"""The longest line of written code."""


def wrap(statement: str, indent: int) -> list[str]:
    """Return a statement as indented lines of at most :data:`LINE` characters where brackets or sums let it break."""
    pad = " " * indent
    if indent + len(statement) <= LINE:
        return [pad + statement]
    opening = _opening(statement)
    if opening is None:
        return _wrap_sum(statement, indent)
    closing = _closing(statement, opening)
    head, inner, tail = statement[: opening + 1], statement[opening + 1 : closing], statement[closing:]
    parts = split_top(inner, ", ")
    if indent + 4 + len(inner) <= LINE and len(parts) > 1:
        return [pad + head, f"{pad}    {inner}", pad + tail]
    lines = [pad + head]
    for part in parts:
        lines += wrap(part, indent + 4)
        lines[-1] += "," if len(parts) > 1 or head.endswith("(") else ""
    return [*lines, pad + tail]


def split_top(code: str, separator: str) -> list[str]:
    """Split ``code`` at ``separator`` outside of all brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(code):
        depth += (c in "([") - (c in ")]")
        if depth == 0 and code.startswith(separator, i):
            parts.append(code[start:i])
            start = i + len(separator)
    return [*parts, code[start:].rstrip(",")]


def _opening(code: str) -> int | None:
    """Return where the bracket opens that a long statement is broken at: the last one outside of all others."""
    depth, found = 0, None
    for i, c in enumerate(code):
        if c in "([" and depth == 0:
            found = i
        depth += (c in "([") - (c in ")]")
    return found if found is not None and len(split_top(code, " + ")) == 1 else None


def _closing(code: str, opening: int) -> int:
    depth = 0
    for i in range(opening, len(code)):
        depth += (code[i] in "([") - (code[i] in ")]")
        if depth == 0:
            return i
    raise ValueError(f"no bracket closes in {code!r}")


def _wrap_sum(statement: str, indent: int) -> list[str]:
    pad = " " * indent
    head, equals, total = statement.partition(" = ")
    terms = split_top(total, " + ")
    if not equals or len(terms) == 1:
        return [pad + statement]
    lines = [f"{pad}    {term}" if i == 0 else f"{pad}    + {term}" for i, term in enumerate(terms)]
    whole = [f"{pad}    {total}"] if indent + 4 + len(total) <= LINE else lines
    return [f"{pad}{head} = (", *whole, f"{pad})"]
