"""What the fields of events may hold: a journal that a stranger wrote, or a tool changed, is refused by line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nas.core.values import ClassCounts
from nas.errors import ConfigError, JournalError, printable

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "asked": ("index", "key", "epochs", "architecture"),
    "done": ("index", "reward", "values", "seconds", "simulated"),
    "failed": ("index", "kind", "message"),
    "retried": ("index", "kind", "message"),
    "refused": ("index", "kind", "message"),
    "reused": ("index", "of"),
    "final": ("role", "number", "score"),
    "budget": ("trials",),
    "stopped": ("reason",),
    "latency": ("role", "batch", "milliseconds"),
    "epoch": ("number", "loss", "seconds"),
}
"""The fields that every version has written, by event; other events and fields are told by their own readers."""
_INTEGERS = ("index", "of", "number", "epochs", "trials", "batch", "repeats", "threads", "epochs_trained")
_NUMBERS = ("reward", "seconds", "wall", "loss", "time", "top1", "accuracy", "images_per_second", "score_seconds")
_TEXTS = ("event", "key", "name", "role", "reason", "message", "recipe", "format", "device")
_OBJECTS = ("values", "notes", "info", "architecture", "config", "settings", "network", "validation", "normalization")
_KIND: dict[str, str] = {
    **dict.fromkeys(_INTEGERS, "an integer of at least 0"),
    **dict.fromkeys(("params", "macs", "width", "continue_from"), "an integer of at least 0, or null"),
    **dict.fromkeys(_NUMBERS, "a finite number"),
    **dict.fromkeys(("score", "milliseconds", "forecast", "top5"), "a finite number, or null"),
    **dict.fromkeys(_TEXTS, "text"),
    "kind": "text, or null",
    **dict.fromkeys((*_OBJECTS, "scores"), "an object"),
    "simulated": "true or false",
    "candidates": "a list",
    "class_names": "a list of texts",
    "per_class": "the images of every class and the correct ones",
}


def problem_of(event: Mapping[str, Any]) -> str:
    """Return which field of an event is not of its kind, nothing where all are."""
    for field, value in event.items():
        kind = _KIND.get(field)
        if kind is not None and not _fits(value, kind):
            return f"'{field}' must be {kind}"
    for kind, numbers in (("metric", "values"), ("score", "scores")):
        for name, value in event.get(numbers, {}).items():
            if not _fits(value, "a finite number"):
                return f"{kind} '{name}' must be a finite number"
    return ""


def check_fields(event: Mapping[str, Any], *further: str) -> None:
    """Raise :class:`JournalError` where an event lacks a field that its readers need, or one of the ``further`` ones.

    A further one may be that of an object, ``network.name``.
    """
    name = event.get("event", "")
    for field in ("event", *REQUIRED.get(name, ()), *further):
        outer, _, inner = field.partition(".")
        if outer not in event or (inner and inner not in event[outer]):
            raise JournalError(f"journal: line {event.get('seq', 0) + 1}, event '{name}', has no field '{field}'")


def class_names_of(first: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes that a run's first event has; of earlier versions it has none."""
    return tuple(map(printable, first.get("class_names", ())))


def _fits(value: object, kind: str) -> bool:
    if kind.endswith("null"):
        if value is None:
            return True
        kind = kind.removesuffix(", or null")
    match kind:
        case "text":
            return isinstance(value, str)
        case "an object":
            return isinstance(value, dict)
        case "a list":
            return isinstance(value, list)
        case "a list of texts":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "the images of every class and the correct ones":
            try:
                ClassCounts.from_json(value)
            except ConfigError:
                return False
            return True
        case "true or false":
            return isinstance(value, bool)
        case "a finite number":
            if type(value) is int:
                return abs(value) < 2**1000  # a float can hold it
            return type(value) is float and math.isfinite(value)
        case _:
            return type(value) is int and 0 <= value < 2**1000
