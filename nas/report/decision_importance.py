"""Which decisions mattered: their importance for the reward, over the trials of a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.schedulers.finalists import finalist_of
from nas.types import Trial

LEAST = 20
"""With fewer scored trials nothing is told."""
MOST = 1_000
"""The most trials that are looked at, the latest, so that a report stays quick."""
BEST_SHARE = 0.1
BEST_LEAST = 5
"""The trials that count as good: a tenth, at least five (the advice of PED-ANOVA's authors), and their equals."""


@dataclass(frozen=True)
class Importance:
    """How much each decision tells good trials from all."""

    shares: tuple[tuple[str, float], ...]
    """Of the decisions, highest first; they add up to 1."""
    present: dict[str, int]
    """The number of trials in which each decision was made at all."""
    trials: int
    """How many were looked at."""
    good: int
    """How many of them are good."""


def importance(trials: Sequence[Trial]) -> Importance | None:
    """Return how much each decision tells good trials from all (PED-ANOVA, arXiv:2304.10255).

    It is Optuna's, whose package of importances alone takes 100 MiB. Conditional decisions count within the trials
    that made them (arXiv:2601.20800). Finalists, and of the others trials of fewer epochs than the most, are left out.
    None below :data:`LEAST` scored trials, and where nothing differs.
    """
    done = [t for t in trials if t.status == "done" and t.reward is not None and finalist_of(t) is None]
    epochs = max((t.proposal.epochs for t in done), default=0)
    scored = [t for t in done if t.proposal.epochs == epochs][-MOST:]
    if len(scored) < LEAST:
        return None

    # all equals of the last good trial are good too; where that makes every trial good there is nothing to tell
    rewards = sorted((t.reward or 0.0 for t in scored), reverse=True)
    least = rewards[max(math.ceil(BEST_SHARE * len(scored)), BEST_LEAST) - 1]
    good = [t for t in scored if (t.reward or 0.0) >= least]
    if len(good) == len(scored):
        return None

    present = Counter(name for t in scored for name in t.architecture.decisions)
    found = {}
    for name, made in present.items():
        every, best = (_counts(name, some) for some in (scored, good))
        if len(every) > 1 and best:
            # theorem 4.2 of arXiv:2601.20800: the share of the good trials that made the decision, and of all
            within = (best.total() / len(good)) ** 2 / (made / len(scored))
            found[name] = within * _divergence(_smoothed(best, every), _smoothed(every, every))
    total = sum(found.values())
    if not total:
        return None
    shares = sorted(((name, found.get(name, 0.0) / total) for name in present), key=lambda item: (-item[1], item[0]))
    return Importance(tuple(shares), dict(present), len(scored), len(good))


def _counts(name: str, trials: Sequence[Trial]) -> Counter[str]:
    """Return how often each option was chosen; 1, 1.0 and True are three."""
    return Counter(repr(t.architecture.decisions[name]) for t in trials if name in t.architecture.decisions)


def _smoothed(counts: Counter[str], options: Iterable[str]) -> list[float]:
    """Return the probability of each option: a kernel for each that was chosen, and one that is uniform."""
    names = list(options)
    kernels, chosen = len(counts) + 1, counts.total()
    # a kernel is 1 / kernels everywhere and 1 more at its option, made to sum to 1
    spread = 1 + len(names) / kernels
    return [((counts[name] + chosen / kernels) / spread + 1 / len(names)) / (chosen + 1) for name in names]


def _divergence(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Return Pearson's divergence of the first distribution from the second."""
    return sum(q * (p / q - 1) ** 2 for p, q in zip(found, wanted, strict=True))
