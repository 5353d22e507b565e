"""Curves by epoch: one picture for losses or accuracies, of one training or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.core.text import count
from nas.report.html.charts import Chart, Figure, Point, linear_axis, log_axis

LOG_FROM = 30.0
"""A loss that falls by this factor has a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """The values of one training by epoch."""

    style: str
    name: str
    points: Sequence[Point]


def curves_figure(heading: str, label: str, curves: Sequence[Curve], epochs: int, ended: bool = True) -> Figure:
    """Return ``curves``, at least one, over ``epochs``; those of equal name are seeds of one network."""
    values = [value for curve in curves for _, value in curve.points]
    steep = "loss" in label and min(values) > 0 and max(values) > LOG_FROM * min(values)
    chart = Chart(linear_axis([epochs], "epoch", counts=True), (log_axis if steep else linear_axis)(values, label))
    last: dict[tuple[str, str], list[Point]] = {}
    for curve in curves:
        chart = chart.path(curve.points, curve.style, curve.name)
        last.setdefault((curve.style, curve.name), []).append(curve.points[-1])
    legend = []
    for (style, name), ends in last.items():
        least, most = (f"{pick(value for _, value in ends):.4g}" for pick in (min, max))
        seeds = f"{count(len(ends), 'seed')}, " if len(ends) > 1 else ""
        when = "in the end" if ended else f"after epoch {max(epoch for epoch, _ in ends):.0f}"
        legend.append((f"line {style}", f"{name}: {seeds}{least if least == most else f'{least} to {most}'} {when}"))
    title = f"{heading} by epoch: {'; '.join(text for _, text in legend)}"
    return Figure(f"{heading} by epoch", chart, title, tuple(legend))
