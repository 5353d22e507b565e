"""Which searcher to take where the user names none: the best one measured."""

from __future__ import annotations

AUTO = "auto"
"""The name that stands for the searcher of :func:`automatic`."""
LONG = 2_000
"""From so many trials on, what the predictor's proposals take adds up, and quick searchers have converged as well."""


def automatic(trials: int) -> str:
    """Return the searcher for a search of ``trials`` evaluations.

    On NAS-Bench-201 and -101 the predictor is the best or as good as the best for every dataset and at every number of
    trials measured, alone and under every scheduler (tables in benchmarks/RESULTS.md).
    """
    return "predictor" if trials < LONG else "evolution"
