"""What a run leaves for people, each a fold of the journal: ``summary.json``, ``trials.csv`` and the two reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.core.files import write_atomic, write_json
from nas.core.text import csv_lines
from nas.core.values import Json
from nas.report.classes import ClassAccuracy
from nas.report.figures import draw_figures
from nas.report.html.search_report import html_text
from nas.report.markdown import report_text
from nas.report.run_view import RunView, load_view
from nas.types import Trial

COLUMNS = ("index", "status", "key", "reward", "params", "macs", "seconds", "failure", "epochs", "of")
MOST_DECISIONS = 200
"""Columns of ``trials.csv`` for decisions: more than any space here has, and few enough for a spreadsheet."""


def write_outputs(folder: Path) -> RunView:
    """Write all outputs of the run in ``folder`` again and return what they show."""
    view = load_view(folder)
    write_atomic(folder / "trials.csv", csv_lines(trial_rows(view.ledger.trials)))
    write_json(folder / "summary.json", asdict(summary(view)))
    left_out: list[str] = []
    figures = draw_figures(view, folder / "figures", left_out)
    write_atomic(folder / "report.md", report_text(view, figures, left_out))
    write_atomic(folder / "report.html", html_text(view))
    return view


def trial_rows(trials: Sequence[Trial]) -> Iterator[list[object]]:
    """Yield the table of trials, its head first: :data:`COLUMNS`, the evaluator's other values, scores, decisions.

    Scores, ``zero_cost.NAME``, are those that were computed when the trial was asked. Decisions, ``decisions.NAME``,
    are in the order in which trials first made them, lists as JSON. Where there are more than :data:`MOST_DECISIONS`,
    ``decisions_left_out`` is the number of a trial's other ones.
    """
    # columns that an evaluator adds, in an order that does not depend on that of the trials
    extra = sorted({name for t in trials if t.metrics for name in t.metrics.values})
    # the width that each network has where a budget chooses it
    sized = any(t.width is not None for t in trials)
    scores = sorted({name for t in trials for name in t.scores})
    decisions = list(dict.fromkeys(name for t in trials for name in t.architecture.decisions))
    shown, rest = decisions[:MOST_DECISIONS], frozenset(decisions[MOST_DECISIONS:])
    more = ["decisions_left_out"] if rest else []
    yield [
        *COLUMNS,
        *["width"] * sized,
        *extra,
        *(f"zero_cost.{name}" for name in scores),
        *(f"decisions.{name}" for name in shown),
        *more,
    ]
    for t in trials:
        failure = f"{t.failure.kind}: {t.failure.message}" if t.failure else ""
        values = t.metrics.values if t.metrics else {}
        row = [t.index, t.status, t.key, t.reward, t.params, t.macs, t.seconds, failure, t.proposal.epochs, t.of]
        chosen = (t.architecture.decisions.get(name) for name in shown)
        cells = (json.dumps(value) if isinstance(value, tuple) else value for value in chosen)
        left_out = [len(rest & t.architecture.decisions.keys())] if rest else []
        numbers = (*(values.get(name) for name in extra), *(t.scores.get(name) for name in scores))
        yield [*row, *[t.width] * sized, *numbers, *cells, *left_out]


@dataclass(frozen=True)
class BestTrial:
    """The trial with the best reward of the most epochs."""

    index: int
    key: str
    reward: float | None
    params: int | None
    macs: int | None


@dataclass(frozen=True)
class RandomSearch:
    """The random search that a search is compared with."""

    reward: float | None
    """The best one."""
    queries: int


@dataclass(frozen=True)
class FinalScore:
    """A network of the final comparison, in percent of the test split for trainings."""

    role: str
    name: str
    mean: float | None
    spread: float
    """Standard deviation over the seeds, 0 for one."""
    scores: list[float]
    params: int | None
    macs: int | None
    seconds: float
    """Mean of a training."""


@dataclass(frozen=True)
class SearchSummary:
    """A search in numbers: ``summary.json`` is a JSON object of the names of these attributes."""

    name: str
    status: str
    space: str
    searcher: str
    seed: int
    best: BestTrial | None
    counts: dict[str, int]
    """Trials by status."""
    queries: int
    """Evaluations that were asked for."""
    seconds: float
    """What evaluations took on this machine."""
    simulated_seconds: float | None
    """What a table says that they would have taken."""
    score_seconds: float
    """What the zero-cost scores took, of trials and of the candidates among which they were chosen."""
    test_reads: int
    damaged_images: int
    random_search: RandomSearch | None
    finals: list[FinalScore]
    """Best mean first."""
    spent: dict[str, float]
    """Seconds of evaluations on their workers, by part of the run."""
    class_names: list[str]
    """By label; empty where they are not known."""
    normalization: Json | None
    """``mean`` and ``std`` by channel of pixels of 0 to 1, as the final trainings normalize them."""
    per_class: list[ClassAccuracy]
    """Of the winner's final trainings, the lowest accuracy first."""


def summary(view: RunView) -> SearchSummary:
    """Return the run in numbers."""
    ledger, best = view.ledger, view.ledger.best()
    random = None
    if view.baseline is not None and (other := view.baseline.best()) is not None:
        random = RandomSearch(other.reward, view.baseline.queries)
    finals = []
    for row in view.scores():
        mean, scores, seconds = row.mean if row.scores else None, list(row.scores), round(row.seconds, 3)
        finals.append(FinalScore(row.role, row.name, mean, row.spread, scores, row.params, row.macs, seconds))
    simulated = [t.metrics.seconds for t in ledger.trials if t.status == "done" and t.metrics and t.metrics.simulated]
    return SearchSummary(
        name=view.folder.name,
        status=view.status,
        space=view.config.space.name,
        searcher=view.config.searcher.name,
        seed=view.config.seed,
        best=None if best is None else BestTrial(best.index, best.key, best.reward, best.params, best.macs),
        counts=dict(ledger.counts),
        queries=ledger.queries,
        seconds=round(sum(t.seconds for t in ledger.trials if t.status != "reused"), 3),
        simulated_seconds=round(sum(simulated), 3) if simulated else None,
        score_seconds=round(sum(t.score_seconds for t in ledger.trials), 3),
        test_reads=view.ledger.test_reads,
        damaged_images=view.damaged[0],
        random_search=random,
        finals=finals,
        spent={part.name: round(part.seconds, 3) for part in view.spent()},
        class_names=list(view.class_names),
        normalization=view.normalization,
        per_class=view.per_class,
    )
