"""What a run leaves for people, each a fold of the journal: ``summary.json``, ``trials.csv`` and the two reports."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from nas.files import write_atomic, write_json
from nas.report.figures import draw_figures
from nas.report.html import html_text
from nas.report.markdown import report_text
from nas.report.view import RunView, load_view
from nas.run.ledger import Ledger

COLUMNS = ("index", "status", "key", "reward", "params", "macs", "seconds", "failure", "epochs", "of")


def write_outputs(folder: Path) -> RunView:
    """Write all outputs of the run in ``folder`` anew and return what they show."""
    view = load_view(folder)
    write_atomic(folder / "trials.csv", trials_csv(view.ledger))
    write_json(folder / "summary.json", summary(view))
    figures = draw_figures(view, folder / "figures")
    write_atomic(folder / "report.md", report_text(view, figures))
    write_atomic(folder / "report.html", html_text(view))
    return view


def trials_csv(ledger: Ledger) -> str:
    """Return the table of trials as CSV: :data:`COLUMNS`, then the evaluator's other values."""
    extra = sorted({name for t in ledger.trials if t.metrics for name in t.metrics.values})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *extra])
    for t in ledger.trials:
        failure = f"{t.failure.kind}: {t.failure.message}" if t.failure else ""
        values = t.metrics.values if t.metrics else {}
        row = [t.index, t.status, t.key, t.reward, t.params, t.macs, t.seconds, failure, t.proposal.epochs, t.of]
        writer.writerow(["" if v is None else v for v in [*row, *(values.get(name) for name in extra)]])
    return text.getvalue()


def summary(view: RunView) -> dict[str, Any]:
    """Return the run in numbers as JSON data; seconds are those that evaluations took on this machine."""
    ledger, best = view.ledger, view.ledger.best()
    simulated = [t.metrics.seconds for t in ledger.trials if t.status == "done" and t.metrics and t.metrics.simulated]
    return {
        "name": view.name,
        "status": view.status,
        "space": view.config.space,
        "searcher": view.config.searcher,
        "seed": view.config.seed,
        "best": None
        if best is None
        else {
            "index": best.index,
            "key": best.key,
            "reward": best.reward,
            "params": best.params,
            "macs": best.macs,
        },
        "counts": ledger.counts,
        "queries": ledger.queries,
        "seconds": round(sum(t.seconds for t in ledger.trials if t.status != "reused"), 3),
        "simulated_seconds": round(sum(simulated), 3) if simulated else None,
        "test_reads": view.test_reads,
        "damaged_images": view.damaged[0],
        "random_search": _best_reward(view.baseline),
        "finals": [
            {
                "role": row.role,
                "name": row.name,
                "mean": row.mean if row.scores else None,
                "spread": row.spread,
                "scores": list(row.scores),
                "params": row.params,
                "macs": row.macs,
                "seconds": round(row.seconds, 3),
            }
            for row in view.scores()
        ],
    }


def _best_reward(ledger: Ledger | None) -> dict[str, Any] | None:
    best = ledger.best() if ledger else None
    return None if best is None or ledger is None else {"reward": best.reward, "queries": ledger.queries}
