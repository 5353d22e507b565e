"""Searches of a table file, without a run on disk: what a searcher has found after each query."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.core.values import Value
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.candidate_scores import CandidateScores, visible_scores
from nas.engine.loop import Ledger, Loop, Settings
from nas.engine.prepare import cached, make_prepare
from nas.evaluators.table import Known, TableEvaluator
from nas.executors.inline import InlineExecutor
from nas.runs.journal import MemoryJournal
from nas.searchers import make_searcher
from nas.space import Space
from nas.tables.benchmark_table import Table
from nas.types import Architecture, Context, EarlierRun, History, Proposal, Searcher, Trial
from nas.workflows.bench.peers import Peer
from nas.zero_cost import DEFAULT_SCORES

REPEATS = 20
"""Proposals in a row that were made before, after which another package's search has ended."""


@dataclass(frozen=True)
class Curve:
    """What one search paid for, an entry a query."""

    rewards: npt.NDArray[np.float64]
    """(Q,) the reward of each query."""
    scores: npt.NDArray[np.float64]
    """(Q,) the final score of what was queried, which the searcher does not see."""
    cpu_seconds: float
    """What the searcher took to propose, with keys, costs and zero-cost scores of the candidates that it looked at."""
    simulated: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(Q,) seconds that the evaluations would have taken until then, as the table has them."""
    trials: tuple[Trial, ...] = ()
    """The evaluated trials of a search of ours."""

    def after(self, queries: int) -> float:
        """Return the score of the best by reward among the first ``queries``, the mean over ties."""
        rewards, scores = self.rewards[:queries], self.scores[:queries]
        return float(np.mean(scores[rewards == rewards.max()]))

    def within(self, seconds: float) -> float:
        """Return the score of what had ended by then, in simulated seconds."""
        return self.after(int(np.searchsorted(self.simulated, seconds, side="right")))


class _Clock:
    """Adds up the CPU seconds that are spent within it."""

    def __init__(self) -> None:
        self.seconds = self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._began


@dataclass(frozen=True)
class _Timed:
    """A searcher whose proposals are timed."""

    searcher: Searcher
    clock: _Clock

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        with self.clock:
            return self.searcher.ask(history, rng)


class TableTask:
    """One column of a table as a task: its space, what is maximised and what is told of the best in the end.

    Keys and costs of architectures are computed once for all searches. ``epochs`` are those that trials are said to
    have had.
    """

    def __init__(
        self, table: Table, space: Space, dataset: str | None, reward: str, score: str, epochs: int = 1
    ) -> None:
        self.table, self.space, self.dataset, self.reward, self.score = table, space, dataset, reward, score
        self.epochs = epochs
        self.prepare = cached(make_prepare(space, DEFAULT_TASK, None, None, Known(table)))
        self._rewards, self._scores = table.column(reward, dataset), table.column(score, dataset)

    @property
    def ceiling(self) -> tuple[float, float]:
        """The best score of the table, and the score of what has the best reward."""
        return float(np.nanmax(self._scores)), float(self._scores[np.nanargmax(self._rewards)])

    def curve(
        self,
        searcher: str,
        queries: int,
        seed: int,
        args: Mapping[str, Value] | None = None,
        earlier: tuple[EarlierRun, ...] = (),
    ) -> Curve:
        """Return what a search found, query by query; only distinct networks are queries."""
        wanted = DEFAULT_SCORES if (args or {}).get("scores") is True else ()
        scores = CandidateScores(self.space, self.prepare, DEFAULT_TASK, wanted)
        seen = visible_scores(scores, searcher, ())
        context = Context(self.prepare, self.epochs, queries, scores=seen, earlier=earlier)
        ledger, clock = Ledger(), _Clock()
        Loop(
            _Timed(make_searcher(searcher, self.space, args or {}, context), clock),
            self.prepare,
            InlineExecutor(TableEvaluator(self.table, self.reward, self.dataset)),
            MemoryJournal(),
            ledger,
            Settings(DEFAULT_TASK, queries, self.epochs, seed),
        ).run()
        trials = [trial for trial in ledger.trials if trial.status == "done"]
        rows = [self.table.row(trial.architecture, trial.key) for trial in trials]
        paid = np.cumsum([0.0 if trial.metrics is None else trial.metrics.seconds for trial in trials])
        return Curve(self._rewards[rows], self._scores[rows], clock.seconds, paid, tuple(trials))

    def peer_curve(self, peer: Peer, queries: int, distinct: bool) -> Curve:
        """Return what another package finds in the table's own decisions.

        With ``distinct`` an architecture that was proposed before is answered from memory and is no query, as in our
        own searches, and what proposes nothing new :data:`REPEATS` times in a row has ended; else each proposal is one.
        """
        clock, known, rows, repeats = _Clock(), dict[str, float](), list[int](), 0
        while len(rows) < queries and repeats < REPEATS:
            with clock:
                decisions = peer.ask()
            architecture = Architecture(self.space.name, decisions)
            key = self.prepare(architecture).key
            repeats = repeats + 1 if key in known and distinct else 0
            if not repeats:
                rows.append(self.table.row(architecture, key))
                known[key] = float(self._rewards[rows[-1]])
            with clock:
                peer.tell(decisions, known[key])
        return Curve(self._rewards[rows], self._scores[rows], clock.seconds)
