"""The predictor: Gaussian processes over several encodings say which candidate promises the largest improvement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from nas.searchers.base import Fold, register_searcher, whole
from nas.searchers.gaussian import Ensemble, Matrix, Vector, normal_scores, one_thread, squared_distances
from nas.searchers.offspring import Offspring, Seen
from nas.space import Space
from nas.space.encoding import encode
from nas.types import Architecture, Context, History, Prepared, Proposal, Trial

ENCODINGS = ("decisions", "paths", "neighbourhoods")
FEATURES = ("numbers", "operations")
"""These and the costs stand side by side in one more encoding, in units of their deviations over the known trials."""
PARENTS = 20
"""Candidates are mutations of so many of the best trials."""
AGAIN = 0.3
"""The probability that a candidate is mutated once more."""
MOST = 300
"""Of more trials, the model sees the best half of so many and the latest half."""
SPARSE = 3
"""Where most of a space cannot be evaluated, as a table lacks it, so many times as many candidates are drawn."""
REMEMBERED = 2_048
"""So many encodings are kept, 21 kB each."""


@dataclass(frozen=True, eq=False)
class _Encoded:
    """An architecture's encodings, and what is known of it for free: logarithms of its costs, and scores."""

    vectors: dict[str, Vector]
    costs: dict[str, float]


@dataclass
class _State:
    """The results so far, and what the model learns from."""

    scored: list[Trial] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    ensembles: dict[tuple[int, tuple[int, ...]], Ensemble] = field(default_factory=dict)
    """The ensemble fitted last, by the number of results it was fitted to and the encodings alive."""


def _step(state: _State, trial: Trial) -> None:
    state.seen.add(trial)
    if trial.status in ("done", "failed"):
        state.scored.append(trial)


@register_searcher("predictor", source="BANANAS arXiv:1910.11858, NPENAS arXiv:2003.12857, NAS-BOWL arXiv:2006.07556")
class PredictorSearcher:
    """Proposes the mutation of the best trials with the largest expected improvement by a Gaussian process.

    The model averages Gaussian processes over a one-hot, a path and a Weisfeiler-Lehman encoding and over what is free:
    counts of operations, depth, params, MACs and the evaluator's scores. It learns the order of rewards, not their
    size. The first ``starts`` proposals are random; each later one is the best of ``candidates`` mutations of the best
    trials and of a quarter as many random architectures.
    """

    def __init__(self, space: Space, starts: int = 8, candidates: int = 100, context: Context | None = None) -> None:
        self._space = space
        self._starts = whole("predictor", "starts", starts, 2)
        self._candidates = whole("predictor", "candidates", candidates, 4)
        self._prepare = context.prepare if context else partial(_only_key, space)
        self._offspring = Offspring(space, context)
        self._fold = Fold(_State, _step)
        self._encoded: Callable[[Architecture], _Encoded] = lru_cache(REMEMBERED)(self._encode)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture at first, then the most promising candidate."""
        state = self._fold(history)
        known = _selection(state.scored)
        if len(state.scored) + len(history.pending) < self._starts or len({t.reward for t in known}) < 2:
            return Proposal(self._offspring.random(state.seen, history, rng))
        pool = self._pool(state, history, rng)
        if not pool:
            return Proposal(self._offspring.random(state.seen, history, rng))
        with one_thread():
            return Proposal(self._best(pool, known, state, history))

    def _best(
        self, pool: Sequence[Architecture], known: Sequence[Trial], state: _State, history: History
    ) -> Architecture:
        """Return the candidate with the largest expected improvement."""
        view = _View(self._encoded, [t.architecture for t in known])
        ensemble = self._ensemble(state, view.alive)
        targets = normal_scores([t.reward for t in known])
        waiting = [t.architecture for t in history.pending]
        if waiting:
            # what is being evaluated counts as if it were to score what is believed of it (kriging believer)
            believed = ensemble.believed(view.within(), targets, view.across(waiting))
            view, targets = view.extended(waiting), np.concatenate((targets, believed))
        gains = ensemble.improvement(view.within(), targets, view.across(pool))
        return pool[int(np.argmax(gains))]

    def _pool(self, state: _State, history: History, rng: np.random.Generator) -> list[Architecture]:
        """Return new candidates of different keys: mutations of the best trials, and random ones."""
        is_new = self._offspring.novelty(state.seen, history)
        best = sorted(state.scored, key=_by_reward)[:PARENTS]
        found: dict[str, Architecture] = {}
        sources: tuple[tuple[int, Callable[[], Architecture]], ...] = (
            (self._candidates, lambda: self._mutation(best[int(rng.integers(len(best)))].architecture, rng)),
            (self._candidates * 5 // 4, lambda: self._space.sample(rng)),
        )
        for wanted, draw in sources:
            possible = 0
            for _ in range(SPARSE * 2 * self._candidates):
                if len(found) >= wanted or possible >= 2 * self._candidates:
                    break
                candidate = draw()
                prepared = self._prepare(candidate)
                possible += not prepared.problem
                if not prepared.problem and is_new(candidate):
                    found.setdefault(prepared.key, candidate)
        return list(found.values())

    def _mutation(self, parent: Architecture, rng: np.random.Generator) -> Architecture:
        child = self._space.mutate(parent, rng)
        while rng.random() < AGAIN:
            child = self._space.mutate(child, rng)
        return child

    def _ensemble(self, state: _State, alive: tuple[int, ...]) -> Ensemble:
        """Return the ensemble for the results so far, fitted anew whenever they have grown by a tenth or by five."""
        count = _last_fit(len(state.scored), self._starts)
        if (count, alive) not in state.ensembles:
            known = _selection(state.scored[:count])
            view = _View(self._encoded, [t.architecture for t in known], alive)
            fitted = Ensemble.fit(view.within(), normal_scores([t.reward for t in known]))
            state.ensembles = {(count, alive): fitted}
        return state.ensembles[count, alive]

    def _encode(self, architecture: Architecture) -> _Encoded:
        prepared = self._prepare(architecture)
        sizes = {"log params": prepared.params, "log macs": prepared.macs}
        costs = {name: float(np.log1p(size)) for name, size in sizes.items() if size is not None}
        return _Encoded(encode(self._space, architecture), {**prepared.scores, **costs})


class _View:
    """The known architectures in every encoding; distances are in units of their median among the known.

    Only encodings that tell the known apart are ``alive``: numbers of encodings, which may also be given. A cost or
    score that an architecture lacks counts as the mean of those known.
    """

    def __init__(
        self,
        encoded: Callable[[Architecture], _Encoded],
        known: Sequence[Architecture],
        alive: tuple[int, ...] | None = None,
    ) -> None:
        self._encoded = encoded
        self._costs = sorted({name for a in known for name in encoded(a).costs})
        rows = self._rows(known)
        # the deviation of a constant column need not be zero, that of its extremes is
        self._columns = np.nanmax(rows[-1], axis=0) > np.nanmin(rows[-1], axis=0)
        self._means = np.nanmean(rows[-1][:, self._columns], axis=0)
        self._deviations = np.nanstd(rows[-1][:, self._columns], axis=0)
        self._points = self._scaled(rows)
        within = [squared_distances(p, p) for p in self._points]
        self.alive = tuple(i for i, d in enumerate(within) if d.max() > 0) if alive is None else alive
        self._within = [within[i] for i in self.alive]
        upper = np.triu_indices(len(known), 1)
        self._units = [float(np.median(d[upper]) or d[upper].mean()) or 1.0 for d in self._within]

    def within(self) -> list[Matrix]:
        """Return the squared distances (N, N) between the known architectures, one matrix an encoding."""
        return [d / unit for d, unit in zip(self._within, self._units, strict=True)]

    def across(self, others: Sequence[Architecture]) -> list[Matrix]:
        """Return the squared distances (N, M) from the known architectures to ``others``."""
        points = self._scaled(self._rows(others))
        distances = [squared_distances(self._points[i], points[i]) for i in self.alive]
        return [d / unit for d, unit in zip(distances, self._units, strict=True)]

    def extended(self, others: Sequence[Architecture]) -> _View:
        """Return a view in the same units with ``others`` among the known."""
        view = copy(self)
        added = self._scaled(self._rows(others))
        view._points = [np.concatenate(pair) for pair in zip(self._points, added, strict=True)]
        view._within = [squared_distances(view._points[i], view._points[i]) for i in self.alive]
        return view

    def _rows(self, architectures: Sequence[Architecture]) -> list[Matrix]:
        found = [self._encoded(a) for a in architectures]
        costs = [[e.costs.get(name, np.nan) for name in self._costs] for e in found]
        rows = {name: np.stack([e.vectors[name] for e in found]) for name in (*ENCODINGS, *FEATURES)}
        return [*(rows[name] for name in ENCODINGS), np.hstack([*(rows[name] for name in FEATURES), costs])]

    def _scaled(self, rows: list[Matrix]) -> list[Matrix]:
        scaled = (rows[-1][:, self._columns] - self._means) / self._deviations
        return [*rows[:-1], np.nan_to_num(scaled, nan=0.0)]


def _only_key(space: Space, architecture: Architecture) -> Prepared:
    return Prepared(space.key(architecture))


def _by_reward(trial: Trial) -> tuple[bool, float, int]:
    return trial.reward is None, -(trial.reward or 0.0), trial.index


def _selection(scored: Sequence[Trial]) -> list[Trial]:
    """Return the trials that the model sees: all, or the best and the latest of many."""
    if len(scored) <= MOST:
        return list(scored)
    latest = scored[-MOST // 2 :]
    best = sorted(scored[: -MOST // 2], key=_by_reward)[: MOST // 2]
    return [*sorted(best, key=lambda t: t.index), *latest]


def _last_fit(count: int, first: int) -> int:
    """Return the largest number of results up to ``count`` at which the hyperparameters are fitted."""
    fit = first
    while fit + max(5, fit // 10) <= count:
        fit += max(5, fit // 10)
    return min(fit, count)
