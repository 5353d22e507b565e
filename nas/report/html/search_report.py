"""The report of a search as one HTML file (see :mod:`nas.report.html.page`)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import tomli_w
from markupsafe import Markup

from nas.core.files import read_json
from nas.core.plugins import load_built_in, naming
from nas.core.text import elsewhere
from nas.engine.config import search_name
from nas.errors import TOO_SLOW, NasError
from nas.graph import Graph
from nas.graph.drawing.svg import draw_svg, marked
from nas.report.decision_importance import importance
from nas.report.front import front_table
from nas.report.html.page import page, recipe_facts
from nas.report.html.search_figures import (
    Strips,
    cost_figures,
    curve_figures,
    drawn,
    progress_figures,
    rank_figures,
    score_label,
    score_strips,
)
from nas.report.lineage import lineage
from nas.report.next_steps import next_steps, notices, too_close, validation_text
from nas.report.published_results import published_for
from nas.report.run_view import RunView
from nas.report.verdict import few_seeds_note, interval_note, interval_text, search_verdicts
from nas.space import SPACES, Cells
from nas.types import Trial

TOP = 10
"""Rows of the tables of trials, decisions and failures."""
LATEST_STEPS, FIRST_STEPS = 12, 20
"""Steps of a lineage that are open to see, and of the earlier ones those that unfold; what is between is left out."""
_PAPER = '<rect width="100%" height="100%" fill="#ffffff"/>'
_WIDTH = re.compile(r'<svg [^>]*?width="([\d.]+)"')
MARKS = {"finished": "good", "exhausted": "good"}


def html_text(view: RunView) -> str:
    """Return ``report.html``."""
    ledger, best, rows = view.ledger, view.ledger.best(), view.scores()
    hours, train, comparison = _spent(view), view.config.train, view.config.comparison
    recipes = []
    if train.recipe is not None:
        recipes.append(recipe_facts("trials", train.recipe.to_json(), train.epochs, view.not_applied(False)))
        if comparison.seeds:
            final = (comparison.recipe or train.recipe).to_json()
            recipes.append(recipe_facts("final trainings", final, comparison.epochs, view.not_applied(True)))
    not_drawn: list[str] = []
    failed = [
        t
        for arm in (ledger, view.baseline, view.rivals)
        if arm
        for t in arm.trials
        if t.failure and t.status != "reused"
    ]
    context: dict[str, object] = {
        "view": view,
        "elsewhere": elsewhere(view.folder),
        "config": view.config,
        "search": search_name(view.config),
        "mark": MARKS.get(view.status, "open"),
        "counts": view.counts,
        "epochs_differ": len({t.proposal.epochs for t in ledger.trials}) > 1,
        # the final comparison
        "rows": rows,
        "interval_text": interval_text,
        "score_label": score_label(view),
        "strips": (drawn(view, "seeds", lambda view: [score_strips(view)], not_drawn) or [Strips()])[0],
        "verdicts": search_verdicts(view),
        "intervals": interval_note(rows),
        "few": few_seeds_note(rows),
        "curves": drawn(view, "curves", curve_figures, not_drawn),
        "notices": notices(view),
        "next_steps": next_steps(view),
        # the trials
        "best": best,
        "top": view.best_trials(TOP),
        "validation": validation_text(view),
        "close": too_close(view),
        "costs": drawn(view, "cost", cost_figures, not_drawn),
        "progress": drawn(view, "progress", progress_figures, not_drawn),
        "front": front_table(view),
        "importance": importance(ledger.trials),
        "ranks": drawn(view, "ranks", rank_figures, not_drawn),
        "not_drawn": not_drawn,
        # what went wrong, what it took, and how it was done
        "failures": _failures(view),
        "kinds": Counter(t.failure.kind for t in failed if t.failure).most_common(),
        "retried": [(ledger.trials[index], ", ".join(kinds)) for index, kinds in sorted(ledger.retried.items())],
        "parts": hours[:-1],
        "spent": hours[-1],
        "reads": ledger.reads,
        "references": published_for(view),
        "toml": tomli_w.dumps(view.config.to_json()).rstrip(),
        "recipes": recipes,
    }

    # What is shown of the best trial alone.
    cells, problem = ([], "") if best is None else cell_drawings(view, best)
    steps = [] if best is None else lineage(ledger.trials, best)
    context |= {
        "cells": cells,
        "cells_problem": problem,
        "network": None if best is None else network_drawing(view),
        "steps": steps[-LATEST_STEPS:],
        "earlier": steps[:-LATEST_STEPS][:FIRST_STEPS],
        "left_out": max(0, len(steps) - LATEST_STEPS - FIRST_STEPS),
    }
    return page("report.html.j2", context)


@dataclass(frozen=True)
class FailureRow:
    """What went wrong, and in which trials."""

    where: str
    kind: str
    message: str
    trials: list[int]


def _failures(view: RunView) -> list[FailureRow]:
    """Return what went wrong in final trainings, then by kind and message in trials, the most frequent first."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    arms = (("search", view.ledger), ("random search", view.baseline), ("handcrafted rivals", view.rivals))
    for where, ledger in arms:
        for t in ledger.trials if ledger is not None else ():
            if t.failure is not None and t.status in ("failed", "refused"):
                message = t.failure.message
                if t.failure.kind == TOO_SLOW:  # each has seconds of its own
                    message = message.rpartition(", ")[2]
                found[where, t.failure.kind, message].append(t.index)
    frequent = sorted(found.items(), key=lambda item: -len(item[1]))
    finals = [FailureRow(f"final training of {r.name}", "", why, []) for r in view.scores() for why in r.failures]
    return finals + [FailureRow(*which, trials) for which, trials in frequent]


@dataclass(frozen=True)
class Hours:
    """Hours of a part of a run: of workers as measured here, of their GPUs, and simulated ones of a table."""

    name: str
    worker: float
    gpu: float
    simulated: float


def _spent(view: RunView) -> list[Hours]:
    """Return the hours of every part, the sum last."""
    on_gpu = any(device.startswith("cuda") for device in view.trained_on)
    gpus = (view.config.executor.gpus_per_trial or 1.0) if on_gpu else 0.0
    found = []
    for part in view.spent():
        worker = part.seconds / 3600
        found.append(Hours(part.name, worker, gpus * worker, part.simulated / 3600))
    worker, gpu, simulated = (sum(getattr(part, kind) for part in found) for kind in ("worker", "gpu", "simulated"))
    return [*found, Hours("in all", worker, gpu, simulated)]


@dataclass(frozen=True)
class Drawing:
    """A drawing with its name and its natural width in pixels."""

    name: str
    svg: Markup
    width: float


def cell_drawings(view: RunView, best: Trial) -> tuple[list[Drawing], str]:
    """Return the cells of the best trial, none where its space has none, and why they cannot be drawn if so."""
    try:
        load_built_in()
        found = best.architecture
        if view.config.plugins and found.space not in SPACES:  # no plugin that a journal names is run to look at it
            return [], f"space '{found.space}' comes with a plugin; nas report {view.folder.name} --plugin FILE.py"
        with naming(f"space '{found.space}'"):
            described = SPACES[found.space].with_args(dict(found.args)).describe(found)
        cells = dict(described.cells) if isinstance(described, Cells) else {}
        titles = [name if "cell" in name else f"{name} cell" for name in cells]
        drawn = enumerate(zip(titles, cells.values(), strict=True))
        return [_drawing(f"cell-{i}", title, cell) for i, (title, cell) in drawn], ""
    except NasError as error:
        return [], str(error)


def network_drawing(view: RunView) -> Drawing | None:
    """Return the winner's whole network, as the run has left it; None where there is none, or none that is whole."""
    path = view.folder / "best" / "graph.json"
    if not path.is_file():
        return None
    try:
        return _drawing("network", "network", Graph.from_json(read_json(path)))
    except NasError:
        return None


def _drawing(mark: str, name: str, graph: Graph) -> Drawing:
    # it shares its page with others: names of its own, and no heading twice
    svg = draw_svg(graph, title="", legend=False)
    width = _WIDTH.search(svg)
    # without paper: the page's own colour, light or dark, shows through
    svg = marked(svg.replace(f"{_PAPER}\n", "", 1), mark, 'class="drawing" role="img" ')
    return Drawing(name, Markup(svg), float(width[1]) if width else 0.0)
