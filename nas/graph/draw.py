"""Drawings: a graph as SVG, from top to bottom, readable on white paper."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from nas.errors import GraphError
from nas.graph.cost import cost
from nas.graph.graph import Graph
from nas.graph.layout import Layout, Point, layered
from nas.graph.picture import BLOCK, FAMILIES, SHAPING, Box, picture
from nas.types import Shape

COLOURS = {
    "input or output": ("#ffffff", "#444444"),
    "convolution": ("#cfe2f7", "#2f6aa8"),
    "linear": ("#ddd3f0", "#6a4fa0"),
    "pooling": ("#d3ecd0", "#3d8b37"),
    "norm": ("#ececec", "#8a8a8a"),
    "activation": ("#fde3c4", "#c07a1e"),
    "merge": ("#fff3b8", "#a88a00"),
    "regulariser": ("#f8d3d3", "#b04a4a"),
    "no weights": ("#f7f7f7", "#9a9a9a"),
    SHAPING: ("#e0f0f0", "#4f9090"),
    BLOCK: ("#e6ebf5", "#44567a"),
}
"""Fill and border of each family."""

_FONT = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
_SIZE, _SMALL, _TITLE = 12, 10, 15
_LINE, _PAD, _MARGIN, _SHAPE = 20, 10, 24, 15
_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'()[]/- "), frozenset("mwMW@%…→×+")


def draw_svg(graph: Graph, level: int | None = None, title: str = "", legend: bool = True) -> str:
    """Return a drawing of a cell or a network as SVG.

    Blocks are the dotted paths of the nodes' names: nodes whose names agree in the first ``level`` segments are one
    box, and equal blocks that follow each other are one box with their number. Without a ``level`` it is the deepest
    that keeps the picture readable. Chains such as convolution, norm, activation share a box. A box tells the shape
    (C×H×W) that leaves it; its tooltip names the nodes it stands for. Equal graphs give equal drawings.
    Raises :class:`GraphError` for a level below one and for a graph whose shapes do not fit.
    """
    if level is not None and (type(level) is not int or level < 1):
        raise GraphError(f"level must be a whole number of at least 1, found {level!r}")
    shown = picture(graph, level)
    sizes = {name: _size(box) for name, box in shown.boxes.items()}
    layout = layered(sizes, shown.edges)
    head = _heading(graph, title)
    families = [f for f in COLOURS if any(line.family == f for box in shown.boxes.values() for line in box.lines)]
    key, key_width, key_height = _legend(families) if legend else ([], 0.0, 0.0)
    top = _MARGIN + (30.0 if title else 0.0) + (18.0 if len(head) > bool(title) else 0.0)
    wide = max([layout.width, key_width, *(text_width(text, size) for text, size in head)])
    width, height = wide + 2 * _MARGIN, top + layout.height + key_height + 1.5 * _MARGIN
    left = _MARGIN + (wide - layout.width) / 2
    parts = [_opening(width, height, title)]
    y = _MARGIN
    for text, size in head:
        y += size
        parts.append(_text(_MARGIN, y, text, size, bold=size == _TITLE, anchor="start"))
        y += 8
    parts.append(f'<g transform="translate({_n(left)} {_n(top)})">')
    # arrows come last: the box behind repeated blocks would hide their heads
    parts += [_node(box, layout, sizes[name]) for name, box in shown.boxes.items()]
    parts += [_edge(u, v, layout.routes[u, v]) for u, v in shown.edges]
    parts.append("</g>")
    if key:
        parts.append(f'<g transform="translate({_MARGIN} {_n(height - key_height - _MARGIN / 2)})">')
        parts += [*key, "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of ``text`` in pixels, with some room: DejaVu Sans is the widest of the fonts asked for."""
    units = sum(0.42 if c in _NARROW else 0.98 if c in _WIDE else 0.72 if c.isupper() else 0.635 for c in text)
    return size * units * (1.1 if bold else 1.0)


def _heading(graph: Graph, title: str) -> list[tuple[str, int]]:
    head = [(title, _TITLE)] if title else []
    if len(graph.inputs) == 1 and graph.inputs[0].op.attributes()["size"]:
        total = cost(graph)
        head.append((f"{total.params:,} parameters, {total.macs:,} multiply-accumulates an image", _SMALL))
    return head


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
    (x, y), (width, height) = layout.centres[box.name], size
    left, top = x - width / 2, y - height / 2
    family = next((line.family for line in box.lines if line.family in ("convolution", "linear")), box.lines[0].family)
    fill, border = COLOURS[family]
    names = ", ".join(box.members) if len(box.members) <= 6 else f"{box.members[0]} … {box.members[-1]}"
    parts = [f'<g class="box"><title>{escape(names or box.name)}</title>']
    if box.repeat > 1:
        parts.append(_rect(left + 4, top - 4, width, height, fill, border, 5))
    if box.symbol:
        parts.append(_rect(left, top, width, height, fill, border, height / 2, box.name))
        parts.append(_text(x, y + 6, box.lines[0].text, 17))
        return "\n".join([*parts, "</g>"])
    round_ends = height / 2 if family == FAMILIES["input"] else 5.0
    parts.append(_rect(left, top, width, height, fill, border, round_ends, box.name))
    for i, line in enumerate(box.lines):
        if line.family != family:
            parts.append(_rect(left + 0.6, top + _LINE * i + 0.6, width - 1.2, _LINE - 1.2, COLOURS[line.family][0]))
        bold = i == 0 and line.family == BLOCK
        parts.append(_text(x, top + _LINE * i + 14.5, line.text, _SIZE, bold))
    if box.shape:
        parts.append(_text(x, top + height - 4.5, _shape(box.shape), _SMALL, colour="#555555"))
    if box.repeat > 1:
        parts.append(_text(left + width - 7, top + 14.5, f"× {box.repeat}", _SIZE, True, "end", "#a02020"))
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
        parts.append(_rect(x, y, 14, 12, *COLOURS[family], 2))
        parts.append(_text(x + 19, y + 10, family, _SMALL, anchor="start"))
        x += needed + 10
        widest = max(widest, x)
    return parts, widest, y + 20


def _opening(width: float, height: float, title: str) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}">',
            f"<title>{escape(title or 'network')}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" fill="#555555"/></marker></defs>',
            "<style>.edge{fill:none;stroke:#555555;stroke-width:1.2;marker-end:url(#arrow)}</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
        ]
    )


def _rect(
    x: float, y: float, width: float, height: float, fill: str, border: str = "none", radius: float = 0, name: str = ""
) -> str:
    place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}"'
    tag = f'class="node" data-name={quoteattr(name)} ' if name else ""
    return f'<rect {tag}{place} fill="{fill}" stroke="{border}"/>'


def _text(
    x: float, y: float, text: str, size: int, bold: bool = False, anchor: str = "middle", colour: str = "#111111"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{_n(x)}" y="{_n(y)}" font-size="{size}"{weight} text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _n(value: float) -> str:
    """Return a coordinate: a tenth of a pixel is enough, and short."""
    return f"{value:.1f}".removesuffix(".0")
