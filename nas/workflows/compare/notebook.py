"""A comparison in a notebook: its table and sentences as HTML, its pictures, and a row a training."""

from __future__ import annotations

from collections.abc import Sequence

from nas.core.notebook import heading, table
from nas.core.values import Json
from nas.errors import ConfigError, unknown
from nas.report.chance import MeasuredOn
from nas.report.figures import inline
from nas.report.html.charts import Chart, Figure
from nas.report.html.page import marked
from nas.report.plots import ROW, Plot, rows_axis
from nas.report.verdict import interval_text, p_text, sentence
from nas.workflows.compare import wording
from nas.workflows.compare.html_report import HEADINGS, KINDS, accuracies, cost_figure, ends_of, scores_of, style_of
from nas.workflows.compare.result import Comparison, Row

MOST_PLOTTED = 30
"""Networks that a picture of accuracies shows, the best."""
MOST_SENTENCES = 20


def comparison_fragment(data: Comparison) -> str:
    """Return the tables and sentences of a comparison, and a picture of its accuracies where it has several seeds."""
    parts = [heading(f"Comparison {data.name} on {data.dataset}: {data.status}")]
    if notice := wording.at_chance(data):
        parts.append(_sentence(notice.text))
    for recipe in data.recipes:
        rows = data.rows_of(recipe.name)
        second = next((row.difference.second for row in rows if row.difference), "the first")
        head = ["network", "test accuracy, %", "95 % interval", f"less {second}", "95 % interval", "p (Holm)"]
        if len(data.recipes) > 1:
            parts.append(heading(f"Recipe {recipe.name}"))
        parts.append(table([*head, "params", "MACs", "seconds a training"], [_cells(row) for row in rows]))
        if any(row.interval for row in rows):
            parts.append(inline(accuracy_figure(rows)))
    parts += [_sentence(text) for _, text in wording.outcomes(data)]
    told = [sentence(difference) for difference in data.differences]
    parts += [_sentence(text) for text in told[:MOST_SENTENCES]]
    if len(told) > MOST_SENTENCES:
        parts.append(_sentence(f"The first {MOST_SENTENCES} of {len(told)} differences; report.html has all."))
    parts += [_sentence(wording.random_sentence(found)) for found in data.against_random]
    failed = [(row.name, row.recipe, why) for row in data.rows for why in dict.fromkeys(row.failures)]
    if failed:
        parts.append(table(("network", "recipe", "why trainings failed"), failed))
    parts.append(_sentence(f"{wording.how_trained(data)} {wording.intervals(data)}"))
    return f"<div>{''.join(parts)}</div>"


def _sentence(text: str) -> str:
    return f'<div style="margin:0.3em 0">{marked(text)}</div>'


def _cells(row: Row) -> list[object]:
    d = row.difference
    apart = ["", "", ""] if d is None else [f"{d.mean:+.2f}", interval_text(d.interval, "+.2f"), p_text(d.p_holm)]
    mean = ("failed" if row.failures else "") if row.mean is None else f"{row.mean:.2f}"
    seconds = None if row.seconds is None else round(row.seconds, 1)
    return [row.name, mean, interval_text(row.interval), *apart, row.params, row.macs, seconds]


def accuracy_figure(rows: Sequence[Row]) -> Figure:
    """Return the accuracy of every seed, and the mean of each network with its interval, a row a network."""
    rows = [row for row in rows if row.mean is not None][:MOST_PLOTTED]
    if not rows:
        raise ConfigError("there is nothing to plot: no network has a score")
    chart = Chart(accuracies(rows), rows_axis({row.name: row for row in rows}))
    for place, row in enumerate(rows):
        y, style = len(rows) - 1 - place, style_of(row)
        if ends := ends_of(row):
            chart = chart.bar(y, ends, f"thin {style}")
        chart = chart.cloud([(score, y) for score in scores_of(row)], style)
        told = f"{row.name}: {row.mean:.2f} %"
        chart = chart.dot((row.mean or 0.0, y), style, 5.0, told).row(y, told)
    found = dict.fromkeys(map(style_of, rows))
    legend = tuple((f"dot {style}", text) for style, text in KINDS.items() if style in found)
    note = "Faint dots are seeds, full ones means, bars their 95\u00a0% intervals."
    title = f"Accuracy: {'; '.join(f'{row.name} {row.mean:.2f} %' for row in rows)}"
    return Figure("Accuracy of every network", chart, title, legend, note, ROW * len(rows))


def comparison_plot(data: Comparison, against: str | None = None, recipe: str | None = None) -> Plot:
    """Return the accuracies under ``recipe``, by default the first, alone or ``against`` a cost."""
    names = [one.name for one in data.recipes]
    if recipe is not None and recipe not in names:
        raise ConfigError(unknown("recipe", recipe, names))
    rows = data.rows_of(recipe or names[0])
    if against is None:
        return Plot(accuracy_figure(rows))
    if against not in HEADINGS:
        raise ConfigError(unknown("cost", against, HEADINGS))
    on = MeasuredOn.of(data.images, "test")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.name for row in data.rows), 1)}
    found = cost_figure(rows, against, numbers, None if on is None else on.chance)
    if found is None:
        raise ConfigError(f"there is nothing to plot: no network has both a score and '{against}'")
    # what the numbers mean, which on its page is the table's to say
    names_of = "; ".join(f"{numbers[row.name]}: {row.name}" for row in rows)
    note = found.note.replace("numbers are those of the table", f"numbers: {names_of}")
    return Plot(Figure(found.heading, found.chart, found.title, found.legend, note))


def training_rows(data: Comparison) -> list[Json]:
    """Return a row for every training: network, recipe, seed, accuracy, seconds, costs, and why it failed."""
    found = []
    for row in data.rows:
        for seed, accuracy in enumerate(row.scores):
            line = {"model": row.name, "kind": row.kind, "recipe": row.recipe, "seed": seed, "accuracy": accuracy}
            line["seconds"] = row.training_seconds[seed] if row.training_seconds else None
            line |= {"params": row.params, "macs": row.macs, "queries": row.queries}
            line |= {f"latency_{batch}_ms": row.latency[batch] for batch in ("1", "64")}
            # a journal counts failures by network: those of one say what its trainings without a score died of
            line["failure"] = "; ".join(dict.fromkeys(row.failures)) or None if accuracy is None else None
            found.append(line)
    return found
