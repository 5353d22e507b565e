"""The pictures of a comparison: every seed on a strip, and accuracy against what a network costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from nas.after.compare_words import Data, interval_text
from nas.report.bubbles import COST_LABELS, Figure, radius_of, shifts, undominated
from nas.report.charts import Axis, Chart, Point, linear_axis, log_axis, short, strip

STYLES = {"run": "search", "random": "random"}
"""The colours of candidates by their kind; all others are the work of hands."""
KINDS = {"search": "best of a search", "random": "best of a random search", "handcrafted": "other network"}
LARGEST = 15.0
"""Radius of the largest bubble, pixels."""
LATENCY = "latency"
LABELS = {**COST_LABELS, LATENCY: "measured latency of one image, ms"}
HEADINGS = {"macs": "MACs", "params": "parameters", LATENCY: "latency"}


@dataclass(frozen=True)
class Strips:
    """A strip for each network with a score, by its name, on one scale from ``low`` to ``high``."""

    pictures: Mapping[str, Markup]
    low: str
    high: str


@dataclass(frozen=True)
class Mark:
    """A network in a picture: its row, where it stands, moved by ``shift`` pixels, its radius, and its number."""

    row: Data
    at: Point
    shift: float
    size: float
    number: int


def style_of(row: Data) -> str:
    """Return the colour of a row."""
    return STYLES.get(row["kind"], "handcrafted")


def seed_strips(rows: Sequence[Data]) -> Strips | None:
    """Return the strips of the rows of one recipe; none where every network has a single score at most."""
    rows = [row for row in rows if row["mean"] is not None]
    if not any(row["interval"] for row in rows):
        return None
    axis = _accuracies(rows)
    pictures = {row["name"]: strip(axis, _scores(row), _ends(row), style_of(row), _said(row)) for row in rows}
    return Strips(pictures, f"{axis.low:.2f}", f"{axis.high:.2f}")


def cost_figures(rows: Sequence[Data], numbers: Mapping[str, int]) -> list[Figure]:
    """Return mean accuracy against MACs, parameters and latency for the rows of one recipe."""
    return [figure for name in HEADINGS if (figure := _cost_figure(rows, name, numbers)) is not None]


def _cost_figure(rows: Sequence[Data], name: str, numbers: Mapping[str, int]) -> Figure | None:
    rows = [row for row in rows if row["mean"] is not None and _cost(row, name) is not None]
    if not rows:
        return None
    costs = {row["name"]: _cost(row, name) or 0.0 for row in rows}
    chart = Chart(_costs(list(costs.values()), LABELS[name]), _accuracies(rows))
    front = undominated((costs[row["name"]], row["mean"]) for row in rows)
    chart = chart.steps(front, "front", "Pareto front of the means", end=chart.x.high)
    other = "macs" if name == "params" else "params"
    radius = radius_of([row[other] for row in rows], LARGEST)
    places = shifts([chart.x.at(costs[row["name"]]) for row in rows])
    marks = [
        Mark(row, (costs[row["name"]], row["mean"]), shift, radius(row[other]), numbers[row["name"]])
        for row, shift in zip(rows, places, strict=True)
    ]
    marks.sort(key=lambda mark: -mark.size)
    for draw in (_interval, _bubble, _number):  # in this order, so that nothing hides what is smaller
        for mark in marks:
            chart = draw(chart, mark)
    found = {style_of(row) for row in rows}
    legend = [(f"dot final {style}", text) for style, text in KINDS.items() if style in found]
    heading = f"Accuracy against {HEADINGS[name]}"
    note = f"The larger a bubble's area, the more {HEADINGS[other]}; numbers are those of the table."
    if any(row["interval"] for row in rows):
        note += " Bars: 95\u00a0% intervals of the means."
    if any(places):
        note += " Networks of like cost stand side by side."
    title = f"{heading}: {'; '.join(_said(row) for row in rows)}"
    return Figure(heading, chart.svg(title), (*legend, ("line front", "Pareto front of the means")), note)


def _interval(chart: Chart, mark: Mark) -> Chart:
    ends = _ends(mark.row)
    return chart.interval(mark.at[0], *ends, f"thin {style_of(mark.row)}", mark.shift) if ends else chart


def _bubble(chart: Chart, mark: Mark) -> Chart:
    row = mark.row
    title = f"{_said(row)}; {short(row['params'])} parameters, {short(row['macs'])} MACs"
    return chart.dot(mark.at, f"final {style_of(row)}", mark.size, title, mark.shift)


def _number(chart: Chart, mark: Mark) -> Chart:
    # on the rim, at 45 degrees
    return chart.label(mark.at, str(mark.number), 0.71 * mark.size + 2.5, mark.shift)


def _cost(row: Data, name: str) -> float | None:
    found = row["latency"]["1"] if name == LATENCY else row[name]
    return None if found is None else float(found)


def _costs(values: Sequence[float], label: str) -> Axis:
    """Return the axis of a cost, with room for the bubbles at both ends."""
    low, high = min(values), max(values)
    if low <= 0:
        return linear_axis(values, label)
    room = (high / low) ** 0.05
    return log_axis([low / room, high * room], label)


def _accuracies(rows: Sequence[Data]) -> Axis:
    """Return the axis of accuracies: intervals may be wider than what accuracies can be, the axis is not."""
    values = [min(max(v, 0.0), 100.0) for row in rows for v in (*_scores(row), *_ends(row))]
    axis = linear_axis(values, "test accuracy, %")
    low, high = max(axis.low, 0.0), min(axis.high, 100.0)
    return replace(axis, low=low, high=high, ticks=tuple(tick for tick in axis.ticks if low <= tick[0] <= high))


def _scores(row: Data) -> list[float]:
    return [score for score in row["scores"] if score is not None]


def _ends(row: Data) -> tuple[float, float] | tuple[()]:
    return () if row["interval"] is None else (row["interval"]["low"], row["interval"]["high"])


def _said(row: Data) -> str:
    interval = f" ({interval_text(row['interval'])})" if row["interval"] else ""
    return f"{row['name']}: {row['mean']:.2f} %{interval}"
