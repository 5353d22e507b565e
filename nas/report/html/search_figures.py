"""The charts of the HTML report: score against cost, progress beside random search, low against high fidelity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from markupsafe import Markup

from nas.core.informing import informing
from nas.core.text import UNITS
from nas.engine.config import search_name
from nas.engine.loop import Ledger
from nas.errors import ConfigError
from nas.report.html.charts import (
    COST_LABELS,
    Chart,
    Figure,
    dot_radius,
    linear_axis,
    log_axis,
    radius_of,
    shifts,
    short,
    strip,
)
from nas.report.html.learning_curves import Curve, curves_figure
from nas.report.rank_correlation import Ranking, rankings
from nas.report.run_view import RunView, Score, scored
from nas.report.verdict import interval_text
from nas.searchers.pareto import COSTS, final_front, value_of

T = TypeVar("T")
Arm: TypeAlias = tuple[str, str, Ledger]
"""A style, a name, and what was searched."""


@dataclass(frozen=True)
class Progressed:
    """An evaluation with a score."""

    query: int
    """How many were asked for until then."""
    seconds: float
    """Spent until then; simulated ones where a table says so."""
    reward: float
    best: float
    """The best reward so far."""


def drawn(view: RunView, name: str, draw: Callable[[RunView], list[T]], problems: list[str]) -> list[T]:
    """Return what ``draw`` returns, nothing where that fails; ``problems`` then gets a sentence that says why."""
    with informing(f"figure '{name}' of run '{view.folder.name}'") as attempt:
        return draw(view)
    problems.append(f"Figure '{name}' is left out: {attempt.problem}.")
    return []


def reward_label(view: RunView) -> str:
    """Return what the reward is called on an axis."""
    if view.config.evaluator == "train":
        return "validation accuracy, %"
    return f"reward ({view.config.table.val_column})" if view.config.table.val_column else "reward"


def score_label(view: RunView) -> str:
    """Return what the score of the final comparison is called."""
    if view.config.evaluator == "train":
        return "test accuracy, %"
    return view.config.table.test_column or view.config.table.val_column or "score"


def arms(view: RunView) -> Iterator[Arm]:
    """Yield the search and those that it is compared with, as far as they have begun."""
    yield "search", search_name(view.config), view.ledger
    if view.baseline is not None:
        yield "random", "random search", view.baseline
    if view.rivals is not None:
        yield "handcrafted", "handcrafted rivals", view.rivals


def cost_figures(view: RunView) -> list[Figure]:
    """Return score against MACs, parameters, and every other objective of the search, where trials have them."""
    names = ["macs", "params", *(name for name in view.objectives if name not in COSTS)]
    return [figure for name in names if (figure := cost_figure(view, name)) is not None]


def cost_figure(view: RunView, name: str) -> Figure | None:
    """Return score against ``name``, a cost or a metric, with the Pareto front of both; None where no trial has it."""
    config = view.config
    clouds = []
    for style, label, ledger in arms(view):
        points = []
        for t in scored(ledger):
            cost = getattr(t, name) if name in COSTS else t.metrics.values.get(name) if t.metrics else None
            if cost is not None:
                points.append((t, float(cost)))
        clouds.append((style, label, points))
    pairs = [pair for _, _, points in clouds for pair in points]
    if not pairs:
        return None

    # Final scores are shown among the trials where both are accuracies, and the network has this cost.
    trained = config.evaluator == "train"
    accuracy = trained or "acc" in (config.table.val_column or "")
    alike = config.table.test_column in (None, config.table.val_column) or "acc" in (config.table.test_column or "")
    finals = [row for row in view.scores() if row.scores and (trained or (accuracy and alike))]
    finals = [row for row in finals if getattr(row, name, None) is not None]

    # The axes; a logarithmic one where no cost is zero.
    rewards = [t.reward or 0.0 for t, _ in pairs]
    costs = [x for _, x in pairs] + [getattr(row, name) for row in finals]
    spans = [v for row in finals for v in (row.mean, *_ends(row))]
    label = "accuracy, %" if finals and accuracy else reward_label(view)
    chart = Chart(
        (log_axis if min(costs) > 0 else linear_axis)(costs, COST_LABELS.get(name, name)),
        linear_axis([*rewards, *spans], label, robust=True),
    )

    # The trials: the size of a bubble tells the other cost.
    other = "macs" if name == "params" else "params"
    radius = radius_of([getattr(t, other) for t, _ in pairs] + [getattr(row, other) for row in finals])
    legend: list[tuple[str, str]] = []
    for style, who, points in reversed(clouds):
        if points:
            # half as large as finalists, yet large enough to be seen
            least = 0.7 * dot_radius(len(points))
            sizes = {(x, t.reward or 0.0): max(least, radius(getattr(t, other)) / 2) for t, x in points}
            chart = chart.cloud(list(sizes), style, sizes=list(sizes.values()))
            legend.insert(0, (f"cloud {style}", f"trials of {who}: {reward_label(view)}"))

    chart, chance = _with_chance(view, chart)
    legend += chance

    # The front in the reward and this one cost.
    heading = {"macs": "MACs", "params": "parameters"}.get(name, name)
    try:
        kept = final_front([t for t, _ in clouds[0][2]], (name,), view.limits)
    except ConfigError:  # a limit on what no trial measured has ended the search
        kept = []
    if kept:
        points_of = sorted((value_of(t, name), t.reward or 0.0) for t in kept)
        chart = chart.steps(points_of, "front", "Pareto front", end=chart.x.high)
        most = " of most epochs" if config.scheduler.name != "none" else ""
        legend.append(("line front", f"Pareto front of the search's trials{most}"))
    for t in kept:
        title = f"trial {t.index}: reward {t.reward:.4g}, {short(value_of(t, name))} {heading}"
        chart = chart.dot((value_of(t, name), t.reward or 0.0), "front", 3.5, title)

    # The finalists with the intervals of their means; those of similar cost are side by side.
    first: list[tuple[str, str]] = []
    places = shifts([chart.x.at(getattr(row, name)) for row in finals])
    for row, shift in zip(finals, places, strict=True):
        x, style, ends = getattr(row, name), f"final {row.style}", row.interval
        text = f"{row.name}: {row.mean:.2f}{'' if ends is None else f' ({interval_text(ends)})'}, {score_label(view)}"
        title = f"{text}, {short(row.params or 0)} parameters, {short(row.macs or 0)} MACs"
        chart = chart.dot((x, row.mean), style, radius(getattr(row, other)), title, shift)
        if ends is not None:
            chart = chart.interval(x, ends.low, ends.high, style, shift)
        first.append((f"dot {style}", text))

    # The words.
    note = f"The larger a dot, the more {'MACs' if other == 'macs' else 'parameters'}."
    if any(row.interval for row in finals):
        of = "mean over the seeds" if any(len(row.scores) > 1 for row in finals) else "score (Wilson)"
        note += f" Bars: 95\u00a0% interval of the {of}; finalists of similar cost are side by side."
    below = sum(reward < chart.y.low for reward in rewards)
    if below:
        note += f" {below} of {len(rewards)} trials score below this picture and are drawn at its lower edge."
    heading = f"{'Accuracy' if accuracy else 'Reward'} against {heading}"
    return Figure(heading, chart, f"{heading}: {len(rewards)} trials", (*first, *legend), note)


@dataclass(frozen=True)
class Strips:
    """Pictures of the seeds and intervals of the final comparison, on one scale."""

    rows: tuple[tuple[Score, Markup], ...] = ()
    low: str = ""
    """Where the scale begins, as text."""
    high: str = ""
    """Where it ends."""


def score_strips(view: RunView) -> Strips:
    """Return the strips of the final comparison; there are none where every row is a single value."""
    rows = [row for row in view.scores() if row.scores]
    if not any(len(row.scores) > 1 for row in rows):
        return Strips()
    axis = linear_axis([v for row in rows for v in (*row.scores, *_ends(row))], score_label(view))
    found = [(row, f"{row.name}: {' '.join(f'{s:.2f}' for s in row.scores)}") for row in rows]
    pictures = tuple((row, strip(axis, row.scores, _ends(row), row.style, title)) for row, title in found)
    return Strips(pictures, f"{axis.low:.2f}", f"{axis.high:.2f}")


def _ends(row: Score) -> tuple[float, ...]:
    return () if row.interval is None else (row.interval.low, row.interval.high)


def progress(ledger: Ledger) -> list[Progressed]:
    """Return every evaluation with a score; the best is that of the most epochs so far, as others do not compare."""
    found: list[Progressed] = []
    query, seconds, best = 0, 0.0, (0, -math.inf)
    for t in ledger.trials:
        if t.status in ("reused", "refused"):
            continue
        query += 1
        seconds += t.metrics.seconds if t.metrics is not None and t.metrics.simulated else t.seconds
        if t.reward is not None:
            best = max(best, (t.proposal.epochs, t.reward))
            found.append(Progressed(query, seconds, t.reward, best[1]))
    return found


def progress_figures(view: RunView) -> list[Figure]:
    """Return the best so far over evaluations and, where a table simulates them, over seconds."""
    folds = [(style, name, done) for style, name, ledger in arms(view) if (done := progress(ledger))]
    if not folds:
        return []
    axes: list[tuple[str, Callable[[Progressed], float]]] = [("evaluations", lambda p: p.query)]
    if any(t.metrics is not None and t.metrics.simulated and t.metrics.seconds for t in view.ledger.trials):
        longest = max(done[-1].seconds for _, _, done in folds)
        unit, size = next(((name, own) for name, least, own in UNITS if longest >= least), ("s", 1.0))
        axes.append((f"simulated time, {'hours' if unit == 'h' else unit}", lambda p: p.seconds / size))

    # What all figures have in common: the scale of rewards, and the words.
    everything = [p for _, _, done in folds for p in done]
    y = linear_axis([p.reward for p in everything], reward_label(view), robust=True)
    below = sum(p.reward < y.low for p in everything)
    note = f"{below} of {len(everything)} scores lie below this picture and are drawn at its edge." if below else ""
    if view.config.scheduler.name != "none":
        note = f"The line is the best of the most epochs so far; a dot is a trial of any number of epochs. {note}"
    legend = tuple((f"line {style}", f"{name}: {done[-1].best:.4g} in the end") for style, name, done in folds)

    # A dot for every score, and over them a line for the best so far; the search in front of random search.
    found = []
    for label, place in axes:
        chart, chance = _with_chance(view, Chart(linear_axis(map(place, everything), label, counts=True), y))
        for style, _, done in reversed(folds):
            chart = chart.cloud([(place(p), p.reward) for p in done], style, dot_radius(len(done)))
        for style, name, done in reversed(folds):
            chart = chart.steps([(place(p), p.best) for p in done], style, f"{name}: best so far")
        heading = "Best so far by " + ("evaluations" if label == "evaluations" else "simulated time")
        title = f"{heading}: {'; '.join(text for _, text in legend)}"
        found.append(Figure(heading, chart, title, (*legend, *chance), note.strip()))
    return found


def _with_chance(view: RunView, chart: Chart) -> tuple[Chart, list[tuple[str, str]]]:
    """Return ``chart`` with the chance level of validation, where that is known, and what the legend says of it."""
    if view.validation is None:
        return chart, []
    chance = view.validation.chance
    text = f"chance level, {chance:.4g} %" + ("" if chart.y.low <= chance <= chart.y.high else ": below this picture")
    return chart.level(chance, "chance", text), [("level chance", text)]


def curve_figures(view: RunView) -> list[Figure]:
    """Return the training loss by epoch of the final trainings, of which equal ones are one; none of a table."""
    styles = {row.role: (row.style, row.name) for row in view.scores()}
    curves = [
        Curve(*styles[note["role"]], [(epoch, loss) for epoch, loss in note["curve"]])
        for note in view.notes
        if note.get("curve") and "role" in note
    ]
    return [curves_figure("Training loss", "training loss", curves, view.config.comparison.epochs)] if curves else []


def rank_figures(view: RunView) -> list[tuple[Ranking, Figure]]:
    """Return, for every pair of proxy and full training, how well the one ranks what the other does."""
    figures = []
    for found in rankings(view):
        x = linear_axis([low for low, _ in found.pairs], found.low, robust=True)
        y = linear_axis([high for _, high in found.pairs], found.high, robust=True)
        chart = Chart(x, y).cloud(found.pairs, "search strong", 3.5)
        heading = f"{found.low.capitalize()}, {found.high}"
        figures.append((found, Figure(heading, chart, f"{heading}: {len(found.pairs)} architectures")))
    return figures
