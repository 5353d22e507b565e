"""What a Gaussian process sees of architectures: their distances in several encodings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.searchers.predictor import gaussian_process as gp
from nas.types import Architecture

ENCODINGS = ("decisions", "paths", "neighbourhoods")
FEATURES = ("numbers", "operations")
"""These and the costs are concatenated to one more encoding, in units of their deviations over the known trials."""
SCORES = len(ENCODINGS) + 1
"""The number of the encoding that scores alone are."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An architecture's encodings, and what is known of it for free."""

    vectors: dict[str, gp.Vector]
    costs: dict[str, float]
    """Logarithms of its size."""
    scores: dict[str, float]
    """Scores that need no training, by name."""


@dataclass(frozen=True, eq=False)
class _Scale:
    """The columns of known architectures that tell them apart, in units of their deviations."""

    columns: npt.NDArray[np.bool_]
    means: gp.Vector
    deviations: gp.Vector

    @classmethod
    def of(cls, rows: gp.Matrix) -> _Scale:
        if not rows.shape[1]:
            return cls(np.zeros(0, bool), np.zeros(0), np.ones(0))
        # the deviation of a constant column need not be zero, that of its extremes is; one may be missing altogether
        known = np.flatnonzero(~np.isnan(rows).all(axis=0))
        columns = np.zeros(rows.shape[1], bool)
        columns[known] = np.nanmax(rows[:, known], axis=0) > np.nanmin(rows[:, known], axis=0)
        return cls(columns, np.nanmean(rows[:, columns], axis=0), np.nanstd(rows[:, columns], axis=0))

    def __call__(self, rows: gp.Matrix) -> gp.Matrix:
        scaled: gp.Matrix = np.nan_to_num((rows[:, self.columns] - self.means) / self.deviations, nan=0.0)
        return scaled


class Observations:
    """The known architectures in every encoding; distances are in units of their median among the known.

    The last two encodings are what is known for free: counts and costs, and scores. A cost or score that an
    architecture lacks counts as the mean of those known. Only encodings that tell the known apart are ``alive``:
    numbers of encodings, which may also be given.
    """

    def __init__(
        self,
        encoded: Callable[[Architecture], Encoded],
        known: Sequence[Architecture],
        alive: tuple[int, ...] | None = None,
    ) -> None:
        self._encoded = encoded
        self._costs = sorted({name for a in known for name in encoded(a).costs})
        self._scores = sorted({name for a in known for name in encoded(a).scores})
        # scale the columns of costs and scores by what is known
        rows = self._rows(known)
        self._scales = [_Scale.of(free) for free in rows[len(ENCODINGS) :]]
        self._points = self._scaled(rows)
        # an encoding that is the same for all known architectures tells nothing
        within = [gp.squared_distances(p, p) for p in self._points]
        self.alive = tuple(i for i, d in enumerate(within) if d.max() > 0) if alive is None else alive
        self._within = [within[i] for i in self.alive]
        # units make the lengths of kernels comparable between encodings
        upper = np.triu_indices(len(known), 1)
        self._units = [float(np.median(d[upper]) or d[upper].mean()) or 1.0 for d in self._within]

    def within(self) -> list[gp.Matrix]:
        """Return the squared distances (N, N) between the known architectures, one matrix an encoding."""
        return [d / unit for d, unit in zip(self._within, self._units, strict=True)]

    def across(self, others: Sequence[Architecture]) -> list[gp.Matrix]:
        """Return the squared distances (N, M) from the known architectures to ``others``."""
        points = self._scaled(self._rows(others))
        distances = [gp.squared_distances(self._points[i], points[i]) for i in self.alive]
        return [d / unit for d, unit in zip(distances, self._units, strict=True)]

    def extended(self, others: Sequence[Architecture]) -> Observations:
        """Return the observations in the same units with ``others`` among the known."""
        observations = copy(self)
        added = self._scaled(self._rows(others))
        observations._points = [np.concatenate(pair) for pair in zip(self._points, added, strict=True)]
        points = observations._points
        observations._within = [gp.squared_distances(points[i], points[i]) for i in self.alive]
        return observations

    def _rows(self, architectures: Sequence[Architecture]) -> list[gp.Matrix]:
        found = [self._encoded(a) for a in architectures]
        costs = [[e.costs.get(name, np.nan) for name in self._costs] for e in found]
        scores = np.array([[e.scores.get(name, np.nan) for name in self._scores] for e in found])
        rows = {name: np.stack([e.vectors[name] for e in found]) for name in (*ENCODINGS, *FEATURES)}
        features = np.hstack([*(rows[name] for name in FEATURES), costs])
        return [*(rows[name] for name in ENCODINGS), features, scores.reshape(len(found), len(self._scores))]

    def _scaled(self, rows: list[gp.Matrix]) -> list[gp.Matrix]:
        free = [scale(one) for scale, one in zip(self._scales, rows[len(ENCODINGS) :], strict=True)]
        return [*rows[: len(ENCODINGS)], *free]
