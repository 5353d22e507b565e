"""The report of a training as one HTML file (see :mod:`nas.report.pages`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomli_w

from nas.after.command_lines import recipe_file, recipe_text, training_command
from nas.after.training_view import TrainingView, result_line, size_line
from nas.after.training_words import epoch_table, facts
from nas.report.bubbles import Figure
from nas.report.charts import Chart, Point, linear_axis, log_axis
from nas.report.pages import page, recipe_facts
from nas.report.words import elsewhere

KINDS = {"train": "Training", "transfer": "Transfer", "finetune": "Fine-tuning"}
LOG_FROM = 30.0
"""A loss that falls by this factor has a logarithmic axis."""
Curve = tuple[str, str, Sequence[Point]]
"""A style, a name, and the values by epoch."""


def training_html(view: TrainingView) -> str:
    """Return ``report.html``."""
    return page("training.html.j2", _context(view))


def _context(view: TrainingView) -> dict[str, Any]:
    settings = view.settings
    file = recipe_file(settings.recipe, settings.dataset)
    heads, rows, step = epoch_table(view)
    result, where = result_line(view), elsewhere(view.folder)
    return {
        "elsewhere": where,
        "view": view,
        "settings": settings,
        "kind": KINDS.get(settings.command, settings.command),
        "mark": "good" if view.status == "finished" else "open",
        "message": view.problem,
        "result": f"{result[:1].upper()}{result[1:]}.",
        "size_line": size_line(view.network),
        "sides": "x".join(map(str, view.network["input"])),
        "figures": _figures(view),
        "heads": heads,
        "rows": rows,
        "step": step,
        "facts": list(facts(view)),
        "devices": [view.trained["device"]] if view.trained else [],
        "command": [*training_command(settings), *([where.strip()] if where else [])],
        "file": file,
        "text": "" if file is None else recipe_text(settings.recipe),
        "recipe_facts": recipe_facts("training", settings.recipe, settings.epochs, view.network.get("not_applied", ())),
        "toml": tomli_w.dumps({"settings": settings.to_json()}).strip(),
    }


def _figures(view: TrainingView) -> list[Figure]:
    """Return loss and, where it was measured, validation accuracy by epoch."""
    losses: list[Curve] = [("search", "training loss", [(e["number"], e["loss"]) for e in view.epochs])]
    losses.append(("random", "validation loss", _validation(view, "loss")))
    accuracies: list[Curve] = [
        ("random", "validation top-1", _validation(view, "accuracy")),
        ("handcrafted", "validation top-5", _validation(view, "top5")),
    ]
    found = [_figure(view, "Loss", "loss", losses), _figure(view, "Validation accuracy", "accuracy, %", accuracies)]
    return [figure for figure in found if figure is not None]


def _validation(view: TrainingView, name: str) -> list[Point]:
    found = [(e["number"], e["validation"][name]) for e in view.epochs if "validation" in e]
    return [(number, value) for number, value in found if value is not None]


def _figure(view: TrainingView, heading: str, label: str, curves: Sequence[Curve]) -> Figure | None:
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return None
    values = [value for *_, points in curves for _, value in points]
    steep = label == "loss" and min(values) > 0 and max(values) > LOG_FROM * min(values)
    chart = Chart(
        linear_axis([view.settings.epochs], "epoch", counts=True), (log_axis if steep else linear_axis)(values, label)
    )
    for style, name, points in curves:
        chart = chart.path(points, style, name)
    over = view.status == "finished"
    legend = tuple(
        (f"line {style}", f"{name}: {points[-1][1]:.4g} {'in the end' if over else f'after epoch {points[-1][0]:.0f}'}")
        for style, name, points in curves
    )
    return Figure(
        f"{heading} by epoch", chart.svg(f"{heading} by epoch: {'; '.join(text for _, text in legend)}"), legend
    )
