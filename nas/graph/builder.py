"""The builder: how people and spaces write graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nas.errors import GraphError
from nas.graph.graph import Graph, Names, Node, check_inputs, check_outputs, needed, trusted
from nas.graph.operators import Input
from nas.graph.primitive import Primitive
from nas.types import Shape


class GraphBuilder:
    """Builds a graph node by node, in order, checking every shape as it goes.

    ``b(primitive, *inputs, name=None)`` adds a node and returns its name, the handle for later nodes; without a name
    the kind of the primitive is used, numbered where it is taken. ``with b.scope("stage1"):`` prefixes names. A builder
    without an ``input_shape`` builds a cell: its nodes have no shapes.
    """

    def __init__(self, input_shape: Sequence[int] | None = None, inputs: int = 1) -> None:
        self._nodes: list[Node] = []
        self._shapes: dict[str, Shape] = {}
        self._prefix = ""
        self._names = Names()
        self._counts: dict[str, int] = {}
        self._is_cell = input_shape is None
        if input_shape is None:
            self.inputs = tuple(self(Input(port=i), name=f"input{i}") for i in range(inputs))
        else:
            self.inputs = (self(Input(tuple(input_shape)), name="image"),)
        self.input = self.inputs[0]

    def __call__(self, op: Primitive, *inputs: str, name: str | None = None) -> str:
        shapes = self._shapes
        full = self._fresh(op.kind) if name is None else self._prefix + name
        node = Node(full, op, inputs)
        check_inputs(node, shapes)
        self._names.add(full)
        if self._is_cell:
            shapes[full] = ()
        else:
            try:
                shapes[full] = op.measure(tuple([shapes[i] for i in inputs])).shape
            except GraphError as error:
                raise GraphError(f"node '{full}': {error}") from None
        self._nodes.append(node)
        return full

    def apply(self, operation: Operation, x: str, channels: int, stride: int) -> str:
        """Return ``operation(self, x, channels, stride)``, repeated from memory where it met this shape before.

        A cell's operation recurs in every cell of a network and in thousands of networks of a search; all that it adds
        follows from its arguments and the shape of ``x``.
        """
        # outside of scopes and in a scope that holds nodes the names depend on what is there
        if not self._prefix or self._prefix[:-1] in self._names.paths:
            return operation(self, x, channels, stride)
        known = operation, self._shapes[x], channels, stride
        if known in _TEMPLATES:
            return self._repeat(_TEMPLATES[known], x)
        before = len(self._nodes)
        out = operation(self, x, channels, stride)
        template = self._template(self._nodes[before:], x, out)
        if template is not None:
            _TEMPLATES[known] = template
        return out

    def _template(self, nodes: Sequence[Node], x: str, out: str) -> _Template | None:
        """Return ``nodes`` relative to this scope; None where they are tied to nodes other than ``x``."""
        skip = len(self._prefix)
        own = {node.name: node.name[skip:] for node in nodes} | {x: ""}
        if out not in own or any(i not in own for node in nodes for i in node.inputs):
            return None
        rows = [(own[n.name], n.op, tuple(own[i] for i in n.inputs), self._shapes[n.name]) for n in nodes]
        return _Template(rows, own[out])

    def _repeat(self, template: _Template, x: str) -> str:
        prefix, shapes, nodes, names = self._prefix, self._shapes, self._nodes, self._names
        for name, op, inputs, shape in template.rows:
            full = prefix + name
            if prefix[:-1] in names.paths and "." not in name:
                names.nodes.add(full)  # nobody has it: the scope was empty and the template's names are distinct
            else:
                names.add(full)
            shapes[full] = shape
            nodes.append(Node(full, op, tuple([prefix + i if i else x for i in inputs])))
        return prefix + template.out if template.out else x

    def shape(self, name: str) -> Shape:
        """Return the shape of node ``name``."""
        return self._shapes[name]

    def channels(self, name: str) -> int:
        """Return the channels (or features) of node ``name``."""
        return self._shapes[name][0]

    def scope(self, name: str) -> _Scope:
        """Prefix the names of nodes added within by ``name`` and a dot, for ``with b.scope(name):``."""
        return _Scope(self, name)

    def build(self, **outputs: str) -> Graph:
        """Return the graph of the given named outputs, e.g. ``b.build(logits=x)``, without nodes they do not need."""
        wanted = tuple(outputs.items())
        check_outputs(wanted, self._shapes)
        return trusted(needed(self._nodes, wanted), wanted)

    def _fresh(self, kind: str) -> str:
        stem = self._prefix + kind
        while True:
            count = self._counts[stem] = self._counts.get(stem, 0) + 1
            name = stem if count == 1 else f"{stem}{count}"
            if self._names.free(name):
                return name


class _Scope:
    def __init__(self, builder: GraphBuilder, name: str) -> None:
        self._builder, self._name = builder, name

    def __enter__(self) -> None:
        self._outer = self._builder._prefix
        self._builder._prefix = f"{self._outer}{self._name}."

    def __exit__(self, *_: object) -> None:
        self._builder._prefix = self._outer


Operation = Callable[[GraphBuilder, str, int, int], str]
"""An operation of a cell, ``operation(builder, x, channels, stride)``: adds nodes and returns the last one's name."""


class _Template(NamedTuple):
    """Nodes relative to a scope: (name, op, inputs, shape); the empty name is the operation's input."""

    rows: list[tuple[str, Primitive, tuple[str, ...], Shape]]
    out: str


_TEMPLATES: dict[tuple[Operation, Shape, int, int], _Template] = {}
