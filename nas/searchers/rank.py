"""Ranking: what one score, known before any training, puts first; nothing is learned from results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice

import numpy as np

from nas.errors import ConfigError, unknown
from nas.searchers.base import Fold, register_family, whole
from nas.searchers.offspring import Archive, Offspring
from nas.space import Space
from nas.types import Architecture, Context, History, Proposal, Trial
from nas.zero_cost import ZERO_COST

RANK = "rank"
LISTED = 20_000
"""The most architectures of a space that is ranked whole."""
SAMPLE = 1_000
"""How many random architectures of a larger space are ranked at a time."""
PARENTS = 20
"""The best of them, whose mutations are ranked with them."""
SPARSE = 5
"""How many times as many are drawn where a table lacks some, they are over a limit, or of a key that is there."""
BARREN = 100
"""Draws after which a sample of which nothing can be evaluated ends."""
SAMPLES = 5
"""New samples in a row that may hold nothing new."""
COSTS = ("macs", "params")
CHECKED = 20
"""Architectures that are looked at to tell whether the space has the score."""


def ranked_by(searcher: str) -> str | None:
    """Return the score that a searcher named ``rank:NAME`` ranks by, None for any other searcher."""
    family, _, score = searcher.partition(":")
    return score if family == RANK else None


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Architectures in descending order of their score, those of equal scores together."""

    groups: tuple[tuple[Architecture, ...], ...]


@register_family(RANK, source="arXiv:2101.08134, section 3.2; by size: arXiv:2008.03064")
class RankSearcher:
    """Proposes architectures in the descending order of a zero-cost score, a table's score, macs or params.

    A space of at most ``candidates`` architectures (20,000 by default) is ranked whole. Of a larger one a random sample
    of as many (1,000 by default) is, with as many mutations of the sample's best; when all of them were proposed,
    another one. Equal ones are in random order, and those that do not have the score come last. Scores are of small
    copies of networks, macs and params too where they are computed: networks on one skeleton are in the same order.
    """

    def __init__(self, space: Space, score: str, candidates: int | None = None, context: Context | None = None) -> None:
        name = f"{RANK}:{score}"
        self._space, self._score = space, score
        self._sample = SAMPLE if candidates is None else whole(name, "candidates", candidates, 2)
        self._listed = LISTED if candidates is None else self._sample
        self._context = context
        self._offspring = Offspring(space, context)
        self._fold = Fold(Archive, _step)
        self._whole: _Ranking | bool | None = False
        # a ranking follows from its seed alone, so keeping the last ones is no memory of earlier calls
        self._ranking = lru_cache(2)(self._rank_sample)
        self._check(name)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the first of the ranking that is new; raise :class:`Exhausted` when everything was proposed."""
        archive = self._fold(history)
        if self._whole is False:
            self._whole = self._rank_all()
        if isinstance(self._whole, _Ranking):
            found = self._first_new(self._whole, archive, history, rng)
            return Proposal(found or self._offspring.random(archive, history, rng))
        # the sample that the latest proposal was of, then new ones
        seed = _last_seed(history)
        for _ in range(SAMPLES):
            if seed is None:
                seed = int(rng.integers(2**32))
            if found := self._first_new(self._ranking(seed), archive, history, rng):
                return Proposal(found, info={"sample": seed})
            seed = None
        return Proposal(self._offspring.random(archive, history, rng))

    def value(self, architecture: Architecture) -> float | None:
        """Return what ``architecture`` is ranked by, None where it does not have it."""
        scores = None if self._context is None else self._context.scores
        # costs take less than to see whether it can be evaluated
        if self._score in COSTS:
            score = None if scores is None else scores(architecture).get(self._score)
            size = getattr(self._offspring.prepare(architecture), self._score) if score is None else score
            return None if size is None else float(size)
        prepared = self._offspring.prepare(architecture)
        if prepared.problem:
            return None
        return (prepared.scores if scores is None else scores(architecture)).get(self._score)

    def _first_new(
        self, ranking: _Ranking, archive: Archive, history: History, rng: np.random.Generator
    ) -> Architecture | None:
        is_new, _ = self._offspring.novelty(archive, history)
        for group in ranking.groups:
            # in random order, as far as the first new one
            for i in map(int, rng.permutation(len(group))):
                if is_new(group[i]):
                    return group[i]
        return None

    def _rank_all(self) -> _Ranking | None:
        """Return the ranking of the whole space, None where it is too large to be listed."""
        size = self._space.size(limit=0)  # an estimate: to list a large space would take long
        if size.total - 4 * size.error > self._listed:
            return None
        points = list(islice(self._space.enumerate(), self._listed + 1))
        return self._rank(points) if len(points) <= self._listed else None

    def _rank_sample(self, seed: int) -> _Ranking:
        """Return the ranking of a random sample and of the mutations of its best, of different keys each."""
        rng = np.random.default_rng(seed)
        keys: set[str] = set()

        def collect(wanted: int, parents: Sequence[Architecture]) -> list[Architecture]:
            """Draw ``wanted`` architectures of new keys within the limits: mutations of parents, else random ones."""
            found: list[Architecture] = []
            for drawn in range(SPARSE * wanted):
                if len(found) == wanted or (drawn >= BARREN and not found):
                    break
                if parents:
                    candidate = self._space.mutate(parents[int(rng.integers(len(parents)))], rng)
                else:
                    candidate = self._space.sample(rng)
                prepared = self._offspring.prepare(candidate)
                if prepared.key not in keys and self._offspring.allowed(candidate):
                    keys.add(prepared.key)
                    found.append(candidate)
            return found

        sampled = collect(self._sample, ())
        best = [architecture for group in self._rank(sampled).groups for architecture in group][:PARENTS]
        return self._rank([*sampled, *(collect(self._sample, best) if best else ())])

    def _rank(self, architectures: Sequence[Architecture]) -> _Ranking:
        values = [self.value(architecture) for architecture in architectures]
        keyed = [float("inf") if value is None else -value for value in values]
        order = sorted(range(len(keyed)), key=keyed.__getitem__)
        groups = groupby(order, key=keyed.__getitem__)
        return _Ranking(tuple(tuple(architectures[i] for i in places) for _, places in groups))

    def _check(self, name: str) -> None:
        """Refuse a score that no architecture of the space has."""
        rng, known, problems = np.random.default_rng(0), {*COSTS, *ZERO_COST}, 0
        for _ in range(CHECKED):
            architecture = self._space.sample(rng)
            if self.value(architecture) is not None:
                return
            prepared = self._offspring.prepare(architecture)
            problems += bool(prepared.problem)
            known |= set(prepared.scores)
        if self._score not in known:
            raise ConfigError(f"searcher '{name}': {unknown('score', self._score, known)}")
        if problems < CHECKED:
            has = ", ".join(sorted(prepared.scores)) or "none"
            rule = f"no architecture of space '{self._space.name}' has it, as networks do; scores of the table: {has}"
            raise ConfigError(f"searcher '{name}': {rule}")


def _step(archive: Archive, trial: Trial) -> None:
    archive.add(trial)


def _last_seed(history: History) -> int | None:
    """Return the seed of the sample that the latest proposal was of, None where there is none."""
    trials = [*history.pending, *history.results[-1:]] if history.pending else history.results
    latest = max(trials, key=lambda trial: trial.index, default=None)
    seed = None if latest is None else latest.proposal.info.get("sample")
    return seed if isinstance(seed, int) else None
