"""Zero-cost scores of candidates: of a small copy of each network, remembered here and in the cache of the run."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.core.files import read_bytes
from nas.core.informing import informing
from nas.core.plugins import naming
from nas.core.values import Task
from nas.engine.prepare import Prepare
from nas.errors import ConfigError, GraphError, Infeasible
from nas.graph import Graph, cost, shapes_of
from nas.searchers.rank import ranked_by
from nas.space import Space
from nas.space.space import decisions_key
from nas.types import Architecture, Candidate
from nas.zero_cost import ZERO_COST, zero_cost_scores
from nas.zero_cost.registry import VERSION

SIDE = 16
"""Pixels of the image that a small copy sees, at least and where it can be built for them."""
WIDTH = 8
"""Channels of a small copy's first stage, of cells; the next width where the cells have none of 8."""
MOST_MACS = 20_000_000
"""What a whole network is scored at as it is; a larger one sees a smaller image, or is narrower."""
REMEMBERED = 65_536
"""Architectures whose scores are remembered."""
MOST_CACHED = 256 << 20
"""Bytes of the file of scores; a larger one is not read."""
_CHECK = 8
Scores = Mapping[str, float]


class CandidateScores:
    """The zero-cost scores of the architectures of one space, for the task and at the sizes of one search.

    They are a function of the decisions alone, whatever was asked before: two architectures of one canonical key are
    the same network with its nodes in another order, so that they draw other weights and differ in their scores.

    With a folder ``cache`` they are kept in a file there, a line each, which other processes of the run read when they
    begin. It may be deleted at any time; a line that was torn or changed is passed over.
    """

    def __init__(
        self,
        space: Space,
        prepare: Prepare,
        task: Task,
        names: Sequence[str],
        width: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self._space, self._prepare, self._task, self.names = space, prepare, task, tuple(names)
        self._width = space.width if width is None else width
        self._known: dict[str, dict[str, float | None]] = {}
        self._file = None if cache is None else _ScoreFile(cache, (space.name, dict(space.args), task, width))
        self.seconds = 0.0
        """CPU seconds that were spent here, on one thread, building the small copies included."""

    def __call__(self, architecture: Architecture, names: Sequence[str] | None = None) -> dict[str, float]:
        """Return the scores ``names`` (by default those of the search) and what a table knows of the architecture.

        A score of the table counts where one that is computed has its name. What an architecture does not have is left
        out; one that cannot be built has no scores.
        """
        prepared = self._prepare(architecture)
        if prepared.problem:
            return dict(prepared.scores)
        wanted = [name for name in (self.names if names is None else names) if name not in prepared.scores]
        return {**self.computed(architecture, wanted), **prepared.scores}

    def computed(self, architecture: Architecture, names: Sequence[str] | None = None) -> dict[str, float]:
        """Return the computed scores alone."""
        wanted = self.names if names is None else tuple(names)
        if not wanted:
            return {}
        if self._file is not None:
            for key, scores in self._file.read_once():
                self._add(key, scores)
        key = decisions_key(architecture)
        known = self._known.get(key, {})
        missing = [name for name in wanted if name not in known]
        if missing and (found := self._compute(architecture, missing)) is not None:
            known = self._add(key, found)
            if self._file is not None:
                self._file.append(key, found)
        return {name: score for name in wanted if (score := known.get(name)) is not None}

    def remember(self, architecture: Architecture, scores: Scores) -> None:
        """Take note of what a journal holds of an architecture: all of this search's scores that it has."""
        self._add(decisions_key(architecture), {name: scores.get(name) for name in self.names})

    def recorded(self, prepare: Prepare, max_params: int | None, max_macs: int | None) -> Prepare:
        """Return ``prepare`` with the computed scores of what is evaluated, as a trial records them.

        A candidate's ``score_seconds`` are those that scores have taken since the one before, of others too.
        """
        limits, counted = (max_params, max_macs), 0.0

        def with_scores(architecture: Architecture) -> Candidate:
            nonlocal counted
            found = prepare(architecture)
            sizes = zip((found.params, found.macs), limits, strict=True)
            refused = found.problem or any(most is not None and (size or 0) > most for size, most in sizes)
            scores = {} if refused or found.graph is None else self.computed(architecture)
            seconds, counted = self.seconds - counted, self.seconds
            return replace(found, scores=scores, score_seconds=seconds)

        return with_scores

    def _add(self, key: str, scores: Mapping[str, float | None]) -> dict[str, float | None]:
        known = self._known.pop(key, {}) | dict(scores)
        self._known[key] = known
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]  # the oldest
        return known

    def _compute(self, architecture: Architecture, names: Sequence[str]) -> dict[str, float | None] | None:
        """Return the scores of a small copy, None where there is no network."""
        with self._timed():
            try:
                graph = self.small_copy(architecture)
            except (GraphError, Infeasible):
                graph = None
            if graph is None:
                return None
            found: dict[str, float] = {}
            # a network that torch cannot compute, or a user's score that fails, leaves the search without the score
            with informing("zero-cost scores of a candidate"), naming("zero-cost scores"):
                found = zero_cost_scores(graph, names)
            return {name: found.get(name) for name in names}

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.thread_time() - began

    def small_copy(self, architecture: Architecture) -> Graph | None:
        """Return the network that is scored, None for an architecture without one.

        Of cells it is one cell a stage at width :data:`WIDTH` for an image of :data:`SIDE` pixels. Any other network is
        the prepared one where that has at most :data:`MOST_MACS`, else for a smaller image, else narrower too. What
        cannot be built small is scored at its own size.
        """
        described = self._space.describe(architecture)
        of_cells = hasattr(described, "cells")  # as Cells have, and what a space describes instead of them
        if of_cells:
            least, step = getattr(described, "widths", None) or (1, 1)
            width = least + max(0, math.ceil((WIDTH - least) / step)) * step
            # the network of the search is not built for this: it takes much longer
            for small in self._small_cells(described, width):
                return small
        prepared = self._prepare(architecture)
        if prepared.graph is None or of_cells:
            return prepared.graph
        graph = _shrunk(prepared.graph)
        widths = getattr(described, "widths", None)
        if _macs(graph) <= MOST_MACS or widths is None:
            return graph
        # the cost falls about as the square of the width
        (least, step), wide = widths, prepared.width or self._width
        for width in range(wide, least - 1, -step):
            if width == least or width <= wide * math.sqrt(MOST_MACS / _macs(graph)):
                with suppress(GraphError, Infeasible):
                    narrow = _shrunk(described.network(self._task, width, self._space.depth))
                    if width == least or _macs(narrow) <= MOST_MACS:
                        return narrow
        return graph

    def _small_cells(self, cells: Any, width: int) -> Iterator[Graph]:
        channels, *own = self._task.input_shape
        # operations that halve their channels refuse odd widths, and a stem that reduces much a small image
        for side in (SIDE, 2 * SIDE, 4 * SIDE):
            sides = [min(side, one) for one in own]
            for wide in (width, 2 * width):
                with suppress(GraphError, Infeasible):
                    yield cells.network(replace(self._task, input_shape=(channels, *sides)), wide, 1)


def _shrunk(graph: Graph) -> Graph:
    """Return the network for its own image, or for one of half the side as often as it takes and there is room for."""
    while _macs(graph) > MOST_MACS:
        channels, *sides = graph.input_shape
        smaller = [side // 2 for side in sides]
        if min(smaller, default=0) < SIDE:
            break
        try:
            resized = graph.resized((channels, *smaller))
            shapes_of(resized)
        except GraphError:
            break
        graph = resized
    return graph


def _macs(graph: Graph) -> int:
    return cost(graph.pruned((graph.outputs[0][0],))).macs


class _ScoreFile:
    """An append-only file of scores: a checksum and a line of JSON for each architecture."""

    def __init__(self, folder: Path, of: Any) -> None:
        identity = repr((VERSION, version("torch"), SIDE, WIDTH, MOST_MACS, of))
        self._path = folder / f"zero-cost-{blake2b(identity.encode(), digest_size=8).hexdigest()}.jsonl"
        self._is_read = False

    def read_once(self) -> Iterator[tuple[str, dict[str, float | None]]]:
        """Yield the lines that are whole, at the first call."""
        if self._is_read:
            return
        self._is_read = True
        try:
            content = read_bytes(self._path, MOST_CACHED)
        except ConfigError:
            return
        for line in content.splitlines():
            check, _, text = line.partition(b" ")
            if check == _checksum(text):
                key, scores = json.loads(text)
                yield key, scores

    def append(self, key: str, scores: Mapping[str, float | None]) -> None:
        """Write a line; a cache that cannot be written costs a later process the same work, nothing else."""
        text = json.dumps([key, scores]).encode()
        # the folder is made with the run's: before that nothing may be written there, and a deleted one stays deleted
        if not self._path.parent.is_dir():
            return
        with informing(f"cache '{self._path}'"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                # one that was torn ends without its newline, and must not spoil this one
                size = os.fstat(descriptor).st_size
                torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" * bool(torn) + _checksum(text) + b" " + text + b"\n")
            finally:
                os.close(descriptor)


def _checksum(text: bytes) -> bytes:
    return blake2b(text, digest_size=_CHECK).hexdigest().encode()


def visible_scores(scores: CandidateScores, searcher: str, of_table: Sequence[str]) -> Callable[[Architecture], Scores]:
    """Return the scores of an architecture that ``searcher`` sees, see :class:`nas.types.Context`.

    A searcher that ranks by one score, which it may ask of thousands, is spared the others; ``of_table`` are those that
    a table knows.
    """
    ranked = ranked_by(searcher)
    if ranked is None:
        return scores
    if ranked in of_table or ranked not in ZERO_COST:
        return partial(scores, names=())
    return partial(scores.computed, names=(ranked,))
