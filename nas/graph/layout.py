"""A layered layout of boxes and arrows: layers by longest paths, orders by barycentres, places by least squares.

The scheme of Sugiyama et al. 1981. An arrow over several layers has a bend in each of them; arrows from one box share
their bends, so that a value that is used far below is one line that branches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Point = tuple[float, float]
Edge = tuple[str, str]
_SWEEPS = 24
_GAP_X, _GAP_Y, _PORT = 26.0, 30.0, 16.0
_LANE = 10.0
"""Width that a passing arrow has in a layer."""
_HEAVY, _FIXED = 4.0, 1e6


class Layout(NamedTuple):
    """Centres of the boxes, corner points of each arrow, and the size of the whole; y grows downwards."""

    centres: dict[str, Point]
    routes: dict[Edge, list[Point]]
    width: float
    height: float


def layered(sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge]) -> Layout:
    """Return a layout of boxes of ``sizes`` (width, height), given in topological order, with distinct ``edges``."""
    layers = _layers(list(sizes), edges)
    rows, links, bends = _with_bends(layers, edges)
    widths = {vertex: sizes[vertex][0] if vertex in sizes else _LANE for row in rows for vertex in row}
    rows = _ordered(rows, links)
    xs = _places(rows, links, widths)
    left = min(xs[v] - widths[v] / 2 for v in xs)
    tops, heights, y = [], [], 0.0
    for row in rows:
        tops.append(y)
        heights.append(max(sizes[v][1] if v in sizes else 0.0 for v in row))
        y += heights[-1] + _GAP_Y
    centres = {v: (xs[v] - left, tops[layers[v]] + heights[layers[v]] / 2) for v in sizes}
    spans = [(top, top + height) for top, height in zip(tops, heights, strict=True)]
    ports = _ports(edges, bends, xs, widths)
    routes = {}
    for edge in edges:
        u, v = edge
        middle = [(xs[b] - left, spans[layers[u] + 1 + i]) for i, b in enumerate(bends[edge])]
        start = centres[u][0], centres[u][1] + sizes[u][1] / 2
        end = ports[edge] - left, centres[v][1] - sizes[v][1] / 2
        points = [start, (start[0], spans[layers[u]][1])]
        points += [point for x, (top, bottom) in middle for point in ((x, top), (x, bottom))]
        points += [(end[0], spans[layers[v]][0]), end]
        routes[edge] = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
    width = max(xs[v] + widths[v] / 2 for v in xs) - left
    return Layout(centres, routes, width, y - _GAP_Y)


def _layers(boxes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the layer of every box: below all its inputs, and as near to its users as makes arrows short."""
    ins, outs = defaultdict(list), defaultdict(list)
    for u, v in edges:
        ins[v].append(u)
        outs[u].append(v)
    layer: dict[str, int] = {}
    for box in boxes:
        layer[box] = 1 + max((layer[u] for u in ins[box]), default=-1)
    for box in reversed(boxes):
        if (ins[box] and len(outs[box]) > len(ins[box])) or len(ins[box]) == len(outs[box]) == 1:
            layer[box] = min(layer[v] for v in outs[box]) - 1
    return layer


def _with_bends(
    layers: Mapping[str, int], edges: Sequence[Edge]
) -> tuple[list[list[str]], list[Edge], dict[Edge, list[str]]]:
    """Return the vertices of each layer, bends among them; the links between neighbouring layers; each edge's bends."""
    rows: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for box, layer in layers.items():
        rows[layer].append(box)
    links: dict[Edge, None] = {}
    bends: dict[Edge, list[str]] = {}
    for u, v in edges:
        path = [f"{u}\n{layer}" for layer in range(layers[u] + 1, layers[v])]
        bends[u, v] = path
        for i, bend in enumerate(path, layers[u] + 1):
            if bend not in rows[i]:
                rows[i].append(bend)
        chain = [u, *path, v]
        links.update(dict.fromkeys(pairwise(chain)))
    return rows, list(links), bends


def _neighbours(links: Sequence[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above, below = defaultdict(list), defaultdict(list)
    for u, v in links:
        above[v].append(u)
        below[u].append(v)
    return above, below


def _ordered(rows: list[list[str]], links: Sequence[Edge]) -> list[list[str]]:
    """Return each layer in an order with few crossings: sweeps up and down by the mean place of the neighbours."""
    above, below = _neighbours(links)
    best, fewest = rows, _crossings(rows, above)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        near = above if downwards else below
        rows = [list(row) for row in rows]
        place: dict[str, float] = {v: i for row in rows for i, v in enumerate(row)}
        for i in range(len(rows)) if downwards else reversed(range(len(rows))):
            means = {v: sum(place[u] for u in near[v]) / len(near[v]) if near[v] else place[v] for v in rows[i]}
            rows[i].sort(key=means.__getitem__)
            place.update((v, j) for j, v in enumerate(rows[i]))
        crossings = _crossings(rows, above)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _crossings(rows: Sequence[Sequence[str]], above: Mapping[str, list[str]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {v: i for i, v in enumerate(upper)}
        ends = [p for v in lower for p in sorted(place[u] for u in above.get(v, ()))]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _places(rows: Sequence[Sequence[str]], links: Sequence[Edge], widths: Mapping[str, float]) -> dict[str, float]:
    """Return the x of every vertex: near the mean of its neighbours, in order and without overlap.

    A box that has a layer for itself, but for lines that pass, stands in the middle: so a long network goes straight
    down. Sweeps look up and down in turn; the last looks up, so that chains hang straight below what they come from.
    """
    above, below = _neighbours(links)
    xs: dict[str, float] = {}
    for row in rows:
        x = -sum(widths[v] + _GAP_X for v in row) / 2
        for v in row:
            xs[v] = x + widths[v] / 2
            x += widths[v] + _GAP_X
    for sweep in range(_SWEEPS + 1):
        downwards = sweep % 2 == 0
        near = above if downwards else below
        for row in rows if downwards else reversed(rows):
            alone = [v for v in row if not _is_bend(v)]
            wishes = [0.0 if alone == [v] else _mean(v, near[v], xs) for v in row]
            weights = [_FIXED if alone == [v] else _HEAVY if _is_bend(v) else 1.0 for v in row]
            xs.update(zip(row, _apart(wishes, weights, [widths[v] for v in row]), strict=True))
    return xs


def _mean(vertex: str, others: Sequence[str], xs: Mapping[str, float]) -> float:
    """Return the mean place of ``others``; boxes follow boxes more than lines that pass, and lines follow lines."""
    if not others:
        return xs[vertex]
    weights = [_HEAVY if _is_bend(u) == _is_bend(vertex) else 1.0 for u in others]
    return sum(xs[u] * w for u, w in zip(others, weights, strict=True)) / sum(weights)


def _is_bend(vertex: str) -> bool:
    return "\n" in vertex


def _apart(wishes: Sequence[float], weights: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return the places nearest to ``wishes`` by weighted squares that keep the order and the gaps.

    Less the widths before them the places must not fall: isotonic regression, by pooling adjacent violators.
    """
    offsets = [0.0]
    for a, b in pairwise(widths):
        offsets.append(offsets[-1] + (a + b) / 2 + _GAP_X)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, total, count = wish - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, heavy, members = pools.pop()
            mean = (mean * total + other * heavy) / (total + heavy)
            total, count = total + heavy, count + members
        pools.append((mean, total, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [x + offset for x, offset in zip(flat, offsets, strict=True)]


def _ports(
    edges: Sequence[Edge], bends: Mapping[Edge, list[str]], xs: Mapping[str, float], widths: Mapping[str, float]
) -> dict[Edge, float]:
    """Return the x at which each arrow enters its box: side by side, in the order in which they come."""
    entering: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        entering[edge[1]].append(edge)
    ports: dict[Edge, float] = {}
    for v, arrows in entering.items():
        arrows.sort(key=lambda edge: xs[bends[edge][-1] if bends[edge] else edge[0]])
        step = min(_PORT, widths[v] / (len(arrows) + 1))
        for i, edge in enumerate(arrows):
            ports[edge] = xs[v] + (i - (len(arrows) - 1) / 2) * step
    return ports
