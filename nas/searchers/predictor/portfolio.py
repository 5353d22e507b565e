"""A portfolio of rankings: what several scores put first, each in its turn, while little is known of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ranks: TypeAlias = npt.NDArray[np.float64]
ALL = "all"
"""The ranking by the mean of all other ranks."""
AT_RANDOM = "random"
"""What no score decides."""


def ranks(scores: Sequence[Mapping[str, float]]) -> dict[str, Ranks]:
    """Return the ranks (N,) of candidates by each of their scores, the largest score first at rank 1.

    Equal scores have their mean rank, and candidates without a score come after those that have it. A score that is the
    same for all ranks nothing and is left out. :data:`ALL` is the mean of the logarithms of the other ranks, in which a
    high rank counts more than a middling one (AZ-NAS, arXiv:2403.19232).
    """
    names = dict.fromkeys(name for known in scores for name in known)
    found: dict[str, Ranks] = {}
    for name in names:
        values = np.array([known.get(name, -np.inf) for known in scores])
        if values.max() > values.min():
            found[name] = _ranked(values)
    if found:
        found[ALL] = np.mean([np.log(rank) for rank in found.values()], axis=0)
    return found


def first_of(scores: Sequence[Mapping[str, float]], ranking: str) -> int | None:
    """Return the candidate that ``ranking`` puts first, or :data:`ALL` where it is unknown; None without any."""
    found = ranks(scores)
    if not found:
        return None
    return int(np.argmin(found.get(ranking, found[ALL])))


def _ranked(values: Ranks) -> Ranks:
    """Return the ranks (N,) from the largest down; scipy.stats has them too, but takes half a second to import."""
    _, group, sizes = np.unique(-values, return_inverse=True, return_counts=True)
    mean: Ranks = np.cumsum(sizes) - (sizes - 1) / 2
    return mean[group]
