"""What a grid search leaves for people: ``summary.json``, ``grid.csv`` and ``report.md``; and a family's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tomli_w

from nas.core.files import output_folder, write_atomic, write_json
from nas.core.text import count, csv_text
from nas.core.values import Json
from nas.report.markdown import escaped, markdown_table
from nas.runs.inputs import accepted_changes
from nas.types import Architecture
from nas.workflows.scale.compound import ScaledNetwork, ScaledSize
from nas.workflows.scale.grid_search import COLUMNS, Candidate
from nas.workflows.scale.view import KIND, GridView, load_grid

_COST = ("network", "pixels", "MACs", "times")
CANDIDATE_HEAD = ("alpha", "beta", "gamma", "product", *_COST, "accuracy", "spread", "seeds")
MEMBER_HEAD = ("scaled by", "phi", "width", "depth", "pixels", "network", "parameters", *_COST[2:], "memory", "note")


def write_grid(folder: Path) -> GridView:
    """Write all outputs of the grid search in ``folder`` again."""
    view = load_grid(folder)
    write_json(folder / "summary.json", {"name": folder.name, "kind": KIND, "status": view.status, **summary(view)})
    write_atomic(folder / "grid.csv", grid_csv(view))
    write_atomic(folder / "report.md", "\n\n".join(_report(view)) + "\n")
    return view


def summary(view: GridView) -> Json:
    """Return the search in numbers as JSON data; accuracies in percent, of the validation split."""
    best = view.best
    return {
        "target": view.settings.target,
        "factors": None if best is None else best.factors.to_json(),
        "product": None if best is None else best.factors.product,
        "candidates": [c.facts() for c in view.candidates],
        "members": [member.facts() for member in view.members],
    }


def grid_csv(view: GridView) -> str:
    """Return a row for each training, which another search can be given (``--journal``)."""
    rows: list[Sequence[object]] = [COLUMNS]
    for event in view.trained:
        c = view.candidates[event["candidate"]]
        f, m = c.factors, c.member
        row = (view.events[0]["digest"], f.alpha, f.beta, f.gamma, m.resolution, m.params, m.macs)
        rows.append((*row, event["seed"], event["accuracy"], event.get("seconds")))
    return csv_text(rows)


def _report(view: GridView) -> Iterator[str]:
    settings, best = view.settings, view.best
    yield f"# {view.folder.name}: how {escaped(view.network)} is scaled, on {escaped(settings.training.data.name)}"
    seeds = f"{count(len(view.candidates), 'candidate')}, {count(settings.seeds, 'seed')} each"
    yield f"Status: **{view.status}**. Trained: {len(view.scores)} of {view.total} ({seeds}). The test split is unread."
    yield from accepted_changes(view.events)
    if view.problem:
        yield f"What went wrong: {escaped(view.problem)}."
    if best is not None:
        f = best.factors
        yield f"Best factors: alpha {f.alpha:g}, beta {f.beta:g}, gamma {f.gamma:g}, with {best.mean:.2f} %."
    yield "## Candidates"
    yield _table(CANDIDATE_HEAD, [candidate_row(c) for c in ranked(view.candidates)])
    yield "MACs: of the network nearest to twice those of the base; accuracy: validation, %."
    if view.members:
        yield "## Family of the best factors"
        yield _table(MEMBER_HEAD, [member_row(m) for m in view.members])
        yield f"times: MACs over the base's; memory: of a training step with {settings.budget.batch} images."
    yield f"## Settings\n\n```toml\n{tomli_w.dumps(settings.to_json()).strip()}\n```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(head, "l" * len(head), rows))


def ranked(candidates: Sequence[Candidate[ScaledSize]]) -> list[Candidate[ScaledSize]]:
    """Return the candidates, the best mean first."""
    return sorted(candidates, key=lambda c: -c.mean)


def candidate_row(c: Candidate[ScaledSize]) -> tuple[str, ...]:
    """Return the cells of a candidate: see :data:`CANDIDATE_HEAD`."""
    f, m = c.factors, c.member
    factors = (f"{f.alpha:g}", f"{f.beta:g}", f"{f.gamma:g}", f"{f.product:.3f}")
    mean = f"{c.mean:.2f}" if c.accuracies else ""
    scores = (mean, f"{c.spread:.2f}" if len(c.accuracies) > 1 else "", str(len(c.accuracies)))
    return *factors, m.size, str(m.resolution), f"{m.macs:,}", f"{m.ratio:.2f}", *scores


def member_row(m: ScaledSize) -> tuple[str, ...]:
    """Return the cells of a member of a family: see :data:`MEMBER_HEAD`."""
    numbers = (f"{m.phi:g}", f"{m.width:.3f}", f"{m.depth:.3f}", str(m.resolution))
    costs = (f"{m.params:,}", f"{m.macs:,}", f"{m.ratio:.2f}", bytes_text(m.memory))
    return m.by, *numbers, m.size, *costs, over_text(m)


def bytes_text(number: int) -> str:
    """Return bytes as people read them."""
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def over_text(member: ScaledSize) -> str:
    """Return which budgets a member exceeds."""
    return f"over: {', '.join(member.over)}" if member.over else ""


def write_members(folder: Path, members: Sequence[ScaledNetwork], architecture: Architecture | None) -> None:
    """Write the members that keep the budgets: the folder is there whole or not at all."""
    with output_folder(folder) as staging:
        for member in members:
            if member.over:
                continue
            place = staging / member.name
            place.mkdir()
            write_json(place / "graph.json", member.graph.to_json())
            write_json(place / "member.json", member.facts())
            if architecture is not None:
                write_json(place / "architecture.json", architecture.to_json())
