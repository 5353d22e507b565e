"""Normal form and canonical key: equal keys exactly for graphs that are isomorphic in normal form.

The normal form removes dead nodes, folds identities, removes zero paths and flattens nested sums; the inputs of an
unordered merge are a multiset. Distinct nodes are never merged, as they would hold distinct weights. That a zeroed
input still yields a batch norm's or a layer's bias is ignored by convention.

The key is a hash of an exact canonical form. Colours are refined until stable (each vertex by its inputs and users); a
colour of several vertices is split by trying each of them and keeping the least form. Before that the graph falls
apart: how most vertices of two colours are joined says nothing more than the colours do, so only what stays connected
by the other joints is tried together, and a thousand equal branches cost no more than one each. Trials that gave the
same form show a symmetry, and what it maps to a vertex tried already is not tried again.
(Refinement, individualisation and pruning by automorphisms: McKay & Piperno 2014, arXiv:1301.1493.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from nas.graph.graph import Graph
from nas.graph.operators import Add, Multiply

_ZERO = "zero"
Colours = dict[int, int]
Classes = dict[int, list[int]]
_Found = tuple[Any, list[int]]
Ports = tuple[int, ...]
"""How one vertex enters another: the numbers of its ports, or a 0 for each edge into an unordered merge."""


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
        self._ins: list[dict[int, Ports]] = [{} for _ in range(n)]
        self._outs: list[dict[int, Ports]] = [{} for _ in range(n)]
        for v, sources in enumerate(form.inputs):
            edges = self._ins[v]
            for port, u in enumerate(sources, 1):
                edges[u] = (*edges.get(u, ()), 0 if form.unordered[v] else port)
            for u, ports in edges.items():
                self._outs[u][v] = ports
        self._labels = form.labels

    def certify(self) -> Any:
        """Return the certificate of the whole graph; the output is marked."""
        n = len(self._labels)
        depths, heights = [0] * n, [0] * n
        for v in range(n):
            depths[v] = 1 + max((depths[u] for u in self._ins[v]), default=0)
        for v in reversed(range(n)):
            heights[v] = 1 + max((heights[u] for u in self._outs[v]), default=0)
        marks = {v: (self._labels[v], v == n - 1, depths[v], heights[v]) for v in range(n)}
        return self._certify(range(n), marks)[0]

    def _certify(self, part: Sequence[int], marks: Mapping[int, Any], goals: Sequence[Any] = ()) -> _Found:
        """Return the certificate of the subgraph of ``part``, whose vertices carry ``marks``, and its vertex order.

        Two subgraphs with equal certificates are isomorphic, marks included, by mapping one order onto the other.
        ``goals`` are certificates of subgraphs that this one may be isomorphic to: trying ends where one is reached.
        """
        colours = self._refine(part, marks)
        classes: Classes = defaultdict(list)
        for v in part:
            classes[colours[v]].append(v)
        ordered = [classes[colour] for colour in range(len(classes))]
        rows = tuple((marks[vs[0]], len(vs), self._signature(vs[0], colours)) for vs in ordered)
        single = [vs[0] for vs in ordered if len(vs) == 1]
        if len(single) == len(part):
            return (rows,), single
        parts = self._parts(classes, colours)
        if len(parts) == 1:
            candidates = min(ordered, key=lambda vs: (len(vs) == 1, len(vs)))
            inner = [goal[2] for goal in goals if goal[:2] == (rows, "least")]
            form, order = self._least(parts[0], colours, candidates, inner)
            return (rows, "least", form), single + order
        found = sorted((self._certify(p, colours) for p in parts), key=lambda pair: pair[0])
        return (rows, "parts", tuple(f for f, _ in found)), single + [v for _, order in found for v in order]

    def _least(self, part: list[int], colours: Colours, candidates: list[int], goals: list[Any]) -> _Found:
        """Return the least certificate, and its order, of ``part`` with one of the candidates told from the others."""
        orbits = _Sets(part)
        best: _Found | None = None
        tried: list[int] = []
        for v in candidates:
            if orbits.find(v) in map(orbits.find, tried):
                continue
            tried.append(v)
            marks = {u: (colours[u], u != v) for u in part}
            found = self._certify(part, marks, goals if best is None else [*goals, best[0]])
            if found[0] in goals:
                return found
            if best is None or found[0] < best[0]:
                best = found
            elif found[0] == best[0]:
                for a, b in zip(best[1], found[1], strict=True):
                    orbits.union(a, b)
        assert best is not None
        return best

    def _refine(self, part: Sequence[int], marks: Mapping[int, Any]) -> Colours:
        """Return the coarsest stable colouring of ``part`` that is finer than ``marks``, numbered from 0."""
        colours, count = _ranks({v: marks[v] for v in part})
        while count < len(part):
            colours, finer = _ranks({v: self._signature(v, colours) for v in part})
            if finer == count:
                break
            count = finer
        return colours

    def _signature(self, v: int, colours: Colours) -> tuple[Any, ...]:
        ins = [(colours[u], ports) for u, ports in self._ins[v].items() if u in colours]
        outs = [(colours[u], ports) for u, ports in self._outs[v].items() if u in colours]
        ins.sort()
        outs.sort()
        return colours[v], tuple(ins), tuple(outs)

    def _parts(self, classes: Classes, colours: Colours) -> list[list[int]]:
        """Return what stays connected among classes of several vertices when the usual joint of two classes is none.

        The colouring is stable, so the classes alone tell which joint of two classes is the usual one.
        """
        parts = _Sets(v for vs in classes.values() if len(vs) > 1 for v in vs)
        for v in parts.members():
            edges: dict[int, dict[int, Ports]] = defaultdict(dict)
            for u, ports in self._ins[v].items():
                if u in parts:
                    edges[colours[u]][u] = ports
            for colour, joined in edges.items():
                others = classes[colour]
                usual = _usual(joined, len(others))
                for u in joined if usual is None else others:
                    if joined.get(u) != usual:
                        parts.union(u, v)
        return parts.groups()


def _usual(joined: Mapping[int, Ports], size: int) -> Ports | None:
    """Return the ports by which most of ``size`` vertices are joined, None where most are not."""
    count, ports = max((count, ports) for ports, count in Counter(joined.values()).items())
    return ports if count > size - len(joined) else None


def _ranks(values: Mapping[int, Any]) -> tuple[Colours, int]:
    rank = {value: i for i, value in enumerate(sorted(set(values.values())))}
    return {v: rank[value] for v, value in values.items()}, len(rank)


class _Sets:
    """Disjoint sets of vertices."""

    def __init__(self, vertices: Iterable[int]) -> None:
        self._parent = {v: v for v in vertices}

    def __contains__(self, v: int) -> bool:
        return v in self._parent

    def members(self) -> list[int]:
        """Return all vertices."""
        return list(self._parent)

    def find(self, v: int) -> int:
        """Return the vertex that stands for the set of ``v``."""
        parent = self._parent
        while parent[v] != v:
            parent[v] = v = parent[parent[v]]
        return v

    def union(self, a: int, b: int) -> None:
        """Make the sets of ``a`` and ``b`` one."""
        self._parent[self.find(a)] = self.find(b)

    def groups(self) -> list[list[int]]:
        """Return the sets."""
        found: dict[int, list[int]] = defaultdict(list)
        for v in self._parent:
            found[self.find(v)].append(v)
        return list(found.values())
