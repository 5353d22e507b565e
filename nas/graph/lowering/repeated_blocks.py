"""Repeated blocks of a network: scopes of equal structure become one class, what differs its arguments.

A scope is a dotted path that node names begin with. Scopes of adjacent nodes are one class when relative names, layers,
wiring and expressions agree; numbers that differ are its arguments, one for each way in which they vary together.
"""

from __future__ import annotations

import builtins
import keyword
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import NamedTuple

from nas.core.values import Shape, Value
from nas.graph.graph import Graph, Node
from nas.graph.lowering.expressions import code_of, expression
from nas.graph.primitives.base import Layer
from nas.graph.primitives.structure import Input

TAKEN = frozenset([*keyword.kwlist, *dir(builtins), "torch", "nn", "self"])
"""Names that the written code uses itself or must not hide."""


@dataclass(frozen=True)
class Scope:
    """The nodes ``start`` to ``stop`` (excluded) of a graph."""

    path: str
    """What the names of its nodes begin with."""
    start: int
    stop: int
    inputs: tuple[str, ...]
    """Nodes outside that it reads."""
    outputs: tuple[str, ...]
    """Its own nodes that are read outside."""


class Item(NamedTuple):
    """A step of a body: one node, or a whole block."""

    path: str
    """Its name within the body."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    node: Node | None
    """None for a block."""
    scope: Scope | None
    """Where the block is; None for a node."""


@dataclass
class Block:
    """A class of the written code."""

    name: str
    scopes: list[Scope]
    """Where it is used."""
    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each argument the code of its value in every scope."""
    index: dict[str, int] = field(default_factory=dict)
    """The number of a scope, by its path."""


class Blocks:
    """The classes of a network of one input; ``taken`` is the network's own name."""

    def __init__(self, graph: Graph, shapes: Mapping[str, Shape], taken: str) -> None:
        self.graph = graph
        self.layers: dict[str, Layer | None] = {
            node.name: node.op.layer(tuple(shapes[i] for i in node.inputs)) for node in graph.nodes
        }
        names = {taken}
        self.of: dict[str, Block] = {}
        """The class of a scope, by the scope's path."""
        self.all: list[Block] = []
        """Classes in an order in which each comes after those it is made of."""

        # scopes of one structure are a class; one whose structure is there once only is written out where it is, and
        # one that holds nothing but another is one class with it, not two
        found = [(scope, self._structure(scope)) for scope in self._scopes()]
        times = Counter(structure for _, structure in found)
        groups: dict[Hashable, list[Scope]] = {}
        ranges: set[tuple[int, int]] = set()
        for scope, structure in found:
            if times[structure] > 1 and (scope.start, scope.stop) not in ranges:
                ranges.add((scope.start, scope.stop))
                groups.setdefault(structure, []).append(scope)
        repeated = (scopes for scopes in groups.values() if len(scopes) > 1)
        for scopes in sorted(repeated, key=lambda scopes: scopes[0].stop - scopes[0].start):
            # a class is called by the last segment of its path that is a name without its number
            stems = [segment.rstrip("0123456789_") for segment in scopes[0].path.split(".")]
            stem = next((s for s in reversed(stems) if s.isidentifier()), "block")
            name = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
            numbered = chain([name], (f"{name}{number}" for number in count(2)))
            full = next(n for n in numbered if n not in names and n not in TAKEN)
            names.add(full)
            block = Block(full, scopes, index={s.path: i for i, s in enumerate(scopes)})
            self.of.update(dict.fromkeys(block.index, block))
            self.all.append(block)
        for block in self.all:
            # (path, name, code) of every argument that the steps of each scope are built with
            columns = [
                [(item.path, name, code) for item in self.body(scope) for name, code in self.built_with(item).items()]
                for scope in block.scopes
            ]
            # what differs between the scopes is an argument, one for all that differ alike
            arguments: dict[tuple[str, ...], str] = {}
            for cells in zip(*columns, strict=True):
                values = tuple(value for _, _, value in cells)
                if len(set(values)) > 1 and values not in arguments:
                    path, hint, _ = cells[0]
                    # its own name, where that is taken a longer or a numbered one
                    longer = f"{path.replace('.', '_')}_{hint}"
                    choices = [hint, longer] if longer.isidentifier() and len(longer) <= 40 else [hint]
                    further = (f"{hint}_{number}" for number in count(2))
                    arguments[values] = next(n for n in chain(choices, further) if n not in arguments.values())
            block.arguments = {name: values for values, name in arguments.items()}

    def body(self, scope: Scope | None) -> list[Item]:
        """Return the steps of a scope, or of the network where ``scope`` is None."""
        nodes = self.graph.nodes
        first, last, depth = (
            (0, len(nodes), 0) if scope is None else (scope.start, scope.stop, scope.path.count(".") + 1)
        )
        items = []
        i = first
        while i < last:
            node = nodes[i]
            segments = node.name.split(".")
            outer = (".".join(segments[:length]) for length in range(depth + 1, len(segments)))
            path = next((path for path in outer if path in self.of), None)
            if path is not None:
                block = self.of[path]
                inner = block.scopes[block.index[path]]
                items.append(Item(_tail(inner.path, depth), inner.inputs, inner.outputs, None, inner))
                i = inner.stop
            else:
                items.append(Item(_tail(node.name, depth), node.inputs, (node.name,), node, None))
                i += 1
        return items

    def _scopes(self) -> Iterator[Scope]:
        """Yield the scopes that can be classes, outer ones before those within."""
        members: dict[str, list[int]] = {}
        last_use: dict[str, int] = {}
        for i, node in enumerate(self.graph.nodes):
            last_use.update(dict.fromkeys((node.name, *node.inputs), i))
            segments = node.name.split(".")
            for length in range(1, len(segments)):
                members.setdefault(".".join(segments[:length]), []).append(i)
        last_use.update((name, len(self.graph.nodes)) for _, name in self.graph.outputs)
        for path in sorted(members, key=lambda p: (p.count("."), members[p][0])):
            start, stop = members[path][0], members[path][-1] + 1
            nodes = self.graph.nodes[start:stop]
            layers = sum(self.layers[node.name] is not None for node in nodes)
            # nodes of other scopes among them would have to run within the class
            if len(nodes) != len(members[path]) or layers < 2 or any(isinstance(n.op, Input) for n in nodes):
                continue
            own = {node.name for node in nodes}
            inputs = dict.fromkeys(i for node in nodes for i in node.inputs if i not in own)
            used = tuple(node.name for node in nodes if last_use[node.name] >= stop)
            yield Scope(path, start, stop, tuple(inputs), used)

    def _structure(self, scope: Scope) -> Hashable:
        depth = scope.path.count(".") + 1
        value = {name: f"in{i}" for i, name in enumerate(scope.inputs)}
        rows = []
        for i, node in enumerate(self.graph.nodes[scope.start : scope.stop]):
            layer = self.layers[node.name]
            code = expression(node.op, None if layer is None else "layer", [value[v] for v in node.inputs])
            what = None if layer is None else (layer.name, tuple(_fixed(*pair) for pair in layer.arguments.items()))
            rows.append((_tail(node.name, depth), what, code))
            value[node.name] = f"n{i}"
        return tuple(rows), tuple(value[name] for name in scope.outputs)

    def built_with(self, item: Item) -> dict[str, str]:
        """Return the names and the code of the arguments that an item's layer or block is built with."""
        if item.scope is not None:
            block = self.of[item.scope.path]
            return {name: values[block.index[item.scope.path]] for name, values in block.arguments.items()}
        assert item.node is not None
        layer = self.layers[item.node.name]
        return {} if layer is None else {name: literal(name, value) for name, value in layer.arguments.items()}


_SQUARE = frozenset(["kernel_size", "stride", "padding", "dilation", "output_padding"])


def _fixed(name: str, value: Value) -> Hashable:
    """Return what must agree in one class of an argument: sizes may differ, dilations and the shape of windows not."""
    fixed = name == "dilation" or (name in _SQUARE and not literal(name, value).isdigit())
    return (name, value) if fixed else name


def literal(name: str, value: Value) -> str:
    """Return the code of a layer's argument; a (height, width) pair of one number is that number, as torch reads it."""
    if name in _SQUARE and isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return repr(value[0])
    return code_of(value)


def _tail(path: str, depth: int) -> str:
    return ".".join(path.split(".")[depth:])
