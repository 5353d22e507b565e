"""What a drawing shows of a graph: boxes of operations, of folded chains, of whole blocks, and repeats of blocks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.graph.cost import shapes_of
from nas.graph.graph import Graph, Node
from nas.graph.operators import Input, Named
from nas.graph.primitive import Primitive, Shapes
from nas.types import Shape

READABLE = (60, 18)
"""Boxes, and boxes below each other, that a network's picture has at most where names allow it."""

FAMILIES: dict[str, str] = {
    **dict.fromkeys(("conv", "transposed_conv"), "convolution"),
    "linear": "linear",
    **dict.fromkeys(("max_pool", "avg_pool", "global_avg_pool", "adaptive_avg_pool"), "pooling"),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm"), "norm"),
    **dict.fromkeys(("relu", "relu6", "sigmoid", "tanh", "swish"), "activation"),
    **dict.fromkeys(("add", "multiply", "concat"), "merge"),
    **dict.fromkeys(("dropout", "drop_path"), "regulariser"),
    **dict.fromkeys(("identity", "zero"), "no weights"),
    "input": "input or output",
}
"""The family of a kind of primitive, which is its colour; any other is a change of shape."""
SHAPING = "shape"
BLOCK = "block"
_LIGHT = ("norm", "activation", "regulariser", SHAPING, "no weights")
_LONGEST_CHAIN = 5


@dataclass(frozen=True)
class Line:
    """One line of a box and the family that colours it."""

    text: str
    family: str


@dataclass(frozen=True)
class Box:
    """A drawn node: its lines, the shape that leaves it, the graph's nodes that it stands for, and how often."""

    name: str
    lines: tuple[Line, ...]
    shape: Shape | None
    members: tuple[str, ...]
    symbol: bool = False
    """Whether it is a small circle with one sign."""
    repeat: int = 1


@dataclass(frozen=True)
class Picture:
    """Boxes in topological order by name, and distinct arrows between them."""

    boxes: dict[str, Box]
    edges: tuple[tuple[str, str], ...]


def picture(graph: Graph, level: int | None = None) -> Picture:
    """Return what to draw of ``graph``: names' first ``level`` segments tell blocks apart.

    Without a level it is the deepest that is :data:`READABLE`, else the first; a cell is shown whole.
    """
    deepest = max(node.name.count(".") for node in graph.nodes) + 1
    if level is not None or _is_cell(graph):
        return _picture(graph, level or deepest)
    for depth in range(deepest, 1, -1):
        found = _picture(graph, depth)
        if len(found.boxes) <= READABLE[0] and _rows(found) <= READABLE[1]:
            return found
    return _picture(graph, 1)


def _is_cell(graph: Graph) -> bool:
    return any(isinstance(node.op, Input) and not node.op.size for node in graph.nodes)


def _rows(found: Picture) -> int:
    row = dict.fromkeys(found.boxes, 1)
    ins, _ = _ends(found.edges)
    for name in found.boxes:
        row[name] = 1 + max((row[u] for u in ins[name]), default=0)
    return max(row.values())


def _picture(graph: Graph, level: int) -> Picture:
    shapes = None if _is_cell(graph) else shapes_of(graph)
    groups = _groups(graph, level)
    members: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        members[groups[node.name]].append(node)
    boxes = {name: _box(name, nodes, shapes) for name, nodes in members.items()}
    edges = dict.fromkeys(
        (groups[i], groups[node.name]) for node in graph.nodes for i in node.inputs if groups[i] != groups[node.name]
    )
    for output, name in graph.outputs:
        end = f"output {output}"  # no node's name has a space
        boxes[end] = Box(end, (Line(output, FAMILIES["input"]),), None, ())
        edges[groups[name], end] = None
    kinds = {name: nodes[0].op.kind for name, nodes in members.items() if len(nodes) == 1}
    found = _fold_chains(Picture(_sorted(boxes, list(edges)), tuple(edges)), kinds)
    signatures = {
        name: _signature(nodes, shapes) for name, nodes in members.items() if len(nodes) > 1 and shapes is not None
    }
    return _fold_repeats(found, signatures)


def _groups(graph: Graph, level: int) -> dict[str, str]:
    """Return the block of every node; a block that would be in a cycle falls apart into what its next segment tells."""
    depth = {node.name: level for node in graph.nodes}
    while True:
        groups = {name: ".".join(name.split(".")[:n]) for name, n in depth.items()}
        edges = {(groups[i], groups[node.name]) for node in graph.nodes for i in node.inputs}
        tangled = _in_cycles(set(groups.values()), [(u, v) for u, v in edges if u != v])
        if not tangled:
            return groups
        for name, group in groups.items():
            depth[name] += group in tangled


def _in_cycles(vertices: set[str], edges: Sequence[tuple[str, str]]) -> set[str]:
    """Return the vertices that are left when sources and sinks are taken away until none is left."""
    left = set(vertices)
    for ends in (edges, [(v, u) for u, v in edges]):
        ends = [(u, v) for u, v in ends if u in left and v in left]
        count = Counter(v for _, v in ends)
        users = defaultdict(list)
        for u, v in ends:
            users[u].append(v)
        free = [v for v in left if not count[v]]
        while free:
            u = free.pop()
            left.discard(u)
            for v in users[u]:
                count[v] -= 1
                if not count[v]:
                    free.append(v)
    return left


def _sorted(boxes: Mapping[str, Box], edges: Sequence[tuple[str, str]]) -> dict[str, Box]:
    """Return the boxes in topological order, otherwise as they came."""
    waiting = Counter(v for _, v in edges)
    users = defaultdict(list)
    for u, v in edges:
        users[u].append(v)
    order, ready = {}, [name for name in boxes if not waiting[name]]
    place = {name: i for i, name in enumerate(boxes)}
    while ready:
        ready.sort(key=place.__getitem__)
        name = ready.pop(0)
        order[name] = boxes[name]
        for v in users[name]:
            waiting[v] -= 1
            if not waiting[v]:
                ready.append(v)
    return order


def _box(name: str, nodes: Sequence[Node], shapes: Mapping[str, Shape] | None) -> Box:
    shape = None if shapes is None else shapes[nodes[-1].name]
    members = tuple(node.name for node in nodes)
    if len(nodes) == 1:
        node = nodes[0]
        ins = () if shapes is None else tuple(shapes[i] for i in node.inputs)
        line = Line(op_text(node.op, ins), family(node.op))
        return Box(name, (line,), shape, members, symbol=node.op.kind in ("add", "multiply"))
    kinds = Counter(_plain(node.op) for node in nodes if family(node.op) in ("convolution", "linear", "pooling"))
    shown = [f"{count} {kind}" if count > 1 else kind for kind, count in kinds.most_common(3)]
    lines = [Line(name, BLOCK)]
    lines += [Line(", ".join(shown), BLOCK)] if shown else []
    return Box(name, tuple(lines), shape, members)


def _plain(op: Primitive) -> str:
    return op.op if isinstance(op, Named) else op.kind.replace("_", " ")


def family(op: Primitive) -> str:
    """Return the family of a primitive, a named operation's by its name."""
    if not isinstance(op, Named):
        return FAMILIES.get(op.kind, SHAPING)
    for part, found in (("conv", "convolution"), ("proj", "convolution"), ("pool", "pooling")):
        if part in op.op:
            return found
    return FAMILIES["identity"] if op.is_zero or op.op in ("identity", "skip_connect") else BLOCK


def op_text(op: Primitive, ins: Shapes) -> str:
    """Return what a box says of a primitive."""
    values: dict[str, Any] = op.attributes()
    if isinstance(op, Named):
        return op.op + (f" /{op.stride}" if op.stride > 1 else "")
    if isinstance(op, Input):
        return "image" if op.size else f"input {op.port}"
    if op.kind in ("add", "multiply"):
        return "+" if op.kind == "add" else "×"
    parts = [op.kind.replace("_", " ")]
    if op.kind == "conv" and ins and values["groups"] == ins[0][0] > 1:
        parts = ["depthwise"]
        values["groups"] = 1
    if "kernel" in values:
        parts.append("×".join(map(str, values["kernel"])))
    if "out" in values:
        parts.append(f"→ {values['out']}")
    stride = values.get("stride")
    if stride not in (None, 1, (1, 1)):
        parts.append("/" + (str(stride[0]) if isinstance(stride, tuple) and len(set(stride)) == 1 else str(stride)))
    for name, text in (("dilation", "dilated"), ("groups", "groups")):
        value = values.get(name, 1)
        if value not in (1, (1, 1)):
            parts.append(f"{text} {value[0] if isinstance(value, tuple) else value}")
    parts += [f"{values[name]:g}" for name in ("rate", "factor") if name in values]
    return " ".join(parts)


def _joins(chain: Sequence[str], kind: str) -> bool:
    """Return whether a node of ``kind`` goes on in the box of the ``chain`` of kinds before it.

    A box begins anew where the chain's first kind comes again, so a pre-activated chain and a plain one fold alike.
    """
    own, before = (FAMILIES.get(k, SHAPING) for k in (kind, chain[0]))
    heavy = [k for k in chain if FAMILIES.get(k, SHAPING) not in _LIGHT]
    if kind == chain[0] or len(chain) == _LONGEST_CHAIN:
        return False
    if own in _LIGHT:
        return True
    return own == "convolution" and before in _LIGHT and all(k == "conv" for k in heavy)


def _fold_chains(found: Picture, kinds: Mapping[str, str]) -> Picture:
    """Put operations that follow each other in one scope, such as convolution, norm and activation, into one box."""
    ins, outs = _ends(found.edges)
    chains: dict[str, list[str]] = {}
    head: dict[str, str] = {}
    for name in found.boxes:
        head[name] = name
        if name not in kinds or FAMILIES.get(kinds[name], SHAPING) in ("merge", "input or output") or not ins[name]:
            continue
        before = head[ins[name][0]]
        chain = chains.get(before)
        alone = len(ins[name]) == 1 and len(outs[ins[name][0]]) == 1
        scope = name.rpartition(".")[0] == before.rpartition(".")[0]
        if kinds[name] != "named" and chain and alone and scope and _joins([kinds[c] for c in chain], kinds[name]):
            chain.append(name)
            head[name] = before
        else:
            chains[name] = [name]
    boxes = {}
    for name, box in found.boxes.items():
        parts = [found.boxes[c] for c in chains.get(name, [name])]
        if head[name] == name:
            lines = tuple(line for part in parts for line in part.lines)
            boxes[name] = replace(box, lines=lines, shape=parts[-1].shape, members=sum((p.members for p in parts), ()))
    edges = dict.fromkeys((head[u], head[v]) for u, v in found.edges if head[u] != head[v])
    return Picture(boxes, tuple(edges))


def _ends(edges: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    ins, outs = defaultdict(list), defaultdict(list)
    for u, v in edges:
        ins[v].append(u)
        outs[u].append(v)
    return ins, outs


def _signature(nodes: Sequence[Node], shapes: Mapping[str, Shape] | None) -> Any:
    number = {node.name: i for i, node in enumerate(nodes)}
    assert shapes is not None
    return tuple((n.op, tuple(number.get(i, -1) for i in n.inputs), tuple(shapes[i] for i in n.inputs)) for n in nodes)


def _fold_repeats(found: Picture, signatures: Mapping[str, Any]) -> Picture:
    """Put equal blocks that follow each other, and nothing else, into one box that says how many they are."""
    ins, outs = _ends(found.edges)
    head = {name: name for name in found.boxes}
    runs: dict[str, list[str]] = {}
    for name in found.boxes:
        before = ins[name][0] if len(ins[name]) == 1 else None
        if before is not None and len(outs[before]) == 1 and name in signatures:
            first = head[before]
            if signatures.get(first) == signatures[name]:
                head[name] = first
                runs.setdefault(first, [first]).append(name)
    boxes = {
        name: _repeated(box, runs.get(name, [name]), found) for name, box in found.boxes.items() if head[name] == name
    }
    edges = dict.fromkeys((head[u], head[v]) for u, v in found.edges if head[u] != head[v])
    return Picture(boxes, tuple(edges))


def _repeated(box: Box, run: Sequence[str], found: Picture) -> Box:
    if len(run) == 1:
        return box
    title = Line(f"{run[0]} … {run[-1].rpartition('.')[2]}", BLOCK)
    members = tuple(member for name in run for member in found.boxes[name].members)
    return replace(box, lines=(title, *box.lines[1:]), members=members, repeat=len(run))
