"""The graph: named nodes in topological order over the registry of primitives, with named outputs; and its builder.

A cell, a block and a whole network are all graphs. A graph is a value: frozen, comparable and JSON. Parameters, shapes,
costs, keys and modules are computed from it elsewhere in this package and never stored in it.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nas.core.text import count
from nas.core.values import Json, Shape, Shortened
from nas.errors import GraphError, unknown
from nas.graph.primitives.base import Primitive, from_json
from nas.graph.primitives.structure import Input

if TYPE_CHECKING:
    import networkx as nx
    from torch.fx import GraphModule

    from nas.graph.analysis.cost import Cost

GRAPH_FORMAT = "nas/graph/1"
MOST_NODES = 100_000
"""The largest graph; the deepest of the published networks, ResNet-1202, has 4,813."""
MOST_INPUTS = 1_000
"""The most inputs of one node."""
MOST_NAME = 500
"""The most characters of a node's name."""
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_OUTPUT = re.compile(r"[A-Za-z0-9_]+")

_TORCH_NAMES = """
T_destination add_module add_submodule apply bfloat16 buffers call_super_init children code compile cpu cuda
delete_all_unused_submodules delete_submodule double dump_patches eval extra_repr float forward get_buffer
get_extra_state get_parameter get_submodule graph half ipu load_state_dict meta modules mtia named_buffers
named_children named_modules named_parameters parameters print_readable recompile register_backward_hook
register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule shape_env share_memory state_dict to to_empty to_folder train training type xpu zero_grad
"""
RESERVED = frozenset([*_TORCH_NAMES.split(), *keyword.kwlist, "self"])
"""Segments that a node's name may not have: torch modules or the code of a forward use these names themselves."""


class Node(NamedTuple):
    """One application of a primitive."""

    name: str
    """Unique in its graph: segments joined by dots."""
    op: Primitive
    inputs: tuple[str, ...]
    """The names of the nodes that it reads, in order."""


@dataclass(frozen=True, repr=False)
class Graph(Shortened):
    """Nodes and named outputs.

    Raises :class:`GraphError` when a name is malformed, doubled or the path of another, when an input is not an earlier
    node, when a primitive gets too few or too many inputs, or when an output is not a node.
    """

    nodes: tuple[Node, ...]
    """In topological order."""
    outputs: tuple[tuple[str, str], ...]
    """(output name, node name) pairs."""

    def __post_init__(self) -> None:
        known = Names()
        for node in self.nodes:
            check_inputs(node, known.nodes)
            known.add(node.name)
        check_outputs(self.outputs, known.nodes)

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The input nodes, in order."""
        return tuple(node for node in self.nodes if isinstance(node.op, Input))

    @property
    def input_shape(self) -> Shape:
        """The shape (C, H, W) of the image that a network takes; a cell has none and raises."""
        if len(self.inputs) != 1:
            raise GraphError(f"a network has exactly one input, this graph has {len(self.inputs)}")
        return self.inputs[0].op.shape(())

    def output(self, name: str) -> str:
        """Return the name of the node behind output ``name``."""
        if name not in self._node_of:
            raise GraphError(unknown("output", name, self._node_of))
        return self._node_of[name]

    @cached_property
    def _node_of(self) -> dict[str, str]:
        return dict(self.outputs)

    def resized(self, shape: Sequence[int]) -> Graph:
        """Return the same network for an input of ``shape``."""
        self.input_shape  # noqa: B018  (refuses cells)
        # no node but the input knows a size, so all others stay as they are
        op = Input(tuple(shape))
        nodes = tuple(Node(n.name, op, ()) if isinstance(n.op, Input) else n for n in self.nodes)
        return trusted(nodes, self.outputs)

    def pruned(self, outputs: Sequence[str] = ("logits",)) -> Graph:
        """Return the graph of the wanted ``outputs`` alone: nodes that they do not need are removed."""
        wanted = tuple((name, self.output(name)) for name in outputs)
        check_outputs(wanted, {node.name for node in self.nodes})
        return trusted(needed(self.nodes, wanted), wanted)

    def to_json(self) -> Json:
        """Return the graph as JSON data (format ``nas/graph/1``)."""
        nodes = [
            {"name": n.name, "op": n.op.kind, "inputs": list(n.inputs), "attrs": n.op.attributes()} for n in self.nodes
        ]
        return {"format": GRAPH_FORMAT, "nodes": nodes, "outputs": dict(self.outputs)}

    @classmethod
    def from_json(cls, data: object) -> Graph:
        """Read what :meth:`to_json` wrote; anything else raises :class:`GraphError` with the rule it breaks."""
        if not isinstance(data, Mapping) or data.get("format") != GRAPH_FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise GraphError(f"not a graph: format must be '{GRAPH_FORMAT}', found {found!r}")
        nodes, outputs = data.get("nodes"), data.get("outputs")
        if not isinstance(nodes, list) or not isinstance(outputs, Mapping):
            raise GraphError("not a graph: 'nodes' must be a list and 'outputs' an object")
        found = []
        for i, row in enumerate(nodes):
            if not isinstance(row, Mapping) or not {"name", "op", "inputs"} <= row.keys():
                raise GraphError(f"node {i}: a node is an object with 'name', 'op', 'inputs' and 'attrs'")
            name, inputs = row["name"], row["inputs"]
            if not isinstance(name, str) or not isinstance(inputs, list) or not all(isinstance(n, str) for n in inputs):
                raise GraphError(f"node {i}: 'name' must be a string and 'inputs' a list of names")
            try:
                found.append(Node(name, from_json(row["op"], row.get("attrs", {})), tuple(inputs)))
            except GraphError as error:
                raise GraphError(f"node '{name}': {error}") from None
        return cls(tuple(found), tuple(outputs.items()))

    def cost(self) -> Cost:
        """Return parameters, MACs and memory, see :func:`nas.graph.analysis.cost.cost`."""
        from nas.graph.analysis.cost import cost

        return cost(self)

    def key(self) -> str:
        """Return the canonical key, see :mod:`nas.graph.analysis.canonical`: equal for isomorphic graphs."""
        from nas.graph.analysis.canonical import key

        return key(self)

    def to_module(self, outputs: Sequence[str] = ("logits",)) -> GraphModule:
        """Return a torch module that computes ``outputs``, see :mod:`nas.graph.lowering.torch_module`."""
        from nas.graph.lowering.torch_module import build_module

        return build_module(self, tuple(outputs))

    def to_source(self, outputs: Sequence[str] = ("logits",), class_name: str = "Network") -> str:
        """Return one Python file that imports torch alone, see :mod:`nas.graph.lowering.python_source`."""
        from nas.graph.lowering.python_source import source_code

        return source_code(self, tuple(outputs), class_name)

    def to_svg(self, title: str = "") -> str:
        """Return a drawing, see :mod:`nas.graph.drawing.svg`."""
        from nas.graph.drawing.svg import draw_svg

        return draw_svg(self, title=title)

    def _repr_svg_(self) -> str | None:
        """Return the picture that a notebook shows, see :func:`nas.graph.drawing.svg.notebook_svg`."""
        from nas.graph.drawing.svg import notebook_svg

        return notebook_svg(self)

    def short(self) -> str:
        """Return the shape of its input, the number of its nodes, and what it costs where its shapes fit."""
        if not all(node.op.attributes()["size"] for node in self.inputs):
            return f"Graph(cell of {count(len(self.inputs), 'input')}, {count(len(self.nodes), 'node')})"
        sizes = " and ".join("x".join(map(str, node.op.attributes()["size"])) for node in self.inputs)
        try:
            total = self.cost()
        except GraphError:
            return f"Graph({sizes}, {count(len(self.nodes), 'node')}, shapes that do not fit)"
        return f"Graph({sizes}, {count(len(self.nodes), 'node')}, {total.params:,} params, {total.macs:,} MACs)"

    def to_networkx(self) -> nx.DiGraph:
        """Return the graph in networkx's own terms, see :mod:`nas.graph.exchange`."""
        from nas.graph.exchange import to_networkx

        return to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph) -> Graph:
        """Read what :meth:`to_networkx` returned, or a graph built in its terms; else raise :class:`GraphError`."""
        from nas.graph.exchange import from_networkx

        return from_networkx(graph)


def trusted(nodes: tuple[Node, ...], outputs: tuple[tuple[str, str], ...]) -> Graph:
    """Return a graph of nodes that were checked already, without checking them again."""
    graph = object.__new__(Graph)
    object.__setattr__(graph, "nodes", nodes)
    object.__setattr__(graph, "outputs", outputs)
    return graph


def needed(nodes: Sequence[Node], outputs: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    """Return the nodes that ``outputs`` need, and the inputs."""
    # readers come after what they read, so one walk backwards finds all that is needed
    alive = {node for _, node in outputs}
    kept: list[Node] = []
    for node in reversed(nodes):
        if node.name in alive or type(node.op) is Input:
            alive.update(node.inputs)
            kept.append(node)
    kept.reverse()
    return tuple(kept)


class Names:
    """The names of a graph: unique, well formed, and none the path of another (``a`` and ``a.b``)."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.paths: set[str] = set()

    def add(self, name: str) -> None:
        """Take ``name`` for a node; refuse it where a rule is broken."""
        if len(name) > MOST_NAME:
            raise GraphError(f"node '{name}': a name has at most {MOST_NAME} characters, found {len(name):,}")
        # a path is checked when it is first met, and a segment once a process: names recur in every network
        path, dot, segment = name.rpartition(".")
        if dot and path not in self.paths:
            self._add_path(path)
        _check_segment(name, segment)
        if len(self.nodes) >= MOST_NODES:
            raise GraphError(f"node '{name}': a graph has at most {MOST_NODES:,} nodes")
        if name in self.nodes:
            raise GraphError(f"node '{name}': the name is taken; names are unique")
        if name in self.paths:
            raise GraphError(f"node '{name}': the name is the path of other nodes; choose another")
        self.nodes.add(name)

    def _add_path(self, path: str) -> None:
        outer, dot, segment = path.rpartition(".")
        _check_segment(path, segment)
        if path in self.nodes:
            raise GraphError(f"node '{path}': the name is a node already, so it cannot be the path of others")
        if dot and outer not in self.paths:
            self._add_path(outer)
        self.paths.add(path)


def _check_segment(name: str, segment: str) -> None:
    if segment in _good_segments:
        return
    if not _SEGMENT.fullmatch(segment):
        rule = "a name is segments of letters, digits and underscores joined by dots, none beginning with an underscore"
        raise GraphError(f"node '{name}': {rule}")
    if segment in RESERVED:
        raise GraphError(f"node '{name}': '{segment}' is a name that torch or Python uses itself; choose another")
    _good_segments.add(segment)


_good_segments: set[str] = set()


def check_outputs(outputs: Sequence[tuple[str, str]], known: Collection[str]) -> None:
    """Refuse outputs that are none, have a name twice, or are not nodes."""
    if not outputs:
        raise GraphError("a graph needs at least one output")
    for output, _ in outputs:
        if not isinstance(output, str) or not _OUTPUT.fullmatch(output):  # it is written into code and pages
            raise GraphError(f"output {output!r}: a name is letters, digits and underscores")
    times = Counter(output for output, _ in outputs)
    for output, name in outputs:
        if times[output] > 1:
            raise GraphError(f"output '{output}': the name is taken; names are unique")
        if not isinstance(name, str) or name not in known:
            raise GraphError(f"output '{output}': {unknown('node', str(name), known)}")


def check_inputs(node: Node, known: Collection[str]) -> None:
    """Refuse inputs that are not earlier nodes, or more or fewer than the primitive takes."""
    least, most = node.op.arity
    if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
        allowed = f"exactly {least}" if least == most else f"at least {least}"
        raise GraphError(f"node '{node.name}': {node.op.kind} takes {allowed} inputs, found {len(node.inputs)}")
    if len(node.inputs) > MOST_INPUTS:
        found = f"found {len(node.inputs):,}"
        raise GraphError(f"node '{node.name}': a node has at most {MOST_INPUTS:,} inputs, {found}")
    for name in node.inputs:
        if name not in known:
            raise GraphError(f"node '{node.name}': input '{name}' is not an earlier node")


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
        """The first of the inputs: the image of a network."""

    def __call__(self, op: Primitive, *inputs: str, name: str | None = None) -> str:
        # every node of every network of a search comes along here: only what must be checked is
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
        """Return ``operation(self, x, channels, stride)``, repeated from memory where it met this shape before."""
        # it recurs in thousands of networks, and all that it adds follows from its arguments and the shape of x
        # outside of scopes and in a scope that holds nodes the names depend on what is there
        if not self._prefix or self._prefix[:-1] in self._names.paths:
            return operation(self, x, channels, stride)
        known = operation, self._shapes[x], channels, stride
        prefix, shapes, nodes, names = self._prefix, self._shapes, self._nodes, self._names
        template = _TEMPLATES.get(known)
        if template is None:
            before = len(nodes)
            out = operation(self, x, channels, stride)
            added = nodes[before:]
            # remembered relative to this scope, unless it is tied to nodes other than x
            own = {node.name: node.name[len(prefix) :] for node in added} | {x: ""}
            if out in own and all(i in own for node in added for i in node.inputs):
                rows = [(own[n.name], n.op, tuple(own[i] for i in n.inputs), shapes[n.name]) for n in added]
                _TEMPLATES[known] = _Template(rows, own[out])
            return out
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

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of nodes added within by ``name`` and a dot, for ``with b.scope(name):``."""
        outer = self._prefix
        self._prefix = f"{outer}{name}."
        try:
            yield
        finally:
            self._prefix = outer

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
            if name not in self._names.nodes and name not in self._names.paths:
                return name


Operation = Callable[[GraphBuilder, str, int, int], str]
"""An operation of a cell, ``operation(builder, x, channels, stride)``: adds nodes and returns the last one's name."""


class _Template(NamedTuple):
    """Nodes relative to a scope: (name, op, inputs, shape); the empty name is the operation's input."""

    rows: list[tuple[str, Primitive, tuple[str, ...], Shape]]
    out: str


_TEMPLATES: dict[tuple[Operation, Shape, int, int], _Template] = {}
