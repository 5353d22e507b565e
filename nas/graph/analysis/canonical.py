"""Normal form and canonical key: equal keys exactly for graphs that are isomorphic in normal form.

The normal form removes dead nodes, folds identities, removes zero paths and flattens nested sums; the inputs of an
unordered merge are a multiset. Distinct nodes are never merged, as they would hold distinct weights. That a zeroed
input still yields a batch norm's or a layer's bias is ignored by convention.

The key is a hash of an exact canonical form. Colors are refined until stable (each vertex by its inputs and users); a
color of several vertices is split by trying each and keeping the least form, without those that a symmetry maps to one
tried before (McKay & Piperno 2014, arXiv:1301.1493). Before that the graph falls apart: how most vertices of two colors
are joined says no more than the colors do, so only what the other joints connect is tried together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

from nas.core.values import spelled
from nas.errors import GraphError
from nas.graph.graph import Graph
from nas.graph.primitives.elementwise import Add, Multiply

_ZERO = "zero"
MOST_EQUAL = 2**12
"""How often a vertex is listed among the inputs of another at most."""
MOST_TERMS = 3_000_000
"""The most terms that all sums of a graph may have together, once each of them is one sum."""
MOST_STEPS = 20_000_000
"""The most times that a vertex is looked at: symmetries can make the canonical form take exponential time."""
Colors = dict[int, int]
"""The color of each vertex of a part, from 0 on."""
Classes = dict[int, list[int]]
"""The vertices of each color."""
Ports = tuple[int, ...]
"""How one vertex enters another: the numbers of its ports; into an unordered merge a 0 for each edge, or minus their
number where they are more than :data:`MOST_EQUAL`."""
Certificate: TypeAlias = tuple[Any, ...]
"""Nested tuples of numbers and texts, which are compared with others that are nested alike."""
Mark: TypeAlias = int | Certificate
"""What tells vertices of a part from the start: the color that they had around it, or more."""
Found = tuple[Certificate, list[int]]
"""The certificate of a part and its vertices in the order that it describes."""


@dataclass(frozen=True)
class NormalForm:
    """A labelled directed acyclic graph of numbered vertices, each after its inputs; the last is the output."""

    labels: tuple[str, ...]
    """What tells the primitive of each vertex from others, see :meth:`Primitive.label`."""
    inputs: tuple[tuple[int, ...], ...]
    """The inputs of each vertex."""
    unordered: tuple[bool, ...]
    """Whether the order of a vertex's inputs does not matter."""
    repeats: tuple[tuple[int, int, int], ...] = ()
    """(vertex, input, times) where an unordered vertex has the input more than :data:`MOST_EQUAL` times.

    There ``inputs`` has it that often; n sums of a vertex with itself have it 2^n times.
    """


def key(graph: Graph, output: str | None = None) -> str:
    """Return the canonical key of ``graph``: 32 hexadecimal digits, the same on every machine and version.

    ``output`` is the output whose function counts; by default ``logits`` where there is one, else the first.
    """
    return digest(certificate(normal_form(graph, output)))


def cells_key(cells: Mapping[str, Graph]) -> str:
    """Return the key of several named cells together."""
    return digest(tuple(sorted((name, certificate(normal_form(cell))) for name, cell in cells.items())))


def digest(value: object) -> str:
    """Return 32 hexadecimal digits that tell a value of numbers and texts from others."""
    return blake2b(spelled(value).encode(), digest_size=16).hexdigest()


def normal_form(graph: Graph, output: str | None = None, remove_zeros: bool = True) -> NormalForm:
    """Return the normal form of what ``output`` computes; ``remove_zeros=False`` only folds identities and sums."""
    if output is None:
        output = "logits" if any(name == "logits" for name, _ in graph.outputs) else graph.outputs[0][0]
    labels: list[str] = []
    inputs_of: list[tuple[int, ...]] = []
    unordered: list[bool] = []
    sums: dict[int, Counter[int]] = {}  # how often a sum has each of its terms
    merged = 0

    def add(label: str, inputs: tuple[int, ...], any_order: bool) -> int:
        labels.append(label)
        inputs_of.append(inputs)
        unordered.append(any_order)
        return len(labels) - 1

    # walk the nodes in order and rewrite each over the vertices that are left; None is a vertex of zeros alone
    vertex: dict[str, int | None] = {}
    for name, op, sources in graph.nodes:
        ins = [vertex[i] for i in sources]
        terms = [i for i in ins if i is not None]
        # a product is zero where one factor is, anything else that keeps zeros where all inputs are
        dead = len(terms) < len(ins) if isinstance(op, Multiply) else bool(ins) and not terms and op.keeps_zero
        if op.is_identity or (op.kind == "concat" and len(ins) == 1):
            vertex[name] = ins[0]
        elif remove_zeros and (op.is_zero or dead):
            vertex[name] = None
        elif isinstance(op, Add):
            # a sum of sums is one sum, and a sum of one term is that term
            flat: Counter[int] = Counter()
            for term, times in Counter(terms).items():
                for inner, count in sums[term].items() if term in sums else ((term, 1),):
                    flat[inner] += times * count
                    merged += 1
            if merged > MOST_TERMS:
                raise GraphError(f"node '{name}': up to it the graph's sums have more than {MOST_TERMS:,} terms")
            if flat.total() == 1:
                vertex[name] = next(iter(flat))
            else:
                vertex[name] = v = add(op.label(), (), True)
                sums[v] = flat
        else:
            whole = tuple(add(_ZERO, (), False) if i is None else i for i in ins)
            vertex[name] = add(op.label(), whole, op.unordered)

    # folding may have left vertices that nobody reads any more; the others get new numbers, and the output comes last
    root = vertex[graph.output(output)]
    if root is None:
        return NormalForm((_ZERO,), ((),), (False,))
    alive = {root}
    repeats: list[tuple[int, int, int]] = []
    for v in range(root, -1, -1):
        if v in alive:
            if v in sums:
                inputs_of[v] = tuple(t for t, times in sums[v].items() for _ in range(min(times, MOST_EQUAL)))
                repeats += ((v, t, times) for t, times in sums[v].items() if times > MOST_EQUAL)
            alive.update(inputs_of[v])
    order = sorted(alive)
    number = {v: i for i, v in enumerate(order)}
    return NormalForm(
        tuple(labels[v] for v in order),
        tuple(tuple(number[i] for i in inputs_of[v]) for v in order),
        tuple(unordered[v] for v in order),
        tuple((number[v], number[t], times) for v, t, times in repeats),
    )


def certificate(form: NormalForm) -> Certificate:
    """Return an exact canonical form as nested tuples: equal exactly for isomorphic ``form``."""
    try:
        return _Canonizer(form).certify()
    except RecursionError:
        raise GraphError("the graph has too many symmetries within symmetries for a canonical form") from None


class _Canonizer:
    def __init__(self, form: NormalForm) -> None:
        # an edge of an unordered merge has no port; several edges between two vertices are one with several ports
        n = len(form.labels)
        self._ins: list[dict[int, Ports]] = [{} for _ in range(n)]
        self._outs: list[dict[int, Ports]] = [{} for _ in range(n)]
        for v, sources in enumerate(form.inputs):
            edges: dict[int, list[int]] = defaultdict(list)
            for port, u in enumerate(sources, 1):
                edges[u].append(0 if form.unordered[v] else port)
            self._ins[v] = {u: tuple(ports) for u, ports in edges.items()}
        for v, u, times in form.repeats:
            self._ins[v][u] = (-times,)
        for v, joined in enumerate(self._ins):
            for u, ports in joined.items():
                self._outs[u][v] = ports
        self._labels = form.labels
        self._steps = 0

    def certify(self) -> Certificate:
        """Return the certificate of the whole graph; the output is marked."""
        # vertices begin with what tells most of them apart at once: label, and distance from inputs and output
        n = len(self._labels)
        depths, heights = [0] * n, [0] * n
        for v in range(n):
            depths[v] = 1 + max((depths[u] for u in self._ins[v]), default=0)
        for v in reversed(range(n)):
            heights[v] = 1 + max((heights[u] for u in self._outs[v]), default=0)
        marks = {v: (self._labels[v], v == n - 1, depths[v], heights[v]) for v in range(n)}
        return self._certify(range(n), marks)[0]

    def _certify(self, part: Sequence[int], marks: Mapping[int, Mark], goals: Sequence[Certificate] = ()) -> Found:
        """Return the certificate of the subgraph of ``part``, whose vertices carry ``marks``, and its vertex order.

        Two subgraphs with equal certificates are isomorphic, marks included, by mapping one order onto the other.
        ``goals`` are certificates of subgraphs that this one may be isomorphic to: trying ends where one is reached.
        """
        # where refinement tells all vertices apart their colors are the canonical order
        colors = self._refine(part, marks)
        classes: Classes = defaultdict(list)
        for v in part:
            classes[colors[v]].append(v)
        ordered = [classes[color] for color in range(len(classes))]
        rows = tuple((marks[vs[0]], len(vs), self._signature(vs[0], colors)) for vs in ordered)
        single = [vs[0] for vs in ordered if len(vs) == 1]
        if len(single) == len(part):
            return (rows,), single
        # what hangs together is split by trying; what does not is certified part by part
        parts = self._parts(classes, colors)
        if len(parts) == 1:
            candidates = min(ordered, key=lambda vs: (len(vs) == 1, len(vs)))
            inner = [goal[2] for goal in goals if goal[:2] == (rows, "least")]
            form, order = self._least(parts[0], colors, candidates, inner)
            return (rows, "least", form), single + order
        found = sorted((self._certify(p, colors) for p in parts), key=lambda pair: pair[0])
        return (rows, "parts", tuple(f for f, _ in found)), single + [v for _, order in found for v in order]

    def _least(self, part: list[int], colors: Colors, candidates: list[int], goals: list[Certificate]) -> Found:
        """Return the least certificate, and its order, of ``part`` with one of the candidates told from the others."""
        orbits = _DisjointSets(part)
        best: Found | None = None
        tried: list[int] = []
        for v in candidates:
            # a vertex that a symmetry maps to one tried before would give the same form
            if orbits.find_root(v) in map(orbits.find_root, tried):
                continue
            tried.append(v)
            marks = {u: (colors[u], u != v) for u in part}
            # trying within ends early at a form that is wanted, or equal to the best
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

    def _refine(self, part: Sequence[int], marks: Mapping[int, Mark]) -> Colors:
        """Return the coarsest stable coloring of ``part`` that is finer than ``marks``, numbered from 0."""
        # a round can only split colors, so one that splits none is the last
        colors, count = _ranks({v: marks[v] for v in part})
        while count < len(part):
            self._steps += len(part)
            if self._steps > MOST_STEPS:
                raise GraphError("the graph has too many symmetries for a canonical form in reasonable time")
            colors, finer = _ranks({v: self._signature(v, colors) for v in part})
            if finer == count:
                break
            count = finer
        return colors

    def _signature(self, v: int, colors: Colors) -> Certificate:
        ins = [(colors[u], ports) for u, ports in self._ins[v].items() if u in colors]
        outs = [(colors[u], ports) for u, ports in self._outs[v].items() if u in colors]
        ins.sort()
        outs.sort()
        return colors[v], tuple(ins), tuple(outs)

    def _parts(self, classes: Classes, colors: Colors) -> list[list[int]]:
        """Return what stays connected among classes of several vertices when the usual joint of two classes is none.

        The coloring is stable, so the classes alone tell which joint of two classes is the usual one.
        """
        members = {v: None for vs in classes.values() if len(vs) > 1 for v in vs}
        parts = _DisjointSets(members)
        for v in members:
            edges: dict[int, dict[int, Ports]] = defaultdict(dict)
            for u, ports in self._ins[v].items():
                if u in members:
                    edges[colors[u]][u] = ports
            for color, joined in edges.items():
                others = classes[color]
                # the usual joint is that of most vertices of the class, None where most are not joined
                count, ports = max((count, ports) for ports, count in Counter(joined.values()).items())
                common = ports if count > len(others) - len(joined) else None
                for u in joined if common is None else others:
                    if joined.get(u) != common:
                        parts.union(u, v)
        return parts.groups()


def _ranks(values: Mapping[int, Mark]) -> tuple[Colors, int]:
    """Return the rank of each value among the distinct ones, and the number of these."""
    rank = {value: i for i, value in enumerate(sorted(set(values.values())))}
    return {v: rank[value] for v, value in values.items()}, len(rank)


class _DisjointSets:
    """Disjoint sets of vertices."""

    def __init__(self, vertices: Iterable[int]) -> None:
        self._parent = {v: v for v in vertices}

    def find_root(self, v: int) -> int:
        parent = self._parent
        while parent[v] != v:
            parent[v] = v = parent[parent[v]]
        return v

    def union(self, a: int, b: int) -> None:
        self._parent[self.find_root(a)] = self.find_root(b)

    def groups(self) -> list[list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for v in self._parent:
            found[self.find_root(v)].append(v)
        return list(found.values())
