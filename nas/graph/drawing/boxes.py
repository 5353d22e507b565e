"""What a drawing shows of a graph: boxes of operations, of folded chains, of whole blocks, and repeats of blocks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from nas.core.text import count
from nas.core.values import Shape
from nas.graph.analysis.cost import shapes_of
from nas.graph.drawing.layout import neighbors
from nas.graph.graph import Graph, Node
from nas.graph.primitives.base import Primitive, Shapes
from nas.graph.primitives.structure import Input, Named

READABLE = (60, 18)
"""Boxes, and boxes below each other, that a network's picture has at most where names allow it."""

SUMMARIZED = 8
"""Kinds of nodes, inputs and outputs that a summary names."""

FAMILIES: dict[str, str] = {
    **dict.fromkeys(("conv", "transposed_conv"), "convolution"),
    "linear": "linear",
    **dict.fromkeys(("max_pool", "avg_pool", "global_avg_pool", "adaptive_avg_pool"), "pooling"),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm"), "norm"),
    **dict.fromkeys(("relu", "relu6", "sigmoid", "tanh", "swish"), "activation"),
    **dict.fromkeys(("add", "multiply", "concat"), "merge"),
    **dict.fromkeys(("dropout", "drop_path"), "regularizer"),
    **dict.fromkeys(("identity", "zero"), "no weights"),
    "input": "input or output",
}
"""The family of a kind of primitive, which is its color; any other is a change of shape."""
SHAPING = "shape"
BLOCK = "block"
_LIGHT = ("norm", "activation", "regularizer", SHAPING, "no weights")
LONGEST_CHAIN = 5
"""Operations of a chain in one box."""


@dataclass(frozen=True)
class Line:
    """One line of a box and the family that colors it."""

    text: str
    family: str


@dataclass(frozen=True)
class Box:
    """A drawn node: an operation, a chain of them, or a block."""

    name: str
    lines: tuple[Line, ...]
    shape: Shape | None
    """What leaves it, without the batch; None in a cell."""
    members: tuple[str, ...]
    """The graph's nodes that it shows."""
    symbol: bool = False
    """Whether it is a small circle with one sign."""
    repeat: int = 1
    """How many equal blocks in a row it shows."""


@dataclass(frozen=True)
class Picture:
    """Boxes in topological order by name, and distinct arrows between them."""

    boxes: dict[str, Box]
    edges: tuple[tuple[str, str], ...]


def picture(graph: Graph, level: int | None = None) -> Picture:
    """Return ``graph`` in blocks of ``level`` segments (else the deepest :data:`READABLE` one); a cell is whole."""
    deepest = max(node.name.count(".") for node in graph.nodes) + 1
    if level is not None or _is_cell(graph):
        return _picture(graph, level or deepest)
    for depth in range(deepest, 1, -1):
        found = _picture(graph, depth)
        row: dict[str, int] = {}
        ins, _ = neighbors(found.edges)
        for name in found.boxes:
            row[name] = 1 + max((row[u] for u in ins[name]), default=0)
        if len(found.boxes) <= READABLE[0] and max(row.values()) <= READABLE[1]:
            return found
    return _picture(graph, 1)


def summary(graph: Graph) -> Picture:
    """Return ``graph`` as one block between its inputs and outputs that counts its nodes by kind."""
    shapes = None if _is_cell(graph) else shapes_of(graph)
    inner = [node for node in graph.nodes if not isinstance(node.op, Input)]
    kinds = Counter(node.op.op if isinstance(node.op, Named) else node.op.kind.replace("_", " ") for node in inner)
    texts = [count(len(inner), "node"), *(f"{number:,} {kind}" for kind, number in kinds.most_common(SUMMARIZED))]
    texts += [f"and {len(kinds) - SUMMARIZED} more kinds"] if len(kinds) > SUMMARIZED else []
    block = Box("nodes", tuple(Line(text, BLOCK) for text in texts), None, ())

    ends = [_box(node.name, [node], shapes) for node in graph.inputs[:SUMMARIZED]]
    boxes = [*ends, block]
    edges = [(end.name, block.name) for end in ends]
    for output, _ in graph.outputs[:SUMMARIZED]:
        boxes.append(Box(f"output {output}", (Line(output, FAMILIES["input"]),), None, ()))
        edges.append((block.name, boxes[-1].name))
    return Picture({box.name: box for box in boxes}, tuple(edges))


def _is_cell(graph: Graph) -> bool:
    return any(isinstance(node.op, Input) and not node.op.size for node in graph.nodes)


def _picture(graph: Graph, level: int) -> Picture:
    # a box for every block, an arrow where a node of one reads a node of another
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

    # single operations fold to chains, blocks of several to repeats
    kinds = {name: nodes[0].op.kind for name, nodes in members.items() if len(nodes) == 1}
    boxes = {name: boxes[name] for name in _sorted(list(boxes), list(edges))}
    found = _fold_chains(Picture(boxes, tuple(edges)), kinds)
    signatures: dict[str, Hashable] = {}
    for name, nodes in members.items():
        if len(nodes) > 1 and shapes is not None:
            number = {node.name: i for i, node in enumerate(nodes)}
            signatures[name] = tuple(
                (n.op, tuple(number.get(i, -1) for i in n.inputs), tuple(shapes[i] for i in n.inputs)) for n in nodes
            )
    return _fold_repeats(found, signatures)


def _groups(graph: Graph, level: int) -> dict[str, str]:
    """Return the block of every node; a block that would be in a cycle is split into what its next segment tells."""
    depth = {node.name: level for node in graph.nodes}
    while True:
        groups = {name: ".".join(name.split(".")[:n]) for name, n in depth.items()}
        edges = {(groups[i], groups[node.name]) for node in graph.nodes for i in node.inputs}
        # blocks whose nodes read each other both ways cannot be drawn one above the other; what no order from above
        # reaches, and none from below, lies in cycles or between them
        arrows = [(u, v) for u, v in edges if u != v]
        names = list(dict.fromkeys(groups.values()))
        free = {*_sorted(names, arrows), *_sorted(names, [(v, u) for u, v in arrows])}
        cyclic = set(names) - free
        if not cyclic:
            return groups
        for name, group in groups.items():
            depth[name] += group in cyclic


def _sorted(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names in topological order, otherwise as they came; those in and behind cycles are left out."""
    waiting = Counter(v for _, v in edges)
    _, users = neighbors(edges)
    place = {name: i for i, name in enumerate(names)}
    ready = [place[name] for name in names if not waiting[name]]
    order = []
    while ready:
        order.append(names[heappop(ready)])
        for v in users[order[-1]]:
            waiting[v] -= 1
            if not waiting[v]:
                heappush(ready, place[v])
    return order


def _box(name: str, nodes: Sequence[Node], shapes: Mapping[str, Shape] | None) -> Box:
    shape = None if shapes is None else shapes[nodes[-1].name]
    members = tuple(node.name for node in nodes)
    if len(nodes) == 1:
        node = nodes[0]
        ins = () if shapes is None else tuple(shapes[i] for i in node.inputs)
        line = Line(op_text(node.op, ins), family(node.op))
        return Box(name, (line,), shape, members, symbol=node.op.kind in ("add", "multiply"))
    # a block is called by its path, and by what weighs most in it
    weighty = [node.op for node in nodes if family(node.op) in ("convolution", "linear", "pooling")]
    kinds = Counter(op.op if isinstance(op, Named) else op.kind.replace("_", " ") for op in weighty)
    shown = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in kinds.most_common(3))
    return Box(name, tuple(Line(text, BLOCK) for text in (name, shown) if text), shape, members)


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
    values = op.attributes()
    if isinstance(op, Named):
        return op.op + (f" /{op.stride}" if op.stride > 1 else "")
    if isinstance(op, Input):
        return "image" if op.size else f"input {op.port}"
    if op.kind in ("add", "multiply"):
        return "+" if op.kind == "add" else "×"
    # only what differs from the plain operation is said
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
    """Return whether a node of ``kind`` goes on in the box of the ``chain`` of kinds before it."""
    # a new box begins where the first kind comes again, so a pre-activated chain and a plain one fold alike
    if kind == chain[0] or len(chain) == LONGEST_CHAIN:
        return False
    light = [FAMILIES.get(k, SHAPING) in _LIGHT for k in (*chain, kind)]
    follows = light[0] and all(one or k == "conv" for k, one in zip(chain, light[:-1], strict=True))
    return light[-1] or (FAMILIES.get(kind) == "convolution" and follows)


def _fold_chains(found: Picture, kinds: Mapping[str, str]) -> Picture:
    """Put operations that follow each other in one scope, such as convolution, norm and activation, into one box."""
    ins, outs = neighbors(found.edges)
    chains: dict[str, list[str]] = {}
    head: dict[str, str] = {}
    for name in found.boxes:
        head[name] = name
        if name not in kinds or FAMILIES.get(kinds[name], SHAPING) in ("merge", "input or output") or not ins[name]:
            continue
        # it goes on in the chain before it where it is that one's only user and in the same scope
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


def _fold_repeats(found: Picture, signatures: Mapping[str, Hashable]) -> Picture:
    """Put equal blocks that follow each other, and nothing else, into one box that says how many they are."""
    ins, outs = neighbors(found.edges)
    head = {name: name for name in found.boxes}
    runs: dict[str, list[str]] = {}
    for name in found.boxes:
        before = ins[name][0] if len(ins[name]) == 1 else None
        if before is not None and len(outs[before]) == 1 and name in signatures:
            first = head[before]
            if signatures.get(first) == signatures[name]:
                head[name] = first
                runs.setdefault(first, [first]).append(name)
    boxes = {}
    for name, box in found.boxes.items():
        if name in runs:
            run = runs[name]
            title = Line(f"{run[0]} … {run[-1].rpartition('.')[2]}", BLOCK)
            members = tuple(member for one in run for member in found.boxes[one].members)
            boxes[name] = replace(box, lines=(title, *box.lines[1:]), members=members, repeat=len(run))
        elif head[name] == name:
            boxes[name] = box
    edges = dict.fromkeys((head[u], head[v]) for u, v in found.edges if head[u] != head[v])
    return Picture(boxes, tuple(edges))
