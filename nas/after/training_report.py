"""What a training leaves for people and programs: ``summary.json``, ``report.md`` and ``report.html``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from nas.after.training_html import training_html
from nas.after.training_view import KIND, TrainingView, load_training, result_line, size_line
from nas.after.training_words import epoch_table, facts
from nas.files import write_atomic, write_json
from nas.report.words import count


def write_training(folder: Path) -> TrainingView:
    """Write summary and reports of the training in ``folder`` anew."""
    view = load_training(folder)
    write_json(folder / "summary.json", summary(view))
    write_atomic(folder / "report.md", "\n\n".join(part for part in _parts(view) if part) + "\n")
    write_atomic(folder / "report.html", training_html(view))
    return view


def summary(view: TrainingView) -> dict[str, Any]:
    """Return the training in numbers as JSON data; accuracies in percent, of the test split."""
    trained = view.trained or {}
    return {
        "name": view.folder.name,
        "kind": KIND,
        "status": view.status,
        "network": dict(view.network),
        "dataset": view.settings.dataset,
        "recipe": view.settings.recipe.get("name"),
        "seed": view.settings.seed,
        "workers": view.settings.workers,
        "epochs": len(view.epochs),
        "seconds": round(view.seconds, 3),
        **{name: trained.get(name) for name in ("top1", "top5", "loss")},
        "train_loss": view.epochs[-1]["loss"] if view.epochs else None,
        "test_reads": view.test_reads,
        "begins": view.begins,
        "groups_lost": view.lost,
    }


def _parts(view: TrainingView) -> Iterator[str]:
    settings = view.settings
    yield f"# {view.folder.name}: {view.network['name']} on {settings.dataset}"
    lines = [
        f"Status: **{view.status}**. Test split read: {count(view.test_reads, 'time')}.",
        f"{result_line(view)[:1].upper()}{result_line(view)[1:]}.",
        f"Network: {size_line(view.network)}, at images of {'x'.join(map(str, view.network['input']))}.",
    ]
    if view.problem:
        lines.insert(1, f"It failed: {view.problem}.")
    yield "\n".join(lines)
    yield _epochs(view)
    yield "\n".join(["## How it was done\n", *(f"- {fact}" for fact in [*facts(view), _where(view)])])
    table = {"settings": settings.to_json()}
    yield f"## Settings\n\n```toml\n{tomli_w.dumps(table).strip()}\n```"


def _epochs(view: TrainingView) -> str:
    heads, rows, step = epoch_table(view)
    if not rows:
        return ""
    lines = [f"| {' | '.join(heads)} |", f"|{'---:|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]
    some = f" (one in {step})" if step > 1 else ""
    return f"## Epochs{some}\n\n" + "\n".join(lines)


def _where(view: TrainingView) -> str:
    packages = view.environment.get("packages", {})
    where = [str(view.environment[k]) for k in ("processor", "system", "date") if view.environment.get(k)]
    return ", ".join([*where, *(f"{name} {version}" for name, version in packages.items())])
