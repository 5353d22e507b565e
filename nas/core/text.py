"""Text as people read it: quantities, the phases of a run, and what comes from outside."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nas.errors import printable as printable  # defined on the lowest floor, where messages are made

PHASES = {
    "search": "searching",
    "finalists": "finalists",
    "random": "random search",
    "rivals": "handcrafted rivals",
    "final": "final comparison",
    "latency": "latencies",
    "comparison": "trainings",
    "training": "epochs",
    "test": "test split",
    "grid": "grid of factors",
}
"""What people read for the phases of a run."""
STEPS = {
    "final": "trainings",
    "latency": "latencies",
    "comparison": "trainings",
    "training": "epochs",
    "test": "tests",
    "grid": "trainings",
}
"""What the steps of a phase are called where they are not trials."""
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet computes; in some languages in full width too."""
UNITS = (("days", 48 * 3600.0, 24 * 3600.0), ("h", 2 * 3600.0, 3600.0), ("min", 120.0, 60.0))
"""Names of durations, from how many seconds on they are used, and their own seconds."""


def encodable(text: str) -> bool:
    """Return whether UTF-8 can hold ``text``: it has no lone surrogate, as file names in other encodings have."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def printable_lines(text: str) -> str:
    """Return text of several lines with each of them :func:`printable`."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield ``rows`` as lines of CSV, None as an empty cell.

    Text that a spreadsheet would compute, as it begins like a formula, is kept from that by an apostrophe; numbers stay
    as they are.
    """
    for row in rows:
        line = io.StringIO()
        cells = [_csv_cell(value) if isinstance(value, str) else value for value in row]
        csv.writer(line, lineterminator="\n").writerow(cells)
        yield line.getvalue()


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return the :func:`csv_lines` of ``rows`` as one text."""
    return "".join(csv_lines(rows))


def _csv_cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


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
    results = folder.parent
    return "" if results.absolute() == Path("results").absolute() else f" --results-dir {quoted(str(results))}"


def quoted(word: str) -> str:
    """Return ``word`` as a shell reads it, also where it cannot be shown as it is."""
    if word.isprintable():
        return shlex.quote(word)
    parts = (chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in os.fsencode(word))
    return f"$'{''.join(parts)}'"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 trial``, ``2 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(number: float) -> str:
    """Return two digits, or an integer where it has more."""
    if number >= 9.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.95 else f"{number:.2g}"
