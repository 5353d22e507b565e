"""Which decisions mattered: their importance for the reward, over the trials of a run. Needs the package optuna."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from nas.report.optuna_export import optuna_trials
from nas.schedulers.finalists import finalist_of
from nas.searchers.optuna.searcher import quiet
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

    Conditional decisions count within the trials that made them (arXiv:2601.20800). Finalists, and of the others
    trials of fewer epochs than the most, are left out. None without the package optuna, below :data:`LEAST` scored
    trials, and where nothing differs.
    """
    if find_spec("optuna") is None:
        return None
    done = [t for t in trials if t.status == "done" and t.reward is not None and finalist_of(t) is None]
    epochs = max((t.proposal.epochs for t in done), default=0)
    scored = [t for t in done if t.proposal.epochs == epochs][-MOST:]
    if len(scored) < LEAST or len({t.reward for t in scored}) == 1:
        return None
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.samplers import RandomSampler

    from nas.searchers.optuna.storage import HistoryStorage

    # All equals of the last good trial are good too; where that makes every trial good there is nothing to tell.
    share = max(BEST_SHARE, BEST_LEAST / len(scored))
    rewards = sorted((t.reward or 0.0 for t in scored), reverse=True)
    good = bisect_right(rewards, -rewards[math.ceil(share * len(scored)) - 1], key=lambda reward: -reward)
    if good == len(scored):
        return None

    # Optuna's evaluator reads a study; one that is never optimised takes any sampler.
    with quiet():
        study = HistoryStorage(optuna_trials(scored), {}).study(RandomSampler(0))
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=share))
    present = Counter(name for t in scored for name in t.architecture.decisions)
    shares = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return Importance(tuple(shares), dict(present), len(scored), good) if shares else None
