"""What a search will do, told before it begins: its plan in a few lines, and whether its limits leave anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nas.core.plugins import naming
from nas.core.text import count
from nas.data.image_set import Labels, Splits
from nas.engine.assemble import SearchParts
from nas.engine.config import RunConfig, flag
from nas.engine.random_streams import CHECK, stream
from nas.engine.rivals import families_of, final_rows, named
from nas.errors import ConfigError
from nas.evaluators.train import TrainSettings
from nas.schedulers.base import NONE
from nas.training.recipe import Recipe

SAMPLES, MOST_SAMPLES = 50, 500
"""Networks that are sampled to see whether limits leave any: more where they leave few."""
CHECK_SECONDS = 5.0
"""Seconds after which no more are sampled."""
FEW = 0.02
"""The share of networks within the limits below which a search is warned of."""
FAR = 2.0
"""Where the smallest of the first networks is this many times over a limit, no more are sampled."""
PROBES, EXACT = 50, 1_000
"""Walks that estimate the number of points of a space, and the most points that are counted."""
UNBALANCED = 1.5
"""Classes are told apart where the largest has this many times the images of the smallest."""


def check_limits(config: RunConfig, parts: SearchParts, clock: Callable[[], float] = time.monotonic) -> str:
    """Return a warning where few sampled networks are within the limits of ``config``, else nothing.

    The samples have random streams of their own. Where none is within them :class:`ConfigError` is raised, unless the
    search does not depend on samples, or too few could be looked at to know.
    """
    limits = config.constraints
    asked = {"max_params": limits.params, "max_macs": limits.macs}
    given = [(name, at, most) for at, (name, most) in enumerate(asked.items()) if most is not None]
    budget = bool(config.budget.size)
    if not given and not budget:
        return ""

    # networks that a budget leaves no width count, those that a table lacks do not
    sizes: list[tuple[int, int] | None] = []
    within, end = 0, clock() + CHECK_SECONDS
    with naming(f"space '{parts.space.name}'"):
        for draw in range(MOST_SAMPLES):
            least = _least(sizes)
            far = bool(least) and any(least[at] > FAR * most for _, at, most in given)
            if clock() >= end or (draw >= SAMPLES and (far or within >= max(2, FEW * draw))):
                break
            found = parts.prepare(parts.space.sample(stream(config.seed, draw, 0, CHECK)))
            if found.problem and budget:
                sizes.append(None)
            elif not found.problem and found.params is not None and found.macs is not None:
                size = found.params, found.macs
                sizes.append(size)
                within += all(size[at] <= most for _, at, most in given)
    least = _least(sizes)
    if not least or within >= FEW * len(sizes):
        return ""

    # the limit that alone rules all out is named, else all of them
    told = [one for one in given if least[one[1]] > one[2]][:1] or given
    limited = [(name, most) for name, _, most in told] or list(config.budget.to_json().items())
    flags = " and ".join(f"{flag(name)} {most:,}" for name, most in limited)
    smallest, rule = f"{least[0]:,} parameters and {least[1]:,} MACs", "no more of both" if told else "such a width"
    if len(told) == 1:
        smallest, rule = f"{least[told[0][1]]:,}", "so few"
    has = f"{within or 'none'} of {count(len(sizes), 'sampled network')} {'have' if within > 1 else 'has'}"
    message = f"{flags}: {has} {rule}; the smallest has {smallest}"
    started = any(
        (found := parts.prepare(start)).params is not None
        and all((found.params, found.macs or 0)[at] <= most for _, at, most in given)
        for start in parts.start
    )
    if within or started or len(sizes) < SAMPLES:
        return f"{message}; most proposals will be refused"
    raise ConfigError(message)


def _least(sizes: list[tuple[int, int] | None]) -> tuple[int, int] | tuple[()]:
    known = [size for size in sizes if size is not None]
    return (min(p for p, _ in known), min(m for _, m in known)) if known else ()


def plan_lines(config: RunConfig, parts: SearchParts) -> list[str]:
    """Return what a search will do, as a few lines for people, without what it will take."""
    return [_searched(config, parts), *_scored(config, parts), _compared(config)]


def _searched(config: RunConfig, parts: SearchParts) -> str:
    space = parts.space
    with naming(f"space '{space.name}'"):
        size = space.size(EXACT, PROBES)
    digits = f"{size.total:,.0f}" if size.total < 1e6 else f"{size.total:.1e}"
    points = f"{'about ' if size.error else ''}{digits if size.error < size.total / 2 else f'{size.total:.0e}'} points"
    args = ", ".join(f"{name}={value}" for name, value in space.args.items())
    epochs = ""
    if config.evaluator == "train":
        most = "at most " if config.scheduler.name != NONE else ""
        epochs = f" of {most}{count(config.train.epochs, 'epoch')}"
    under = "" if config.scheduler.name == NONE else f" under {config.scheduler.name}"
    second = f", the best {config.finalists.count} again for {config.finalist_epochs}" if config.finalists.count else ""
    first = f", beginning with {', '.join(config.searcher.start_from)}" if parts.start else ""
    earlier = ", ".join(f"{run.name} ({count(len(run.rewards), 'architecture')})" for run in parts.earlier)
    learned = f", learning from {earlier}" if earlier else ""
    just = ""
    if config.budget.macs or config.budget.params:
        what = ("MACs", config.budget.macs) if config.budget.macs else ("parameters", config.budget.params)
        just = f", every network just below {what[1]:,} {what[0]},"
    return (
        f"search: {count(config.trials, 'trial')}{epochs}{second}{just} in space {space.name}"
        f"{f' ({args})' if args else ''}, {points}; searcher {config.searcher.name}{under}{first}{learned}"
    )


def _scored(config: RunConfig, parts: SearchParts) -> list[str]:
    """Return what trials are scored on: images with their classes, a table, or a user's evaluator."""
    if config.evaluator == "table" and parts.table is not None:
        return [f"scores: looked up in the table '{Path(parts.table.path).name}'; nothing is trained"]
    if not parts.settings.job:
        return [f"scores: evaluator '{config.evaluator}'"]
    settings = TrainSettings.from_json(parts.settings.job)
    splits = settings.splits()
    test = "the test split" if splits.test_images is None else f"{splits.test_images:,} to test on"
    pixels = " x ".join(map(str, splits.task.input_shape))
    images = f"{len(splits.train):,} to train on, {len(splits.validation):,} for validation, {test} at the end"
    lines = [f"images: {splits.name}, {pixels}: {images}", classes_line(splits)]
    return [*lines, *(f"images: {remark}" for remark in splits.remarks.values())]


def classes_line(splits: Splits) -> str:
    """Return how many training images classes have, and what a network that has learned nothing scores."""
    sizes, names = _counts(splits.train.labels, splits.classes), splits.class_names
    few, many = int(sizes.argmin()), int(sizes.argmax())
    chance, constant = 100 / splits.classes, 100 * _counts(splits.validation.labels, splits.classes).max()
    level = f"chance level {chance:.3g} %"
    if sizes[many] < UNBALANCED * max(1, sizes[few]):
        each = f"{sizes[few]:,}" if sizes[few] == sizes[many] else f"{sizes[few]:,} to {sizes[many]:,}"
        return f"classes: {splits.classes:,} of {each} training images; {level}"
    smallest, largest = (f"'{names[at]}'" if names else f"class {at}" for at in (few, many))
    told = f"the smallest {smallest} with {sizes[few]:,} training images, the largest {largest} with {sizes[many]:,}"
    always = f"always the largest class {constant / len(splits.validation):.3g} %"
    return f"classes: {splits.classes:,}, {told}; {level}, {always}"


def _counts(labels: Labels, classes: int) -> Labels:
    return np.bincount(labels, minlength=classes).astype(np.int64)


def _compared(config: RunConfig) -> str:
    """Return what a search ends with."""
    parts = [f"random search of {count(config.trials, 'trial')}"] if config.comparison.baseline == "random" else []
    if families := families_of(config):
        parts.append(f"handcrafted networks ({', '.join(families)}) with as many trials")
    seeds = config.comparison.seeds
    if config.evaluator == "train" and seeds:
        others = " and the best handcrafted" if families else ""
        if named(config) and not families:
            others = f" and {', '.join(named(config))}"
        rows, epochs = final_rows(config), count(config.comparison.epochs, "epoch")
        against = " against random search's best" if config.comparison.baseline == "random" else ""
        if not config.comparison.against:
            others = f"{' and' if against else ' against'} a ResNet of about its size"
        most = "at most " if families else ""
        parts.append(
            f"final comparison of the winner{against}{others}: {most}{count(rows, 'network')} x {count(seeds, 'seed')} "
            f"x {epochs}"
        )
    return f"then: {'; '.join(parts) or 'nothing to compare the winner with'}"


def batch_warnings(config: RunConfig, parts: SearchParts) -> list[str]:
    """Return a warning for each recipe whose batches are large for the number of training images."""
    if not parts.settings.job:
        return []
    images = len(TrainSettings.from_json(parts.settings.job).splits().train)
    found: dict[int, str] = {}
    for name, job in (("--recipe", parts.settings.job), ("--final-recipe", parts.final_job)):
        recipe = Recipe.from_json(job["recipe"])
        own = "" if name == "--recipe" else f" of {name}"
        told = recipe.batch_warning(images, f"--batch-size {{batch}}{own}")
        found.setdefault(recipe.batch_size, told)
    return [told for told in found.values() if told]
