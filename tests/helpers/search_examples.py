"""Searches without training: nb201 without networks, a pure reward, and an executor that mixes up the order."""

from __future__ import annotations

from collections.abc import Sequence

from nas.executors.inline import InlineExecutor
from nas.searchers import make_searcher
from nas.testing import Recorder, ShuffledExecutor, reward, searches
from nas.testing.spaces import LARGE
from nas.types import Trial

__all__ = ["SEARCHERS", "Recorder", "ShuffledExecutor", "reward", "run_search"]
SEARCHERS = ("random", "local", "evolution")


def run_search(
    searcher: str,
    trials: int = 40,
    lag: int | None = 1,
    executor: InlineExecutor | None = None,
    events: Sequence[dict] = (),
    seed: int = 3,
) -> tuple[list[Trial], list[dict]]:
    """Search nb201 without networks and return its trials and events, going on from ``events``."""
    args = {"population": 8, "tournament": 4} if searcher == "evolution" else {}
    search = searches.run_search(
        lambda space, context: make_searcher(searcher, space, args, context),
        LARGE,
        trials,
        lag=lag,
        executor=executor,
        events=events,
        seed=seed,
    )
    return list(search.trials), list(search.events)
