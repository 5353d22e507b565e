"""What a training's journal says in words and rows, for every output that says it; code is marked as in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from nas.after.training_view import TrainingView
from nas.report.words import count, duration

ROWS = 40
"""Epochs that a report lists at most."""


def epoch_table(view: TrainingView) -> tuple[list[str], list[list[str]], int]:
    """Return heads and rows of the table of epochs, and of how many epochs each row is one; the last has a row."""
    epochs = view.epochs
    validated = any("validation" in epoch for epoch in epochs)
    heads = ["epoch", "training loss", *(["validation top-1 %", "top-5 %", "loss"] if validated else []), "seconds"]
    step = max(1, -(-len(epochs) // ROWS))
    rows = []
    for e in [e for e in epochs if (e["number"] - len(epochs)) % step == 0]:
        cells = [str(e["number"]), f"{e['loss']:.4f}"]
        if validated:
            found = e.get("validation")
            numbers = [] if found is None else [found["accuracy"], found["top5"], found["loss"]]
            cells += ["" if n is None else f"{n:.4g}" for n in numbers] or [""] * 3
        rows.append([*cells, format(e["seconds"], ".1f")])
    return heads, rows, step


def facts(view: TrainingView) -> Iterator[str]:
    """Yield how the training was done, sentence by sentence."""
    settings, trained = view.settings, view.trained or {}
    workers = "one process" if settings.workers is None else f"{count(settings.workers, 'worker')} on Ray"
    recipe = settings.actual_recipe
    yield (
        f"{count(settings.epochs, 'epoch')} of recipe `{settings.recipe.get('name')}` in batches of "
        f"{recipe.batch_size}, seed {settings.seed}, on {' and '.join(settings.train_on)} images; {workers}"
    )
    if settings.start is not None:
        frozen = ", ".join(f"`{name}`" for name in settings.start["frozen"]) or "nothing"
        rate = f"they learn at {settings.start['factor']:g} times the recipe's rate"
        yield f"began with the weights of `{settings.start['weights']}`; {rate}; frozen: {frozen}"
        yield f"why: {settings.start['reason']}"
    if view.seconds:
        foreseen = "" if view.forecast is None else f"; forecast before it began: {duration(view.forecast)}"
        yield f"{duration(view.seconds)} of training{foreseen}"
    if view.begins > 1 or view.lost:
        yield f"began or went on {count(view.begins, 'time')}; the group was lost {count(view.lost, 'time')}"
    if trained:
        yield f"trained on {trained['device']} ({', '.join(trained['switches']) or 'no switches'})"
    for name in view.network.get("not_applied", ()):
        yield f"the recipe's `{name}` does not apply: the network has no place for it"
    damaged = trained.get("damaged")
    if damaged:
        yield f"{count(damaged['count'], 'damaged file')} left out, first: {'; '.join(damaged['first'])}"
