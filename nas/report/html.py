"""The report of a search as one HTML file (see :mod:`nas.report.pages`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import tomli_w
from markupsafe import Markup

from nas.report.bubbles import half_width
from nas.report.html_cells import cell_drawings, network_drawing
from nas.report.html_figures import cost_figures, progress_figures, rank_figures, score_label, score_strips
from nas.report.html_published import published
from nas.report.importance import importance
from nas.report.lineage import Step, lineage
from nas.report.markdown import verdict
from nas.report.pages import marked, page, recipe_facts
from nas.report.view import RunView, Score
from nas.report.words import elsewhere
from nas.run.config import search_name
from nas.run.ledger import Ledger
from nas.searchers.pareto import value_of
from nas.types import Trial

TOP = 10
"""Rows of the tables of trials, decisions and failures."""
LATEST_STEPS, FIRST_STEPS = 12, 20
"""Steps of a lineage that are open to see, and of the earlier ones those that unfold; what is between is left out."""
MARKS = {"finished": "good", "exhausted": "good"}


def html_text(view: RunView) -> str:
    """Return ``report.html``."""
    return page("report.html.j2", _context(view))


def _context(view: RunView) -> dict[str, Any]:
    best, rows = view.ledger.best(), view.scores()
    return {
        "view": view,
        "elsewhere": elsewhere(view.folder),
        "config": view.config,
        "search": search_name(view.config),
        "mark": MARKS.get(view.status, "open"),
        "best": best,
        "counts": sorted(view.ledger.counts.items()),
        "rows": rows,
        "half_width": half_width,
        "score_label": score_label(view),
        "strips": score_strips(view),
        "epochs_differ": len({t.proposal.epochs for t in view.ledger.trials}) > 1,
        "verdicts": _verdicts(rows),
        "costs": cost_figures(view),
        "progress": progress_figures(view),
        "top": _top(view.ledger),
        "front": _front(view),
        "importance": importance(view.ledger.trials),
        "ranks": rank_figures(view),
        "failures": _failures(view),
        "kinds": _kinds(view),
        "retried": _retried(view.ledger),
        "spent": _spent(view),
        "reads": view.ledger.reads,
        "references": list(published(view)),
        "toml": tomli_w.dumps(view.config.to_json()).rstrip(),
        "recipes": _recipes(view),
        **_winner(view, best),
    }


def _verdicts(rows: Sequence[Score]) -> list[tuple[str, Markup]]:
    """Return the verdict's sentences with their marks; what Markdown makes bold, no victory, is bold here."""
    if not any(row.role == "search" for row in rows):
        return []
    return [("open" if "**" in line else "good", marked(line)) for line in verdict(rows).splitlines()]


def _winner(view: RunView, best: Trial | None) -> dict[str, Any]:
    """Return what the report shows of the best trial alone."""
    if best is None:
        return {"cells": [], "cells_problem": "", "network": None, "steps": [], "earlier": [], "left_out": 0}
    cells, problem = cell_drawings(view, best)
    steps: list[Step] = lineage(view.ledger.trials, best)
    return {
        "cells": cells,
        "cells_problem": problem,
        "network": network_drawing(view),
        "steps": steps[-LATEST_STEPS:],
        "earlier": steps[:-LATEST_STEPS][:FIRST_STEPS],
        "left_out": max(0, len(steps) - LATEST_STEPS - FIRST_STEPS),
    }


def _top(ledger: Ledger) -> list[Trial]:
    done = [t for t in ledger.trials if t.status == "done" and t.reward is not None]
    return sorted(done, key=lambda t: (-t.proposal.epochs, -(t.reward or 0.0), t.index))[:TOP]


def _front(view: RunView) -> dict[str, Any]:
    names, trials = view.front()
    return {"names": names, "rows": [(t, [value_of(t, name) for name in names]) for t in trials]}


def _failures(view: RunView) -> list[dict[str, Any]]:
    """Return what went wrong by kind and message, the most frequent first, of the search and of what followed."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for where, ledger in (("search", view.ledger), ("random search", view.baseline)):
        for t in ledger.trials if ledger is not None else ():
            if t.failure is not None and t.status in ("failed", "refused"):
                found[where, t.failure.kind, t.failure.message].append(t.index)
    rows = [
        {"where": where, "kind": kind, "message": message, "trials": trials}
        for (where, kind, message), trials in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    finals = [
        {"where": f"final training of {row.name}", "kind": "", "message": message, "trials": []}
        for row in view.scores()
        for message in row.failures
    ]
    return [*finals, *rows]


def _kinds(view: RunView) -> list[tuple[str, int]]:
    """Return how many trials failed or were refused, by kind, the most frequent first."""
    ledgers = [ledger for ledger in (view.ledger, view.baseline) if ledger is not None]
    kinds = (t.failure.kind for ledger in ledgers for t in ledger.trials if t.failure and t.status != "reused")
    return Counter(kinds).most_common()


def _retried(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the trials whose first attempts came to nothing, and how they ended."""
    return [
        {"trial": ledger.trials[index], "kinds": ", ".join(kinds)} for index, kinds in sorted(ledger.retried.items())
    ]


def _trainings(ledger: Ledger) -> dict[tuple[str, int], float]:
    """Return the seconds of every final training; finalists of equal networks have one in common."""
    return {(final["key"], final["number"]): final["seconds"] for final in ledger.finals}


def _spent(view: RunView) -> dict[str, Any]:
    """Return the hours of every part: of workers as measured here, of GPUs where there are any, simulated ones."""
    ledgers = [("search", view.ledger), *([("random search", view.baseline)] if view.baseline is not None else [])]
    on_gpu = any(device.startswith("cuda") for device in view.trained_on)
    gpus = (view.config.gpus_per_trial or 1.0) if on_gpu else 0.0
    rows = [(name, _wall(ledger) / 3600, _simulated(ledger) / 3600) for name, ledger in ledgers]
    if view.ledger.finals:
        rows.append(("final comparison", sum(_trainings(view.ledger).values()) / 3600, 0.0))
    return {
        "rows": [{"name": n, "worker": w, "gpu": w * gpus, "simulated": s} for n, w, s in rows],
        "worker": sum(w for _, w, _ in rows),
        "gpu": sum(w for _, w, _ in rows) * gpus,
        "simulated": sum(s for _, _, s in rows),
    }


def _is_simulated(trial: Trial) -> bool:
    return trial.status == "done" and trial.metrics is not None and trial.metrics.simulated


def _wall(ledger: Ledger) -> float:
    if any(_is_simulated(t) for t in ledger.trials):
        return sum(t.seconds for t in ledger.trials)
    return ledger.seconds  # attempts that were retried among them


def _simulated(ledger: Ledger) -> float:
    return sum(t.metrics.seconds for t in ledger.trials if _is_simulated(t) and t.metrics is not None)


def _recipes(view: RunView) -> list[dict[str, Any]]:
    """Return the recipes with all their numbers that are not off."""
    config = view.config
    if not isinstance(config.recipe, dict):
        return []
    found = [recipe_facts("trials", config.recipe, config.epochs, view.not_applied(False))]
    if config.final_seeds:
        final = config.final_recipe if isinstance(config.final_recipe, dict) else config.recipe
        found.append(recipe_facts("final trainings", final, config.final_epochs, view.not_applied(True)))
    return found
