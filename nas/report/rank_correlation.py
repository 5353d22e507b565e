"""How well a cheap score ranks what an expensive one would: few epochs against many, trials against final trainings."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

from nas.core.text import count
from nas.report.html.charts import Point
from nas.report.run_view import RunView, scored

LEAST = 3
"""Fewer architectures have no order to speak of."""
ENOUGH = 10
"""From this number of architectures on an interval is given."""


@dataclass(frozen=True)
class Ranking:
    """Rank correlations of two scores of the same architectures."""

    low: str
    """What the cheap score is."""
    high: str
    """What the expensive score is."""
    pairs: tuple[Point, ...]
    """(low, high) scores, one an architecture."""
    spearman: float
    interval: tuple[float, float] | None
    """95 % interval of ``spearman``; None for few pairs."""
    kendall: float
    """Kendall's tau-b."""


def rankings(view: RunView) -> list[Ranking]:
    """Return the rank correlations of every two numbers of epochs that share architectures, and with the final scores.

    Where all scores of one side are equal there is no order and no row.
    """
    # The first reward of every architecture by epochs, of the search before random search.
    ledgers = [view.ledger] if view.baseline is None else [view.ledger, view.baseline]
    rewards: dict[int, dict[str, float]] = defaultdict(dict)
    for trial in (t for ledger in ledgers for t in scored(ledger)):
        rewards[trial.proposal.epochs].setdefault(trial.key, trial.reward or 0.0)
    asked = []
    for low, high in combinations(sorted(rewards), 2):
        shared = [key for key in rewards[high] if key in rewards[low]]
        pairs = tuple((rewards[low][key], rewards[high][key]) for key in shared)
        asked.append((f"reward after {count(low, 'epoch')}", f"reward after {count(high, 'epoch')}", pairs))

    # The rewards of most epochs against the means of final trainings.
    if rewards:
        most = max(rewards)
        finals: dict[str, list[float]] = defaultdict(list)
        for final in view.ledger.finals:
            if final["score"] is not None and final["key"] in rewards[most]:
                finals[final["key"]].append(final["score"])
        pairs = tuple((rewards[most][key], sum(scores) / len(scores)) for key, scores in finals.items())
        asked.append((f"reward after {count(most, 'epoch')}", "final score", pairs))

    found = []
    for what, other, pairs in asked:
        if len(pairs) < LEAST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
            continue
        from scipy.stats import kendalltau, spearmanr

        lows, highs = zip(*pairs, strict=True)
        rho, tau = float(spearmanr(lows, highs).statistic), float(kendalltau(lows, highs).statistic)
        found.append(Ranking(what, other, pairs, rho, interval(rho, len(pairs)), tau))
    return found


def interval(rho: float, number: int) -> tuple[float, float] | None:
    """Return the 95 % interval of Spearman's ``rho`` over ``number`` pairs: Fisher's z with the standard error of
    Bonett and Wright (2000); None for fewer than :data:`ENOUGH` pairs.
    """
    if number < ENOUGH or abs(rho) >= 1:
        return None
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (number - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
