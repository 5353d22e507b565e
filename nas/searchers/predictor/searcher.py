"""The predictor: Gaussian processes over several encodings say which candidate promises the largest improvement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from nas.searchers.base import Fold, register_searcher, whole
from nas.searchers.offspring import Archive, Offspring
from nas.searchers.predictor import gaussian_process as gp
from nas.space import Space
from nas.space.encoding import encode
from nas.types import Architecture, Context, History, Proposal, Trial

ENCODINGS = ("decisions", "paths", "neighbourhoods")
FEATURES = ("numbers", "operations")
"""These and the costs are concatenated to one more encoding, in units of their deviations over the known trials."""
PARENTS = 20
"""The number of best trials whose mutations are candidates."""
AGAIN = 0.3
"""The probability that a candidate is mutated once more."""
MOST = 300
"""The most trials that the model sees: of more, half of this number are the best and half are the latest."""
SPARSE = 3
"""The factor of candidates drawn where most of a space cannot be evaluated, as a table lacks it."""
REMEMBERED = 2_048
"""The number of encodings that are kept, 21 kB each."""


@dataclass(frozen=True, eq=False)
class _Encoded:
    """An architecture's encodings, and what is known of it for free: logarithms of its costs, and scores."""

    vectors: dict[str, gp.Vector]
    costs: dict[str, float]


@dataclass
class _State:
    """The results so far, and what the model learns from."""

    scored: list[Trial] = field(default_factory=list)
    archive: Archive = field(default_factory=Archive)
    ensembles: dict[tuple[int, tuple[int, ...]], gp.Ensemble] = field(default_factory=dict)
    """The ensemble fitted last, by the number of results it was fitted to and the encodings alive."""


def _step(state: _State, trial: Trial) -> None:
    state.archive.add(trial)
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
        self._offspring = Offspring(space, context)
        self._fold = Fold(_State, _step)
        self._encoded: Callable[[Architecture], _Encoded] = lru_cache(REMEMBERED)(self._encode)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture at first, then the most promising candidate."""
        state = self._fold(history)
        # too little is known for a model, or all rewards are equal: nothing could be told apart
        known = _selection(state.scored)
        if len(state.scored) + len(history.pending) < self._starts or len({t.reward for t in known}) < 2:
            return Proposal(self._offspring.random(state.archive, history, rng))
        pool = self._pool(state, history, rng)
        if not pool:
            return Proposal(self._offspring.random(state.archive, history, rng))
        with gp.one_thread():
            observations = _Observations(self._encoded, [t.architecture for t in known])
            ensemble = self._ensemble(state, observations.alive)
            targets = gp.normal_scores([t.reward for t in known])
            waiting = [t.architecture for t in history.pending]
            if waiting:
                # what is being evaluated counts as if it were to score what is believed of it (kriging believer)
                believed = ensemble.believed(observations.within(), targets, observations.across(waiting))
                observations, targets = observations.extended(waiting), np.concatenate((targets, believed))
            gains = ensemble.improvement(observations.within(), targets, observations.across(pool))
        return Proposal(pool[int(np.argmax(gains))])

    def _pool(self, state: _State, history: History, rng: np.random.Generator) -> list[Architecture]:
        """Return new candidates of different keys: mutations of the best trials, and random ones."""
        is_new, _ = self._offspring.novelty(state.archive, history)
        best = sorted(state.scored, key=_by_reward)[:PARENTS]
        found: dict[str, Architecture] = {}

        def mutation() -> Architecture:
            child = self._space.mutate(best[int(rng.integers(len(best)))].architecture, rng)
            while rng.random() < AGAIN:
                child = self._space.mutate(child, rng)
            return child

        # mutations exploit, a quarter as many random architectures explore
        sources = ((self._candidates, mutation), (self._candidates * 5 // 4, partial(self._space.sample, rng)))
        for wanted, draw in sources:
            # a table may lack most of a space: its architectures are drawn, but do not count
            possible = 0
            for _ in range(SPARSE * 2 * self._candidates):
                if len(found) >= wanted or possible >= 2 * self._candidates:
                    break
                candidate = draw()
                prepared = self._offspring.prepare(candidate)
                possible += not prepared.problem
                if not prepared.problem and is_new(candidate):
                    found.setdefault(prepared.key, candidate)
        return list(found.values())

    def _ensemble(self, state: _State, alive: tuple[int, ...]) -> gp.Ensemble:
        """Return the ensemble for the results so far, fitted again whenever they have grown by a tenth or by five."""
        fit = self._starts
        while fit + max(5, fit // 10) <= len(state.scored):
            fit += max(5, fit // 10)
        count = min(fit, len(state.scored))
        if (count, alive) not in state.ensembles:
            known = _selection(state.scored[:count])
            observations = _Observations(self._encoded, [t.architecture for t in known], alive)
            fitted = gp.Ensemble.fit(observations.within(), gp.normal_scores([t.reward for t in known]))
            state.ensembles = {(count, alive): fitted}
        return state.ensembles[count, alive]

    def _encode(self, architecture: Architecture) -> _Encoded:
        prepared = self._offspring.prepare(architecture)
        sizes = {"log params": prepared.params, "log macs": prepared.macs}
        costs = {name: float(np.log1p(size)) for name, size in sizes.items() if size is not None}
        return _Encoded(encode(self._space, architecture), {**prepared.scores, **costs})


class _Observations:
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
        # scale the columns of costs and scores by what is known
        rows = self._rows(known)
        # the deviation of a constant column need not be zero, that of its extremes is
        self._columns = np.nanmax(rows[-1], axis=0) > np.nanmin(rows[-1], axis=0)
        self._means = np.nanmean(rows[-1][:, self._columns], axis=0)
        self._deviations = np.nanstd(rows[-1][:, self._columns], axis=0)
        self._points = self._scaled(rows)
        # an encoding that is the same for all known architectures tells nothing
        within = [gp.squared_distances(p, p) for p in self._points]
        self.alive = tuple(i for i, d in enumerate(within) if d.max() > 0) if alive is None else alive
        self._within = [within[i] for i in self.alive]
        # units make the lengths of kernels comparable between encodings
        upper = np.triu_indices(len(known), 1)
        self._units = [float(np.median(d[upper]) or d[upper].mean()) or 1.0 for d in self._within]

    def within(self) -> list[gp.Matrix]:
        """Return the squared distances (N, N) between the known architectures, one matrix an encoding."""
        return [d / unit for d, unit in zip(self._within, self._units, strict=True)]

    def across(self, others: Sequence[Architecture]) -> list[gp.Matrix]:
        """Return the squared distances (N, M) from the known architectures to ``others``."""
        points = self._scaled(self._rows(others))
        distances = [gp.squared_distances(self._points[i], points[i]) for i in self.alive]
        return [d / unit for d, unit in zip(distances, self._units, strict=True)]

    def extended(self, others: Sequence[Architecture]) -> _Observations:
        """Return the observations in the same units with ``others`` among the known."""
        observations = copy(self)
        added = self._scaled(self._rows(others))
        observations._points = [np.concatenate(pair) for pair in zip(self._points, added, strict=True)]
        points = observations._points
        observations._within = [gp.squared_distances(points[i], points[i]) for i in self.alive]
        return observations

    def _rows(self, architectures: Sequence[Architecture]) -> list[gp.Matrix]:
        found = [self._encoded(a) for a in architectures]
        costs = [[e.costs.get(name, np.nan) for name in self._costs] for e in found]
        rows = {name: np.stack([e.vectors[name] for e in found]) for name in (*ENCODINGS, *FEATURES)}
        return [*(rows[name] for name in ENCODINGS), np.hstack([*(rows[name] for name in FEATURES), costs])]

    def _scaled(self, rows: list[gp.Matrix]) -> list[gp.Matrix]:
        scaled = (rows[-1][:, self._columns] - self._means) / self._deviations
        return [*rows[:-1], np.nan_to_num(scaled, nan=0.0)]


def _by_reward(trial: Trial) -> tuple[bool, float, int]:
    return trial.reward is None, -(trial.reward or 0.0), trial.index


def _selection(scored: Sequence[Trial]) -> list[Trial]:
    """Return the trials that the model sees: all, or the best and the latest of many."""
    if len(scored) <= MOST:
        return list(scored)
    # the best say where to look, the latest what was learnt there
    latest = scored[-MOST // 2 :]
    best = sorted(scored[: -MOST // 2], key=_by_reward)[: MOST // 2]
    return [*sorted(best, key=lambda t: t.index), *latest]
