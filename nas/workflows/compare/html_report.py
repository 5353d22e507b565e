"""The report of a comparison as one HTML file, with every seed on a strip and accuracy against what a network costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas.core.text import elsewhere
from nas.report.chance import MeasuredOn
from nas.report.html.charts import (
    COST_LABELS,
    Axis,
    Chart,
    Figure,
    linear_axis,
    log_axis,
    radius_of,
    shifts,
    short,
    strip,
)
from nas.report.html.learning_curves import Curve, curves_figure
from nas.report.html.page import page, recipe_facts
from nas.report.published_results import as_text
from nas.report.verdict import interval_text, sentence
from nas.searchers.pareto import cost_front
from nas.workflows.command_words import comparison_command, recipe_file
from nas.workflows.compare import wording
from nas.workflows.compare.result import Comparison, Row

OPEN = 12
"""Sentences on differences that are open to see; the others unfold."""
DRAWN = 6
"""Networks whose learning curves are drawn, the best."""
MOST = 30
"""Rows of the table of failures at most."""
ACCURACY = 7
"""Columns of a row that are about accuracy; the others are what it costs."""
MARKS = {"higher": "good", "lower": "good", "no difference found": "open", "one seed": "none"}
SHARES = (
    ("candidates", "architecture"),
    ("recipes", "recipe"),
    ("interplay", "recipes that suit some architectures better"),
    ("seeds", "seeds and noise"),
)
STYLES = {"run": "search", "random": "random"}
"""The colours of candidates by their kind; all others are handcrafted."""
KINDS = {"search": "best of a search", "random": "best of a random search", "handcrafted": "other network"}
LARGEST = 15.0
"""Radius of the largest bubble, pixels."""
LATENCY = "latency"
LABELS = {**COST_LABELS, LATENCY: "measured latency of one image, ms"}
HEADINGS = {"macs": "MACs", "params": "parameters", LATENCY: "latency"}


def comparison_html(data: Comparison, results: Path = Path("results")) -> str:
    """Return ``report.html``.

    ``results`` is where the comparison's folder lies, and the runs that it compares.
    """
    where, differences = elsewhere(results / data.name), data.differences
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.name for row in data.rows), 1)}
    shares = data.effects.shares if data.effects else None
    tables = [recipe.numbers for recipe in data.recipes]
    context = {
        # the head of the page
        "data": data,
        "elsewhere": where,
        "networks": len(numbers),
        "mark": "good" if data.status == "finished" else "open",
        "best": max((row for row in data.rows if row.mean is not None), key=lambda r: r.mean or 0, default=None),
        "reference": differences[0].second if differences else None,
        "outcomes": [(MARKS[verdict], text) for verdict, text in wording.outcomes(data)],
        "how": wording.how_trained(data),
        "notice": wording.at_chance(data, where),
        "next_steps": wording.next_steps(data, where),
        "intervals": wording.intervals(data),
        # what differences are worth
        "certain": [(MARKS[d.verdict], sentence(d)) for d in differences],
        "few": wording.few_seeds(data) if any(d.interval for d in differences) else "",
        "recipes": [_under(data, recipe.name, numbers) for recipe in data.recipes],
        "random": [(MARKS[found.difference.verdict], wording.random_sentence(found)) for found in data.against_random],
        "open": OPEN,
        # cost, effects and ensembles
        "latency": None if data.latency is None else wording.latency_note(data.latency),
        "effects": data.effects,
        "effect_text": wording.effect_text,
        "bars": [(label, getattr(shares, name)) for name, label in SHARES] if shares else [],
        "shares": wording.shares_text(shares),
        "interval_text": interval_text,
        "ensemble_note": wording.ensemble_note(data.ensembles),
        # what went wrong, what others published, and how to do it again
        "troubles": Counter(wording.troubles(data)).most_common(),
        "most": MOST,
        "references": [as_text(table.title, table.rows) for table in data.published],
        "command": [*comparison_command(data.settings), *([where.strip()] if where else [])],
        "files": [file for file in (recipe_file(table, data.dataset) for table in tables) if file[0] is not None],
        "facts": [recipe_facts("trainings", table, data.epochs) for table in tables],
        "settings": json.dumps(data.settings, indent=1),
    }
    return page("comparison.html.j2", context)


def _curves(data: Comparison, recipe: str, rows: Sequence[Row]) -> list[Figure]:
    """Return the training loss by epoch of the first networks of the table."""
    styles = {row.name: style_of(row) for row in rows}
    first = list(styles)[:DRAWN]
    found = [curve for name in first for curve in data.curves if (curve.name, curve.recipe) == (name, recipe)]
    curves = [Curve(styles[one.name], one.name, [(epoch, loss) for epoch, loss in one.points]) for one in found]
    return [curves_figure("Training loss", "training loss", curves, data.epochs)] if curves else []


def _under(data: Comparison, recipe: str, numbers: Mapping[str, int]) -> dict[str, object]:
    rows = data.rows_of(recipe)
    shown = [
        {
            "name": row.name,
            "number": numbers[row.name],
            "style": style_of(row),
            "scores": row.scores,
            "queries": row.queries,
            "cells": wording.columns_of(row)[:ACCURACY],
            "sizes": wording.columns_of(row)[ACCURACY:-1],
            "seconds": wording.columns_of(row)[-1],
        }
        for row in rows
    ]
    on = MeasuredOn.of(data.images, "test")
    chance = None if on is None else on.chance
    figures = [figure for name in HEADINGS if (figure := cost_figure(rows, name, numbers, chance)) is not None]
    return {
        "name": recipe,
        "rows": shown,
        "strips": _strips(rows),
        "figures": figures,
        "classes": data.class_table(recipe),
        "curves": _curves(data, recipe, rows),
    }


def style_of(row: Row) -> str:
    """Return the color of a candidate."""
    return STYLES.get(row.kind, "handcrafted")


def _strips(rows: Sequence[Row]) -> dict[str, object] | None:
    """Return pictures of seeds and intervals by network, and the ends of their scale; None with single scores only."""
    rows = [row for row in rows if row.mean is not None]
    if not any(row.interval for row in rows):
        return None
    axis = accuracies(rows)
    pictures = {row.name: strip(axis, scores_of(row), ends_of(row), style_of(row), _summary(row)) for row in rows}
    return {"pictures": pictures, "low": f"{axis.low:.2f}", "high": f"{axis.high:.2f}"}


def cost_figure(rows: Sequence[Row], name: str, numbers: Mapping[str, int], chance: float | None) -> Figure | None:
    """Return the means of the rows of one recipe against a cost of :data:`HEADINGS`, numbered as in the table."""
    points = {
        row.name: (cost, row.mean) for row in rows if (cost := _cost(row, name)) is not None and row.mean is not None
    }
    rows = [row for row in rows if row.name in points]
    if not rows:
        return None

    # the axis of the cost has room for the bubbles at both ends
    costs = [cost for cost, _ in points.values()]
    low, high = min(costs), max(costs)
    room = (high / low) ** 0.05 if low > 0 else 1.0
    axis = log_axis([low / room, high * room], LABELS[name]) if low > 0 else linear_axis(costs, LABELS[name])
    chart = Chart(axis, accuracies(rows))
    chart = chart.steps(cost_front(points.values()), "front", "Pareto front of the means", end=chart.x.high)

    # a bubble's area tells the other cost; neighbours are drawn side by side, large ones first
    other = "macs" if name == "params" else "params"
    radius = radius_of([_cost(row, other) for row in rows], LARGEST)
    places = shifts([chart.x.at(points[row.name][0]) for row in rows])
    sizes = [radius(_cost(row, other)) for row in rows]
    marks = sorted(zip(rows, places, sizes, strict=True), key=lambda mark: -mark[2])

    # intervals before bubbles before numbers, so that nothing hides what is smaller
    for row, shift, _ in marks:
        if ends := ends_of(row):
            chart = chart.interval(points[row.name][0], *ends, f"thin {style_of(row)}", shift)
    for row, shift, size in marks:
        title = f"{_summary(row)}; {short(row.params)} parameters, {short(row.macs)} MACs"
        chart = chart.dot(points[row.name], f"final {style_of(row)}", size, title, shift)
    for row, shift, size in marks:
        # on the rim, at 45 degrees
        chart = chart.label(points[row.name], str(numbers[row.name]), 0.71 * size + 2.5, shift)

    found = {style_of(row) for row in rows}
    legend = [(f"dot final {style}", text) for style, text in KINDS.items() if style in found]
    if chance is not None:
        outside = "" if chart.y.low <= chance <= chart.y.high else ": below this picture"
        chart = chart.level(chance, "chance", "chance level")
        legend.append(("level chance", f"chance level, {chance:.4g} %{outside}"))
    heading = f"Accuracy against {HEADINGS[name]}"
    note = f"The larger a bubble's area, the more {HEADINGS[other]}; numbers are those of the table."
    if any(row.interval for row in rows):
        note += " Bars: 95\u00a0% intervals of the means."
    if any(places):
        note += " Networks of similar cost are drawn side by side."
    title = f"{heading}: {'; '.join(_summary(row) for row in rows)}"
    return Figure(heading, chart, title, (*legend, ("line front", "Pareto front of the means")), note)


def _cost(row: Row, name: str) -> float | None:
    return {"params": row.params, "macs": row.macs, LATENCY: row.latency["1"]}[name]


def accuracies(rows: Sequence[Row]) -> Axis:
    """Return the axis of accuracies: intervals may be wider than what accuracies can be, the axis is not."""
    values = [min(max(v, 0.0), 100.0) for row in rows for v in (*scores_of(row), *ends_of(row))]
    axis = linear_axis(values, "test accuracy, %")
    low, high = max(axis.low, 0.0), min(axis.high, 100.0)
    return replace(axis, low=low, high=high, ticks=tuple(tick for tick in axis.ticks if low <= tick[0] <= high))


def scores_of(row: Row) -> list[float]:
    """Return the scores that are there."""
    return [score for score in row.scores if score is not None]


def ends_of(row: Row) -> tuple[float, float] | tuple[()]:
    """Return the ends of the interval of the mean; none without one."""
    return () if row.interval is None else (row.interval.low, row.interval.high)


def _summary(row: Row) -> str:
    interval = f" ({interval_text(row.interval)})" if row.interval else ""
    return f"{row.name}: {row.mean:.2f} %{interval}"
