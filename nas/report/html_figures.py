"""The charts of the HTML report: score against cost, progress beside random search, low against high fidelity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

from nas.errors import ConfigError
from nas.report.bubbles import COST_LABELS, Figure, half_width, radius_of, shifts
from nas.report.charts import Chart, Point, linear_axis, log_axis, short, strip
from nas.report.html_ranks import Ranking, rankings
from nas.report.view import RunView, Score
from nas.report.words import UNITS
from nas.run.config import search_name
from nas.run.ledger import Ledger
from nas.searchers.pareto import COSTS, DEFAULT_OBJECTIVES, front, limits_of, objective_names, value_of, violation
from nas.types import Trial

Arm: TypeAlias = tuple[str, str, Ledger]
"""A style, a name, and what was searched."""


@dataclass(frozen=True)
class Progressed:
    """An evaluation with a score: how many were asked and seconds spent until then, its reward, and the best so far."""

    query: int
    seconds: float
    reward: float
    best: float


def reward_label(view: RunView) -> str:
    """Return what the reward is called on an axis."""
    if view.config.evaluator == "train":
        return "validation accuracy, %"
    return f"reward ({view.config.reward})" if view.config.reward else "reward"


def score_label(view: RunView) -> str:
    """Return what the score of the final comparison is called."""
    if view.config.evaluator == "train":
        return "test accuracy, %"
    return view.config.objective or view.config.reward or "score"


def arms(view: RunView) -> Iterator[Arm]:
    """Yield the search and its random search, as far as they have begun."""
    yield "search", search_name(view.config), view.ledger
    if view.baseline is not None:
        yield "random", "random search", view.baseline


def scored(ledger: Ledger) -> list[Trial]:
    """Return the trials that were evaluated and have a reward."""
    return [t for t in ledger.trials if t.status == "done" and t.reward is not None]


def cost_figures(view: RunView) -> list[Figure]:
    """Return score against MACs, parameters, and every other objective of the search, where trials have them."""
    names = ["macs", "params", *(name for name in _objectives(view) if name not in COSTS)]
    return [figure for name in names if (figure := _cost_figure(view, name)) is not None]


def _objectives(view: RunView) -> tuple[str, ...]:
    if view.config.searcher != "nsga2":
        return ()
    return objective_names(view.config.searcher_args.get("objectives", DEFAULT_OBJECTIVES))


def _cost_figure(view: RunView, name: str) -> Figure | None:
    clouds = [(style, label, list(_costed(scored(ledger), name))) for style, label, ledger in arms(view)]
    finals = [row for row in view.scores() if _shown_with_trials(view) and row.scores]
    finals = [row for row in finals if getattr(row, name, None) is not None]
    if not any(points for _, _, points in clouds):
        return None
    pairs = [pair for _, _, points in clouds for pair in points]
    rewards = [t.reward or 0.0 for t, _ in pairs]
    spans = [v for row in finals for v in (row.mean, *_ends(row))]
    # the size of a bubble tells the other cost
    other = "macs" if name == "params" else "params"
    radius = radius_of([getattr(t, other) for t, _ in pairs] + [getattr(row, other) for row in finals])
    costs = [x for _, x in pairs] + [getattr(row, name) for row in finals]
    axis = log_axis if min(costs) > 0 else linear_axis
    chart = Chart(
        axis(costs, COST_LABELS.get(name, name)),
        linear_axis([*rewards, *spans], _cost_label(view, finals), robust=True),
    )
    legend: list[tuple[str, str]] = []
    for style, label, points in reversed(clouds):
        if points:
            sizes = {(x, t.reward or 0.0): radius(getattr(t, other)) / 2 for t, x in points}
            chart = chart.cloud(list(sizes), style, sizes=list(sizes.values()))
            legend.insert(0, (f"cloud {style}", f"trials of {label}: {reward_label(view)}"))
    chart, found = _with_front(chart, view, name)
    if found:
        most = " of most epochs" if view.config.scheduler != "none" else ""
        legend.append(("line front", f"Pareto front of the search's trials{most}"))
    chart, more = _with_finals(chart, view, finals, name, radius)
    below = sum(reward < chart.y.low for reward in rewards)
    note = f"The larger a dot, the more {'MACs' if other == 'macs' else 'parameters'}."
    if finals and any(half_width(row.scores) for row in finals):
        note += " Bars: 95\u00a0% interval of the mean over the seeds; finalists of like cost stand side by side."
    if below:
        note += f" {below} of {len(rewards)} trials score below this picture and stand at its lower edge."
    heading = f"Accuracy against {_heading(name)}" if _is_accuracy(view) else f"Reward against {_heading(name)}"
    return Figure(heading, chart.svg(f"{heading}: {len(rewards)} trials"), (*more, *legend), note)


def _heading(name: str) -> str:
    return {"macs": "MACs", "params": "parameters"}.get(name, name)


def _is_accuracy(view: RunView) -> bool:
    return view.config.evaluator == "train" or "acc" in (view.config.reward or "")


def _shown_with_trials(view: RunView) -> bool:
    """Return whether the final scores can stand on the axis of the rewards."""
    config = view.config
    alike = config.objective in (None, config.reward) or "acc" in (config.objective or "")
    return config.evaluator == "train" or (_is_accuracy(view) and alike)


def _cost_label(view: RunView, finals: Sequence[Score]) -> str:
    return "accuracy, %" if finals and _is_accuracy(view) else reward_label(view)


def _costed(trials: Iterable[Trial], name: str) -> Iterator[tuple[Trial, float]]:
    """Yield the trials that have a cost ``name``, with it."""
    for t in trials:
        values = t.metrics.values if t.metrics else {}
        cost = getattr(t, name) if name in COSTS else values.get(name)
        if cost is not None:
            yield t, float(cost)


def _with_front(chart: Chart, view: RunView, name: str) -> tuple[Chart, bool]:
    """Add the trials of most epochs, within the limits, that are not dominated in reward and this one cost."""
    done = [t for t, _ in _costed(scored(view.ledger), name)]
    most = max((t.proposal.epochs for t in done), default=0)
    limits = limits_of(view.config.searcher_args.get("limits", "")) if view.config.searcher == "nsga2" else {}
    try:
        kept = front([t for t in done if t.proposal.epochs == most and not violation(t, limits)], (name,))
    except ConfigError:  # a limit on what no trial measured has ended the search
        return chart, False
    points = sorted((value_of(t, name), t.reward or 0.0) for t in kept)
    chart = chart.steps(points, "front", "Pareto front", end=chart.x.high)
    for t in kept:
        title = f"trial {t.index}: reward {t.reward:.4g}, {short(value_of(t, name))} {_heading(name)}"
        chart = chart.dot((value_of(t, name), t.reward or 0.0), "front", 3.5, title)
    return chart, bool(kept)


def _with_finals(
    chart: Chart, view: RunView, finals: Sequence[Score], name: str, radius: Callable[[float | None], float]
) -> tuple[Chart, list[tuple[str, str]]]:
    legend = []
    places = shifts([chart.x.at(getattr(row, name)) for row in finals])
    for row, shift in zip(finals, places, strict=True):
        x, style, half = getattr(row, name), f"final {row.role}", half_width(row.scores)
        text = f"{row.name}: {row.mean:.2f}{'' if half is None else f' ± {half:.2f}'} ({score_label(view)})"
        title = f"{text}, {short(row.params or 0)} parameters, {short(row.macs or 0)} MACs"
        size = radius(row.macs if name == "params" else row.params)
        chart = chart.dot((x, row.mean), style, size, title, shift)
        if half is not None:
            chart = chart.interval(x, row.mean - half, row.mean + half, style, shift)
        legend.append((f"dot {style}", text))
    return chart, legend


@dataclass(frozen=True)
class Strips:
    """Rows of the final comparison with their seeds and intervals, on one scale that goes from ``low`` to ``high``."""

    rows: tuple[tuple[Score, Markup], ...] = ()
    low: str = ""
    high: str = ""


def score_strips(view: RunView) -> Strips:
    """Return the strips of the final comparison; there are none where every row is a single value."""
    rows = [row for row in view.scores() if row.scores]
    if not any(len(row.scores) > 1 for row in rows):
        return Strips()
    axis = linear_axis([v for row in rows for v in (*row.scores, *_ends(row))], score_label(view))
    found = [(row, f"{row.name}: {' '.join(f'{s:.2f}' for s in row.scores)}") for row in rows]
    pictures = tuple((row, strip(axis, row.scores, _ends(row), row.role, title)) for row, title in found)
    return Strips(pictures, f"{axis.low:.2f}", f"{axis.high:.2f}")


def _ends(row: Score) -> tuple[float, ...]:
    half = half_width(row.scores)
    return () if half is None else (row.mean - half, row.mean + half)


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
    found = [_progress_figure(view, "evaluations", lambda p: p.query)]
    simulated = any(t.metrics is not None and t.metrics.simulated and t.metrics.seconds for t in view.ledger.trials)
    if simulated:
        longest = max(progress(ledger)[-1].seconds for _, _, ledger in arms(view) if progress(ledger))
        unit, size = next(((name, own) for name, least, own in UNITS if longest >= least), ("s", 1.0))
        label = f"simulated time, {'hours' if unit == 'h' else unit}"
        found.append(_progress_figure(view, label, lambda p: p.seconds / size))
    return [figure for figure in found if figure is not None]


def _progress_figure(view: RunView, label: str, place: Callable[[Progressed], float]) -> Figure | None:
    folds = [(style, name, progress(ledger)) for style, name, ledger in arms(view)]
    folds = [(style, name, done) for style, name, done in folds if done]
    if not folds:
        return None
    everything = [p for _, _, done in folds for p in done]
    y = linear_axis([p.reward for p in everything], reward_label(view), robust=True)
    chart = Chart(linear_axis(map(place, everything), label, counts=True), y)
    for style, _, done in reversed(folds):
        chart = chart.cloud([(place(p), p.reward) for p in done], style, 2.2)
    for style, name, done in reversed(folds):
        bests: list[Point] = [(place(p), p.best) for p in done]
        chart = chart.steps(bests, style, f"{name}: best so far")
    below = sum(p.reward < y.low for p in everything)
    note = f"{below} of {len(everything)} scores lie below this picture and stand at its edge." if below else ""
    if view.config.scheduler != "none":
        note = f"The line is the best of the most epochs so far; a dot is a trial of any number of epochs. {note}"
    heading = "Best so far by " + ("evaluations" if label == "evaluations" else "simulated time")
    legend = tuple((f"line {style}", f"{name}: {done[-1].best:.4g} in the end") for style, name, done in folds)
    return Figure(heading, chart.svg(f"{heading}: {'; '.join(text for _, text in legend)}"), legend, note.strip())


def rank_figures(view: RunView) -> list[tuple[Ranking, Figure]]:
    """Return, for every pair of proxy and full training, how well the one ranks what the other does."""
    return [(found, _rank_figure(found)) for found in rankings(view)]


def _rank_figure(found: Ranking) -> Figure:
    chart = Chart(
        linear_axis([x for x, _ in found.pairs], found.low, robust=True),
        linear_axis([y for _, y in found.pairs], found.high, robust=True),
    ).cloud(found.pairs, "search strong", 3.5)
    heading = f"{found.low.capitalize()}, {found.high}"
    return Figure(heading, chart.svg(f"{heading}: {len(found.pairs)} architectures"), ())
