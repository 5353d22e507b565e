"""Data that other tools write as Python or JSON: read as plain values, never executed."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.core.files import parse_json
from nas.core.values import NESTING
from nas.errors import ConfigError, printable

MOST_CHARACTERS = 1 << 20
"""The longest text that is read."""
MOST_PYTHON = 1 << 18
"""The longest text that is parsed as Python as a whole; in a longer one calls are looked for."""
MOST_FORMATTED = 50_000
"""The same where it has formatted strings, which Python parses in quadratic time."""
MOST_VALUES = 1 << 17
"""The most values of Python's data; a name that is used counts as if its value were written out."""
MOST_IN_RANGE = 1_000
"""The most values of a ``range``."""
SHOWN = 60
"""Characters of a text that errors show."""
_CONVERSIONS = ("list", "tuple", "array", "asarray", "dict", "OrderedDict", "int", "str", "int8", "int32", "int64")
"""Calls that are read as their first argument."""
_CALL = re.compile(r"(?:\b(\w{1,99})\s{0,9}=\s{0,9})?\b(?:\w{1,99}\.){0,9}(?:Genotype\d?|ModelSpec|Configuration)\(")
_CALL_NESTING = 20
"""The most brackets in each other in a call that is cut out of a text."""
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# no pattern takes more than linear time, whatever the text: blank lines and repetitions are bounded
_FORMATTED = re.compile(r"\b[rR]?[fF][rR]?[\"']")
_FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_CONFIGURATION = re.compile(r"^[ \t]*(\S{1,200}), Value: ?(.{1,200})$", re.MULTILINE)
"""A line of ConfigSpace's older print: ``NAME, Value: 'VALUE'``."""
_NO_COMMA = re.compile(r"(?<=[\d\]'])\s+(?=[\d\['])")
"""Where numpy prints no comma."""


@dataclass(frozen=True)
class Call:
    """A call of something that is not known here, such as ``Genotype(...)``."""

    name: str
    """The last part of its dotted name."""
    args: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    code: str = field(default="", compare=False)
    """Its source."""


@dataclass(frozen=True)
class Expression:
    """What is no plain value, such as a name or a sum: its source, cut to a line."""

    code: str


def named_values(text: str) -> list[tuple[str, Any]]:
    """Return the values in ``text``, with the names that it gives them ("" for none); [] where it holds no data.

    It may be JSON, an expression, fields (``a=[...], b=[...]``), statements that assign (all others are passed over),
    what numpy or ConfigSpace print, or a log with calls such as ``Genotype(...)`` in it; of those of one name the last
    counts.
    Longer text than :data:`MOST_CHARACTERS` raises :class:`ConfigError`.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    text = _FENCE.sub("", text.removeprefix("\ufeff")).strip()
    if text.startswith(("{", "[")):
        try:
            return [("", parse_json(text, "it"))]
        except ConfigError:
            pass  # a Python literal perhaps
    if lines := _CONFIGURATION.findall(text):
        return [("", {name: value.strip(" '\"") for name, value in lines})]
    for form in (text, f"dict({text}\n)", _NO_COMMA.sub(", ", text), f"dict({_NO_COMMA.sub(', ', text)}\n)"):
        if (tree := _parsed(form)) is not None:
            return _values_of(tree.body)
    found: dict[str, list[tuple[str, Any]]] = {}
    lines_of_data = _COMMENT.sub("", text)
    for match in _CALL.finditer(lines_of_data):
        tree = _parsed(_balanced(lines_of_data, match))
        if tree is not None:
            found[match[1] or ""] = _values_of(tree.body)
    return [(name, value) for name, values in found.items() for _, value in values]


def shown(value: Any) -> str:
    """Return a value, or a text, as errors show it: one short line in quotes."""
    code = value if isinstance(value, str) else value.code if isinstance(value, Expression | Call) else repr(value)
    return f"'{printable(' '.join(code[:MOST_CHARACTERS].split()), SHOWN)}'"


def _parsed(text: str) -> ast.Module | None:
    if len(text) > (MOST_FORMATTED if _FORMATTED.search(text) else MOST_PYTHON):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's escapes
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _balanced(text: str, match: re.Match[str]) -> str:
    """Return the call that begins at ``match``, up to its closing bracket."""
    open_brackets, start = [")"], match.start() if match[1] is None else match.end(1) + 1
    for position in range(match.end(), len(text)):
        character = text[position]
        if character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif character == open_brackets[-1]:
            open_brackets.pop()
        if not open_brackets:
            return text[start : position + 1].lstrip("= \t\n")
        if len(open_brackets) > _CALL_NESTING:
            break
    return "("


class _Reader:
    """Values of expressions, with the names that a file assigns."""

    def __init__(self, assigned: Mapping[str, ast.expr]) -> None:
        self.assigned, self.left = assigned, MOST_VALUES

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """Return the plain value of an expression; what is none becomes an :class:`Expression`."""
        self.left -= 1
        if self.left < 0:
            raise ConfigError(f"it has more than {MOST_VALUES:,} values")
        if depth > NESTING:
            return Expression("an expression")
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item, depth + 1) for item in node.elts]
        if isinstance(node, ast.Dict) and None not in node.keys:
            keys = [self.value(key, depth + 1) for key in node.keys if key is not None]
            if all(isinstance(key, str | int) for key in keys):
                return dict(zip(keys, [self.value(value, depth + 1) for value in node.values], strict=True))
        if isinstance(node, ast.Name) and node.id in self.assigned:
            return self.value(self.assigned[node.id], depth + 1)
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        number = getattr(getattr(node, "operand", None), "value", None)
        if negative and isinstance(number, int | float):
            return -number
        called = self._called(node, depth) if isinstance(node, ast.Call) else None
        if called is not None:
            return called
        return Expression(_source(node))

    def _called(self, node: ast.Call, depth: int) -> Any:
        """Return the value that a call is read as, None where it is no plain call."""
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)
        if name is None:
            return None
        args = [self.value(argument, depth + 1) for argument in node.args]
        fields = {keyword.arg: self.value(keyword.value, depth + 1) for keyword in node.keywords if keyword.arg}
        if len(fields) < len(node.keywords):
            return None
        if name == "range":
            whole = all(type(limit) is int and abs(limit) <= MOST_IN_RANGE for limit in args) and not fields
            return list(range(*args)) if whole and 1 <= len(args) <= 3 and args[2:] != [0] else None
        if name in ("dict", "OrderedDict") and not args:
            return fields
        pairs = args[0] if name in ("dict", "OrderedDict") and isinstance(args[0], list) else []
        if pairs and all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            return dict(pairs)
        return args[0] if name in _CONVERSIONS and args else Call(name, tuple(args), fields, _source(node))


def _source(node: ast.expr) -> str:
    try:
        return ast.unparse(node)
    except RecursionError:
        return "an expression"


def _values_of(statements: Sequence[ast.stmt]) -> list[tuple[str, Any]]:
    assigned: dict[str, ast.expr] = {}
    plain = []
    for statement in statements:
        if isinstance(statement, ast.Expr):
            plain.append(statement.value)
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if value is not None and isinstance(target, ast.Name | ast.Attribute):
                assigned[target.id if isinstance(target, ast.Name) else target.attr] = value
    reader = _Reader(assigned)
    names = {name: reader.value(value) for name, value in assigned.items()}
    return [*names.items(), *(("", reader.value(node)) for node in plain)]
