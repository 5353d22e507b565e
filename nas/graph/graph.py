"""The graph: named nodes in topological order over the registry of primitives, with named outputs.

A cell, a block and a whole network are all graphs. A graph is a value: frozen, comparable and JSON. Parameters, shapes,
costs, keys and modules are computed from it elsewhere in this package and never stored in it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from nas.errors import GraphError, unknown
from nas.graph.operators import Input
from nas.graph.primitive import Primitive, from_json
from nas.types import Shape

GRAPH_FORMAT = "nas/graph/1"
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")

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
    """One application of a primitive: a unique dotted ``name``, the primitive ``op``, the names of its ``inputs``."""

    name: str
    op: Primitive
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order and outputs as (output name, node name) pairs.

    Raises :class:`GraphError` when a name is malformed, doubled or the path of another, when an input is not an earlier
    node, when a primitive gets too few or too many inputs, or when an output is not a node.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, str], ...]

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
        table = dict(self.outputs)
        if name not in table:
            raise GraphError(unknown("output", name, table))
        return table[name]

    def resized(self, shape: Sequence[int]) -> Graph:
        """Return the same network for an input of ``shape``."""
        self.input_shape  # noqa: B018  (refuses cells)
        op = Input(tuple(shape))
        nodes = tuple(Node(n.name, op, ()) if isinstance(n.op, Input) else n for n in self.nodes)
        return trusted(nodes, self.outputs)

    def pruned(self, outputs: Sequence[str] = ("logits",)) -> Graph:
        """Return the graph of the wanted ``outputs`` alone: nodes that they do not need are removed."""
        wanted = tuple((name, self.output(name)) for name in outputs)
        check_outputs(wanted, {node.name for node in self.nodes})
        return trusted(needed(self.nodes, wanted), wanted)

    def to_json(self) -> dict[str, Any]:
        """Return the graph as JSON data (format ``nas/graph/1``)."""
        nodes = [
            {"name": n.name, "op": n.op.kind, "inputs": list(n.inputs), "attrs": n.op.attributes()} for n in self.nodes
        ]
        return {"format": GRAPH_FORMAT, "nodes": nodes, "outputs": dict(self.outputs)}

    @classmethod
    def from_json(cls, data: Any) -> Graph:
        """Read what :meth:`to_json` wrote; anything else raises :class:`GraphError` with the rule it breaks."""
        if not isinstance(data, Mapping) or data.get("format") != GRAPH_FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise GraphError(f"not a graph: format must be '{GRAPH_FORMAT}', found {found!r}")
        nodes, outputs = data.get("nodes"), data.get("outputs")
        if not isinstance(nodes, list) or not isinstance(outputs, Mapping):
            raise GraphError("not a graph: 'nodes' must be a list and 'outputs' an object")
        return cls(tuple(_read_node(i, row) for i, row in enumerate(nodes)), tuple(outputs.items()))


def trusted(nodes: tuple[Node, ...], outputs: tuple[tuple[str, str], ...]) -> Graph:
    """Return a graph of nodes that were checked already, without checking them again."""
    graph = object.__new__(Graph)
    object.__setattr__(graph, "nodes", nodes)
    object.__setattr__(graph, "outputs", outputs)
    return graph


def needed(nodes: Sequence[Node], outputs: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    """Return the nodes that ``outputs`` need, and the inputs."""
    alive = {node for _, node in outputs}
    kept: list[Node] = []
    for node in reversed(nodes):
        if node.name in alive or type(node.op) is Input:
            alive.update(node.inputs)
            kept.append(node)
    kept.reverse()
    return tuple(kept)


def _read_node(index: int, row: Any) -> Node:
    if not isinstance(row, Mapping) or not {"name", "op", "inputs"} <= row.keys():
        raise GraphError(f"node {index}: a node is an object with 'name', 'op', 'inputs' and 'attrs'")
    name, inputs = row["name"], row["inputs"]
    if not isinstance(name, str) or not isinstance(inputs, list) or not all(isinstance(i, str) for i in inputs):
        raise GraphError(f"node {index}: 'name' must be a string and 'inputs' a list of names")
    try:
        return Node(name, from_json(row["op"], row.get("attrs", {})), tuple(inputs))
    except GraphError as error:
        raise GraphError(f"node '{name}': {error}") from None


class Names:
    """The names of a graph: unique, well formed, and none the path of another (``a`` and ``a.b``)."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.paths: set[str] = set()

    def add(self, name: str) -> None:
        """Take ``name`` for a node; refuse it where a rule is broken."""
        path, dot, segment = name.rpartition(".")
        if dot and path not in self.paths:
            self._add_path(path)
        _check_segment(name, segment)
        if name in self.nodes:
            raise GraphError(f"node '{name}': the name is taken; names are unique")
        if name in self.paths:
            raise GraphError(f"node '{name}': the name is the path of other nodes; choose another")
        self.nodes.add(name)

    def free(self, name: str) -> bool:
        """Return whether no node and no path has this name."""
        return name not in self.nodes and name not in self.paths

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


def check_outputs(outputs: Sequence[tuple[str, str]], known: set[str] | Mapping[str, Any]) -> None:
    """Refuse outputs that are none, have a name twice, or are not nodes."""
    if not outputs:
        raise GraphError("a graph needs at least one output")
    names = [output for output, _ in outputs]
    for output, name in outputs:
        if names.count(output) > 1:
            raise GraphError(f"output '{output}': the name is taken; names are unique")
        if not isinstance(name, str) or name not in known:
            raise GraphError(f"output '{output}': {unknown('node', str(name), known)}")


def check_inputs(node: Node, known: set[str] | Mapping[str, Any]) -> None:
    """Refuse inputs that are not earlier nodes, or more or fewer than the primitive takes."""
    least, most = node.op.arity
    if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
        allowed = f"exactly {least}" if least == most else f"at least {least}"
        raise GraphError(f"node '{node.name}': {node.op.kind} takes {allowed} inputs, found {len(node.inputs)}")
    for name in node.inputs:
        if name not in known:
            raise GraphError(f"node '{node.name}': input '{name}' is not an earlier node")
