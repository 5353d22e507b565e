"""Drawings: a graph as SVG, from top to bottom, readable on white paper."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from xml.sax.saxutils import escape, quoteattr

from nas.core.text import printable_lines
from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.analysis.cost import cost
from nas.graph.drawing.boxes import BLOCK, FAMILIES, LONGEST_CHAIN, SHAPING, Box, Picture, picture, summary
from nas.graph.drawing.layout import Layout, Point, layered
from nas.graph.graph import Graph

COLORS = {
    "input or output": ("#ffffff", "#444444"),
    "convolution": ("#cfe2f7", "#2f6aa8"),
    "linear": ("#ddd3f0", "#6a4fa0"),
    "pooling": ("#d3ecd0", "#3d8b37"),
    "norm": ("#ececec", "#8a8a8a"),
    "activation": ("#fde3c4", "#c07a1e"),
    "merge": ("#fff3b8", "#a88a00"),
    "regularizer": ("#f8d3d3", "#b04a4a"),
    "no weights": ("#f7f7f7", "#9a9a9a"),
    SHAPING: ("#e0f0f0", "#4f9090"),
    BLOCK: ("#e6ebf5", "#44567a"),
}
"""Fill and border of each family."""

MOST_SHOWN = 400
"""Boxes, and arrows, of a picture in a notebook: it then has about 200 kB."""
SMALLEST = 0.5
"""The share of its own width to which a picture shrinks on a narrow page."""
_PAPER = '<rect width="100%" height="100%" fill="#ffffff"/>'
_ARROW, _ANY_PAPER = "#555555", "#888888"
"""The color of arrows, and one that can be seen on light and on dark paper."""
_EXTENT = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
_FONT = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
_SIZE, _SMALL, _TITLE = 12, 10, 15
_LINE, _PAD, _MARGIN, _SHAPE = 20, 10, 24, 15
_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'()[]/- "), frozenset("mwMW@%…→×+")


def draw_svg(graph: Graph, level: int | None = None, title: str = "", legend: bool = True) -> str:
    """Return a drawing of a cell or a network as SVG.

    Nodes whose dotted names agree in the first ``level`` segments are one box, by default at the deepest level that
    keeps the picture readable; equal blocks that follow each other are one box with their number, and so are chains
    such as convolution, norm, activation. A box tells the shape (C×H×W) that leaves it, its tooltip the nodes it shows.
    Raises :class:`GraphError` for a level below one and for a graph whose shapes do not fit.
    """
    if level is not None and (type(level) is not int or level < 1):
        raise GraphError(f"level must be an integer of at least 1, found {level!r}")
    return _drawing(graph, picture(graph, level), title, legend)


def notebook_svg(graph: Graph) -> str | None:
    """Return the drawing that a notebook shows of a cell or a network; None where the shapes of a network do not fit.

    It is that of :func:`draw_svg`, but of a graph that would have more than :data:`MOST_SHOWN` boxes or arrows it is a
    :func:`nas.graph.drawing.boxes.summary`. Its names are its own, since a page may hold many pictures.
    """
    try:
        # a box holds a chain of few nodes that are in no block: a picture of too many need not be made
        loose = sum("." not in node.name for node in graph.nodes)
        shown = summary(graph) if loose > LONGEST_CHAIN * MOST_SHOWN else picture(graph)
        if max(len(shown.boxes), len(shown.edges)) > MOST_SHOWN:
            shown = summary(graph)
        return fitting(marked(_drawing(graph, shown, "", True)))
    except GraphError:
        return None


def inline_svg(graph: Graph) -> str:
    """Return the drawing of a cell without paper or words outside of its boxes, for a page of any color."""
    svg = draw_svg(graph, legend=False).replace(f"{_PAPER}\n", "", 1)
    svg = svg.replace(f"stroke:{_ARROW}", f"stroke:{_ANY_PAPER}").replace(
        f'fill="{_ARROW}"/></m', f'fill="{_ANY_PAPER}"/></m'
    )
    return fitting(marked(svg))


def fitting(svg: str) -> str:
    """Return a picture that shrinks to the width of its page, but not to less than :data:`SMALLEST` of its own."""
    found = _EXTENT.search(svg)
    width = float(found[1]) if found else 0.0
    style = f"width:min({_n(width)}px, max(100%, {_n(SMALLEST * width)}px));height:auto"
    return svg.replace("<svg ", f'<svg style="{style}" ', 1)


def side_by_side(drawings: Mapping[str, Graph]) -> str:
    """Return one picture of several cells or networks, each under its name, from left to right."""
    parts, x, height = [], 0.0, 0.0
    for name, graph in drawings.items():
        svg = draw_svg(graph, title=name, legend=False)
        found = _EXTENT.search(svg)
        wide, high = map(float, found.groups()) if found else (0.0, 0.0)
        parts.append(marked(svg, attributes=f'x="{_n(x)}" '))
        x, height = x + wide, max(height, high)
    size = f'width="{_n(x)}" height="{_n(height)}" viewBox="0 0 {_n(x)} {_n(height)}"'
    return fitting("\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', _PAPER, *parts, "</svg>"]) + "\n")


def marked(svg: str, mark: str = "", attributes: str = "") -> str:
    """Return a drawing whose names and rules are its own on a page with others, the root of which is ``mark``.

    By default the mark follows from the drawing. ``attributes`` are further ones of the root.
    """
    mark = mark or f"drawing-{blake2b(svg.encode(), digest_size=6).hexdigest()}"
    lines = []
    for line in svg.splitlines():
        if line.startswith("<svg "):
            line = line.replace("<svg ", f'<svg id="{mark}" {attributes}', 1)
        elif line.startswith("<defs>"):
            line = line.replace('id="arrow"', f'id="{mark}-arrow"')
        elif line.startswith("<style>"):
            line = line.replace(".edge{", f"#{mark} .edge{{").replace("url(#arrow)", f"url(#{mark}-arrow)")
        lines.append(line)
    return "\n".join(lines)


def _drawing(graph: Graph, shown: Picture, title: str, legend: bool) -> str:
    """Return the drawing of ``shown``, which is all or a part of ``graph``."""
    sizes = {name: _size(box) for name, box in shown.boxes.items()}
    layout = layered(sizes, shown.edges)

    # a title, a line of costs for a network, and below the picture a legend of the families in it
    head = [(title, _TITLE)] if title else []
    if len(graph.inputs) == 1 and graph.inputs[0].op.attributes()["size"]:
        total = cost(graph)
        head.append((f"{total.params:,} parameters, {total.macs:,} multiply-accumulates an image", _SMALL))
    families = [f for f in COLORS if any(line.family == f for box in shown.boxes.values() for line in box.lines)]
    key, key_width, key_height = _legend(families) if legend else ([], 0.0, 0.0)

    # the picture is as wide as the widest of the three, and the boxes are in its middle
    top = _MARGIN + (30.0 if title else 0.0) + (18.0 if len(head) > bool(title) else 0.0)
    wide = max([layout.width, key_width, *(text_width(text, size) for text, size in head)])
    width, height = wide + 2 * _MARGIN, top + layout.height + key_height + 1.5 * _MARGIN
    left = _MARGIN + (wide - layout.width) / 2

    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}">',
        f"<title>{escape(title or 'network')}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" fill="{_ARROW}"/></marker></defs>',
        f"<style>.edge{{fill:none;stroke:{_ARROW};stroke-width:1.2;marker-end:url(#arrow)}}</style>",
        _PAPER,
    ]
    y = _MARGIN
    for text, points in head:
        y += points
        parts.append(_text(_MARGIN, y, text, points, bold=points == _TITLE, anchor="start"))
        y += 8
    parts.append(f'<g transform="translate({_n(left)} {_n(top)})">')
    # arrows come last: the box behind repeated blocks would hide their heads
    parts += [_node(box, layout, sizes[name]) for name, box in shown.boxes.items()]
    parts += [_edge(u, v, layout.routes[u, v]) for u, v in shown.edges]
    parts.append("</g>")
    if key:
        parts.append(f'<g transform="translate({_MARGIN} {_n(height - key_height - _MARGIN / 2)})">')
        parts += [*key, "</g>"]
    return printable_lines("\n".join([*parts, "</svg>"])) + "\n"


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of ``text`` in pixels, with some room: DejaVu Sans is the widest of the fonts asked for."""
    units = sum(0.42 if c in _NARROW else 0.98 if c in _WIDE else 0.72 if c.isupper() else 0.635 for c in text)
    return size * units * (1.1 if bold else 1.0)


def _size(box: Box) -> tuple[float, float]:
    if box.symbol:
        return 26.0, 26.0
    lines = [text_width(line.text, _SIZE, bold=i == 0 and line.family == BLOCK) for i, line in enumerate(box.lines)]
    shape = text_width(_shape(box.shape), _SMALL) if box.shape else 0.0
    badge = 2 * text_width(f"× {box.repeat}", _SIZE, bold=True) if box.repeat > 1 else 0.0
    return max([*lines, shape, 40.0]) + 2 * _PAD + badge, _LINE * len(box.lines) + (_SHAPE if box.shape else 0)


def _shape(shape: Shape | None) -> str:
    return "×".join(map(str, shape or ()))


def _node(box: Box, layout: Layout, size: tuple[float, float]) -> str:
    (x, y), (width, height) = layout.centers[box.name], size
    left, top = x - width / 2, y - height / 2
    # a chain has the color of what weighs most in it; its other lines are painted over
    family = next((line.family for line in box.lines if line.family in ("convolution", "linear")), box.lines[0].family)
    fill, border = COLORS[family]
    names = ", ".join(box.members) if len(box.members) <= 6 else f"{box.members[0]} … {box.members[-1]}"
    parts = [f'<g class="box"><title>{escape(names or box.name)}</title>']
    if box.repeat > 1:
        # a second box shows behind the first
        parts.append(_rect(left + 4, top - 4, width, height, fill=fill, border=border, radius=5))
    if box.symbol:
        parts.append(_rect(left, top, width, height, fill=fill, border=border, radius=height / 2, name=box.name))
        parts.append(_text(x, y + 6, box.lines[0].text, 17))
        return "\n".join([*parts, "</g>"])
    radius = height / 2 if family == FAMILIES["input"] else 5.0
    parts.append(_rect(left, top, width, height, fill=fill, border=border, radius=radius, name=box.name))
    for i, line in enumerate(box.lines):
        if line.family != family:
            inner = COLORS[line.family][0]
            parts.append(_rect(left + 0.6, top + _LINE * i + 0.6, width - 1.2, _LINE - 1.2, fill=inner))
        parts.append(_text(x, top + _LINE * i + 14.5, line.text, _SIZE, bold=i == 0 and line.family == BLOCK))
    if box.shape:
        parts.append(_text(x, top + height - 4.5, _shape(box.shape), _SMALL, color="#555555"))
    if box.repeat > 1:
        badge = f"× {box.repeat}"
        parts.append(_text(left + width - 7, top + 14.5, badge, _SIZE, bold=True, anchor="end", color="#a02020"))
    return "\n".join([*parts, "</g>"])


def _edge(u: str, v: str, points: list[Point]) -> str:
    """Draw an arrow: straight down within a layer, a curve between layers."""
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for i in range(1, len(points)):
        (x0, y0), (x1, y1) = points[i - 1], points[i]
        if abs(x0 - x1) < 0.5:
            path.append(f"L{_n(x1)} {_n(y1)}")
        else:
            middle = _n((y0 + y1) / 2)
            path.append(f"C{_n(x0)} {middle} {_n(x1)} {middle} {_n(x1)} {_n(y1)}")
    return f'<path class="edge" data-from={quoteattr(u)} data-to={quoteattr(v)} d="{" ".join(path)}"/>'


def _legend(families: list[str]) -> tuple[list[str], float, float]:
    """Return the legend of the ``families`` in rows of at most 560 pixels, its width and its height."""
    parts, x, y, widest = [], 0.0, 0.0, 0.0
    for family in families:
        needed = 24 + text_width(family, _SMALL)
        if x and x + needed > 560:
            x, y = 0.0, y + 20
        fill, border = COLORS[family]
        parts.append(_rect(x, y, 14, 12, fill=fill, border=border, radius=2))
        parts.append(_text(x + 19, y + 10, family, _SMALL, anchor="start"))
        x += needed + 10
        widest = max(widest, x)
    return parts, widest, y + 20


def _rect(
    x: float, y: float, wide: float, high: float, *, fill: str, border: str = "none", radius: float = 0, name: str = ""
) -> str:
    """Draw a rectangle from its left top corner on; with a ``name`` it is the box of a node."""
    place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{_n(high)}" rx="{_n(radius)}"'
    tag = f'class="node" data-name={quoteattr(name)} ' if name else ""
    return f'<rect {tag}{place} fill="{fill}" stroke="{border}"/>'


def _text(
    x: float, y: float, text: str, size: int, *, bold: bool = False, anchor: str = "middle", color: str = "#111111"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{_n(x)}" y="{_n(y)}" font-size="{size}"{weight} text-anchor="{anchor}" fill="{color}"'
    return f"<text {place}>{escape(text)}</text>"


def _n(value: float) -> str:
    """Return a coordinate: a tenth of a pixel is enough, and short."""
    return f"{value:.1f}".removesuffix(".0")
