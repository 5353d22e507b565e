"""The Pareto front of a search with its knee, as its reports show it: what could be taken instead of the best."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.text import count, elsewhere
from nas.errors import ConfigError
from nas.report.run_view import RunView
from nas.runs.trials import FRONT, KNEE
from nas.searchers.pareto import search_front, value_of
from nas.types import Trial

MOST_ROWS = 10
"""Of the front of a search for the reward alone; that of several objectives is its result and shown whole."""


@dataclass(frozen=True)
class FrontRow:
    """A trial of the front."""

    trial: Trial
    values: tuple[float, ...]
    """Its objectives beside the reward."""
    name: str
    """What commands call it, ``RUN:TRIAL``."""
    is_knee: bool


@dataclass(frozen=True)
class FrontTable:
    """The front as a table."""

    objectives: tuple[str, ...]
    """Those beside the reward."""
    rows: tuple[FrontRow, ...]
    """Best reward first."""
    sentences: tuple[str, ...]
    """What the table shows and how its trials are named; code in them stands between backticks."""


def front_table(view: RunView) -> FrontTable | None:
    """Return the front of a search; None where it has none, as no trial has a reward and a cost."""
    run, searcher = view.folder.name, view.config.searcher
    try:
        found = search_front(view.ledger.trials, searcher.name, searcher.args)
    except ConfigError:  # an objective that no trial has ended the search
        return None
    if found.knee is None:
        return None

    # of a long front as many, evenly spread, with both ends and the knee
    shown, number = list(found.trials), len(found.trials)
    if not view.objectives and number > MOST_ROWS:
        places = {round(i * (number - 1) / (MOST_ROWS - 2)) for i in range(MOST_ROWS - 1)}
        shown = [shown[place] for place in sorted(places | {shown.index(found.knee)})]
    rows = tuple(
        FrontRow(t, tuple(value_of(t, name) for name in found.objectives), f"{run}:{t.index}", t is found.knee)
        for t in shown
    )

    costs, limits = " and ".join(found.objectives), searcher.args.get("limits") if view.objectives else None
    knee = f"The knee, trial {found.knee.index}, lies farthest from the line between the front's ends"
    sentences = (
        f"No other trial has at least this reward and no more {costs}, and is better in one of them.",
        *([f"Trials over the limits {limits} are left out."] if limits else []),
        *([f"Shown are {len(rows)} of {count(number, 'trial')}."] if len(rows) < number else []),
        f"{knee}, each objective scaled to between 0 and 1." if number > 1 else "",
        "Commands that take a network take a trial by its name, the knee also by its own: "
        f"`nas export {run}:{KNEE} -o FOLDER{elsewhere(view.folder)}`; `nas compare` takes all as `{run}:{FRONT}`.",
    )
    return FrontTable(found.objectives, rows, tuple(sentence for sentence in sentences if sentence))
