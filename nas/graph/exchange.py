"""Graphs for other tools: networkx, and the files that networkx and graphviz read.

In networkx's terms a node has the attributes ``op`` (the kind of its primitive), each attribute of the primitive by its
own name, and ``shape`` (its output's, without the batch) where shapes are known. An edge has ``position``,
the number of the input that it is, from 0. The graph has ``format``, ``outputs`` (node by output name) and, for a
network, ``input_shape``. An attribute of a primitive that is itself called ``op`` or ``shape`` ends in an underscore.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.analysis.cost import shapes_of
from nas.graph.drawing.boxes import op_text
from nas.graph.graph import GRAPH_FORMAT, Graph, Node
from nas.graph.primitives.base import from_json

if TYPE_CHECKING:
    import networkx as nx

_TAKEN = ("op", "shape")


def to_networkx(graph: Graph) -> nx.DiGraph:
    """Return ``graph`` as a DiGraph, or as a MultiDiGraph where a node reads the same input twice.

    Nodes are in topological order; :func:`from_networkx` gives back the same graph.
    """
    import networkx as nx

    shapes: dict[str, Shape] = {}
    with suppress(GraphError):  # a cell has no shapes
        shapes = shapes_of(graph)
    doubled = any(len(set(node.inputs)) < len(node.inputs) for node in graph.nodes)
    found = nx.MultiDiGraph() if doubled else nx.DiGraph()

    found.graph.update(format=GRAPH_FORMAT, outputs=dict(graph.outputs))
    if shapes and len(graph.inputs) == 1:
        found.graph["input_shape"] = graph.input_shape
    for name, op, inputs in graph.nodes:
        own = {f"{a}_" if a.rstrip("_") in _TAKEN else a: value for a, value in op.attributes().items()}
        found.add_node(name, op=op.kind, **own, **({"shape": shapes[name]} if shapes else {}))
        for position, source in enumerate(inputs):
            found.add_edge(source, name, position=position)
    return found


def from_networkx(found: nx.DiGraph) -> Graph:
    """Return the graph that ``found`` describes in the terms of :func:`to_networkx`, also one built by hand.

    Nodes keep their order where it is topological. An edge needs no ``position`` where it is its node's only one, and
    ``shape`` and ``input_shape`` are not read, as they follow from the rest. Raises :class:`GraphError` for a cycle,
    positions with a gap, a node without ``op``, and whatever else no graph has.
    """
    import networkx as nx

    if not isinstance(found, nx.DiGraph):
        raise GraphError(f"a graph is read from a networkx.DiGraph or MultiDiGraph, found {type(found).__name__}")
    version, outputs = found.graph.get("format", GRAPH_FORMAT), found.graph.get("outputs")
    if version != GRAPH_FORMAT:
        raise GraphError(f"not a graph: format must be '{GRAPH_FORMAT}', found {version!r}")
    if not isinstance(outputs, Mapping):
        raise GraphError("not a graph: the graph's attribute 'outputs' must give the node of each output's name")

    # the order of a graph that was made by to_networkx is topological already, and this sort leaves it as it is
    place = {name: i for i, name in enumerate(found)}
    try:
        order = list(nx.lexicographical_topological_sort(found, place.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [source for source, *_ in nx.find_cycle(found)]
        way = " -> ".join(map(str, [*cycle, cycle[0]]))
        raise GraphError(f"the nodes {way} form a cycle; a graph has none") from None
    nodes = []
    for name in order:
        if not isinstance(name, str):
            raise GraphError(f"node {name!r}: a node's name must be a string")
        attributes = dict(found.nodes[name])
        if "op" not in attributes:
            raise GraphError(f"node '{name}': the attribute 'op', the kind of its primitive, is missing")
        kind = attributes.pop("op")
        attributes.pop("shape", None)
        own = {a[:-1] if a.endswith("_") and a.rstrip("_") in _TAKEN else a: value for a, value in attributes.items()}
        # the inputs in the order of their positions
        edges = list(found.in_edges(name, data=True))
        alone = 0 if len(edges) == 1 else None
        source_at = {data.get("position", alone): source for source, _, data in edges}
        positions = [data.get("position", alone) for *_, data in edges]
        if any(type(p) is not int for p in positions) or sorted(positions) != list(range(len(edges))):
            shown = ", ".join(map(str, positions))
            raise GraphError(f"node '{name}': the positions of its inputs must be 0 to {len(edges) - 1}, found {shown}")
        try:
            nodes.append(Node(name, from_json(kind, own), tuple(source_at[i] for i in range(len(edges)))))
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from None
    return Graph(tuple(nodes), tuple(outputs.items()))


def node_link_json(graph: Graph) -> str:
    """Return ``graph`` as networkx's node-link data: ``networkx.node_link_graph`` reads it, its edges under "edges"."""
    import networkx as nx

    return json.dumps(nx.node_link_data(to_networkx(graph), edges="edges"), indent=1) + "\n"


def graphml(graph: Graph) -> str:
    """Return ``graph`` as GraphML; tuples and the table of outputs, which GraphML has not, are JSON text in it."""
    import networkx as nx

    found = to_networkx(graph)
    for attributes in (found.graph, *(data for _, data in found.nodes(data=True))):
        plain = {a: v if isinstance(v, str | bool | int | float) else json.dumps(v) for a, v in attributes.items()}
        attributes.update(plain)
    written = io.BytesIO()
    nx.write_graphml(found, written)
    return written.getvalue().decode() + "\n"


def dot(graph: Graph) -> str:
    """Return ``graph`` in the language of graphviz: boxes with operation and shape, and an ellipse for each output."""
    shapes: dict[str, Shape] = {}
    with suppress(GraphError):
        shapes = shapes_of(graph)
    lines = ["digraph {", "  node [shape=box];"]
    for name, op, inputs in graph.nodes:
        ins = tuple(shapes[i] for i in inputs if shapes)
        label = _quoted(name, op_text(op, ins), "×".join(map(str, shapes.get(name, ()))))
        lines.append(f"  {_quoted(name)} [label={label}];")
        lines += [f"  {_quoted(source)} -> {_quoted(name)};" for source in inputs]
    for output, name in graph.outputs:
        end = _quoted(f"output {output}")  # no node's name has a space
        lines += [f"  {end} [label={_quoted(output)}, shape=ellipse];", f"  {_quoted(name)} -> {end};"]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    """Return a quoted string of dot; within a label its lines are separated by a backslash and an n."""
    safe = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines if line]
    return '"' + "\\n".join(safe) + '"'


WRITERS: Mapping[str, Callable[[Graph], str]] = {"graphml": graphml, "dot": dot, "json": node_link_json}
"""What writes a graph in a format, by the format's name, which is its files' suffix too."""
