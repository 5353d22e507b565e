"""Published numbers to compare with: ``results/reference/*.csv``, which an installed package carries along.

Every row has a ``source``. Its ``params`` and ``macs`` are as they were printed (``5.3M``); ``ours`` is the name of the
network here that it is about, and a ``remark`` that begins with ``differs`` says how ours is of another size. What is
published was trained by others under recipes of their own: it is never mixed with what was measured.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import TypeAlias

from nas.core.files import read_json
from nas.core.values import Shape
from nas.errors import ConfigError, NasError, unknown
from nas.graph import Graph, cost
from nas.report.run_view import RunView

TABLES = resources.files("nas.report") / "published"
NUMBERS = ("top1_accuracy", "top5_accuracy", "error", "gpu_days", "input_size")
"""Columns of plain numbers: percent, days, pixels."""
PRINTED = ("params", "macs")
"""Columns of numbers as they were printed."""
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
TITLES = {
    "imagenet": "ImageNet, one crop",
    "imagenet_mobile": "ImageNet in the mobile setting (at most 600 M multiply-accumulates at 224 x 224)",
    "cifar10": "CIFAR-10",
}
COLUMNS = {
    "network": "network",
    "error": "error, %",
    "top1_accuracy": "top-1, %",
    "top5_accuracy": "top-5, %",
    "params_printed": "parameters",
    "macs_printed": "MACs",
    "gpu_days": "search, GPU-days",
    "input_size": "image side",
    "source": "source",
    "remark": "remark",
}
"""What a reader sees of a row, and what it is called."""
PublishedRow: TypeAlias = dict[str, str | float | None]
"""A row by the names of its columns: text, numbers, and ``published``, which is True."""


@dataclass(frozen=True)
class Printed:
    """A figure as it was printed."""

    text: str
    value: float
    half: float
    """Half a unit of its last digit."""

    def agrees(self, exact: float) -> bool:
        """Return whether ``exact`` is printed so."""
        return abs(exact - self.value) <= self.half * (1 + 1e-9)


def printed(text: str) -> Printed:
    """Read a figure such as ``5.3M``, ``0.39G`` or ``25,557,032``; anything else raises :class:`ConfigError`."""
    digits = text.rstrip("kMG").replace(",", "")
    unit = UNITS.get(text[-1:], 1.0)
    try:
        value = float(digits)
    except ValueError:
        raise ConfigError(f"a printed figure is a number with or without k, M or G, found '{text}'") from None
    places = len(digits.partition(".")[2])
    return Printed(text, value * unit, unit * 10**-places / 2)


def table_names() -> list[str]:
    """Return the names of the tables."""
    found = [path.name for path in TABLES.iterdir()]
    return sorted(name.removesuffix(".csv") for name in found if name.endswith(".csv"))


def rows(name: str) -> list[PublishedRow]:
    """Return the published rows of table ``name``: what is not known is None, ``published`` is True.

    ``params`` and ``macs`` are numbers; as printed they are ``params_printed`` and ``macs_printed``. Of a table that
    prints errors, ``top1_accuracy`` is 100 less the error. An unknown name raises :class:`ConfigError`.
    """
    if name not in table_names():
        raise ConfigError(unknown("reference table", name, table_names()))
    text = (TABLES / f"{name}.csv").read_text(encoding="utf-8")
    found = []
    for line in csv.DictReader(io.StringIO(text)):
        row: PublishedRow = {column: text or None for column, text in line.items()}
        for column in NUMBERS:
            if line.get(column):
                row[column] = float(line[column])
        for column in PRINTED:
            figure = line.get(column) or None
            row[f"{column}_printed"] = figure
            row[column] = None if figure is None else printed(figure).value
        if line.get("error"):
            row["top1_accuracy"] = round(100 - float(line["error"]), 6)
        found.append({**row, "published": True})
    return found


def fitting(dataset: str, input_shape: tuple[int, ...], classes: int) -> list[str]:
    """Return the tables that are about images like these: CIFAR-10, or photos of 1,000 classes."""
    if dataset == "cifar10":
        return ["cifar10"]
    return ["imagenet", "imagenet_mobile"] if classes == 1000 and input_shape[0] == 3 else []


@dataclass(frozen=True)
class PublishedText:
    """A table of published numbers as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def published_for(view: RunView) -> list[PublishedText]:
    """Return the published tables on images like those of a search."""
    # shape and classes as the winner's network has them; neither where the run has left none
    path = view.folder / "best" / "graph.json"
    shape: Shape = ()
    classes = 0
    with suppress(NasError):
        if path.is_file():
            graph = Graph.from_json(read_json(path))
            shape, classes = graph.input_shape, cost(graph).output_shape[-1]
    return [as_text(TITLES[name], rows(name)) for name in fitting(view.config.data.dataset or "", shape, classes)]


def as_text(title: str, found: Sequence[PublishedRow]) -> PublishedText:
    """Return :func:`rows` as text, without columns in which nothing is known."""
    shown = [c for c in COLUMNS if any(row.get(c) is not None for row in found)]
    if "error" in shown:  # then the accuracy only says it again
        shown.remove("top1_accuracy")
    lines = []
    for row in found:
        values = (row.get(c) for c in shown)
        lines.append(tuple(f"{v:g}" if isinstance(v, float) else str("" if v is None else v) for v in values))
    return PublishedText(title, tuple(COLUMNS[c] for c in shown), tuple(lines))
