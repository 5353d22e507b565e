"""The command ``bench``: how good searchers are, on tables of published benchmarks or with real trainings."""

from __future__ import annotations

import argparse
import csv
import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.flags import pair, plugin_flag, results_flag, whole
from nas.cli.parser import Command
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.workflows.bench.measure import Entry
    from nas.workflows.bench.queries import Curve, TableTask
    from nas.workflows.bench.trainings import TrainingSearch

HELP = "compare searchers with each other and with other packages, on published tables or at equal seconds of training"
QUERIES = "1,10,20,50,100"
SEEDS = {"tables": 20, "trainings": 5}
TRAINED = ("predictor", "evolution", "random")
"""What is compared with real trainings where no searchers are named."""


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("bench", HELP, run)
    text = "a table file, the space that it is of (default: the table's own), the column to maximise, the one to tell"
    words = "FILE[,space=NAME],val=COLUMN[,test=COLUMN][,dataset=NAME]"
    sub.add_argument("tables", metavar=words, nargs="*", help=text)
    text = (
        "a searcher with its arguments, 'predictor starts=4', or a package: smac, optuna-tpe, smac:plain (repeats are "
        "queries too); may be given again; default: ours, rank:macs and rank:synflow, and what is installed"
    )
    sub.add_argument("--searcher", metavar="NAME [K=V]", action="append", dest="searchers", help=text)
    sub.add_argument("--queries", metavar="N,N,...", default=QUERIES, help=f"what is told (default: {QUERIES})")
    sub.add_argument("--seeds", metavar="N", help="searches of each; default 20, with trainings 5")
    sub.add_argument("--workers", metavar="N", help="searches at a time; default as many as cores, with trainings one")
    text = "instead of tables: search with real trainings for N seconds each, and train what was found once more alike"
    sub.add_argument("--seconds", metavar="N", help=text)
    text = "with --seconds: flags of nas search that all have in common, in quotes: --flags='--dataset cifar10 ...'"
    sub.add_argument("--flags", metavar="'FLAGS'", default="", help=text)
    sub.add_argument("-o", "--output", metavar="FILE.csv", type=Path, help="write a line a search too")
    results_flag(sub)
    plugin_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Compare searchers on tables, or with real trainings."""
    if options.output is not None and not options.output.parent.is_dir():
        raise ConfigError(f"--output {options.output}: folder '{options.output.parent}' does not exist")
    if bool(options.tables) == (options.seconds is not None):
        raise ConfigError("give table files, FILE,val=COLUMN, or --seconds N to search with real trainings; not both")
    if options.tables and options.flags:
        raise ConfigError("--flags goes with --seconds")
    return _on_tables(options) if options.tables else _with_trainings(options)


def _counts(options: argparse.Namespace, kind: str, workers: int) -> tuple[int, int]:
    """Return the number of seeds and of workers."""
    seeds = whole("--seeds", options.seeds) if options.seeds else SEEDS[kind]
    workers = whole("--workers", options.workers) if options.workers else workers
    if min(seeds, workers) < 1:
        raise ConfigError(f"--seeds and --workers must be at least 1, found {min(seeds, workers)}")
    return seeds, workers


def _with_trainings(options: argparse.Namespace) -> int:
    """Give every searcher the same seconds of training, and print what their best networks are worth."""
    from nas.cli.terminal import note, say, show_rows
    from nas.core.plugins import load_plugins
    from nas.workflows.bench.measure import Entry
    from nas.workflows.bench.trainings import EqualSeconds, rows_of, run_all

    load_plugins(options.plugins)

    seconds = whole("--seconds", options.seconds)
    seeds, workers = _counts(options, "trainings", 1)
    if seconds < 1:
        raise ConfigError(f"--seconds must be at least 1, found {seconds}")
    try:
        flags = (*shlex.split(options.flags), *(f"--plugin={plugin}" for plugin in options.plugins))
    except ValueError as error:
        raise ConfigError(f"--flags {options.flags}: {error}") from None
    searchers = list(dict.fromkeys(options.searchers or TRAINED))
    for text in searchers:
        own = " ".join(word for word in text.split() if not word.startswith("--"))
        if Entry.of(own, partial(pair, "--searcher")).peer:
            raise ConfigError(f"searcher '{text}' is another package's, which searches tables alone")

    def told(one: TrainingSearch) -> None:
        tested = "" if one.score is None else f", test {one.score:.2f}"
        best = f"best {one.reward:.2f} of {one.trials} trials in {one.seconds:.0f} s"
        note(f"{one.searcher}, seed {one.seed}: {best}{tested}")

    found = run_all(EqualSeconds(flags, seconds, options.results_dir), searchers, seeds, workers, told)
    say(
        f"{seeds} seeds, {seconds} s of training each; the best by validation was trained once more, and tested once; "
        f"differences are those of {searchers[0]} over the others, paired by seed, p corrected (Holm)",
        prose=True,
    )
    head = ("searcher", "best reward", "test %", "lead of the first (95 %)", "p", "trials", "seconds")
    show_rows(head, rows_of(found, searchers))
    if options.output is not None:
        rows = [[one.searcher, one.seed, one.reward, one.score, one.trials, one.seconds] for one in found]
        _write(options.output, ["searcher", "seed", "reward", "score", "trials", "seconds"], rows)
    return 0


def _on_tables(options: argparse.Namespace) -> int:
    """Search every table with every searcher, and print a table for each."""
    from nas.cli.terminal import note, say, show_rows
    from nas.core.plugins import load_plugins
    from nas.workflows.bench.measure import Entry, TableName, check_entry, default_entries, measure, row_of

    load_plugins(options.plugins)
    queries = _numbers(options.queries)
    seeds, workers = _counts(options, "tables", os.cpu_count() or 1)
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
            if options.output is not None:  # what is there, should the rest not come
                scores = (f"score_{q}" for q in queries)
                _write(options.output, ["table", "searcher", "seed", *scores, "cpu_seconds"], lines)

        measure(task, entries, max(queries), seeds, workers, told)
        best, found = task.ceiling
        say(
            f"{name}: mean of {seeds} seeds ± standard error of '{task.score}' of the best by '{task.reward}'; the "
            f"table's best has {best:.2f}, its best by '{task.reward}' {found:.2f}",
            prose=True,
        )
        show_rows(("searcher", *(f"{q} queries" for q in queries), "CPU ms a query"), rows)
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


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
