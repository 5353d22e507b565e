"""A study in a notebook: what was searched, how far, the best trials, and how the best reward grew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nas.core.notebook import facts, heading, shown, table, unfolding
from nas.core.text import count
from nas.core.values import Json
from nas.errors import ConfigError, NasError
from nas.graph.drawing.svg import inline_svg
from nas.report.figures import inline
from nas.report.html.search_figures import progress_figures
from nas.report.run_view import RunView
from nas.space import Cells, Space
from nas.types import Trial

TOP = 5
"""Trials of the table."""
FEW = 12
"""So few decisions are open to see; more unfold."""


def study_fragment(about: Json, trials: Sequence[Trial], best: Trial | None, view: RunView | None) -> str:
    """Return the HTML of a study: ``about`` it, its best trials, and a curve where ``view`` has rewards."""
    parts = [heading(f"Study of space {about['space']}")]
    told = Counter(t.status for t in trials)
    states = ", ".join(f"{number:,} {status}" for status, number in sorted(told.items()))
    parts.append(facts({**about, "space": None, "trials": f"{len(trials):,} ({states})" if trials else "none yet"}))
    if best is not None:
        scored = [t for t in trials if t.status == "done" and t.reward is not None]
        top = sorted(scored, key=lambda t: (-t.proposal.epochs, -(t.reward or 0.0), t.index))[:TOP]
        parts.append(heading("Best trials" if len(top) > 1 else "Best trial"))
        rows = [(t.index, t.reward, t.proposal.epochs, t.params, t.macs, round(t.seconds, 1)) for t in top]
        parts.append(table(("trial", "reward", "epochs", "params", "MACs", "seconds"), rows))
        decisions = best.architecture.decisions
        title = f"Trial {best.index}: {count(len(decisions), 'decision')}"
        parts.append(unfolding(title, best.architecture._repr_html_(), len(decisions) <= FEW))
    elif failed := [t.failure for t in trials if t.failure is not None]:
        parts.append(heading(f"No trial has a reward; the first failed with {failed[0].kind}: {failed[0].message}"))
    if view is not None:
        try:
            figures = progress_figures(view)[:1]
        except ConfigError:  # rewards too far apart for an axis
            figures = []
        parts += map(inline, figures)
    return f"<div>{''.join(parts)}</div>"


def cells_fragment(space: Space, best: Trial) -> str:
    """Return the cells of the best trial, unfolding; nothing where its space has none that can be drawn."""
    try:
        described = space.describe(best.architecture)
        if not isinstance(described, Cells):
            return ""
        pictures = [f"<div>{shown(name)}<br>{inline_svg(cell)}</div>" for name, cell in described.cells.items()]
    except NasError:
        return ""
    row = f'<div style="display:flex;flex-wrap:wrap;max-width:100%;overflow-x:auto">{"".join(pictures)}</div>'
    return unfolding(f"Trial {best.index}: its cells", row)


def trial_rows(trials: Sequence[Trial]) -> list[Json]:
    """Return a row a trial: status, reward, costs, metrics and every decision."""
    rows: list[Json] = []
    for trial in trials:
        values = {} if trial.metrics is None else dict(trial.metrics.values)
        row = {name: getattr(trial, name) for name in ("index", "status", "reward")}
        row |= {"epochs": trial.proposal.epochs, "params": trial.params, "macs": trial.macs}
        row |= {"seconds": trial.seconds, "failure": None if trial.failure is None else trial.failure.message}
        row |= {} if trial.width is None else {"width": trial.width}
        row |= {f"zero_cost.{name}": score for name, score in trial.scores.items()}
        rows.append(row | values | {f"decisions.{n}": v for n, v in trial.architecture.decisions.items()})
    return rows
