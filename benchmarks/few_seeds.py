"""How often a comparison of equal candidates reports a difference, and how often one of two that differ.

Run ``python benchmarks/few_seeds.py``; it prints one table for 3, 5 and 10 seeds, 1,000 simulated comparisons each,
and ends with 1 where equal candidates are told apart in more or less than about 5 % of them. Scores are a seed's own
part, which both candidates share, and a part of each, normal with a deviation of half a point.
"""

from __future__ import annotations

import sys

import numpy as np
from common import show
from scipy import stats

from nas.report.statistics import least_p, paired

SIMULATIONS = 1_000
OWN, SHARED = 0.5, 1.0
"""Deviations of a score's own and shared parts, in points."""
DIFFERENCES = {3: 3.0, 5: 1.5, 10: 1.0}
"""The planted differences by the number of seeds, in points."""
HEAD = (
    "seeds",
    "difference, points",
    "difference reported",
    "interval leaves out 0",
    "Wilcoxon below 0.05",
    "permutation below 0.05",
    "least p of both",
    "plain percentile interval leaves out 0",
)


def rates(seeds: int, difference: float) -> dict[str, float]:
    """Return in which share of the comparisons each way of telling reports a difference."""
    rng = np.random.default_rng([seeds, round(100 * difference)])
    reports = dict.fromkeys(("reported", "interval", "wilcoxon", "permutation", "plain"), 0)
    for _ in range(SIMULATIONS):
        shared = rng.normal(90, SHARED, seeds)
        first, second = (shared + rng.normal(0, OWN, seeds) for _ in range(2))
        found = paired(first + difference, second)
        assert found.interval is not None
        plain = stats.bootstrap((first + difference - second,), np.mean, n_resamples=999, method="percentile", rng=rng)
        reports["reported"] += (found.p or 0) <= 0.05
        reports["interval"] += found.interval.low > 0 or found.interval.high < 0
        reports["wilcoxon"] += (found.p_wilcoxon or 0) <= 0.05
        reports["permutation"] += (found.p_permutation or 0) <= 0.05
        reports["plain"] += plain.confidence_interval.low > 0 or plain.confidence_interval.high < 0
    return {name: count / SIMULATIONS for name, count in reports.items()}


def main() -> int:
    """Simulate, print the table, and return 1 where differences are reported too often or too seldom."""
    low, high = (stats.binom.ppf(p, SIMULATIONS, 0.05) / SIMULATIONS for p in (0.001, 0.999))
    rows, wrong = [], False
    for seeds, planted in DIFFERENCES.items():
        for difference in (0.0, planted):
            found = rates(seeds, difference)
            reported, interval, wilcoxon, permutation, plain = (f"{100 * share:.1f} %" for share in found.values())
            shares = reported, interval, wilcoxon, permutation
            rows.append((seeds, f"{difference:g}", *shares, f"{least_p(seeds):.2g}", plain))
            wrong |= not difference and not low <= found["reported"] <= high
    show("What few seeds can tell", HEAD, rows)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
