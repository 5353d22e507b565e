"""The predictor: Gaussian processes over several encodings say which candidate promises the largest improvement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import cycle

import numpy as np

from nas.errors import ConfigError
from nas.searchers.base import Fold, register_searcher, whole
from nas.searchers.offspring import Archive, Offspring
from nas.searchers.predictor import gaussian_process as gp
from nas.searchers.predictor.earlier import EarlierScores
from nas.searchers.predictor.observations import SCORES, Encoded, Observations
from nas.searchers.predictor.portfolio import ALL, AT_RANDOM, first_of
from nas.space import Space
from nas.space.encoding import encode
from nas.types import Architecture, Context, History, Proposal, Trial

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
TURNS = (ALL, AT_RANDOM, "synflow", AT_RANDOM, "naswot", AT_RANDOM, "macs", AT_RANDOM)
"""The rankings that propose in turn before the model does; every second proposal shows it what they do not like."""
EARLIER = (ALL, AT_RANDOM)
"""The same where earlier searches say more than rankings do."""
COSTS = ("params", "macs")
TRUSTED = 0.1
"""The share of the kernel that scores must have for candidates to be scored; by chance it is a fifth."""


@dataclass
class _State:
    """The results so far, and what the model learns from."""

    scored: list[Trial] = field(default_factory=list)
    archive: Archive = field(default_factory=Archive)
    latest_best: int = 0
    """Which of the scored is the latest that was better than all before it."""
    best: float = -np.inf
    ensembles: dict[tuple[int, ...], gp.Ensemble] = field(default_factory=dict)
    """The ensembles fitted last, by the encodings alive."""
    fitted: int = 0
    """The number of results that they were fitted to."""


def _step(state: _State, trial: Trial) -> None:
    state.archive.add(trial)
    if trial.status in ("done", "failed"):
        state.scored.append(trial)
        if trial.reward is not None and trial.reward > state.best:
            state.best, state.latest_best = trial.reward, len(state.scored) - 1


@register_searcher("predictor", source="BANANAS arXiv:1910.11858, NPENAS arXiv:2003.12857, NAS-BOWL arXiv:2006.07556")
class PredictorSearcher:
    """Proposes the mutation of the best trials with the largest expected improvement by a Gaussian process.

    The model averages Gaussian processes over a one-hot, a path and a Weisfeiler-Lehman encoding, over counts and costs
    that are free, each with a share that the results so far make likely. It learns the order of rewards, not their
    size. The first ``starts`` proposals are random; each later one is the best of ``candidates`` mutations of the best
    trials and of a quarter as many random architectures.

    What earlier searches of the space found is taken for one more score each: it proposes every second of the first,
    and how far the model trusts it later is learned.

    With ``scores`` what zero-cost scores say is one more encoding, and every second of the first proposals is what a
    ranking by one of them puts first. Candidates have scores computed as long as the model trusts them. When
    ``patience`` proposals in a row were no improvement, every second one is the best of random architectures alone,
    until there is one; 0 is never.
    """

    learns_from_earlier = True

    def __init__(
        self,
        space: Space,
        starts: int = 8,
        candidates: int = 100,
        scores: bool = False,
        patience: int = 0,
        context: Context | None = None,
    ) -> None:
        self._space = space
        self._starts = whole("predictor", "starts", starts, 2)
        self._candidates = whole("predictor", "candidates", candidates, 4)
        self._patience = whole("predictor", "patience", patience, 0)
        if not isinstance(scores, bool):
            raise ConfigError(f"searcher 'predictor': scores must be true or false, found {scores!r}")
        self._scores = context.scores if scores and context is not None else None
        self._runs = () if context is None else context.earlier
        self._earlier: EarlierScores | None = None
        self._offspring = Offspring(space, context)
        self._fold = Fold(_State, _step)
        self._encoded: Callable[[Architecture], Encoded] = lru_cache(REMEMBERED)(self._encode)
        self._scored: Callable[[Architecture], Encoded] = lru_cache(REMEMBERED)(self._encode_with_scores)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return what a ranking or chance says at first, then the most promising candidate."""
        state = self._fold(history)
        if self._runs and self._earlier is None:
            with gp.one_thread():
                self._earlier = EarlierScores(self._runs, self._encoded)
        # too little is known for a model, or all rewards are equal: nothing could be told apart
        known = _selection(state.scored)
        count = len(state.scored) + len(history.pending)
        if count < self._starts or len({t.reward for t in known}) < 2:
            return Proposal(self._start(state, count, history, rng))
        with gp.one_thread():
            encoded, ensemble = self._model(state)
            pool = self._pool(state, history, rng, trusted=encoded is self._scored)
            if not pool:
                return Proposal(self._offspring.random(state.archive, history, rng))
            observations = Observations(encoded, [t.architecture for t in known])
            targets = gp.normal_scores([t.reward for t in known])
            waiting = [t.architecture for t in history.pending]
            if waiting:
                # what is being evaluated counts as if it were to score what is believed of it (kriging believer)
                believed = ensemble.believed(observations.within(), targets, observations.across(waiting))
                observations, targets = observations.extended(waiting), np.concatenate((targets, believed))
            gains = ensemble.improvement(observations.within(), targets, observations.across(pool))
        return Proposal(pool[int(np.argmax(gains))])

    def _start(self, state: _State, turn: int, history: History, rng: np.random.Generator) -> Architecture:
        """Return a random architecture, or the first of many by the ranking whose turn it is."""
        chance = partial(self._offspring.random, state.archive, history, rng)
        turns = TURNS if self._earlier is None else EARLIER
        if not self._informed or turns[turn % len(turns)] == AT_RANDOM:
            return chance()
        pool: dict[str, Architecture] = {}
        if self._earlier is not None:
            best = self._earlier.best
            self._collect(pool, len(best), cycle(best).__next__, state, history)
            self._collect(pool, len(pool) + self._candidates, partial(self._child, best, rng), state, history)
        self._collect(pool, len(pool) + self._candidates, partial(self._space.sample, rng), state, history)
        if not pool:
            return chance()
        candidates = list(pool.values())
        scores = [(self._ranked if self._earlier is None else self._earlier)(candidate) for candidate in candidates]
        found = first_of(scores, turns[turn % len(turns)])
        return chance() if found is None else candidates[found]

    @property
    def _informed(self) -> bool:
        """Whether anything but the space says something of an architecture before it is evaluated."""
        return self._scores is not None or self._earlier is not None

    def _ranked(self, architecture: Architecture) -> dict[str, float]:
        """Return what a ranking sees of an architecture."""
        encoded = self._scored(architecture)
        return {**encoded.scores, **{name.removeprefix("log "): size for name, size in encoded.costs.items()}}

    def _child(self, parents: Sequence[Architecture], rng: np.random.Generator) -> Architecture:
        """Return a parent that is mutated once, and now and then once more."""
        child = self._space.mutate(parents[int(rng.integers(len(parents)))], rng)
        while rng.random() < AGAIN:
            child = self._space.mutate(child, rng)
        return child

    def _pool(self, state: _State, history: History, rng: np.random.Generator, trusted: bool) -> list[Architecture]:
        """Return new candidates of different keys: mutations of the best trials, and random ones."""
        best = [trial.architecture for trial in sorted(state.scored, key=_by_reward)[:PARENTS]]
        found: dict[str, Architecture] = {}
        mutation = partial(self._child, best, rng)

        # mutations exploit, random architectures explore: a quarter as many
        sample, many = partial(self._space.sample, rng), self._candidates
        since = len(state.scored) - 1 - state.latest_best
        if self._patience and since >= self._patience and (since - self._patience) % 2 == 0:
            self._collect(found, 2 * many, sample, state, history)
        else:
            self._collect(found, many, mutation, state, history)
            # scores tell many random ones apart, which no trial is like
            self._collect(found, 2 * many if trusted else many * 5 // 4, sample, state, history)
        return list(found.values())

    def _collect(
        self,
        found: dict[str, Architecture],
        wanted: int,
        draw: Callable[[], Architecture],
        state: _State,
        history: History,
    ) -> None:
        """Add new candidates to ``found``, by their keys, until there are ``wanted``."""
        is_new, _ = self._offspring.novelty(state.archive, history)
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

    def _model(self, state: _State) -> tuple[Callable[[Architecture], Encoded], gp.Ensemble]:
        """Return how architectures are encoded, with their scores or without them, and the ensemble of that."""
        if self._informed:
            alive, ensemble = self._ensemble(state, self._scored)
            if SCORES in alive and ensemble.share(alive.index(SCORES)) >= TRUSTED:
                return self._scored, ensemble
        return self._encoded, self._ensemble(state, self._encoded)[1]

    def _ensemble(
        self, state: _State, encoded: Callable[[Architecture], Encoded]
    ) -> tuple[tuple[int, ...], gp.Ensemble]:
        """Return the encodings alive and the ensemble of them, fitted again when results grew by a tenth or by five."""
        fit = self._starts
        while fit + max(5, fit // 10) <= len(state.scored):
            fit += max(5, fit // 10)
        count = min(fit, len(state.scored))
        known = [t.architecture for t in _selection(state.scored)]
        alive = Observations(encoded, known).alive
        if state.fitted != count:
            state.fitted, state.ensembles = count, {}
        if alive not in state.ensembles:
            first = _selection(state.scored[:count])
            observations = Observations(encoded, [t.architecture for t in first], alive)
            fitted = gp.Ensemble.fit(observations.within(), gp.normal_scores([t.reward for t in first]))
            state.ensembles[alive] = fitted
        return alive, state.ensembles[alive]

    def _encode(self, architecture: Architecture) -> Encoded:
        prepared = self._offspring.prepare(architecture)
        sizes = {f"log {name}": getattr(prepared, name) for name in COSTS}
        costs = {name: float(np.log1p(size)) for name, size in sizes.items() if size is not None}
        # what a table knows of it takes no time
        return Encoded(encode(self._space, architecture), {**prepared.scores, **costs}, {})

    def _encode_with_scores(self, architecture: Architecture) -> Encoded:
        plain = self._encoded(architecture)
        scores = {} if self._scores is None else dict(self._scores(architecture))
        if self._earlier is not None:
            scores |= self._earlier(architecture)
        costs = {name: size for name, size in plain.costs.items() if name not in scores}
        return Encoded(plain.vectors, costs, {name: score for name, score in scores.items() if name not in COSTS})


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
