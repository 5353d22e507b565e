"""Repeated blocks of a network: scopes of equal structure become one class, what differs its arguments.

A scope is a dotted path that node names begin with. It can be a class where its nodes stand together in the graph's
order; two scopes are of one class when relative names, layers, wiring and expressions agree. Where numbers of the
layers differ between the scopes of a class they are arguments, one for each way in which numbers vary together.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from nas.graph.expression import code_of, expression
from nas.graph.graph import Graph, Node
from nas.graph.operators import Input
from nas.graph.primitive import Layer
from nas.types import Shape

TAKEN = frozenset([*keyword.kwlist, *dir(builtins), "torch", "nn", "self"])
"""Names that the written code uses itself or must not hide."""


@dataclass(frozen=True)
class Scope:
    """The nodes ``start`` to ``stop`` (excluded), all named ``path.*``; what enters and leaves it, by node name."""

    path: str
    start: int
    stop: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Item(NamedTuple):
    """A step of a body: one ``node``, or a whole ``block`` at ``scope``; ``path`` is its name within the body."""

    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    node: Node | None
    scope: Scope | None


@dataclass
class Block:
    """A class: its name, its scopes, and for each argument the code of its value in every scope."""

    name: str
    scopes: list[Scope]
    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)

    def values(self, scope: Scope) -> dict[str, str]:
        """Return the code of the arguments' values for one of the scopes."""
        i = self.index[scope.path]
        return {name: values[i] for name, values in self.arguments.items()}


class Blocks:
    """The classes of a network of one input; ``taken`` is the network's own name."""

    def __init__(self, graph: Graph, shapes: Mapping[str, Shape], taken: str) -> None:
        self.graph = graph
        self.layers: dict[str, Layer | None] = {
            node.name: node.op.layer(tuple(shapes[i] for i in node.inputs)) for node in graph.nodes
        }
        self._names = {taken}
        self.of: dict[str, Block] = {}
        """The class of a scope, by the scope's path."""
        self.all: list[Block] = []
        """Classes in an order in which each comes after those it is made of."""
        for scopes in sorted(self._groups(), key=lambda scopes: scopes[0].stop - scopes[0].start):
            block = Block(self._class_name(scopes[0].path), scopes, index={s.path: i for i, s in enumerate(scopes)})
            self.of.update(dict.fromkeys(block.index, block))
            self.all.append(block)
        for block in self.all:
            self._find_arguments(block)

    def body(self, scope: Scope | None) -> list[Item]:
        """Return the steps of a scope, or of the network where ``scope`` is None."""
        nodes = self.graph.nodes
        first, last, depth = (0, len(nodes), 0) if scope is None else (scope.start, scope.stop, _depth(scope.path))
        items = []
        i = first
        while i < last:
            node = nodes[i]
            inner = self._outermost(node.name, depth)
            if inner is not None:
                items.append(Item(_tail(inner.path, depth), inner.inputs, inner.outputs, None, inner))
                i = inner.stop
            else:
                items.append(Item(_tail(node.name, depth), node.inputs, (node.name,), node, None))
                i += 1
        return items

    def _outermost(self, name: str, depth: int) -> Scope | None:
        segments = name.split(".")
        for length in range(depth + 1, len(segments)):
            block = self.of.get(path := ".".join(segments[:length]))
            if block is not None:
                return block.scopes[block.index[path]]
        return None

    def _groups(self) -> list[list[Scope]]:
        groups: dict[Any, list[Scope]] = {}
        ranges: dict[tuple[int, int], Any] = {}
        found = [(scope, self._structure(scope)) for scope in self._scopes()]
        count: dict[Any, int] = {}
        for _, structure in found:
            count[structure] = count.get(structure, 0) + 1
        for scope, structure in found:
            if count[structure] < 2 or (scope.start, scope.stop) in ranges:
                continue  # a scope that holds nothing but another is one class, not two
            ranges[scope.start, scope.stop] = structure
            groups.setdefault(structure, []).append(scope)
        return [scopes for scopes in groups.values() if len(scopes) > 1]

    def _scopes(self) -> Iterator[Scope]:
        """Yield the scopes that can be classes, outer ones before those within."""
        members: dict[str, list[int]] = {}
        for i, node in enumerate(self.graph.nodes):
            segments = node.name.split(".")
            for length in range(1, len(segments)):
                members.setdefault(".".join(segments[:length]), []).append(i)
        for path in sorted(members, key=lambda p: (_depth(p), members[p][0])):
            start, stop = members[path][0], members[path][-1] + 1
            nodes = self.graph.nodes[start:stop]
            layers = sum(self.layers[node.name] is not None for node in nodes)
            if len(nodes) == len(members[path]) and layers > 1 and not any(isinstance(n.op, Input) for n in nodes):
                yield self._scope(path, start, stop)

    def _scope(self, path: str, start: int, stop: int) -> Scope:
        nodes = self.graph.nodes[start:stop]
        own = {node.name for node in nodes}
        inputs = dict.fromkeys(i for node in nodes for i in node.inputs if i not in own)
        used = tuple(node.name for node in nodes if self._last_use[node.name] >= stop)
        return Scope(path, start, stop, tuple(inputs), used)

    @cached_property
    def _last_use(self) -> dict[str, int]:
        last = {node.name: i for i, node in enumerate(self.graph.nodes)}
        for i, node in enumerate(self.graph.nodes):
            last.update(dict.fromkeys(node.inputs, i))
        last.update((name, len(self.graph.nodes)) for _, name in self.graph.outputs)
        return last

    def _structure(self, scope: Scope) -> Any:
        depth = _depth(scope.path)
        value = {name: f"in{i}" for i, name in enumerate(scope.inputs)}
        rows = []
        for i, node in enumerate(self.graph.nodes[scope.start : scope.stop]):
            layer = self.layers[node.name]
            code = expression(node.op, None if layer is None else "layer", [value[v] for v in node.inputs])
            what = None if layer is None else (layer.name, tuple(_fixed(*pair) for pair in layer.arguments.items()))
            rows.append((_tail(node.name, depth), what, code))
            value[node.name] = f"n{i}"
        return tuple(rows), tuple(value[name] for name in scope.outputs)

    def _find_arguments(self, block: Block) -> None:
        columns = [list(self._numbers(scope)) for scope in block.scopes]
        found: dict[tuple[str, ...], str] = {}
        for cells in zip(*columns, strict=True):
            values = tuple(value for _, _, value in cells)
            if len(set(values)) > 1 and values not in found:
                path, hint, _ = cells[0]
                found[values] = _fresh(hint, path, found.values())
        block.arguments = {name: values for values, name in found.items()}

    def _numbers(self, scope: Scope) -> Iterator[tuple[str, str, str]]:
        """Yield (path, name, code) of every argument that the steps of ``scope`` are built with."""
        for item in self.body(scope):
            for name, code in self.built_with(item).items():
                yield item.path, name, code

    def built_with(self, item: Item) -> dict[str, str]:
        """Return the names and the code of the arguments that an item's layer or block is built with."""
        if item.scope is not None:
            return self.of[item.scope.path].values(item.scope)
        assert item.node is not None
        layer = self.layers[item.node.name]
        return {} if layer is None else {name: literal(name, value) for name, value in layer.arguments.items()}

    def _class_name(self, path: str) -> str:
        stems = [segment.rstrip("0123456789_") for segment in path.split(".")]
        stem = next((s for s in reversed(stems) if s.isidentifier()), "block")
        name = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
        number = 1
        while (full := name if number == 1 else f"{name}{number}") in self._names or full in TAKEN:
            number += 1
        self._names.add(full)
        return full


_SQUARE = frozenset(["kernel_size", "stride", "padding", "dilation", "output_padding"])


def _fixed(name: str, value: Any) -> Any:
    """Return what must agree in one class of an argument: sizes may differ, dilations and the shape of windows not."""
    if name in _SQUARE and not literal(name, value).isdigit():
        return name, value
    return (name, value) if name == "dilation" else name


def literal(name: str, value: Any) -> str:
    """Return the code of a layer's argument; a (height, width) pair of one number is that number, as torch reads it."""
    if name in _SQUARE and isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return repr(value[0])
    return code_of(value)


def _fresh(hint: str, path: str, taken: Iterable[str]) -> str:
    names = set(taken)
    if hint not in names:
        return hint
    longer = f"{path.replace('.', '_')}_{hint}"
    if longer.isidentifier() and len(longer) <= 40 and longer not in names:
        return longer
    number = 2
    while f"{hint}_{number}" in names:
        number += 1
    return f"{hint}_{number}"


def _depth(path: str) -> int:
    return path.count(".") + 1


def _tail(path: str, depth: int) -> str:
    return ".".join(path.split(".")[depth:])
