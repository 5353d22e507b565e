"""What a few seeds can tell: intervals of means and of paired differences, and tests of whether a difference is noise.

Candidates are trained with the same seeds, so their scores come in pairs, and what is tested is the mean of the n
differences. Everything is a function of the scores alone: nothing is drawn at random twice.

**The interval is a percentile bootstrap stretched to Student's width.** With n = 3, 5 and 10 pairs of equal candidates
a plain 95 % percentile interval leaves out 0 in about 25, 16 and 10 % of all comparisons instead of 5: it is narrow by
sqrt((n - 1) / n), and takes the normal distribution's quantiles for Student's (Hesterberg 2015, arXiv:1411.5279,
section 4). His cure, wider percentiles, cannot help below five pairs, since no percentile lies beyond the largest of n
values; nor can BCa, which only shifts percentiles. So the distances of the percentiles from the mean are multiplied by
t / (z sqrt((n - 1) / n)), which keeps the bootstrap's asymmetry.

**A difference is reported where the interval and Student's paired test agree.** Far in the tails, where corrections for
several comparisons look, the stretched bootstrap of three or four pairs is up to twice too sure; Student's test is not,
but knows no asymmetry. So p is the larger of the two. ``benchmarks/few_seeds.py`` measures what that gives.

**Nothing reaches beyond 0 and 100 %.** The interval of a mean accuracy is Student's on the logit scale (delta method;
Newcombe 2001, The American Statistician 55:200). Cut off at the bounds instead, Student's interval holds the truth in
91 % of all cases, not 95, for three or five seeds at 99 % with a spread of 0.8 points; on the logit scale in 94 to
95 %, and in the middle of the scale both are the same. A single score has Wilson's interval, whose noise is that of the
images (Wilson 1927; Newcombe 1998, Statistics in Medicine 17:857). Intervals of differences are cut off at -100 and
100, which leaves out no possible truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nas.core.values import Json
from nas.errors import ConfigError

Values = npt.NDArray[np.float64]

LEVEL = 0.95
EXACT_RESAMPLES = 8
"""Up to this number of values all resamples are enumerated; beyond, a fixed :data:`RESAMPLES` of them are drawn."""
RESAMPLES = 10_000
EXACT_SIGNS = 14
"""Up to this number of pairs all signs are enumerated; beyond, a fixed :data:`SIGNS` of them are drawn."""
SIGNS = 20_000
MOST_SEEDS = 1_000
"""No power calculation recommends more seeds."""
SLACK = 1e-9
"""Sums that differ by less, as a share of the largest, are equal."""


@dataclass(frozen=True)
class Interval:
    """An interval about a mean."""

    low: float
    high: float
    level: float = LEVEL
    """Confidence that the truth is inside, 0.95."""

    @classmethod
    def from_json(cls, data: Json | None) -> Interval | None:
        """Read an interval of a report's JSON, in which null means that there is none."""
        return None if data is None else cls(**data)


@dataclass(frozen=True)
class Paired:
    """How paired scores differ; with a single pair there is neither interval nor p-value."""

    pairs: int
    """Number of seeds that both have."""
    mean: float
    """Mean of the differences."""
    interval: Interval | None = None
    p: float | None = None
    """The larger of the interval's p-value and Student's: below 0.05 only where the 95 % interval leaves out 0."""
    p_wilcoxon: float | None = None
    """Of the signed-rank test, which assumes no more than that noise falls on both sides alike."""
    p_permutation: float | None = None
    """Of the test that gives every difference either sign, which assumes no more either."""
    least_p: float | None = None
    """Neither of these two tests can fall below it, however large a difference is."""

    @classmethod
    def from_json(cls, data: Json) -> Paired:
        """Read what ``asdict`` made."""
        return cls(**{**data, "interval": Interval.from_json(data.get("interval"))})


@dataclass(frozen=True)
class Difference:
    """Scores of ``first`` less those of ``second``, and what that is worth; what is paired is as in :class:`Paired`."""

    first: str
    second: str
    recipe: str
    """The recipe of both; empty where there is only one."""
    pairs: int
    mean: float
    interval: Interval | None
    p: float | None
    p_wilcoxon: float | None
    p_permutation: float | None
    least_p: float | None
    p_holm: float | None
    """``p``, corrected for all differences that are told together."""
    verdict: str
    """``higher`` or ``lower`` where ``p_holm`` is at most 0.05, else ``no difference found``, or ``one seed``."""

    @classmethod
    def from_json(cls, data: Json) -> Difference:
        """Read what ``asdict`` made."""
        return cls(**{**data, "interval": Interval.from_json(data["interval"])})

    def turned(self) -> Difference:
        """Return the difference of ``second`` to ``first``."""
        interval = self.interval
        if interval is not None:
            interval = replace(interval, low=-interval.high, high=-interval.low)
        verdict = {"higher": "lower", "lower": "higher"}.get(self.verdict, self.verdict)
        swapped = replace(self, first=self.second, second=self.first, mean=-self.mean)
        return replace(swapped, interval=interval, verdict=verdict)


@dataclass(frozen=True)
class Question:
    """Two networks whose scores, by the number of the seed, are to be compared."""

    first: str
    second: str
    scores: tuple[Mapping[int, float], Mapping[int, float]]
    recipe: str = ""


def differences(questions: Sequence[Question]) -> list[Difference | None]:
    """Return for each question the difference over the seeds that both networks have; None where there is none.

    The p-values are corrected for all of them together (:func:`holm`); a single pair has none and takes no part.
    """
    # the tests of each pair of networks
    pairs = []
    for first, second in (question.scores for question in questions):
        seeds = sorted(first.keys() & second.keys())
        pairs.append(paired([first[s] for s in seeds], [second[s] for s in seeds]) if seeds else None)
    corrected = iter(holm([d.p for d in pairs if d is not None and d.p is not None]))

    found: list[Difference | None] = []
    for q, d in zip(questions, pairs, strict=True):
        if d is None:
            found.append(None)
            continue
        p, verdict = None, "one seed"
        if d.p is not None:
            p, verdict = next(corrected), "higher" if d.mean > 0 else "lower"
            verdict = "no difference found" if p > 1 - LEVEL + 1e-12 else verdict
        found.append(Difference(q.first, q.second, q.recipe, **vars(d), p_holm=p, verdict=verdict))
    return found


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the stretched bootstrap interval of the mean of ``values``; None for fewer than two."""
    found = _array(values)
    if len(found) < 2:
        return None
    ends = _ends(found, (1 - level,))
    return Interval(float(ends[0][0]), float(ends[1][0]), level)


def accuracy_interval(values: Sequence[float], images: int | None = None, level: float = LEVEL) -> Interval | None:
    """Return the interval of the mean of accuracies in percent over seeds, always within 0 to 100.

    A single one has the interval that ``images`` give it that it was measured on; None where that is not known.
    """
    from scipy import stats

    found = _array(values) / 100
    if found.size and not 0 <= found.min() <= found.max() <= 1:
        raise ConfigError(f"accuracies must be from 0 to 100 %, found {100 * found.min():g} to {100 * found.max():g}")
    if len(found) < 2:
        return wilson_interval(round(found[0] * images), images, level) if len(found) and images else None
    mean = float(found.mean())
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    if not error or not 0 < mean < 1:  # no seed differs from another
        return Interval(100 * mean, 100 * mean, level)
    # the logit's derivative is 1 / (m (1 - m)); exp must not overflow
    half = min(float(stats.t.isf((1 - level) / 2, len(found) - 1)) * error / (mean * (1 - mean)), 500.0)
    low, high = (mean / (mean + (1 - mean) * math.exp(-side * half)) for side in (-1, 1))
    return Interval(100 * low, 100 * high, level)


def wilson_interval(correct: int, images: int, level: float = LEVEL) -> Interval:
    """Return Wilson's score interval, in percent, of an accuracy of ``correct`` of ``images``."""
    from scipy import stats

    z2, share = float(stats.norm.isf((1 - level) / 2)) ** 2, correct / images
    middle = share + z2 / (2 * images)
    half = math.sqrt(z2 * (share * (1 - share) / images + z2 / (4 * images**2)))
    # rounding errors alone would leave the bounds, and the truth of 0 of n is that 0 is possible
    low, high = ((middle + side * half) / (1 + z2 / images) for side in (-1, 1))
    return Interval(100 * max(0.0, low) if correct else 0.0, 100 * min(1.0, high) if correct < images else 100.0, level)


def chance_p(correct: int, images: int, chance: float, tries: int = 1) -> float:
    """Return how likely the best of ``tries`` guessers has at least ``correct`` of ``images`` right.

    Each is right with the probability ``chance``: a one-sided binomial test, corrected as Sidak does (1967).
    """
    from scipy import stats

    single = float(stats.binom.sf(correct - 1, images, chance))
    return 1.0 if single >= 1 else -math.expm1(tries * math.log1p(-single))


def seeds_needed(mean: float, spread: float, alpha: float = 1 - LEVEL, power: float = 0.8) -> int | None:
    """Return how many seeds Student's paired test needs to find a difference; None for over :data:`MOST_SEEDS`.

    ``mean`` and the standard deviation ``spread`` are those of the paired differences, ``power`` the chance to find it.
    """
    from scipy import stats

    if not spread:
        return 2 if mean else None
    for seeds in range(2, MOST_SEEDS + 1):
        freedom, shift = seeds - 1, abs(mean) / spread * math.sqrt(seeds)
        if float(stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, shift)) >= power:
            return seeds
    return None


def paired(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Paired:
    """Compare accuracies in percent of the same seeds: the differences are ``first`` less ``second``, pair by pair."""
    if len(first) != len(second) or not len(first):
        raise ConfigError(f"paired scores must be as many on both sides, found {len(first)} and {len(second)}")
    found = _array(first) - _array(second)
    # differences of rounding errors alone are none, and no test shall rank them
    found = np.where(np.abs(found) <= SLACK * max(1.0, float(np.abs(found).max())), 0.0, found)
    mean = float(found.mean())
    if len(found) < 2:
        return Paired(1, mean)
    permutation = permutation_p(found)
    if np.ptp(found) <= SLACK * abs(mean):
        p = permutation  # equal differences show no noise at all: what is left is how often one sign comes up by chance
    else:
        from scipy import stats

        p = max(bootstrap_p(found), float(stats.ttest_1samp(found, 0).pvalue))
    interval = mean_interval(found.tolist(), level)
    if interval is not None:
        interval = replace(interval, low=max(-100.0, interval.low), high=min(100.0, interval.high))
    return Paired(len(found), mean, interval, p, wilcoxon_p(found), permutation, least_p(len(found)))


def bootstrap_p(differences: Values) -> float:
    """Return the least p-value: the largest level (1 - p) at which the stretched interval leaves out 0."""
    if float(differences.mean()) == 0:
        return 1.0
    low, high = _ends(differences, _GRID)
    outside = (low > 0) | (high < 0)
    return _GRID[int(np.argmax(outside))] if outside.any() else 1.0


def permutation_p(differences: Values) -> float:
    """Return the two-sided p-value of the mean under all signs of the differences (Fisher's permutation test)."""
    # sums that differ only by rounding are equal, or the observed one might not count itself
    sums = np.abs(_signs(len(differences)) @ differences)
    limit = abs(float(differences.sum()))
    return float(np.mean(sums >= limit - SLACK * max(1.0, limit)))


def wilcoxon_p(differences: Values) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; zeros are left out, ties share their ranks.

    It is exact, with ties too, up to :data:`EXACT_SIGNS` pairs.
    """
    from scipy import stats

    kept = differences[differences != 0]
    if not len(kept):
        return 1.0
    if len(kept) > EXACT_SIGNS:
        return float(stats.wilcoxon(kept).pvalue)
    return permutation_p(np.sign(kept) * stats.rankdata(np.abs(kept)))


def least_p(pairs: int) -> float:
    """Return the least p-value that signs and ranks of ``pairs`` pairs can give: 2 / 2^n, for three pairs 0.25."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for being several, in their order (Holm 1979): the least times m, the next times m - 1.

    The chance that any of them is below 0.05 without a difference is then at most 5 %.
    """
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        # a larger p-value is never corrected to a smaller one
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = worst
    return corrected


def share_interval(share: float, number: int) -> Interval:
    """Return Wilson's 95 % interval of a ``share`` of ``number`` independent cases, in percent: never beyond 0 to 100.

    Wilson 1927; advised for few cases and shares near 0 and 1 (Brown, Cai and DasGupta 2001, section 4).
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre, scale = share + z * z / (2 * number), 1 + z * z / number
    half = z * math.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2)
    return Interval(max(0.0, 100 * (centre - half) / scale), min(100.0, 100 * (centre + half) / scale))


def _array(values: Sequence[float]) -> Values:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ConfigError("scores to compare must be finite numbers")
    return found


def _ends(values: Values, alphas: tuple[float, ...]) -> tuple[Values, Values]:
    """Return both ends of the stretched interval for every level 1 - ``alphas`` (A,), each (A,)."""
    # The distribution of the resampled mean about the mean: its values in order, and the share at or below each.
    counts, weights = _resamples(len(values))
    mean = float(values.mean())
    means = counts @ (values - mean)
    order = np.argsort(means, kind="stable")
    means, below = means[order], np.cumsum(weights[order])

    # Percentiles, moved away from the mean; the slack keeps rounding errors of the weights from shifting a whole step.
    tails, stretch = _stretch(len(values), alphas)
    least = np.searchsorted(below, tails - 1e-12)
    # by symmetry: the greatest value that a share of at least alpha / 2 reaches
    most = np.searchsorted(below, 1 - tails + 1e-12, side="right")
    last = len(means) - 1
    return mean + stretch * means[np.minimum(least, last)], mean + stretch * means[np.minimum(most, last)]


@lru_cache(maxsize=64)
def _stretch(count: int, alphas: tuple[float, ...]) -> tuple[Values, Values]:
    """Return half of every alpha, and how far its percentiles are stretched for ``count`` values."""
    from scipy import stats

    tails: Values = np.array(alphas) / 2
    stretch: Values = stats.t.isf(tails, count - 1) / (stats.norm.isf(tails) * math.sqrt((count - 1) / count))
    return tails, stretch


@cache
def _resamples(count: int) -> tuple[Values, Values]:
    """Return how large a share each of ``count`` values has in every resample (R, count), and their weights (R,)."""
    from scipy.special import gammaln

    if count > EXACT_RESAMPLES:
        rng = np.random.Generator(np.random.PCG64(count))
        drawn: Values = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
        return drawn, np.full(RESAMPLES, 1 / RESAMPLES)
    # every way to draw ``count`` times from as many values, weighted by its multinomial probability
    counts: Values = np.array(_compositions(count, count), dtype=np.float64)
    weights: Values = np.exp(gammaln(count + 1) - gammaln(counts + 1).sum(1) - count * math.log(count))
    shares: Values = counts / count
    return shares, weights


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in _compositions(total - first, parts - 1)]


@cache
def _signs(count: int) -> Values:
    """Return signs (S, count): all of them, or a fixed sample with the signs as they are for one."""
    if count > EXACT_SIGNS:
        rng = np.random.Generator(np.random.PCG64(count))
        drawn: Values = (2 * rng.integers(0, 2, (SIGNS, count)) - 1).astype(np.float64)
        drawn[0] = 1  # the signs as observed belong to the sample, so that no p-value is 0
        return drawn
    bits = np.arange(2**count)[:, None] >> np.arange(count)
    signs: Values = (1 - 2 * (bits & 1)).astype(np.float64)
    return signs


_GRID = tuple(p for step in range(-1_500, 300) if (p := 0.05 * 10 ** (step / 200)) < 1)
"""The p-values that are told apart, rising by 1.2 % from 1.6e-9; 0.05 is one of them."""
