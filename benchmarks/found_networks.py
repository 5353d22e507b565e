"""Whether searches pay: whole commands over seeds, each against the best handcrafted rival and random search.

    python benchmarks/found_networks.py COMMAND [--seeds 0-9] [--home DIR] [--data DIR] [--flags "..."] [--label TEXT]
    python benchmarks/found_networks.py --table COMMAND

``COMMAND`` is one of :data:`COMMANDS`: what README and docs tell users to type. Each seed is one run of the whole
command; what a killed one has done is not done again. When a run has ended, its row goes to
``benchmarks/rows/COMMAND.csv``, which is committed: one line a network, with the score of every final seed, the seconds
of the search, of random search, of the rivals and of the finals, and the run's own paired test against the winner.
``--table`` makes the tables of RESULTS.md from those rows alone. ``--label`` tells apart runs with other ``--flags``,
as for an ablation; every attempt that is mentioned anywhere has its rows here.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from common import ROOT, machine, show

from nas.engine.rivals import best_in_time
from nas.report.run_view import Score, load_view
from nas.report.statistics import Difference, Question, differences, mean_interval

ROWS = Path(__file__).parent / "rows"
COMMANDS = {
    "first": "search",
    "cifar10": "search --dataset cifar10 --data-dir {data} --budget-macs 3M",
    "cifar10-hour": "search --dataset cifar10 --data-dir {data} --budget-macs 12M",
    "imagenette": "search --dataset folder --data-dir {data} --image-size 64 --budget-macs 12M",
}
"""The commands without name, seed and folder."""
HEAD = (
    *("label", "seed", "role", "name", "mean", "scores", "params", "macs", "training_seconds", "difference"),
    *("low", "high", "p", "in_time", "milliseconds"),
    *("search_seconds", "finalists_seconds", "random_seconds", "rivals_seconds", "finals_seconds", "wall_seconds"),
    *("flags", "machine"),
)
PARTS = {
    "search": "search_seconds",
    "finalists": "finalists_seconds",
    "random search": "random_seconds",
    "handcrafted rivals": "rivals_seconds",
    "final comparison": "finals_seconds",
}
"""The columns of what a report says was spent; what random search and the rivals spent has their finalists in it."""
LIKE = {"handcrafted": "best rival", "handcrafted_in_time": "best rival in time", "random": "random search"}


def numbers(text: str) -> list[int]:
    """Read ``0-9`` or ``0,3,5``."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def rows_of(command: str) -> list[dict[str, str]]:
    """Return the rows that are there."""
    path = ROWS / f"{command}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(words: list[str], home: Path, name: str) -> float:
    """Run or resume one search; return the seconds that all tries took."""
    folder, clock = home / name, home / f"{name}.seconds"
    words = ["resume", name] if folder.is_dir() else [*words, "--name", name]
    began = time.monotonic()
    before = float(clock.read_text()) if clock.is_file() else 0.0
    process = subprocess.run(
        [sys.executable, str(ROOT / "run_search.py"), *words, "--results-dir", str(home)],
        stdout=(home / f"{name}.log").open("a", encoding="utf-8"),
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    took = before + time.monotonic() - began
    clock.write_text(f"{took:.1f}")
    if process.returncode:
        sys.exit(f"error: {shlex.join(words)} ended with {process.returncode}; see {home / name}.log")
    return took


def measure(command: str, seeds: list[int], home: Path, data: str, flags: str, label: str) -> None:
    """Run the command with each seed that has no row, and append what came of it."""
    home.mkdir(parents=True, exist_ok=True)
    ROWS.mkdir(exist_ok=True)
    done = {(row["label"], row["seed"]) for row in rows_of(command)}
    for seed in seeds:
        if (label, str(seed)) in done:
            continue
        name = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, (command, label, str(seed)))))
        words = [*shlex.split(COMMANDS[command].format(data=data)), *shlex.split(flags), "--seed", str(seed)]
        wall = run(words, home, name)
        append(command, home / name, {"label": label, "seed": seed, "flags": flags, "wall_seconds": round(wall, 1)})


def append(command: str, folder: Path, further: dict[str, object]) -> None:
    """Append a final comparison to the rows of ``command``; ``further`` are columns that the run does not tell."""
    view = load_view(folder)
    rows, spent = view.scores(), {PARTS[part.name]: round(part.seconds, 1) for part in view.spent()}
    found = against_the_search(rows)
    in_time = None if view.rivals is None else best_in_time(view.ledger, view.rivals)
    keys = {final["role"]: final["key"] for final in view.ledger.finals}
    # rows of an earlier version lack columns: all are written again under one head
    known = rows_of(command)
    with (ROWS / f"{command}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEAD, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(known)
        for row in rows:
            line: dict[str, object] = {
                "role": row.role,
                "name": row.name,
                "mean": round(row.mean, 3),
                "scores": " ".join(f"{row.by_seed[number]:.2f}" for number in sorted(row.by_seed)),
                "params": row.params,
                "macs": row.macs,
                "training_seconds": round(row.seconds, 2),
                "in_time": int(
                    row.role.startswith("handcrafted") and in_time is not None and keys[row.role] == in_time.key
                ),
                "milliseconds": row.latency,
                "machine": machine(),
            }
            if (difference := found.get(row.role)) is not None:
                line |= {"difference": round(difference.mean, 3), "p": difference.p_holm}
                if difference.interval is not None:
                    line |= {"low": round(difference.interval.low, 3), "high": round(difference.interval.high, 3)}
            writer.writerow({**line, **spent, **further})


def against_the_search(rows: list[Score]) -> dict[str, Difference]:
    """Return the winner's lead over each other row, by its role: the run's own tests, corrected for being several."""
    search = next(row for row in rows if row.role == "search")
    others = [row for row in rows if row is not search]
    asked = [Question("search", row.role, (search.by_seed, row.by_seed)) for row in others]
    found = zip(others, differences(asked), strict=True)
    return {row.role: difference for row, difference in found if difference is not None}


def tables(command: str) -> None:
    """Print a table of every seed, and what the leads come to over the seeds."""
    by_label: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows_of(command):
        by_label[row["label"]][row["seed"]].append(row)
    for label, seeds in by_label.items():
        lines: list[list[object]] = []
        leads: dict[str, list[float]] = defaultdict(list)
        wins: dict[str, list[bool]] = defaultdict(list)
        for seed, rows in seeds.items():
            found = {row["role"]: row for row in rows}
            one = found["search"]
            line: list[object] = [seed, f"{float(one['mean']):.2f}"]
            # the best rival may itself have taken no more time
            rival = found.get("handcrafted")
            if rival is not None and rival.get("in_time") == "1":
                found.setdefault("handcrafted_in_time", rival)
            for role in LIKE:
                other = found.get(role)
                if other is None or not other["difference"]:
                    line += ["", ""]
                    continue
                lead, p = float(other["difference"]), float(other["p"]) if other["p"] else 1.0
                leads[role].append(lead)
                wins[role].append(lead > 0 and p < 0.05)
                span = f"{float(other['low']):+.2f} to {float(other['high']):+.2f}" if other["low"] else ""
                line += [f"{other['name']} {float(other['mean']):.2f}", f"{lead:+.2f} ({span}), p {p:.3f}"]
            phases = ("search", "finalists", "random", "rivals", "finals", "wall")
            seconds = [one[f"{phase}_seconds"] for phase in phases]
            lines.append([*line, *(f"{float(s):.0f}" if s else "" for s in seconds)])
        head = ["seed", "found, %"]
        for text in LIKE.values():
            head += [f"{text}, %", "lead (95 %), p"]
        show(
            f"{command} {label}".strip(),
            [*head, "search s", "finalists s", "random s", "rivals s", "finals s", "wall s"],
            lines,
        )
        for role, values in leads.items():
            interval = mean_interval(values)
            span = f" (95 % {interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
            mean = sum(values) / len(values)
            better = f"{sum(wins[role])} of {len(values)} significantly better"
            print(f"- against {LIKE[role]}: {mean:+.2f} points on average{span}, {better}")
        print()


def main() -> None:
    """Measure, or print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--table", action="store_true", help="print the tables of the rows that are there")
    parser.add_argument("--seeds", type=numbers, default=numbers("0-9"))
    parser.add_argument("--home", type=Path, default=Path("results"))
    parser.add_argument("--data", default="", help="the folder of the images")
    parser.add_argument("--flags", default="", help="further flags, for an ablation")
    parser.add_argument("--label", default="", help="what the rows with these flags are called")
    options = parser.parse_args()
    if not options.table:
        measure(options.command, options.seeds, options.home, options.data, options.flags, options.label)
    tables(options.command)


if __name__ == "__main__":
    main()
