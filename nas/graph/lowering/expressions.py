"""The text of an expression over tensors: what a primitive's ``apply`` computes, as Python code.

``apply`` is called with texts in place of its inputs, its layer and torch; they write down what is done to them. So the
code of a primitive, also of one that a plugin brings, is written once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from nas.graph.primitives.base import Primitive

LINE = 120
"""The longest line of written code."""
_COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(6)


def _operator(sign: str, binding: int, reflected: bool = False) -> Callable[[Text, object], Text]:
    def method(self: Text, other: object) -> Text:
        left, right = (other, self) if reflected else (self, other)
        # the right operand of equal binding keeps its brackets: floating point is not associative
        first = left._within(binding) if isinstance(left, Text) else code_of(left)
        second = right._within(binding + 1) if isinstance(right, Text) else code_of(right)
        return Text(f"{first} {sign} {second}", binding)

    return method


class Text:
    """The code of a value, and how tightly its outermost operator binds."""

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

    def __call__(self, *args: object, **keywords: object) -> Text:
        parts = [*map(code_of, args), *(f"{name}={code_of(value)}" for name, value in keywords.items())]
        return Text(f"{self._within(_ATOM)}({', '.join(parts)})")

    def __getitem__(self, index: object) -> Text:
        parts = index if isinstance(index, tuple) else (index,)
        return Text(f"{self._within(_ATOM)}[{', '.join(map(code_of, parts))}]")

    def __neg__(self) -> Text:
        return Text(f"-{self._within(_ATOM)}", _SIGN)

    def __pow__(self, exponent: object) -> Text:
        return Text(f"{self._within(_ATOM)} ** {code_of(exponent)}", _POWER)

    __gt__, __lt__ = _operator(">", _COMPARISON), _operator("<", _COMPARISON)
    __ge__, __le__ = _operator(">=", _COMPARISON), _operator("<=", _COMPARISON)
    __add__, __radd__ = _operator("+", _SUM), _operator("+", _SUM, reflected=True)
    __sub__, __rsub__ = _operator("-", _SUM), _operator("-", _SUM, reflected=True)
    __mul__, __rmul__ = _operator("*", _PRODUCT), _operator("*", _PRODUCT, reflected=True)
    __truediv__, __rtruediv__ = _operator("/", _PRODUCT), _operator("/", _PRODUCT, reflected=True)


def code_of(value: object) -> str:
    """Return the code of a value: numbers, text, slices, tuples and code itself."""
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
    return str(op.apply(Text("torch"), None if layer is None else Text(layer), *map(Text, inputs)))


def wrap(statement: str, indent: int) -> list[str]:
    """Return a statement as indented lines of at most :data:`LINE` characters where brackets or sums let it break."""
    pad = " " * indent
    if indent + len(statement) <= LINE:
        return [pad + statement]
    # the last bracket outside of all others
    depth = 0
    opening = closing = None
    for i, c in enumerate(statement):
        if c in "([":
            opening = i if depth == 0 else opening
            depth += 1
        elif c in ")]":
            depth -= 1
            closing = i if depth == 0 else closing

    # a sum is broken at its signs, where it is too long for one line
    if opening is None or closing is None or len(split_top(statement, " + ")) > 1:
        target, equals, total = statement.partition(" = ")
        terms = split_top(total, " + ")
        if not equals or len(terms) == 1:
            return [pad + statement]
        lines = [f"{pad}    {term}" if i == 0 else f"{pad}    + {term}" for i, term in enumerate(terms)]
        whole = [f"{pad}    {total}"] if indent + 4 + len(total) <= LINE else lines
        return [f"{pad}{target} = (", *whole, f"{pad})"]

    # anything else at that bracket: all arguments on one line of their own, else each on its own
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
