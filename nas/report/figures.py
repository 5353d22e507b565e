"""The figures of a report: progress beside random search, and score against cost."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.files import write_atomic
from nas.report.view import RunView
from nas.run.ledger import Ledger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"search": "#0072b2", "random": "#d55e00", "handcrafted": "#009e73"}


def draw_figures(view: RunView, folder: Path) -> list[str]:
    """Draw what there is data for into ``folder``; return the paths relative to the run's folder."""
    if view.ledger.best() is None:
        return []
    folder.mkdir(exist_ok=True)
    drawn = [_save(_progress(view), folder / "progress.png")]
    if any(t.macs for t in view.ledger.trials):
        drawn.append(_save(_costs(view), folder / "cost.png"))
    return [str(path.relative_to(view.folder)) for path in drawn]


def _new() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomic(path, image.getvalue())
    return path


def best_so_far(ledger: Ledger) -> tuple[list[int], list[float], list[float]]:
    """Return, for every evaluation with a score: its number, its reward, and the best reward up to it.

    Rewards of different epochs cannot be compared: the best is that of the most epochs so far.
    """
    numbers: list[int] = []
    rewards: list[float] = []
    bests: list[float] = []
    queries, best = 0, (0, float("-inf"))
    for t in ledger.trials:
        if t.status in ("reused", "refused"):
            continue
        queries += 1
        if t.reward is not None:
            numbers.append(queries)
            rewards.append(t.reward)
            best = max(best, (t.proposal.epochs, t.reward))
            bests.append(best[1])
    return numbers, rewards, bests


def _progress(view: RunView) -> Figure:
    figure, axes = _new()
    arms: Sequence[tuple[str, str, Ledger | None]] = (
        ("search", view.config.searcher, view.ledger),
        ("random", "random search", view.baseline),
    )
    for role, label, ledger in arms:
        if ledger is None:
            continue
        numbers, rewards, bests = best_so_far(ledger)
        axes.plot(numbers, rewards, ".", color=COLOURS[role], alpha=0.35, markersize=5)
        axes.step(numbers, bests, where="post", color=COLOURS[role], label=f"{label}: best so far")
    axes.set_xlabel("evaluations")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(_reward_name(view))
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _costs(view: RunView) -> Figure:
    figure, axes = _new()
    rows = [row for row in view.scores() if row.macs and row.scores]
    if rows:
        for row in rows:
            axes.errorbar(row.macs, row.mean, row.spread, fmt="o", capsize=4, color=COLOURS[row.role], label=row.name)
        trained = view.config.evaluator == "train"
        axes.set_ylabel("test accuracy, % (mean and spread of seeds)" if trained else view.config.objective or "reward")
    else:
        done = [t for t in view.ledger.trials if t.status == "done" and t.macs]
        axes.plot([t.macs for t in done], [t.reward for t in done], "o", color=COLOURS["search"], label="trials")
        axes.set_xscale("log")
        axes.set_ylabel(_reward_name(view))
    axes.set_xlabel("multiply-accumulates of one image")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _reward_name(view: RunView) -> str:
    if view.config.evaluator == "train":
        return f"validation accuracy, % (epochs a trial: {view.config.epochs})"
    return f"reward ({view.config.reward})" if view.config.reward else "reward"
