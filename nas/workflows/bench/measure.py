"""The table of search quality: searchers and other packages on published tables, over seeds, by queries."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from nas.core.values import Value
from nas.errors import ConfigError, EvaluationError, unknown
from nas.searchers import make_searcher
from nas.searchers.base import FAMILIES, SEARCHERS
from nas.space import SPACES
from nas.space.from_table import table_space
from nas.tables.benchmark_table import load_table
from nas.types import Context
from nas.workflows.bench.peers import PEERS
from nas.workflows.bench.queries import Curve, TableTask

OURS = ("predictor", "local", "evolution", "reinforce", "random")
RANKINGS = ("rank:macs", "rank:synflow")
"""Baselines of a space that has networks."""
PLAIN = ":plain"
"""Of another package: every proposal is a query, also one that was made before."""


@dataclass(frozen=True)
class TableName:
    """A table as the command line names it: ``FILE,space=NAME,val=COLUMN,test=COLUMN,dataset=NAME``."""

    path: Path
    space: str = "table"
    val: str = ""
    """The column that is maximised."""
    test: str = ""
    """The column that is told of the best; by default the one that is maximised."""
    dataset: str = ""
    """One dataset of the table; by default each of them."""

    @classmethod
    def of(cls, text: str) -> TableName:
        """Read the words; wrong ones raise :class:`ConfigError`."""
        path, *words = text.split(",")
        found = {}
        for word in words:
            name, equals, value = word.partition("=")
            if name not in ("space", "val", "test", "dataset") or not equals or not value:
                rule = "FILE,space=NAME,val=COLUMN,test=COLUMN,dataset=NAME; all but FILE and val may be left out"
                raise ConfigError(f"table '{text}': '{word}' is none of its words: {rule}")
            found[name] = value
        return cls(Path(path), **found)

    def tasks(self) -> list[TableTask]:
        """Return a task for each dataset; what the table does not have raises :class:`ConfigError`."""
        table = load_table(self.path)
        if not self.val:
            rule = f"name the column to maximise: {self.path},val=COLUMN; it has {', '.join(table.columns)}"
            raise ConfigError(f"table '{self.path}': {rule}")
        if self.space != "table" and self.space not in SPACES:
            raise ConfigError(f"table '{self.path}': {unknown('space', self.space, [*SPACES, 'table'])}")
        space = table_space(table) if self.space == "table" else SPACES[self.space].with_args({})
        sample = space.sample(np.random.default_rng(0))
        if not table.keys and not set(table.names) <= set(sample.decisions):
            rule = f"its decisions are not those of space '{self.space}'; its own space is there without space="
            raise ConfigError(f"table '{self.path}': {rule}")
        datasets: Sequence[str | None] = [self.dataset] if self.dataset else table.datasets or [None]
        return [TableTask(table, space, dataset, self.val, self.test or self.val) for dataset in datasets]


@dataclass(frozen=True)
class Entry:
    """A searcher with its arguments, or another package: ``NAME`` or ``NAME K=V ...``; of a package ``NAME:plain``."""

    text: str
    name: str
    args: dict[str, Value]
    peer: bool

    @classmethod
    def of(cls, text: str, named: Callable[[str], tuple[str, Value]]) -> Entry:
        """Read the words, ``named`` those of arguments; unknown names raise :class:`ConfigError`."""
        name, *words = text.split() or [""]
        args = dict(map(named, words))
        plain = name.removesuffix(PLAIN)
        if plain in PEERS:
            if args:
                raise ConfigError(f"searcher '{text}': {plain} is used as it comes and takes no arguments")
            if not PEERS[plain].installed:
                raise ConfigError(f"searcher '{text}' needs the package {plain}; pip install {PEERS[plain].install}")
            return cls(text, name, {}, peer=True)
        if name not in SEARCHERS and name.partition(":")[0] not in FAMILIES:
            families = [f"{family}:NAME" for family in FAMILIES]
            raise ConfigError(unknown("searcher", name, [*SEARCHERS, *PEERS, *families]))
        return cls(text, name, args, peer=False)


def default_entries(task: TableTask) -> list[str]:
    """Return what is compared where no searchers are named: ours, the rankings, and every package that is there."""
    found = list(OURS)
    architecture = task.space.sample(np.random.default_rng(0))
    if task.space.has_networks(architecture):
        found += RANKINGS
    peers = [f"{name}{end}" for name in PEERS if PEERS[name].installed for end in ("", PLAIN)]
    with suppress(ConfigError):
        check_entry(task, Entry(peers[0], peers[0], {}, peer=True))
        found += peers
    return found


def check_entry(task: TableTask, entry: Entry) -> None:
    """Refuse wrong arguments of ours, and packages where the table lacks what they may propose: some combinations."""
    table = task.table
    if not entry.peer:
        make_searcher(entry.name, task.space, entry.args, Context(task.prepare, task.epochs))
    if entry.peer and len(table.choices) < np.prod([float(len(known)) for known in table.options.values()]):
        rule = "it lacks some combinations of its options, and other packages propose any of them"
        raise ConfigError(f"searcher '{entry.text}' on table '{table.path.name}': {rule}")


def one_search(task: TableTask, entry: Entry, queries: int, seed: int) -> Curve:
    """Return what one search found."""
    if not entry.peer:
        return task.curve(entry.name, queries, seed, entry.args)
    name = entry.name.removesuffix(PLAIN)
    peer = PEERS[name].make(task.table.options, seed, queries)
    return task.peer_curve(peer, queries, distinct=name == entry.name)


_shared: tuple[TableTask, int]


def _job(job: tuple[Entry, int]) -> Curve:
    task, queries = _shared
    return one_search(task, job[0], queries, job[1])


def measure(
    task: TableTask,
    entries: Sequence[Entry],
    queries: int,
    seeds: int,
    workers: int,
    told: Callable[[Entry, list[Curve]], object],
) -> None:
    """Search with every entry and seed, ``workers`` at a time; ``told`` is called when the seeds of one have ended."""
    global _shared
    _shared = task, queries  # what forked processes inherit
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        found = pool.map(_job, product(entries, range(seeds)))
        try:
            for entry in entries:
                told(entry, [next(found) for _ in range(seeds)])
        except BrokenProcessPool:
            pool.shutdown(wait=False, cancel_futures=True)
            raise EvaluationError("a process of the bench was ended from outside, perhaps for want of memory") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def row_of(entry: Entry, curves: Sequence[Curve], queries: Sequence[int]) -> list[str]:
    """Return the cells of an entry: the mean and its standard error after each number of queries, and ms a query."""
    cells = [entry.text]
    for count in queries:
        values = [curve.after(count) for curve in curves]
        error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.2f}{error}")
    spent = sum(curve.cpu_seconds for curve in curves) / sum(len(curve.rewards) for curve in curves)
    return [*cells, f"{1000 * spent:.1f}"]
