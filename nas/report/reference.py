"""Published numbers to compare with: ``results/reference/*.csv``, which an installed package carries along.

Every row has a ``source``. Its ``params`` and ``macs`` are as they were printed (``5.3M``); ``ours`` is the name of the
network here that it is about, and a ``remark`` that begins with ``differs`` says how ours is of another size. What is
published was trained by others under recipes of their own: it is never mixed with what was measured.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from nas.errors import ConfigError, unknown

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


@dataclass(frozen=True)
class Printed:
    """A figure as it was printed: its ``text``, its ``value``, and the half ``unit`` of its last digit."""

    text: str
    value: float
    half: float

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


def names() -> list[str]:
    """Return the names of the tables."""
    found = [path.name for path in (resources.files("nas.report") / "published").iterdir()]
    return sorted(name.removesuffix(".csv") for name in found if name.endswith(".csv"))


@cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    if name not in names():
        raise ConfigError(unknown("reference table", name, names()))
    text = (resources.files("nas.report") / "published" / f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(text)))


def rows(name: str) -> list[dict[str, Any]]:
    """Return the published rows of table ``name``: what is not known is None, ``published`` is True.

    ``params`` and ``macs`` are numbers; as printed they are ``params_printed`` and ``macs_printed``. Of a table that
    prints errors, ``top1_accuracy`` is 100 less the error. An unknown name raises :class:`ConfigError`.
    """
    found = []
    for line in _table(name):
        row: dict[str, Any] = {column: text or None for column, text in line.items()}
        for column in NUMBERS:
            if row.get(column) is not None:
                row[column] = float(row[column])
        for column in PRINTED:
            text = row.get(column)
            row[f"{column}_printed"] = text
            row[column] = None if text is None else printed(text).value
        if row.get("error") is not None:
            row["top1_accuracy"] = round(100 - row["error"], 6)
        found.append({**row, "published": True})
    return found


def fitting(dataset: str, input_shape: tuple[int, ...], classes: int) -> list[str]:
    """Return the tables that are about images like these: CIFAR-10, or photos of 1,000 classes."""
    if dataset == "cifar10":
        return ["cifar10"]
    return ["imagenet", "imagenet_mobile"] if classes == 1000 and input_shape[0] == 3 else []
