"""Say what differs between recorded runs: ``python tools/compare_golden_runs.py OLD NEW [--tolerance T]``.

OLD and NEW are run folders, or folders of run folders such as ``tests/golden/runs``; runs are matched by their place
below these. Prints a row for each difference and returns 1 where there is any.

Compared are the events of every journal, in order: what was proposed, rewards, losses and scores. Left out are times
and other measurements, digests of what a run depended on, and the first event, which holds the settings in the words of
the version that made the run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

CLOCK = {"time", "seconds", "wall", "forecast", "images_per_second", "score_seconds"}
MACHINE = {"notes", "switches", "backend_options", "device", "workers"}
MEASURED = frozenset({"crc", "seq", *CLOCK, *MACHINE})
"""Fields that depend on the clock and on the machine, at any depth of an event."""
LATER = ("per_class", "normalization", "scores")
"""Fields that earlier versions did not write: compared where the old run has them."""
LEFT_OUT = ("run", "latency", "inputs")
"""Events of which nothing is compared: the settings, milliseconds, and digests of files and versions."""
Difference = tuple[str, str, object, object]
"""Event and number, path of the field within it, old value, new value."""


def recorded_events(run: Path) -> list[dict[str, object]]:
    """Return the events of a run in order, without what is measured."""
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return [_without_measurements(event) for event in events if event["event"] not in LEFT_OUT]


def _without_measurements(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_measurements(item) for key, item in value.items() if key not in MEASURED}
    return [_without_measurements(item) for item in value] if isinstance(value, list) else value


def differences(old: list[dict[str, object]], new: list[dict[str, object]], tolerance: float = 0.0) -> list[Difference]:
    """Return where two lists of events differ; numbers may differ by ``tolerance``, times their size where above 1."""
    found: list[Difference] = []
    for number in range(max(len(old), len(new))):
        before = old[number] if number < len(old) else {}
        after = new[number] if number < len(new) else {}
        where = f"{number} {before.get('event') or after.get('event')}"
        found += [(where, *rest) for rest in _compare(before, after, tolerance, "")]
    return found


def _compare(old: object, new: object, tolerance: float, path: str) -> list[tuple[str, object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {*old, *(key for key in new if key not in LATER)}
        pairs = [(key, old.get(key), new.get(key)) for key in sorted(keys)]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        return [] if _equal(old, new, tolerance) else [(path, old, new)]
    return [row for key, *both in pairs for row in _compare(*both, tolerance, f"{path}.{key}".lstrip("."))]


def _equal(old: object, new: object, tolerance: float) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return old == new or abs(old - new) <= tolerance * max(1.0, abs(old))
    return old == new


def find_runs(folder: Path) -> dict[str, Path]:
    """Return the runs in and below ``folder``, a search's random search among them, by their place below it."""
    return {str(path.parent.relative_to(folder)): path.parent for path in sorted(folder.rglob("journal.jsonl"))}


def main(arguments: list[str] | None = None) -> int:
    """Print the differences as a table; return 1 where there are any."""
    parser = argparse.ArgumentParser(description="Say what differs between two folders of recorded runs.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="how far numbers may differ; default 0")
    options = parser.parse_args(arguments)
    old, new = find_runs(options.old), find_runs(options.new)
    rows: list[tuple[str, ...]] = []
    for name in sorted({*old, *new}):
        if name in old and name in new:
            found = differences(recorded_events(old[name]), recorded_events(new[name]), options.tolerance)
            rows += [(name, where, path, _shown(before), _shown(after)) for where, path, before, after in found]
        else:
            rows.append((name, "", "journal", *("there" if name in side else "missing" for side in (old, new))))
    if not rows:
        print(f"{len(old)} runs, no difference")
        return 0
    table = [("run", "event", "field", "old", "new"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 1


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


if __name__ == "__main__":
    sys.exit(main())
