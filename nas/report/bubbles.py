"""What pictures of accuracy against cost have in common: areas that tell sizes, neighbours apart, Pareto fronts.

After Canziani, Paszke and Culurciello 2016 (arXiv:1605.07678, figure 2): a bubble stands at an accuracy and a cost, and
its area is another cost.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report.charts import Point

COST_LABELS = {"params": "parameters", "macs": "multiply-accumulates of one image (MACs)"}
LARGEST = 9.0
"""Radius of the largest bubble, pixels."""
CLOSE, APART = 0.05, 16.0
"""Neighbours closer than this share of the axis are drawn so many pixels apart, side by side."""
WIDEST = 4 * APART
"""Pixels that neighbours side by side take up at most, however many they are."""


@dataclass(frozen=True)
class Figure:
    """A chart with its heading, its legend of (style, text), and a note."""

    heading: str
    svg: Markup
    legend: tuple[tuple[str, str], ...]
    note: str = ""


def half_width(scores: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval of the mean (Student's t); None for fewer than two scores."""
    if len(scores) < 2:
        return None
    from scipy.special import stdtrit

    return float(stdtrit(len(scores) - 1, 0.975)) * statistics.stdev(scores) / math.sqrt(len(scores))


def radius_of(sizes: Iterable[float | None], largest: float = LARGEST) -> Callable[[float | None], float]:
    """Return the radius for a size, in pixels: areas tell sizes."""
    most = max((size for size in sizes if size), default=0)

    def radius(size: float | None) -> float:
        return max(2.5, largest * math.sqrt((size or 0) / most)) if most else largest / 2

    return radius


def shifts(places: Sequence[float]) -> list[float]:
    """Return by how many pixels to move each of the dots at ``places`` so that neighbours can be told apart."""
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[int]] = []
    for i in order:
        if groups and places[i] - places[groups[-1][-1]] < CLOSE:
            groups[-1].append(i)
        else:
            groups.append([i])
    found = [0.0] * len(places)
    for group in groups:
        step = min(APART, WIDEST / max(1, len(group) - 1))
        for rank, i in enumerate(group):
            found[i] = step * (rank - (len(group) - 1) / 2)
    return found


def undominated(points: Iterable[Point]) -> list[Point]:
    """Return the (cost, score) points, by cost, than which none has a higher score at no more cost."""
    found: list[Point] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or score > found[-1][1]:
            found.append((cost, score))
    return found
