"""Graphs that the tests build: published networks, symmetric monsters, relabelled copies and random labelled graphs."""

from __future__ import annotations

import json
import random
import sys

from nas.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Named,
    Node,
    Relu,
    Sigmoid,
    key,
)
from nas.graph.analysis.canonical import NormalForm

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def vgg16() -> Graph:
    """VGG-16 (arXiv:1409.1556, table 1, D) without its dropouts."""
    b = GraphBuilder((3, 224, 224))
    x = b.input
    for width in VGG16:
        x = b(MaxPool(2), x) if width == "M" else b(Relu(), b(Conv(width, 3, padding=1, bias=True), x))
    x = b(Flatten(), x)
    for i in (1, 2):
        x = b(Relu(), b(Linear(4096), x, name=f"fc{i}"))
    return b.build(logits=b(Linear(1000), x, name="fc3"))


def alexnet() -> Graph:
    """AlexNet on one GPU (Krizhevsky et al. 2012), as the lecture lists it."""
    b = GraphBuilder((3, 227, 227))
    x = b(Relu(), b(Conv(96, 11, 4, bias=True), b.input, name="conv1"))
    x = b(LocalResponseNorm(), b(MaxPool(3, 2), x, name="pool1"))
    x = b(Relu(), b(Conv(256, 5, 1, 2, bias=True), x, name="conv2"))
    x = b(LocalResponseNorm(), b(MaxPool(3, 2), x, name="pool2"))
    for i, width in ((3, 384), (4, 384), (5, 256)):
        x = b(Relu(), b(Conv(width, 3, 1, 1, bias=True), x, name=f"conv{i}"))
    x = b(Flatten(), b(MaxPool(3, 2), x, name="pool3"))
    for width in (4096, 4096):
        x = b(Dropout(), b(Relu(), b(Linear(width), x)))
    return b.build(logits=b(Linear(1000), x))


def resnet50(size: int = 224) -> Graph:
    """ResNet-50 (arXiv:1512.03385, table 1), the stride in the 3x3 convolutions."""
    b = GraphBuilder((3, size, size))

    def conv(x: str, width: int, kernel: int = 1, stride: int = 1) -> str:
        return b(BatchNorm(), b(Conv(width, kernel, stride, kernel // 2), x))

    x = b(MaxPool(3, 2, 1), b(Relu(), conv(b.input, 64, 7, 2)))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = b(Relu(), conv(x, width))
            y = conv(b(Relu(), conv(y, width, 3, stride)), 4 * width)
            short = x if block else conv(x, 4 * width, 1, stride)
            x = b(Relu(), b(Add(), y, short))
    x = b(Flatten(), b(GlobalAvgPool(), x))
    return b.build(logits=b(Linear(1000), x))


def squeeze_excite() -> Graph:
    """A convolution with a gate on its channels (arXiv:1709.01507), an auxiliary head, and a pool in two branches."""
    b = GraphBuilder((3, 16, 16))
    x = b(Conv(8, 3, padding=1), b.input, name="stem")
    gate = b(Sigmoid(), b(Conv(8, bias=True), b(GlobalAvgPool(), x)))
    x = b(Multiply(), x, gate, name="gated")
    aux = b(Linear(4), b(Flatten(), b(GlobalAvgPool(), x)), name="aux_head")
    x = b(Concat(), b(MaxPool(2), x), b(AvgPool(2), x))
    return b.build(logits=b(Linear(4), b(Flatten(), x), name="head"), aux=aux)


def equal_paths(paths: int, blocks: int) -> Graph:
    """Blocks of equal bottleneck paths that are summed: ResNeXt's first form (arXiv:1611.05431, figure 3a)."""
    b = GraphBuilder((8, 8, 8))
    x = b.input
    for _ in range(blocks):
        ends = []
        for _ in range(paths):
            path = b(Relu(), b(BatchNorm(), b(Conv(4), x)))
            ends.append(b(Conv(8), b(Relu(), b(Conv(4, 3, padding=1), path))))
        x = b(Relu(), b(Add(), x, *ends))
    return b.build(logits=x)


def all_but_one(n: int) -> Graph:
    """``n`` equal sums, each of all but one of ``n`` equal convolutions."""
    b = GraphBuilder()
    convs = [b(Named("conv"), b.input) for _ in range(n)]
    sums = [b(Add(), *(c for j, c in enumerate(convs) if j != i)) for i in range(n)]
    return b.build(cell=b(Add(), *(b(Named("pool"), s) for s in sums)))


def rows_and_columns(n: int) -> Graph:
    """Sums over the rows and over the columns of a square of equal convolutions: (n!)^2 * 2 symmetries."""
    b = GraphBuilder()
    square = [[b(Named("conv"), b.input) for _ in range(n)] for _ in range(n)]
    lines = [*square, *zip(*square, strict=True)]
    return b.build(cell=b(Add(), *(b(Named("pool"), b(Add(), *line)) for line in lines)))


def twice_or_crossed(twice: bool) -> Graph:
    """Two sums of three terms: one convolution twice, or both once. Refinement alone cannot tell the two graphs."""
    b = GraphBuilder()
    convs = [b(Named("conv"), b.input) for _ in range(2)]
    pools = [b(Named("pool"), c) for c in convs]
    sums = [b(Add(), *((convs[i], convs[i]) if twice else convs), pools[i]) for i in range(2)]
    return b.build(cell=b(Add(), *(b(Named("end"), s) for s in sums)))


def relabelled(graph: Graph, rng: random.Random) -> Graph:
    """The same graph in another topological order with other names and the inputs of unordered merges shuffled."""
    names = [f"n{i}" for i in range(len(graph.nodes))]
    rng.shuffle(names)
    new = {node.name: name for node, name in zip(graph.nodes, names, strict=True)}
    waiting, done, nodes = list(graph.nodes), set(), []
    while waiting:
        ready = [node for node in waiting if done.issuperset(node.inputs)]
        node = rng.choice(ready)
        waiting.remove(node)
        done.add(node.name)
        inputs = [new[i] for i in node.inputs]
        if node.op.unordered:
            rng.shuffle(inputs)
        nodes.append(Node(new[node.name], node.op, tuple(inputs)))
    return Graph(tuple(nodes), tuple((output, new[name]) for output, name in graph.outputs))


def random_form(rng: random.Random, size: int, labels: int, fan_in: int) -> NormalForm:
    """A random labelled graph; the last vertex collects all that is not used."""
    inputs: list[tuple[int, ...]] = [()]
    for v in range(1, size):
        inputs.append(tuple(rng.randrange(v) for _ in range(rng.randint(1, fan_in))))
    return _closed([f"op{rng.randrange(labels)}" for _ in range(size)], inputs, rng.random() < 0.7)


def random_lift(rng: random.Random, base: NormalForm, copies: int) -> NormalForm:
    """``copies`` of every vertex of ``base``, joined as in it but crosswise at random.

    Colour refinement cannot tell two lifts of one base, isomorphic or not: only trying can.
    """
    inputs: list[tuple[int, ...]] = []
    for sources in base.inputs[:-1]:
        crossings = [rng.sample(range(copies), copies) for _ in sources]
        inputs += [
            tuple(copies * u + crossing[i] for u, crossing in zip(sources, crossings, strict=True))
            for i in range(copies)
        ]
    labels = [label for label in base.labels[:-1] for _ in range(copies)]
    unordered = [flag for flag in base.unordered[:-1] for _ in range(copies)]
    return _closed(labels, inputs, unordered)


def regular_form(rng: random.Random, size: int, degree: int) -> NormalForm:
    """Equal operations, and a sum of two of them for each edge of a random graph where all have ``degree`` edges.

    All operations look alike to color refinement, though hardly two of them can be exchanged.
    """
    while True:
        ends = [v for v in range(1, size + 1) for _ in range(degree)]
        rng.shuffle(ends)
        edges = {tuple(sorted(pair)) for pair in zip(ends[::2], ends[1::2], strict=True)}
        if len(edges) == size * degree // 2 and all(u != v for u, v in edges):
            break
    labels = ["in", *["op"] * size, *["sum"] * len(edges)]
    return _closed(labels, [(), *[(0,)] * size, *sorted(edges)], True)


def shuffled_form(form: NormalForm, rng: random.Random) -> NormalForm:
    """An isomorphic copy of ``form``."""
    order: list[int] = []
    waiting = set(range(len(form.labels)))
    while waiting:
        order.append(rng.choice([v for v in sorted(waiting) if waiting.isdisjoint(form.inputs[v])]))
        waiting.remove(order[-1])
    number = {v: i for i, v in enumerate(order)}
    rows = []
    for v in order:
        sources = [number[u] for u in form.inputs[v]]
        if form.unordered[v]:
            rng.shuffle(sources)
        rows.append(tuple(sources))
    return NormalForm(tuple(form.labels[v] for v in order), tuple(rows), tuple(form.unordered[v] for v in order))


def nearly(form: NormalForm, rng: random.Random) -> NormalForm:
    """A copy of ``form`` with one edge or one label changed; now and then it is isomorphic all the same."""
    labels, inputs = list(form.labels), [list(row) for row in form.inputs]
    edges = [(v, port) for v, row in enumerate(inputs) for port in range(len(row)) if v > 1]
    if edges and rng.random() < 0.7:
        v, port = rng.choice(edges)
        inputs[v][port] = rng.choice([u for u in range(v) if u != inputs[v][port]] or [0])
    else:
        v = rng.randrange(len(labels))
        labels[v] = rng.choice(sorted(set(form.labels)))
    return NormalForm(tuple(labels), tuple(map(tuple, inputs)), form.unordered)


def _closed(labels: list[str], inputs: list[tuple[int, ...]], unordered: bool | list[bool]) -> NormalForm:
    loose = set(range(len(labels))).difference(*inputs)
    flags = [unordered] * len(labels) if isinstance(unordered, bool) else unordered
    return NormalForm((*labels, "out"), (*inputs, tuple(sorted(loose))), (*flags, True))


def golden_keys() -> dict[str, str]:
    """The keys that tests/golden/keys.json holds: what they are may never change."""
    graphs = {
        "vgg16": vgg16(),
        "alexnet": alexnet(),
        "resnet50": resnet50(),
        "squeeze_excite": squeeze_excite(),
        "equal_paths": equal_paths(4, 3),
        "all_but_one": all_but_one(5),
        "rows_and_columns": rows_and_columns(3),
        "twice": twice_or_crossed(True),
        "crossed": twice_or_crossed(False),
    }
    return {name: key(graph) for name, graph in graphs.items()}


if __name__ == "__main__":
    json.dump(golden_keys(), sys.stdout, indent=1)
