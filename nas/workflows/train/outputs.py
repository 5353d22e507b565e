"""What a training leaves for people and programs: ``summary.json``, ``report.md`` and ``report.html``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomli_w

from nas.core.files import write_atomic, write_json
from nas.core.text import count, elsewhere, printable_lines, quoted
from nas.core.values import Json
from nas.report.classes import ClassAccuracy
from nas.report.html.charts import Figure, Point
from nas.report.html.learning_curves import Curve, curves_figure
from nas.report.html.page import page, recipe_facts
from nas.report.markdown import class_section, escaped, escaped_sentence, markdown_table, steps_section
from nas.report.next_steps import LONGER, Step
from nas.workflows.command_words import recipe_file, training_command
from nas.workflows.train.view import KIND, TrainingView, epoch_table, facts, load_training, result_line, size_line

KINDS = {"train": "Training", "transfer": "Transfer", "finetune": "Fine-tuning"}


def write_training(folder: Path) -> TrainingView:
    """Write summary and reports of the training in ``folder`` again."""
    view = load_training(folder)
    write_json(folder / "summary.json", asdict(summary(view)))
    write_atomic(folder / "report.md", "\n\n".join(_sections(view)) + "\n")
    write_atomic(folder / "report.html", training_html(view))
    return view


@dataclass(frozen=True)
class TrainingSummary:
    """A training in numbers: ``summary.json`` is a JSON object of the names of these attributes."""

    name: str
    kind: str
    status: str
    network: Json
    """As in the journal's first event: its name, size and cost."""
    dataset: str
    recipe: str | None
    seed: int
    workers: int | None
    epochs: int
    """How many are done."""
    seconds: float
    top1: float | None
    """Accuracy in percent of the test split, as ``top5``."""
    top5: float | None
    loss: float | None
    """Of the test split."""
    train_loss: float | None
    test_reads: int
    begins: int
    """How often the training began or was resumed."""
    groups_lost: int
    """How often a group of workers was lost and started again."""
    class_names: list[str]
    """By label; empty where they are not known."""
    normalization: Json | None
    """``mean`` and ``std`` by channel of pixels of 0 to 1, as it normalizes them."""
    per_class: list[ClassAccuracy]
    """Of the test split, the lowest accuracy first."""


def summary(view: TrainingView) -> TrainingSummary:
    """Return the training in numbers."""
    trained = view.trained or {}
    return TrainingSummary(
        name=view.folder.name,
        kind=KIND,
        status=view.status,
        network=dict(view.network),
        dataset=view.settings.dataset,
        recipe=view.settings.recipe.name,
        seed=view.settings.seed,
        workers=view.settings.workers,
        epochs=len(view.epochs),
        seconds=round(view.seconds, 3),
        top1=trained.get("top1"),
        top5=trained.get("top5"),
        loss=trained.get("loss"),
        train_loss=view.epochs[-1]["loss"] if view.epochs else None,
        test_reads=view.test_reads,
        begins=view.begins,
        groups_lost=view.lost,
        class_names=list(view.class_names),
        normalization=trained.get("normalization"),
        per_class=view.per_class,
    )


def _result_and_size(view: TrainingView) -> tuple[str, str]:
    result, sides = result_line(view), "x".join(map(str, view.network["input"]))
    return f"{result[:1].upper()}{result[1:]}.", f"{size_line(view.network)}, at images of {sides}."


def _sections(view: TrainingView) -> Iterator[str]:
    settings = view.settings
    yield f"# {view.folder.name}: {escaped(view.network['name'])} on {escaped(settings.dataset)}"
    result, size = _result_and_size(view)
    lines = [f"Status: **{view.status}**. Test split read: {count(view.test_reads, 'time')}."]
    lines += [f"It failed: {escaped(view.problem)}."] if view.problem else []
    yield "\n".join([*lines, result, f"Network: {size}"])

    if by_class := class_section(view.class_table):
        yield by_class

    # of a long training some epochs
    heads, rows, step = epoch_table(view)
    if rows:
        some = f" (one in {step})" if step > 1 else ""
        yield "\n".join([f"## Epochs{some}", "", *markdown_table(heads, "r" * len(heads), rows)])

    # how and where, then all settings
    environment = view.environment
    where = [str(environment[k]) for k in ("processor", "system", "date") if environment.get(k)]
    where += [f"{name} {version}" for name, version in environment.get("packages", {}).items()]
    yield "\n".join(
        ["## How it was done\n", *(f"- {escaped_sentence(fact)}" for fact in [*facts(view), ", ".join(where)])]
    )
    yield f"## Settings\n\n```toml\n{_toml(view)}\n```"
    yield steps_section(next_steps(view))


def next_steps(view: TrainingView) -> list[Step]:
    """Return what can be done with a training, each with its command."""
    name, where = quoted(view.folder.name), elsewhere(view.folder)
    if view.status != "finished":
        return [Step("Go on with the training:", f"nas resume {name}{where}")]
    longer = training_command(replace(view.settings, epochs=LONGER * view.settings.epochs))
    # how a fine-tuning chose its frozen layers is not in its settings
    first = (
        [Step("Train it for longer, from scratch:", " ".join(longer) + where)] if view.settings.start is None else []
    )
    export = f"nas export {name} -o {quoted(f'{view.folder.name}-export')}{where}"
    return [*first, Step("Take it away, as source, weights and ONNX:", export)]


def _toml(view: TrainingView) -> str:
    return printable_lines(tomli_w.dumps({"settings": view.settings.to_json()}).strip())


def training_html(view: TrainingView) -> str:
    """Return ``report.html``: one file (see :mod:`nas.report.html.page`)."""
    settings, recipe = view.settings, view.settings.recipe.to_json()
    file, text = recipe_file(recipe, settings.dataset)
    heads, rows, step = epoch_table(view)
    where = elsewhere(view.folder)
    result, size = _result_and_size(view)
    context = {
        # the head of the page
        "elsewhere": where,
        "view": view,
        "settings": settings,
        "kind": KINDS.get(settings.command, settings.command),
        "mark": "good" if view.status == "finished" else "open",
        "result": result,
        "size": size,
        # curves and epochs
        "figures": _figures(view),
        "heads": heads,
        "rows": rows,
        "step": step,
        # how it was done, and how to do it again
        "facts": list(facts(view)),
        "devices": [view.trained["device"]] if view.trained else [],
        "command": [*training_command(settings), *([where.strip()] if where else [])],
        "file": file,
        "text": text,
        "recipe_facts": recipe_facts("training", recipe, settings.epochs, view.network.get("not_applied", ())),
        "toml": _toml(view),
        "next_steps": next_steps(view),
    }
    return page("training.html.j2", context)


def _figures(view: TrainingView) -> list[Figure]:
    """Return loss and, where it was measured, validation accuracy by epoch."""

    def validation(name: str) -> list[Point]:
        found = [(e["number"], e["validation"][name]) for e in view.epochs if "validation" in e]
        return [(number, value) for number, value in found if value is not None]

    losses = [Curve("search", "training loss", [(e["number"], e["loss"]) for e in view.epochs])]
    losses.append(Curve("random", "validation loss", validation("loss")))
    accuracies = [Curve("random", "validation top-1", validation("accuracy"))]
    accuracies.append(Curve("handcrafted", "validation top-5", validation("top5")))
    pictures = (("Loss", "loss", losses), ("Validation accuracy", "accuracy, %", accuracies))
    found = [(heading, label, [curve for curve in curves if curve.points]) for heading, label, curves in pictures]
    epochs, ended = view.settings.epochs, view.status == "finished"
    return [curves_figure(heading, label, curves, epochs, ended) for heading, label, curves in found if curves]
