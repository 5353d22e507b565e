"""Which searcher to take where the user names none: the best one measured."""

from __future__ import annotations

AUTO = "auto"
"""The name under which a user asks for the searcher of :func:`automatic`."""
LONG = 2_000
"""Trials from which on the predictor's proposals take long in sum, and quicker searchers have converged too."""


def automatic(trials: int) -> str:
    """Return the searcher for a search of ``trials`` evaluations.

    On NAS-Bench-201 the predictor is the best at 20, 50 and 100 queries on all three datasets; at 200 several have
    reached what the reward allows (tables in benchmarks/RESULTS.md). Its proposals take up to half a second on large
    cells, which is little beside a training but not beside thousands of look-ups.
    """
    return "predictor" if trials < LONG else "evolution"
