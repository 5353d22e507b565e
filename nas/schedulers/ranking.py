"""Who is best among trials of one fidelity: by reward, or by Pareto rank over several objectives."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from nas.searchers.pareto import Floats, Mask, value_of
from nas.types import Trial


class ByReward:
    """The highest reward first; of equals the earliest trial."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []

    def add(self, trial: Trial) -> None:
        """Add a trial that has a reward."""
        insort(self._trials, trial, key=lambda t: (-(t.reward or 0.0), t.index))

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)


class ByPareto:
    """The trials that none dominates first, then those that only they dominate, and so on.

    The reward is maximised, every one of ``objectives`` is minimised: ``params``, ``macs``, or a value that the
    evaluator records. Within a front the highest reward comes first. Fronts are kept up to date one trial at
    a time (Li et al. 2016, efficient non-domination level update), so that a long search need not sort again.
    """

    def __init__(self, objectives: tuple[str, ...]) -> None:
        self._objectives = objectives
        self._fronts: list[tuple[Floats, list[Trial]]] = []

    def add(self, trial: Trial) -> None:
        """Add a trial that has a reward; one without an objective raises :class:`ConfigError`."""
        assert trial.reward is not None
        point = np.array([[-trial.reward, *(value_of(trial, name) for name in self._objectives)]])
        points, trials = point, [trial]
        # its level is the first front that does not dominate it; every front above one that does, does too
        level = bisect_left(self._fronts, True, key=lambda front: not dominated(point, front[0])[0])
        # the newcomer may push members of its front down one level, they push others, and so on
        for i in range(level, len(self._fronts)):
            there, members = self._fronts[i]
            falls = dominated(there, points)
            if falls.all():  # the whole front falls, so every front below falls by one level
                self._fronts.insert(i, (points, trials))
                return
            kept = [t for t, fell in zip(members, falls, strict=True) if not fell]
            fallen = [t for t, fell in zip(members, falls, strict=True) if fell]
            self._fronts[i] = np.concatenate([there[~falls], points]), kept + trials
            points, trials = there[falls], fallen
            if not trials:
                return
        self._fronts.append((points, trials))

    def __iter__(self) -> Iterator[Trial]:
        for points, trials in self._fronts:
            order = sorted(range(len(trials)), key=lambda i: (points[i, 0], trials[i].index))
            yield from (trials[i] for i in order)


Ranking: TypeAlias = ByReward | ByPareto
"""Scored trials in order, the best first; trials are only added."""


def dominated(points: Floats, by: Floats) -> Mask:
    """Return which of ``points`` (N, D) one of the points ``by`` (M, D) dominates, as (N,); all is minimised."""
    no_worse, better = by[:, None, 0] <= points[:, 0], by[:, None, 0] < points[:, 0]
    for column in range(1, points.shape[1]):
        no_worse &= by[:, None, column] <= points[:, column]
        better |= by[:, None, column] < points[:, column]
    return np.asarray((no_worse & better).any(axis=0))
