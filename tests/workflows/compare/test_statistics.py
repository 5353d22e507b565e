"""What a few seeds can tell: error rates by simulation, and agreement with scipy and with plain enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nas.errors import ConfigError
from nas.report.statistics import (
    Interval,
    bootstrap_p,
    holm,
    least_p,
    mean_interval,
    paired,
    permutation_p,
    wilcoxon_p,
)

SIMULATIONS = 1_000
scores = st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 2))


def comparisons(seeds, difference, spread=0.5, seed=0):
    """Compare two candidates ``difference`` apart, whose seeds have a share of their noise in common, many times."""
    rng = np.random.default_rng([seed, seeds])
    for _ in range(SIMULATIONS):
        shared = rng.normal(90, 1, seeds)
        first, second = (shared + rng.normal(0, spread, seeds) for _ in range(2))
        yield paired(first + difference, second)


def found(seeds, difference, **settings):
    """Return the share of comparisons in which a difference is reported."""
    return np.mean([c.p <= 0.05 for c in comparisons(seeds, difference, **settings)])


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_equal_candidates_differ_in_about_one_comparison_of_twenty(seeds):
    low, high = (stats.binom.ppf(p, SIMULATIONS, 0.05) / SIMULATIONS for p in (0.001, 0.999))
    assert (low, high) == (0.03, 0.073)
    assert low <= found(seeds, 0.0) <= high


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "power"), [(3, 0.75), (5, 0.9), (10, 0.99)])
def test_a_planted_difference_is_found(seeds, power):
    # the differences have a deviation of 0.5 sqrt(2) = 0.71 points: with more seeds a smaller one is found
    difference = {3: 3.0, 5: 1.5, 10: 1.3}[seeds]
    assert found(seeds, difference) >= power


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_difference_is_reported_where_interval_and_students_test_agree(seeds):
    rng = np.random.default_rng(seeds)
    for _ in range(300):
        d = rng.normal(0.7, 0.7, seeds)
        c = paired(d, np.zeros(seeds))
        outside = c.interval.low > 0 or c.interval.high < 0
        assert outside == (bootstrap_p(d) <= 0.05)
        assert (c.p <= 0.05) == (outside and stats.ttest_1samp(d, 0).pvalue <= 0.05)


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_tails_are_right_where_corrections_look(seeds):
    rng = np.random.default_rng(seeds)
    low = np.mean([paired(rng.normal(0, 1, seeds), np.zeros(seeds)).p <= 0.0125 for _ in range(2_000)])
    assert low <= stats.binom.ppf(0.999, 2_000, 0.0125) / 2_000


def test_shared_noise_is_no_noise_of_the_difference():
    alone = paired([91.0, 93.1, 89.2], [90.0, 92.0, 88.0])
    assert alone.interval.high - alone.interval.low < 1
    assert alone.mean == pytest.approx(1.1)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_interval_is_the_enumerated_bootstrap_stretched_to_students_width(count):
    values = np.random.default_rng(count).normal(size=count)
    means = np.sort([np.mean(resample) for resample in product(values, repeat=count)])
    low, high = (np.quantile(means, p, method="inverted_cdf") for p in (0.025, 0.975))
    high = -np.quantile(-means, 0.025, method="inverted_cdf")
    stretch = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975) * np.sqrt(count / (count - 1))
    interval = mean_interval(values)
    assert interval.low == pytest.approx(values.mean() + stretch * (low - values.mean()))
    assert interval.high == pytest.approx(values.mean() + stretch * (high - values.mean()))


@pytest.mark.parametrize("count", [6, 12, 40])
def test_the_percentiles_are_those_of_scipy(count):
    values = np.random.default_rng(count).normal(size=count)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    stretch = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975) * np.sqrt(count / (count - 1))
    interval = mean_interval(values)
    ours = [values.mean() + (end - values.mean()) / stretch for end in (interval.low, interval.high)]
    assert ours == pytest.approx(list(theirs.confidence_interval), abs=0.03)


def test_with_many_values_the_interval_is_students():
    values = np.random.default_rng(0).normal(50, 3, 200)
    theirs = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    interval = mean_interval(values)
    assert [interval.low, interval.high] == pytest.approx(list(theirs), abs=0.05)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=6))
def test_signs_and_ranks_are_enumerated(differences):
    values = np.array(differences)
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in product((1, -1), repeat=len(values))]
    enumerated = np.mean([abs(s) >= abs(values.sum()) - 1e-9 for s in sums])
    assert permutation_p(values) == pytest.approx(enumerated)
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = [sum(s * r for s, r in zip(signs, ranks, strict=True)) for signs in product((1, -1), repeat=len(kept))]
    enumerated = np.mean([abs(s) >= abs((np.sign(kept) * ranks).sum()) - 1e-9 for s in sums])
    assert wilcoxon_p(values) == pytest.approx(enumerated)


@pytest.mark.parametrize("count", [3, 5, 10, 14, 15, 30])
def test_signs_and_ranks_agree_with_scipy(count):
    rng = np.random.default_rng(count)
    for _ in range(5):
        values = rng.normal(0.3, 1, count)
        assert wilcoxon_p(values) == pytest.approx(stats.wilcoxon(values).pvalue)
        theirs = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
        )
        assert permutation_p(values) == pytest.approx(theirs.pvalue, abs=0.012 if count > 14 else 1e-9)


@pytest.mark.parametrize(("pairs", "least"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (10, 2 / 1024)])
def test_few_pairs_cannot_give_a_small_p_value(pairs, least):
    assert least_p(pairs) == least
    up = np.arange(1.0, pairs + 1)
    assert wilcoxon_p(up) == permutation_p(up) == least


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=9), st.randoms())
def test_laws_of_a_comparison(pairs, random):
    first, second = zip(*pairs, strict=True)
    forward, backward = paired(first, second), paired(second, first)
    assert forward.mean == pytest.approx(np.mean(first) - np.mean(second), abs=1e-9)
    assert forward.interval.low <= forward.mean + 1e-9
    assert forward.mean <= forward.interval.high + 1e-9
    assert [forward.p, forward.p_wilcoxon] == pytest.approx([backward.p, backward.p_wilcoxon], rel=0.02)
    assert forward.interval.low == pytest.approx(-backward.interval.high, abs=1e-6)
    assert min(forward.p_wilcoxon, forward.p_permutation) >= forward.least_p - 1e-12
    random.shuffle(pairs)
    shuffled = paired(*zip(*pairs, strict=True))
    if len(pairs) <= 8:  # where resamples are enumerated, their order is none
        assert shuffled.interval.low == pytest.approx(forward.interval.low, abs=1e-6)


def test_equal_scores_and_equal_differences():
    same = paired([90.0, 91.0, 92.0], [90.0, 91.0, 92.0])
    assert (same.mean, same.interval, same.p) == (0.0, Interval(0.0, 0.0), 1.0)
    shifted = paired([91.0, 92.0, 93.0], [90.0, 91.0, 92.0])
    assert shifted.p == 0.25  # three times the same sign; without any spread the bootstrap would be sure
    assert paired([1.0], [2.0]).interval is None
    assert bootstrap_p(np.zeros(4)) == 1.0


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([], []), ([float("nan")], [1.0])])
def test_what_cannot_be_compared_is_refused(first, second):
    with pytest.raises(ConfigError, match="scores"):
        paired(first, second)


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction_lies_between_none_and_bonferronis(values):
    corrected = holm(values)
    assert all(p <= c <= min(1, len(values) * p) + 1e-12 for p, c in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert [corrected[i] for i in order] == sorted(corrected)


@pytest.mark.long
def test_holm_keeps_the_chance_of_any_false_report_at_5_percent():
    rng = np.random.default_rng(3)
    reports = 0
    for _ in range(400):
        scores = rng.normal(90, 1, (5, 6))
        reports += min(holm([paired(scores[0], other).p for other in scores[1:]])) <= 0.05
    assert reports <= stats.binom.ppf(0.999, 400, 0.05)
