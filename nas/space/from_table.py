"""The space of a table file: all combinations of its options, or where it holds few of these, its rows."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from math import prod
from zlib import crc32

import numpy as np
import numpy.typing as npt

from nas.core.values import Value
from nas.errors import ConfigError, Infeasible, unknown
from nas.space.choices import Choose, Chooser, Exact, Options, Path
from nas.space.space import EXACT_SIZE, Size, Space
from nas.tables.benchmark_table import Table
from nas.types import Architecture

DENSE = 0.5
"""The share of all combinations from which on a table is searched as if it held them all: few are refused."""
REMEMBERED = 64
"""The number of architectures whose distances to all rows are kept: those of parents are asked for again."""

Row = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]


def table_space(table: Table) -> Space:
    """Return the space whose decisions are the table's names with their options; it describes no network.

    A table with at least :data:`DENSE` of all combinations has all of them, any other only its rows.
    """

    def choose_all(choose: Choose) -> dict[str, Value]:
        return {name: choose(name, table.options[name]) for name in table.names}

    if len(table.choices) >= DENSE * prod(len(table.options[name]) for name in table.names):
        return Space("table", choose_all, source=str(table.path))
    return RowSpace(table, choose_all)


class RowSpace(Space):
    """The rows of ``table``, N of D decisions each, as a space in which each step leads to a row.

    The distance of two rows is the number of decisions in which they differ (Hamming). A sample is a row, each as
    likely. A mutation is one of the nearest other rows. A move, which gives a decision another option, leads to the
    nearest row with that option. What a chooser chooses decision by decision leads to the nearest row; one that is
    :class:`nas.space.choices.Exact` is shown with which options a row goes on, and where it leaves all rows, the
    combination is infeasible. Of rows that are as near one is drawn.
    """

    def __init__(self, table: Table, function: Callable[[Choose], dict[str, Value]]) -> None:
        super().__init__("table", function, source=str(table.path))
        self._names, self._options = table.names, [table.options[name] for name in table.names]
        # in the order in which a space enumerates, so that each prefix is one stretch of rows
        self._rows = table.choices[np.lexsort(table.choices.T[::-1])]
        self._holders = [_places(column, len(o)) for column, o in zip(self._rows.T, self._options, strict=True)]
        self._architectures: dict[int, Architecture] = {}
        self._distances = lru_cache(REMEMBERED)(lambda architecture: self._measure(self._indices(architecture)))
        self._nearest = lru_cache(16 * REMEMBERED)(self._others)
        # a first pass checks the options and makes them known
        self._run(Path(()))

    def with_args(self, args: Mapping[str, Value]) -> Space:
        """Return the space itself: it takes no arguments, and any raises :class:`ConfigError`."""
        for name in args:
            raise ConfigError(f"space '{self.name}': {unknown('argument', name, ())}")
        return self

    def attempt(self, chooser: Chooser, without: Container[Architecture] = ()) -> Architecture | None:
        """Return the row that ``chooser`` chooses or the nearest; None where an exact chooser leaves all rows."""
        if isinstance(chooser, Exact):
            return super().attempt(_OnRows(self._rows, chooser))
        found = super().attempt(chooser)
        if found is None:
            return None
        indices = self._indices(found)
        distances = self._measure(indices)
        # there is no stream of random numbers here: what was chosen decides between rows that are as near
        nearest = np.flatnonzero(distances == distances.min())
        chosen = row = self._row(int(nearest[crc32(indices) % len(nearest)]))
        if row in without:
            farther = (self._row(place) for place in np.argsort(distances, kind="stable").tolist())
            row = next((row for row in farther if row not in without), chosen)
        return row

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return a row, each as likely."""
        return self._row(int(rng.integers(len(self._rows))))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return one of the nearest other rows, the architecture itself where it is the only row."""
        nearest = self._nearest(architecture)
        return self._drawn(nearest, rng) if len(nearest) else architecture

    def moves(self, architecture: Architecture) -> list[tuple[str, int]]:
        """Return every change of a decision to an option that some row has, as (name, index), in order."""
        own = self._indices(architecture)
        return [
            (name, i)
            for d, name in enumerate(self._names)
            for i, rows in enumerate(self._holders[d])
            if i != own[d] and len(rows)
        ]

    def move(self, architecture: Architecture, move: tuple[str, int], rng: np.random.Generator) -> Architecture | None:
        """Return the nearest row with that option, None where no row has it."""
        name, option = move
        rows = self._holders[self._names.index(name)][option]
        if not len(rows):
            return None
        distances = self._distances(architecture)[rows]
        return self._drawn(rows[distances == distances.min()], rng)

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every row once, in order."""
        return map(self._row, range(len(self._rows)))

    def size(self, limit: int = EXACT_SIZE, probes: int = 2_000) -> Size:
        """Return the number of rows."""
        return Size(len(self._rows), 0.0, True)

    def _drawn(self, rows: Rows, rng: np.random.Generator) -> Architecture:
        return self._row(int(rows[rng.integers(len(rows))]))

    def _row(self, place: int) -> Architecture:
        found = self._architectures.get(place)
        if found is None:
            values = (options[i] for options, i in zip(self._options, self._rows[place], strict=True))
            found = Architecture(self.name, dict(zip(self._names, values, strict=True)), self._frozen_args)
            self._architectures[place] = found
        return found

    def _indices(self, architecture: Architecture) -> bytes:
        """Return the index of each decision's option, one byte a decision."""
        decisions = self._decisions(architecture)
        return bytes(options.index(decisions[name]) for name, options in zip(self._names, self._options, strict=True))

    def _others(self, architecture: Architecture) -> Rows:
        """Return the nearest other rows; none where there is one row alone."""
        distances = self._distances(architecture)
        return np.flatnonzero(distances == np.min(distances[distances > 0], initial=len(self._names) + 1))

    def _measure(self, indices: bytes) -> npt.NDArray[np.intp]:
        """Return the distances (N,) to all rows."""
        distances: npt.NDArray[np.intp] = np.count_nonzero(self._rows != np.frombuffer(indices, np.uint8), axis=1)
        return distances


class _OnRows:
    """Lets an exact chooser choose, and ends where no row has begun so."""

    def __init__(self, rows: npt.NDArray[np.uint8], chooser: Exact) -> None:
        self._rows, self._chooser, self._depth = rows, chooser, 0

    def pick(self, name: str, options: Options) -> int:
        """Return the chosen index."""
        # the rows are in order and equal so far: those with one option lie side by side
        column = self._rows[:, self._depth]
        if len(column) == 1:
            only = int(column[0])
            starts = [0] * (only + 1) + [1] * (len(options) - only - 1)
        else:
            starts = np.searchsorted(column, np.arange(len(options), dtype=np.uint8)).tolist()
        ends = [*starts[1:], len(column)]
        self._chooser.narrow([end > start for start, end in zip(starts, ends, strict=True)])
        index = self._chooser.pick(name, options)
        self._rows, self._depth = self._rows[starts[index] : ends[index]], self._depth + 1
        if not len(self._rows):
            raise Infeasible(f"no row of the table goes on with decision '{name}' of option {options[index]!r}")
        return index


def _places(column: Row, count: int) -> list[Rows]:
    """Return the rows of each of ``count`` options."""
    return [np.flatnonzero(column == i) for i in range(count)]
