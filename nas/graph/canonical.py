"""Normal form and canonical key: equal keys exactly for graphs that are isomorphic in normal form.

The normal form removes dead nodes, folds identities, removes zero paths and flattens nested sums; the inputs of an
unordered merge are a multiset. Distinct nodes are never merged, as they would hold distinct weights. That a zeroed
input still yields a batch norm's or a layer's bias is ignored by convention.

The key is a hash of an exact canonical form. Colours are refined until stable (each vertex by its inputs and users); a
colour of several vertices is split by trying each of them and keeping the least form. Before that the graph falls
apart: edges that join two colours completely say nothing more than the colours do, so only what stays connected
without them is tried together, and a thousand equal branches cost no more than one each.
(Refinement and individualisation: McKay & Piperno 2014, arXiv:1301.1493.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from nas.graph.graph import Graph
from nas.graph.operators import Add, Multiply

_ZERO = "zero"
Colours = list[int]


@dataclass(frozen=True)
class NormalForm:
    """A labelled directed acyclic graph: vertex i has ``labels[i]`` and inputs ``inputs[i]``; the last is the output.

    ``unordered[i]`` says that the order of vertex i's inputs does not matter.
    """

    labels: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    unordered: tuple[bool, ...]


def key(graph: Graph, output: str | None = None) -> str:
    """Return the canonical key of ``graph``: 32 hexadecimal digits, the same on every machine and version.

    ``output`` is the output whose function counts; by default ``logits`` where there is one, else the first.
    """
    return _digest(certificate(normal_form(graph, output)))


def cells_key(cells: Mapping[str, Graph]) -> str:
    """Return the key of several named cells together."""
    return _digest(tuple(sorted((name, certificate(normal_form(cell))) for name, cell in cells.items())))


def _digest(value: Any) -> str:
    return blake2b(repr(value).encode(), digest_size=16).hexdigest()


def normal_form(graph: Graph, output: str | None = None, remove_zeros: bool = True) -> NormalForm:
    """Return the normal form of what ``output`` computes; ``remove_zeros=False`` only folds identities and sums."""
    if output is None:
        output = "logits" if any(name == "logits" for name, _ in graph.outputs) else graph.outputs[0][0]
    form = _Folding(remove_zeros)
    for node in graph.nodes:
        form.add(node.name, node.op, node.inputs)
    return form.finish(graph.output(output))


class _Folding:
    """Walks the nodes in order and rewrites each over the vertices that are left."""

    def __init__(self, remove_zeros: bool) -> None:
        self._remove_zeros = remove_zeros
        self._labels: list[str] = []
        self._inputs: list[tuple[int, ...]] = []
        self._unordered: list[bool] = []
        self._vertex: dict[str, int | None] = {}  # None: all zeros

    def add(self, name: str, op: Any, inputs: tuple[str, ...]) -> None:
        """Fold one node."""
        ins = [self._vertex[i] for i in inputs]
        if op.is_identity or (op.kind == "concat" and len(ins) == 1):
            self._vertex[name] = ins[0]
        elif self._remove_zeros and self._vanishes(op, ins):
            self._vertex[name] = None
        elif isinstance(op, Add):
            self._vertex[name] = self._sum(op.label(), [i for i in ins if i is not None])
        else:
            whole = tuple(self._new(_ZERO, (), False) if i is None else i for i in ins)
            self._vertex[name] = self._new(op.label(), whole, op.unordered)

    def _vanishes(self, op: Any, ins: list[int | None]) -> bool:
        if op.is_zero:
            return True
        zeros = ins.count(None)
        if isinstance(op, Multiply):
            return zeros > 0
        return bool(ins) and zeros == len(ins) and op.keeps_zero

    def _sum(self, label: str, terms: list[int]) -> int:
        flat = [t for term in terms for t in (self._inputs[term] if self._labels[term] == label else (term,))]
        return flat[0] if len(flat) == 1 else self._new(label, tuple(flat), True)

    def _new(self, label: str, inputs: tuple[int, ...], unordered: bool) -> int:
        self._labels.append(label)
        self._inputs.append(inputs)
        self._unordered.append(unordered)
        return len(self._labels) - 1

    def finish(self, output: str) -> NormalForm:
        """Return what the output needs, numbered anew; the output comes last."""
        root = self._vertex[output]
        if root is None:
            return NormalForm((_ZERO,), ((),), (False,))
        alive = {root}
        for v in range(root, -1, -1):
            if v in alive:
                alive.update(self._inputs[v])
        order = sorted(alive)
        number = {v: i for i, v in enumerate(order)}
        return NormalForm(
            tuple(self._labels[v] for v in order),
            tuple(tuple(number[i] for i in self._inputs[v]) for v in order),
            tuple(self._unordered[v] for v in order),
        )


def certificate(form: NormalForm) -> Any:
    """Return an exact canonical form as nested tuples: equal exactly for isomorphic ``form``."""
    return _Canoniser(form).certify()


class _Canoniser:
    def __init__(self, form: NormalForm) -> None:
        n = len(form.labels)
        self._labels = form.labels
        # an edge is (other end, port): ordered inputs are numbered from 1, unordered ones are all 0
        self._ins: list[list[tuple[int, int]]] = [
            [(u, 0 if form.unordered[v] else port) for port, u in enumerate(form.inputs[v], 1)] for v in range(n)
        ]
        self._outs: list[list[tuple[int, int]]] = [[] for _ in range(n)]
        for v, edges in enumerate(self._ins):
            for u, port in edges:
                self._outs[u].append((v, port))

    def certify(self) -> Any:
        """Return the certificate of the whole graph; the output is marked by its colour."""
        last = len(self._labels) - 1
        marks = [(label, i == last) for i, label in enumerate(self._labels)]
        return self._certify(range(len(marks)), self._refine(_ranks(marks)))

    def _signature(self, v: int, colours: Colours) -> tuple[Any, ...]:
        ins = [(port, colours[u]) for u, port in self._ins[v]]
        outs = [(port, colours[u]) for u, port in self._outs[v]]
        ins.sort()
        outs.sort()
        return colours[v], tuple(ins), tuple(outs)

    def _refine(self, colours: Colours) -> Colours:
        count = len(set(colours))
        while count < len(colours):
            colours = _ranks([self._signature(v, colours) for v in range(len(colours))])
            finer = max(colours) + 1
            if finer == count:
                break
            count = finer
        return colours

    def _certify(self, members: Iterable[int], colours: Colours) -> Any:
        classes: dict[int, list[int]] = defaultdict(list)
        for v in members:
            classes[colours[v]].append(v)
        rows = tuple(
            (colour, len(vs), self._labels[vs[0]], self._signature(vs[0], colours))
            for colour, vs in sorted(classes.items())
        )
        large = [vs for vs in classes.values() if len(vs) > 1]
        if not large:
            return (rows,)
        parts = self._parts(classes, colours)
        if len(parts) > 1:
            return rows, "parts", tuple(sorted(self._certify(part, colours) for part in parts))
        smallest = min(large, key=lambda vs: (len(vs), colours[vs[0]]))
        return rows, "least", min(self._certify(parts[0], self._split(v, colours)) for v in smallest)

    def _split(self, v: int, colours: Colours) -> Colours:
        marked = [(colour, i != v) for i, colour in enumerate(colours)]
        return self._refine(_ranks(marked))

    def _parts(self, classes: dict[int, list[int]], colours: Colours) -> list[list[int]]:
        """Return what stays connected, among classes of several vertices, without completely joined classes."""
        parent = {v: v for vs in classes.values() for v in vs}

        def find(v: int) -> int:
            while parent[v] != v:
                parent[v] = v = parent[parent[v]]
            return v

        for vs in classes.values():
            for v in vs:
                kinds: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
                for u, port in self._ins[v]:
                    if u in parent:
                        kinds[colours[u]][u].append(port)
                for colour, edges in kinds.items():
                    ports = sorted(next(iter(edges.values())))
                    complete = len(edges) == len(classes[colour]) and all(sorted(p) == ports for p in edges.values())
                    if not complete or not self._same_for_all(classes[colours[v]], edges, ports):
                        for u in edges:
                            parent[find(u)] = find(v)
        parts: dict[int, list[int]] = defaultdict(list)
        for v in parent:
            parts[find(v)].append(v)
        return list(parts.values())

    def _same_for_all(self, users: list[int], sources: Mapping[int, list[int]], ports: list[int]) -> bool:
        """Return whether every vertex of ``users`` is joined to every one of ``sources`` by the same ``ports``."""
        if len(users) == 1:
            return True
        for v in users:
            found: dict[int, list[int]] = defaultdict(list)
            for u, port in self._ins[v]:
                if u in sources:
                    found[u].append(port)
            if len(found) != len(sources) or any(sorted(p) != ports for p in found.values()):
                return False
        return True


def _ranks(values: list[Any]) -> Colours:
    rank = {value: i for i, value in enumerate(sorted(set(values)))}
    return [rank[value] for value in values]
