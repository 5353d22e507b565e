"""Charts as SVG: axes with round ticks, dots, steps, intervals, and bubbles whose areas tell sizes.

Horizontal and vertical places are percentages of the picture, sizes of text and dots are pixels: a chart fills whatever
width it is given, on a phone or on paper, and its labels stay readable. Colours come from ``templates/chart.css``.

Pictures of accuracy against cost follow Canziani, Paszke and Culurciello 2016 (arXiv:1605.07678, figure 2): a bubble is
at an accuracy and a cost, and its area is another cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

from nas.core.text import printable
from nas.errors import ConfigError

Point: TypeAlias = tuple[float, float]

TICKS = 5
"""About how many ticks an axis has."""
MOST_KNOTS = 60
"""Points of a line that are dots as well, at most."""
MOST_DOTS = 800
"""About how many faint dots a cloud is thinned out to."""
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_GRID = (220, 140)
"""Cells of the picture that hold one faint dot each."""
COST_LABELS = {"params": "parameters", "macs": "multiply-accumulates of one image (MACs)"}
LARGEST = 9.0
"""Radius of the largest bubble, pixels."""
CLOSE, APART = 0.05, 16.0
"""Neighbours closer than this share of the axis are drawn this number of pixels apart, side by side."""
WIDEST = 4 * APART
"""Pixels that neighbours side by side take up at most, however many they are."""


@dataclass(frozen=True)
class Axis:
    """A scale."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """(value, text) of each."""
    log: bool = False
    """Whether it is logarithmic; then ``low`` is positive."""

    def at(self, value: float) -> float:
        """Return the place of ``value`` as a share of the axis; what is outside is put at the edge."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)


def linear_axis(values: Iterable[float], label: str, robust: bool = False, counts: bool = False) -> Axis:
    """Return an axis over ``values`` with some room; a ``robust`` one does not reach down to far outliers.

    One of ``counts`` begins at zero and has whole ticks. Values at the two ends of floating point raise ConfigError.
    """
    found = sorted(v for v in values if math.isfinite(v))
    low, high = (found[0], found[-1]) if found else (0.0, 1.0)
    if robust and len(found) >= 20:
        # a score that only guesses would press all others together at the top
        bulk = found[len(found) // 4]
        low = max(low, bulk - 0.75 * (high - bulk)) if high > bulk else low
    if counts:
        low = 0.0
    if not math.isfinite(3 * (high - low)):
        raise ConfigError(f"values from {low:g} to {high:g} are too far apart for an axis")
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = (low if counts else low - room), high + room
    ticks = [tick for tick in _ticks(low, high) if not counts or tick == round(tick)]
    return Axis(label, low, high, tuple((tick, _plain(tick, high - low)) for tick in ticks))


def log_axis(values: Iterable[float], label: str) -> Axis:
    """Return a logarithmic axis over positive ``values`` with some room."""
    found = [v for v in values if math.isfinite(v) and v > 0]
    low, high = (min(found), max(found)) if found else (1.0, 10.0)
    room = max((high / low) ** 0.06, 1.04)
    low, high = low / room, high * room

    # round numbers: powers of ten, with more between them where these are few, and evenly spaced ones in less
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts, enough in (((1,), 4), ((1, 3), 4), ((1, 2, 5), 3)):
        ticks = [part * 10.0**d for d in decades for part in parts if low <= part * 10.0**d <= high]
        if len(ticks) >= enough:
            ticks = ticks[:: math.ceil(len(ticks) / 7)]
            break
    else:
        ticks = [tick for tick in _ticks(low, high) if low <= tick <= high]
    return Axis(label, low, high, tuple((tick, short(tick)) for tick in ticks), log=True)


def short(value: float) -> str:
    """Return a positive number in at most four digits with a prefix: ``950``, ``1.07 M``, ``153 M``."""
    for size, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about :data:`TICKS` of them."""
    rough = (high - low) / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * r for r in _ROUND if size * r >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def _plain(value: float, span: float) -> str:
    """Return a tick's number with as many digits as ticks of this ``span`` need to differ."""
    if abs(value) >= 1e4 and span > 0.05 * abs(value):
        return short(value)
    digits = min(17, max(0, 1 - math.floor(math.log10(span / TICKS))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def thinned(points: Sequence[Point], x: Axis, y: Axis, most: int = MOST_DOTS) -> list[Point]:
    """Return the points that a reader could tell apart, and of these evenly at most ``most``."""
    # of the dots that would cover each other the first
    cells: dict[tuple[int, int], Point] = {}
    for point in points:
        cells.setdefault((round(x.at(point[0]) * _GRID[0]), round(y.at(point[1]) * _GRID[1])), point)
    found = list(cells.values())
    return [found[i * len(found) // most] for i in range(most)] if len(found) > most else found


@dataclass(frozen=True)
class Chart:
    """A picture that grows: every method returns a fuller one."""

    x: Axis
    y: Axis
    marks: tuple[str, ...] = ()
    """What was drawn, as SVG."""

    def cloud(self, points: Sequence[Point], style: str, radius: float = 2.5, sizes: Sequence[float] = ()) -> Chart:
        """Add faint dots, thinned out where they are many; with ``sizes`` (pixels) each has its own."""
        size_of = dict(zip(points, sizes, strict=True)) if sizes else {}
        dots = (self._dot(p, size_of.get(p, radius)) for p in thinned(points, self.x, self.y))
        return self._with(f'<g class="cloud {style}">{"".join(dots)}</g>')

    def dot(self, point: Point, style: str, radius: float, title: str, shift: float = 0.0) -> Chart:
        """Add one dot with a tooltip, ``shift`` pixels beside its place."""
        head = f'<g class="dot {style}"{_moved(shift)}><title>{escape(title)}</title>'
        return self._with(f"{head}{self._dot(point, radius)}</g>")

    def steps(self, points: Sequence[Point], style: str, title: str, end: float | None = None) -> Chart:
        """Add a line that keeps each value until the next point, and the last up to ``end``."""
        # a corner where the value changes, and none between equal ones, which may be thousands
        corners = list(points[:1])
        for (x, y), before in zip(points[1:], points, strict=False):
            if y != before[1]:
                corners += [(x, before[1]), (x, y)]
        if points:
            corners.append((points[-1][0] if end is None else end, points[-1][1]))
        lines = "".join(self._line(a, b) for a, b in pairwise(corners))
        return self._with(f'<g class="line {style}"><title>{escape(title)}</title>{lines}</g>')

    def path(self, points: Sequence[Point], style: str, title: str) -> Chart:
        """Add straight lines through ``points``, and a small dot at each where they are few enough to be told apart."""
        lines = "".join(self._line(a, b) for a, b in pairwise(points))
        radius = 4.0 if len(points) == 1 else 2.6  # a single point has no line
        dots = "".join(self._dot(p, radius) for p in points) if len(points) <= MOST_KNOTS else ""
        return self._with(f'<g class="line {style}"><title>{escape(title)}</title>{lines}{dots}</g>')

    def level(self, y: float, style: str, title: str) -> Chart:
        """Add a dashed line across the picture at ``y``, where that is on the axis."""
        if not self.y.low <= y <= self.y.high:
            return self
        line = self._line((self.x.low, y), (self.x.high, y))
        return self._with(f'<g class="level {style}"><title>{escape(title)}</title>{line}</g>')

    def label(self, point: Point, text: str, away: float, shift: float = 0.0) -> Chart:
        """Add a short text ``away`` pixels above and beside a point, which itself is moved by ``shift``."""
        x, y = self._at(point)
        place = f'x="{x}" y="{y}" dx="{_digits(away, 1)}" dy="{_digits(-away, 1)}"'
        return self._with(f'<text class="label" {place}{_moved(shift)}>{escape(text)}</text>')

    def bar(self, y: float, ends: Point, style: str) -> Chart:
        """Add a bar that lies at ``y``, between the two ``ends`` on the horizontal axis."""
        return self._with(f'<g class="interval {style}">{self._line((ends[0], y), (ends[1], y))}</g>')

    def row(self, y: float, text: str) -> Chart:
        """Add the name of a row at the left edge, above its place ``y``."""
        place = f'x="0" y="{_share(1 - self.y.at(y))}" dy="-9"'
        return self._with(f'<text class="name start" {place}>{escape(text)}</text>')

    def interval(self, x: float, low: float, high: float, style: str, shift: float = 0.0) -> Chart:
        """Add a bar from ``low`` to ``high``, ``shift`` pixels beside its place."""
        return self._with(f'<g class="interval {style}"{_moved(shift)}>{self._line((x, low), (x, high))}</g>')

    def svg(self, title: str, place: str = "") -> Markup:
        """Return the picture; ``title`` is what a screen reader says of it.

        ``place`` holds attributes that tell where it is in another picture; without them it fills its box on a page.
        """
        parts = [f'<svg class="chart" role="img"{place and " " + place} aria-label={quoteattr(title)}>']
        # the grid with its numbers
        for value, text in self.y.ticks:
            at = _share(1 - self.y.at(value))
            parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
            parts.append(f'<text class="tick left" x="0" dx="-8" y="{at}" dy="0.32em">{escape(text)}</text>')
        for value, text in self.x.ticks:
            at = _share(self.x.at(value))
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="100%"/>')
            parts.append(f'<text class="tick" x="{at}" y="100%" dy="1.5em">{escape(text)}</text>')
        parts.append('<line class="axis" x1="0" x2="100%" y1="100%" y2="100%"/>')
        # what was drawn, then the axes' names in the corners, where they need no rotated text
        parts += self.marks
        parts.append(f'<text class="name start" x="0" dx="-46" y="0" dy="-1em">{escape(self.y.label)}</text>')
        parts.append(f'<text class="name end" x="100%" y="100%" dy="3.1em">{escape(self.x.label)}</text>')
        return Markup(printable("".join([*parts, "</svg>"])))

    def _with(self, mark: str) -> Chart:
        return replace(self, marks=(*self.marks, mark))

    def _at(self, point: Point) -> tuple[str, str]:
        return _share(self.x.at(point[0])), _share(1 - self.y.at(point[1]))

    def _dot(self, point: Point, radius: float) -> str:
        x, y = self._at(point)
        return f'<circle cx="{x}" cy="{y}" r="{_digits(radius, 1)}"/>'

    def _line(self, a: Point, b: Point) -> str:
        (x1, y1), (x2, y2) = self._at(a), self._at(b)
        return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


@dataclass(frozen=True)
class Figure:
    """A chart and the words around it."""

    heading: str
    chart: Chart
    title: str
    """What a screen reader says of the picture."""
    legend: tuple[tuple[str, str], ...] = ()
    """(style, text) of each mark."""
    note: str = ""
    height: int = 0
    """Pixels of the plot without labels; 0: what the page gives it."""

    @property
    def svg(self) -> Markup:
        """The picture alone."""
        return self.chart.svg(self.title)


def strip(axis: Axis, values: Sequence[float], ends: Sequence[float], style: str, title: str) -> Markup:
    """Return a picture one line high: a tick for each value, their mean, and a bar between the two ``ends`` if any."""
    places = [_share(axis.at(v)) for v in values]
    mean = _share(axis.at(sum(values) / len(values)))
    parts = [f'<svg class="strip {style}" role="img" aria-label={quoteattr(title)}>']
    parts.append('<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>')
    if ends:
        left, right = (_share(axis.at(end)) for end in ends)
        parts.append(f'<line class="bar" x1="{left}" x2="{right}" y1="50%" y2="50%"/>')
    parts += [f'<line class="seed" x1="{x}" x2="{x}" y1="15%" y2="85%"/>' for x in places]
    parts.append(f'<circle class="mean" cx="{mean}" cy="50%" r="5"/></svg>')
    return Markup(printable("".join(parts)))


def dot_radius(count: int) -> float:
    """Return the radius, pixels, of each of ``count`` dots of a cloud: few are seen, many do not hide each other."""
    return 4.5 if count <= 40 else 3.2 if count <= 400 else 2.4


def radius_of(sizes: Iterable[float | None], largest: float = LARGEST) -> Callable[[float | None], float]:
    """Return the radius for a size, in pixels: areas tell sizes."""
    most = max((size for size in sizes if size), default=0)
    return lambda size: max(2.5, largest * math.sqrt((size or 0) / most)) if most else largest / 2


def shifts(places: Sequence[float]) -> list[float]:
    """Return by how many pixels to move each of the dots at ``places`` so that neighbours can be told apart."""
    # Chains of neighbours, each close to the one before.
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[int]] = []
    for i in order:
        if not groups or places[i] - places[groups[-1][-1]] >= CLOSE:
            groups.append([])
        groups[-1].append(i)

    # Each chain is spread evenly about its middle.
    found = [0.0] * len(places)
    for group in groups:
        step = min(APART, WIDEST / max(1, len(group) - 1))
        for rank, i in enumerate(group):
            found[i] = step * (rank - (len(group) - 1) / 2)
    return found


def _moved(shift: float) -> str:
    return f' transform="translate({_digits(shift, 1)} 0)"' if shift else ""


def _share(share: float) -> str:
    return f"{_digits(100 * share, 2)}%"


def _digits(value: float, count: int) -> str:
    text = f"{value:.{count}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
