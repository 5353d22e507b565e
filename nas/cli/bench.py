"""The command ``bench``: how good searchers are on tables of published benchmarks, query by query."""

from __future__ import annotations

import argparse
import csv
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.flags import pair, plugin_flag, whole
from nas.cli.parser import Command
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.workflows.bench.measure import Entry
    from nas.workflows.bench.queries import Curve, TableTask

HELP = "compare searchers, and those of other packages that are installed, on tables of published benchmarks"
QUERIES = "1,10,20,50,100"


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("bench", HELP, run)
    text = "a table file, the space that it is of (default: the table's own), the column to maximise, the one to tell"
    words = "FILE[,space=NAME],val=COLUMN[,test=COLUMN][,dataset=NAME]"
    sub.add_argument("tables", metavar=words, nargs="+", help=text)
    text = (
        "a searcher with its arguments, 'predictor starts=4', or a package: smac, optuna-tpe, smac:plain (repeats are "
        "queries too); may be given again; default: ours, rank:macs and rank:synflow, and what is installed"
    )
    sub.add_argument("--searcher", metavar="NAME [K=V]", action="append", dest="searchers", help=text)
    sub.add_argument("--queries", metavar="N,N,...", default=QUERIES, help=f"what is told (default: {QUERIES})")
    sub.add_argument("--seeds", metavar="N", default="20", help="searches of each (default: 20)")
    sub.add_argument("--workers", metavar="N", help="processes; default: as many as cores")
    sub.add_argument("-o", "--output", metavar="FILE.csv", type=Path, help="write a line a search too")
    plugin_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Search every table with every searcher, and print a table for each."""
    from nas.cli.terminal import note, say, show_rows
    from nas.core.plugins import load_plugins
    from nas.workflows.bench.measure import Entry, TableName, check_entry, default_entries, measure, row_of

    load_plugins(options.plugins)
    queries, seeds = _numbers(options.queries), whole("--seeds", options.seeds)
    workers = whole("--workers", options.workers) if options.workers else os.cpu_count() or 1
    if min(seeds, workers) < 1:
        raise ConfigError(f"--seeds and --workers must be at least 1, found {min(seeds, workers)}")
    if options.output is not None and not options.output.parent.is_dir():
        raise ConfigError(f"--output {options.output}: folder '{options.output.parent}' does not exist")
    # everything that may be wrong is, before the first search
    tasks = [task for text in options.tables for task in TableName.of(text).tasks()]
    given = partial(pair, "--searcher")
    asked = [[Entry.of(text, given) for text in options.searchers or default_entries(task)] for task in tasks]
    for task, entries in zip(tasks, asked, strict=True):
        for entry in entries:
            check_entry(task, entry)
    lines: list[list[object]] = []
    for task, entries in zip(tasks, asked, strict=True):
        rows: list[list[str]] = []
        name = _title(task)

        def told(
            entry: Entry, curves: list[Curve], rows: list[list[str]] = rows, name: str = name, task: TableTask = task
        ) -> None:
            rows.append(row_of(entry, curves, queries))
            note(f"{name}: {'  '.join(rows[-1])}")
            for seed, curve in enumerate(curves):
                lines.append([name, entry.text, seed, *(round(curve.after(q), 4) for q in queries), curve.cpu_seconds])

        measure(task, entries, max(queries), seeds, workers, told)
        best, found = task.ceiling
        say(
            f"{name}: mean of {seeds} seeds ± standard error of '{task.score}' of the best by '{task.reward}'; the "
            f"table's best has {best:.2f}, its best by '{task.reward}' {found:.2f}",
            prose=True,
        )
        show_rows(("searcher", *(f"{q} queries" for q in queries), "CPU ms a query"), rows)
    if options.output is not None:
        with options.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["table", "searcher", "seed", *(f"score_{q}" for q in queries), "cpu_seconds"])
            writer.writerows(lines)
    return 0


def _title(task: TableTask) -> str:
    dataset = f", {task.dataset}" if task.dataset else ""
    return f"{task.table.path.name}{dataset}"


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1 or found != sorted(set(found)):
        raise ConfigError(f"--queries must be ascending numbers such as {QUERIES}, found '{text}'")
    return found
