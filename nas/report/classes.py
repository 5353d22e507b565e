"""Accuracy by class: what final trainings make of the test images of each class, from the counts in a run's journal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.core.text import count
from nas.core.values import ClassCounts, Json
from nas.report.statistics import Interval, share_interval

ROWS = 20
"""Classes that a table has at most."""
HOW = (
    "Test images that were classified right, in percent{mean}, with Wilson's 95 % interval of a share of as many "
    "images. The lowest accuracy comes first; that of many classes is low by chance, too."
)


@dataclass(frozen=True)
class ClassAccuracy:
    """A class of the test split under one network."""

    label: int
    name: str
    """Its label, where the dataset has no names."""
    images: int
    """Of the test split."""
    accuracy: float
    """Percent, the mean over the seeds."""
    interval: Interval
    """Wilson's, in percent, of as many images; it knows nothing of other seeds."""

    @classmethod
    def from_json(cls, data: Json) -> ClassAccuracy:
        """Read what ``asdict`` made."""
        return cls(**{**data, "interval": Interval(**data["interval"])})


def class_accuracies(events: Iterable[Mapping[str, Json]], names: Sequence[str]) -> list[ClassAccuracy]:
    """Return the classes with test images, that of the lowest accuracy first.

    ``events`` are those of the trainings of one network, of each seed one; ``names`` may be empty.
    """
    counts = [ClassCounts.from_json(event["per_class"]) for event in events if "per_class" in event]
    found = []
    for label, of in enumerate(zip(*(zip(one.correct, one.images, strict=True) for one in counts), strict=False)):
        images = of[0][1]  # those of every seed
        if images:
            share = sum(right for right, _ in of) / sum(every for _, every in of)
            name = names[label] if label < len(names) else str(label)
            found.append(ClassAccuracy(label, name, images, 100 * share, share_interval(share, images)))
    return sorted(found, key=lambda one: (one.accuracy, one.label))


@dataclass(frozen=True)
class ClassTable:
    """The table of a report, as text."""

    head: list[str]
    rows: list[list[str]]
    """Of at most :data:`ROWS` classes."""
    note: str
    """How to read it, and where the other classes are; code is marked as in Markdown."""


def class_table(networks: Mapping[str, Sequence[ClassAccuracy]], seeds: int, file: str) -> ClassTable | None:
    """Return the table of ``networks`` by the heads of their columns; None where nothing was counted by class.

    ``seeds`` is the number of trainings of each network, ``file`` the one that has all classes.
    """
    by_label = {head: {one.label: one for one in found} for head, found in networks.items() if found}
    labels = set.intersection(*(set(found) for found in by_label.values())) if by_label else set()
    if not labels:
        return None

    def worst(label: int) -> tuple[float, int]:
        return math.fsum(found[label].accuracy for found in by_label.values()), label

    first = next(iter(by_label.values()))
    rows = []
    for label in sorted(labels, key=worst)[:ROWS]:
        cells = [found[label] for found in by_label.values()]
        shown = [f"{one.accuracy:.1f} ({one.interval.low:.1f} to {one.interval.high:.1f})" for one in cells]
        rows.append([first[label].name, f"{first[label].images:,}", *shown])
    note = HOW.format(mean=f", the mean of {count(seeds, 'seed')}" if seeds > 1 else "")
    if len(labels) > ROWS:
        note += f" These are {ROWS} of {len(labels):,} classes; `{file}` has all of them."
    return ClassTable(["class", "images", *by_label], rows, note)
