"""Quantities as people read them: durations, rates, counts, and the phases of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

PHASES = {
    "search": "searching",
    "random": "random search",
    "final": "final comparison",
    "latency": "latencies",
    "comparison": "trainings",
    "training": "epochs",
    "test": "test split",
}
"""What an onlooker reads for the phases of a run."""
STEPS = {"final": "trainings", "latency": "latencies", "comparison": "trainings", "training": "epochs"}
"""What the steps of a phase are called where they are not trials."""
UNITS = (("days", 48 * 3600.0, 24 * 3600.0), ("h", 2 * 3600.0, 3600.0), ("min", 120.0, 60.0))
"""Names of durations, from how many seconds on they are used, and their own seconds."""


def duration(seconds: float) -> str:
    """Return seconds as a few characters: ``0.25 s``, ``45.1 s``, ``7.6 min``, ``13.2 h``, ``125 days``."""
    name, unit = next(((name, unit) for name, least, unit in UNITS if seconds >= least), ("s", 1.0))
    number = seconds / unit
    return f"{_short(number) if not 9.95 <= number < 99.95 else f'{number:.1f}'} {name}"


def clock(seconds: float) -> str:
    """Return seconds as a clock shows them: ``0:07:36``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def hours(number: float) -> str:
    """Return a number of hours: ``under 0.01``, ``0.02``, ``2.3``, ``140``."""
    if number < 0.01:
        return "under 0.01" if number else "0"
    return f"{number:.2f}" if number < 1 else _short(number)


def rate(per_hour: float, noun: str = "trials") -> str:
    """Return a rate by the hour, the minute or the second, whichever makes a number that is easily read."""
    for name, seconds in (("h", 3600.0), ("min", 60.0)):
        if per_hour * seconds / 3600 < 600:
            return f"{_short(per_hour * seconds / 3600)} {noun}/{name}"
    return f"{_short(per_hour / 3600)} {noun}/s"


def elsewhere(folder: Path) -> str:
    """Return the flag that a command needs to find the run in ``folder``, after a space; nothing in ``results``."""
    return "" if folder.parent == Path("results") else f" --results-dir {shlex.quote(str(folder.parent))}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 trial``, ``2 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(number: float) -> str:
    """Return two digits, or a whole number where it has more."""
    if number >= 9.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.95 else f"{number:.2g}"
