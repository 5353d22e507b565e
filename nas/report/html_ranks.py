"""How well a cheap score ranks what a dear one would: few epochs against many, trials against final trainings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from nas.report.charts import Point
from nas.report.view import RunView
from nas.report.words import count

LEAST = 3
"""Fewer architectures have no order to speak of."""
ENOUGH = 10
"""From so many on an interval is given."""


@dataclass(frozen=True)
class Ranking:
    """Rank correlations of two scores of the same architectures, Spearman's and Kendall's tau-b.

    ``pairs`` are the (low, high) scores; the 95 % interval is Spearman's.
    """

    low: str
    high: str
    pairs: tuple[Point, ...]
    spearman: float
    interval: tuple[float, float] | None
    kendall: float


def rankings(view: RunView) -> list[Ranking]:
    """Return the rank correlations of every two numbers of epochs that share architectures, and with the final scores.

    Where all scores of one side are equal there is no order and no row.
    """
    found = (_ranking(low, high, pairs) for low, high, pairs in _pairs(view) if len(pairs) >= LEAST)
    return [ranking for ranking in found if ranking is not None]


def _pairs(view: RunView) -> Iterator[tuple[str, str, tuple[Point, ...]]]:
    ledgers = [view.ledger] if view.baseline is None else [view.ledger, view.baseline]
    rewards: dict[int, dict[str, float]] = defaultdict(dict)
    for trial in (t for ledger in ledgers for t in ledger.trials):
        if trial.status == "done" and trial.reward is not None:
            rewards[trial.proposal.epochs].setdefault(trial.key, trial.reward)
    for low, high in combinations(sorted(rewards), 2):
        shared = [key for key in rewards[high] if key in rewards[low]]
        pairs = tuple((rewards[low][key], rewards[high][key]) for key in shared)
        yield f"reward after {count(low, 'epoch')}", f"reward after {count(high, 'epoch')}", pairs
    if rewards:
        most = max(rewards)
        finals: dict[str, list[float]] = defaultdict(list)
        for final in view.ledger.finals:
            if final["score"] is not None and final["key"] in rewards[most]:
                finals[final["key"]].append(final["score"])
        pairs = tuple((rewards[most][key], sum(scores) / len(scores)) for key, scores in finals.items())
        yield f"reward after {count(most, 'epoch')}", "final score", pairs


def _ranking(low: str, high: str, pairs: tuple[Point, ...]) -> Ranking | None:
    if any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    from scipy.stats import kendalltau, spearmanr

    lows, highs = zip(*pairs, strict=True)
    rho, tau = float(spearmanr(lows, highs).statistic), float(kendalltau(lows, highs).statistic)
    return Ranking(low, high, pairs, rho, interval(rho, len(pairs)), tau)


def interval(rho: float, number: int) -> tuple[float, float] | None:
    """Return the 95 % interval of Spearman's ``rho`` over ``number`` pairs: Fisher's z with the standard error of
    Bonett and Wright (2000); None for fewer than :data:`ENOUGH` pairs.
    """
    if number < ENOUGH or abs(rho) >= 1:
        return None
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (number - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
