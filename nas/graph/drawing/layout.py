"""A layered layout of boxes and arrows: layers by longest paths, orders by barycenters, places by least squares.

The scheme of Sugiyama et al. 1981. An arrow over several layers has a bend in each of them; arrows from one box share
their bends, so that a value that is used far below is one line that branches.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from nas.errors import GraphError

Point = tuple[float, float]
Edge = tuple[str, str]
_SWEEPS = 24
_GAP_X, _GAP_Y, _PORT = 26.0, 30.0, 16.0
_LANE = 10.0
"""Width that a passing arrow has in a layer."""
MOST_DRAWN = 60_000
"""The largest drawing: it takes some ten seconds."""
_HEAVY, _FIXED = 4.0, 1e6


class Layout(NamedTuple):
    """Centres of the boxes, corner points of each arrow, and the size of the whole; y grows downwards."""

    centers: dict[str, Point]
    routes: dict[Edge, list[Point]]
    width: float
    height: float


def neighbors(edges: Sequence[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return where the edges into each vertex come from, and where those out of each go to."""
    above, below = defaultdict(list), defaultdict(list)
    for u, v in edges:
        above[v].append(u)
        below[u].append(v)
    return above, below


def layered(sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge]) -> Layout:
    """Return a layout of boxes of ``sizes`` (width, height), given in topological order, with distinct ``edges``."""
    # as high as its inputs allow, then down to its users where that moves fewer arrows than it lengthens
    ins, outs = neighbors(edges)
    layers: dict[str, int] = {}
    for box in sizes:
        layers[box] = 1 + max((layers[u] for u in ins[box]), default=-1)
    for box in reversed(list(sizes)):
        if (ins[box] and len(outs[box]) > len(ins[box])) or len(ins[box]) == len(outs[box]) == 1:
            layers[box] = min(layers[v] for v in outs[box]) - 1

    # the vertices of each layer, bends among them, and the links between neighboring layers
    lowest = {u: max(layers[v] for v in below) for u, below in outs.items() if below}
    drawn = len(sizes) + len(edges) + sum(lowest[u] - layers[u] - 1 for u in lowest)
    if drawn > MOST_DRAWN:
        found = f"found {drawn:,}: choose a smaller --level, or another format"
        raise GraphError(f"a drawing has at most {MOST_DRAWN:,} boxes, arrows and bends, {found}")
    rows: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for box, layer in layers.items():
        rows[layer].append(box)
    chains: dict[Edge, None] = {}
    bends: dict[Edge, list[str]] = {}
    placed: set[str] = set()
    for u, v in edges:
        path = bends[u, v] = [f"{u}\n{layer}" for layer in range(layers[u] + 1, layers[v])]
        for i, bend in enumerate(path, layers[u] + 1):
            if bend not in placed:
                placed.add(bend)
                rows[i].append(bend)
        chains.update(dict.fromkeys(pairwise([u, *path, v])))
    links = list(chains)
    widths = {vertex: sizes[vertex][0] if vertex in sizes else _LANE for row in rows for vertex in row}
    rows = _ordered(rows, links)

    # from left to right as near to the neighbors as can be, from top to bottom layer by layer
    xs = _places(rows, links, widths)
    left = min(xs[v] - widths[v] / 2 for v in xs)
    tops, heights, y = [], [], 0.0
    for row in rows:
        tops.append(y)
        heights.append(max(sizes[v][1] if v in sizes else 0.0 for v in row))
        y += heights[-1] + _GAP_Y
    centers = {v: (xs[v] - left, tops[layers[v]] + heights[layers[v]] / 2) for v in sizes}

    # an arrow goes straight down through every layer that it passes, so that it crosses no box
    spans = [(top, top + height) for top, height in zip(tops, heights, strict=True)]
    entering: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        entering[edge[1]].append(edge)
    # where arrows enter a box they are side by side, in the order in which they come
    ports: dict[Edge, float] = {}
    for v, arrows in entering.items():
        arrows.sort(key=lambda edge: xs[bends[edge][-1] if bends[edge] else edge[0]])
        step = min(_PORT, widths[v] / (len(arrows) + 1))
        ports.update((edge, xs[v] + (i - (len(arrows) - 1) / 2) * step) for i, edge in enumerate(arrows))
    routes = {}
    for edge in edges:
        u, v = edge
        middle = [(xs[b] - left, spans[layers[u] + 1 + i]) for i, b in enumerate(bends[edge])]
        start = centers[u][0], centers[u][1] + sizes[u][1] / 2
        end = ports[edge] - left, centers[v][1] - sizes[v][1] / 2
        # within the first and the last layer it goes straight down, too: their boxes may be taller than its own
        points = [start, (start[0], spans[layers[u]][1])]
        points += [point for x, (top, bottom) in middle for point in ((x, top), (x, bottom))]
        points += [(end[0], spans[layers[v]][0]), end]
        routes[edge] = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
    width = max(xs[v] + widths[v] / 2 for v in xs) - left
    return Layout(centers, routes, width, y - _GAP_Y)


def _ordered(rows: list[list[str]], links: Sequence[Edge]) -> list[list[str]]:
    """Return each layer in an order with few crossings: sweeps up and down by the mean place of the neighbors."""
    above, below = neighbors(links)
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
        before: list[int] = []
        for end in ends:
            total += len(before) - bisect_right(before, end)
            insort(before, end)
    return total


def _places(rows: Sequence[Sequence[str]], links: Sequence[Edge], widths: Mapping[str, float]) -> dict[str, float]:
    """Return the x of every vertex: near the mean of its neighbors, in order and without overlap.

    Sweeps look up and down in turn; the last looks up, so that chains hang straight below what they come from.
    """
    above, below = neighbors(links)
    # the start: every layer packed around 0
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
            # a lone box is held in the middle, so that a long network goes straight down; lines shall be straight
            targets = [0.0 if alone == [v] else _mean(v, near[v], xs) for v in row]
            weights = [_FIXED if alone == [v] else _HEAVY if _is_bend(v) else 1.0 for v in row]
            xs.update(zip(row, _apart(targets, weights, [widths[v] for v in row]), strict=True))
    return xs


def _mean(vertex: str, others: Sequence[str], xs: Mapping[str, float]) -> float:
    """Return the mean place of ``others``; boxes follow boxes more than lines that pass, and lines follow lines."""
    if not others:
        return xs[vertex]
    weights = [_HEAVY if _is_bend(u) == _is_bend(vertex) else 1.0 for u in others]
    return sum(xs[u] * w for u, w in zip(others, weights, strict=True)) / sum(weights)


def _is_bend(vertex: str) -> bool:
    return "\n" in vertex


def _apart(targets: Sequence[float], weights: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return the places nearest to ``targets`` by weighted squares that keep the order and the gaps."""
    # less the widths before them the places must not fall: isotonic regression, by pooling adjacent violators
    offsets = [0.0]
    for a, b in pairwise(widths):
        offsets.append(offsets[-1] + (a + b) / 2 + _GAP_X)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for target, weight, offset in zip(targets, weights, offsets, strict=True):
        mean, total, count = target - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, heavy, members = pools.pop()
            mean = (mean * total + other * heavy) / (total + heavy)
            total, count = total + heavy, count + members
        pools.append((mean, total, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [x + offset for x, offset in zip(flat, offsets, strict=True)]
