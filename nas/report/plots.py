"""The figures of a search one by one, as a notebook shows them and a file holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from nas.core.files import write_atomic
from nas.core.text import count
from nas.errors import ConfigError
from nas.graph.drawing.svg import fitting
from nas.report.decision_importance import LEAST, importance
from nas.report.figures import standalone
from nas.report.html.charts import Axis, Chart, Figure, linear_axis
from nas.report.html.search_figures import cost_figure, progress_figures
from nas.report.run_view import RunView, scored
from nas.searchers.pareto import COSTS
from nas.types import Trial

ROW = 36
"""Pixels of a row with its name."""
MOST_NAMED = 12
"""Decisions that a picture of their importance has."""


@dataclass(frozen=True, repr=False)
class Plot:
    """A picture: a notebook shows it, :meth:`to_svg` returns it, :meth:`save` writes it."""

    figure: Figure

    def to_svg(self) -> str:
        """Return the picture as a whole SVG file on white paper, with its title, legend and notes."""
        return standalone(self.figure)

    def save(self, path: str | Path) -> Path:
        """Write the picture to ``path``, which ends in ``.svg``, and return that; another raises ConfigError."""
        path = Path(path)
        if path.suffix != ".svg":
            raise ConfigError(f"a plot is saved as SVG: the file must end in .svg, found '{path}'")
        if not path.parent.is_dir():
            raise ConfigError(f"'{path}': the folder '{path.parent}' does not exist")
        write_atomic(path, self.to_svg())
        return path

    def _repr_svg_(self) -> str:
        """Return the picture with rules that mean nothing else on the page of a notebook."""
        return fitting(standalone(self.figure, f"plot-{blake2b(self.to_svg().encode(), digest_size=6).hexdigest()}"))

    def __repr__(self) -> str:
        return f"Plot({self.figure.heading})"


def history_plot(view: RunView) -> Plot:
    """Return the best reward so far, and every reward, by the number of evaluations."""
    found = progress_figures(view)
    if not found:
        raise ConfigError("there is nothing to plot: no trial has a reward yet")
    return Plot(found[0])


def pareto_plot(view: RunView, objective: str) -> Plot:
    """Return rewards against ``objective``, a cost or a metric, with the Pareto front of both."""
    found = cost_figure(view, objective)
    if found is None:
        trials = scored(view.ledger)
        known = {name: None for t in trials for name in (t.metrics.values if t.metrics else {})}
        costs = [name for name in COSTS if any(getattr(t, name) is not None for t in trials)]
        rule = f"they have {', '.join([*costs, *known]) or 'no costs and no metrics'}"
        raise ConfigError(f"there is nothing to plot: no trial with a reward has '{objective}'; {rule}")
    return Plot(found)


def importance_plot(trials: Sequence[Trial]) -> Plot:
    """Return how much each decision tells good trials from all, see :mod:`nas.report.decision_importance`."""
    found = importance(trials)
    if found is None:
        done = sum(t.status == "done" and t.reward is not None for t in trials)
        rule = f"importance needs {LEAST} trials of most epochs whose rewards and decisions differ"
        raise ConfigError(f"there is nothing to plot: {rule}, found {count(done, 'trial')} with a reward")
    shares = dict(found.shares[:MOST_NAMED])
    chart = Chart(
        linear_axis([100 * max(shares.values())], "share of the importance, %", counts=True), rows_axis(shares)
    )
    for place, (name, share) in enumerate(shares.items()):
        y = len(shares) - 1 - place
        chart = chart.bar(y, (0.0, 100 * share), "search").row(y, f"{name}: {100 * share:.1f} %")
    note = f"How much each decision tells the best {found.good} trials from all {found.trials} (PED-ANOVA)."
    if len(found.shares) > MOST_NAMED:
        note += f" The first {MOST_NAMED} of {len(found.shares)} decisions."
    heading = "Which decisions mattered"
    title = f"{heading}: {'; '.join(f'{name} {100 * share:.1f} %' for name, share in shares.items())}"
    return Plot(Figure(heading, chart, title, (), note, ROW * len(shares)))


def rows_axis(rows: Mapping[str, object], label: str = "") -> Axis:
    """Return a vertical axis without numbers for rows with names, the first of them at the top."""
    return Axis(label, -0.4, len(rows) - 0.1, ())
