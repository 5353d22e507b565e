"""Gaussian processes over several encodings at once: what is known of a candidate's reward, and how well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from math import pi, sqrt
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.special import ndtr

Matrix: TypeAlias = npt.NDArray[np.float64]
Vector: TypeAlias = npt.NDArray[np.float64]

SETTINGS = 40
MEMBERS = 5
JITTER = 1e-6
ROUNDING = 1e-12
"""Squared distances below this share of the squared norms are what rounding leaves of zero."""
_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Setting:
    """Hyperparameters of a Gaussian process over E encodings."""

    weights: Vector
    """The share (E,) of every encoding in the kernel; they sum to 1."""
    lengths: Vector
    """Length scales (E,), in units of the encoding's root median squared distance."""
    noise: float
    """The variance of noise, in units of the kernel's variance."""

    def kernel(self, distances: Sequence[Matrix]) -> Matrix:
        """Return the sum of squared-exponential kernels, for one matrix of squared distances an encoding."""
        total = np.zeros_like(distances[0])
        for weight, length, distance in zip(self.weights, self.lengths, distances, strict=True):
            total += weight * np.exp(distance * (-0.5 / length**2))
        return total


def settings(encodings: int) -> list[Setting]:
    """Return the same :data:`SETTINGS` random hyperparameters at every call: what a fit chooses from."""
    rng = np.random.Generator(np.random.PCG64(0))
    found = []
    for _ in range(SETTINGS):
        weights = rng.dirichlet(np.full(encodings, 0.7))
        lengths = np.exp(rng.uniform(np.log(0.3), np.log(3.0), encodings))
        found.append(Setting(weights, lengths, float(np.exp(rng.uniform(np.log(0.003), np.log(0.5))))))
    return found


class Posterior:
    """A Gaussian process of mean zero given ``targets`` (N,); the kernel's variance is the likeliest one.

    ``log_likelihood`` is the logarithm of the marginal likelihood but for a constant (Rasmussen & Williams 2006,
    equation 5.8 with the variance maximised).
    """

    def __init__(self, setting: Setting, distances: Sequence[Matrix], targets: Vector) -> None:
        self._setting = setting
        count = len(targets)
        kernel = setting.kernel(distances)
        kernel[np.diag_indices(count)] += setting.noise + JITTER
        self._factor = np.linalg.cholesky(kernel)
        self._white = solve_triangular(self._factor, targets, lower=True)
        self._variance = max(float(self._white @ self._white) / count, JITTER)
        self.log_likelihood = float(-0.5 * count * np.log(self._variance) - np.log(self._factor.diagonal()).sum())

    def predict(self, distances: Sequence[Matrix]) -> tuple[Vector, Vector]:
        """Return mean and deviation (M,) at points whose distances to the N known ones are (N, M) an encoding."""
        white = solve_triangular(self._factor, self._setting.kernel(distances), lower=True)
        variance = self._variance * np.maximum(1 - (white * white).sum(axis=0), JITTER)
        return white.T @ self._white, np.sqrt(variance)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The likeliest settings with their shares of belief: an average over hyperparameters, not one guess of them."""

    members: tuple[Setting, ...]
    shares: Vector

    @classmethod
    def fit(cls, distances: Sequence[Matrix], targets: Vector) -> Ensemble:
        """Return the :data:`MEMBERS` settings of the highest marginal likelihood."""
        candidates = settings(len(distances))
        scores = np.array([Posterior(s, distances, targets).log_likelihood for s in candidates])
        # weights by marginal likelihood; a stable sort keeps equal candidates in their order
        best = np.argsort(-scores, kind="stable")[:MEMBERS]
        shares = np.exp(scores[best] - scores[best[0]])
        return cls(tuple(candidates[i] for i in best), shares / shares.sum())

    def share(self, encoding: int) -> float:
        """Return the part of the kernel, 0 to 1, that is ``encoding``'s, the mean by belief."""
        return float(sum(share * m.weights[encoding] for m, share in zip(self.members, self.shares, strict=True)))

    def believed(self, distances: Sequence[Matrix], targets: Vector, across: Sequence[Matrix]) -> Vector:
        """Return the mean (M,) at points whose distances to the known ones are ``across``, (N, M) an encoding."""
        means = [Posterior(member, distances, targets).predict(across)[0] for member in self.members]
        return self.shares @ np.stack(means)

    def improvement(self, distances: Sequence[Matrix], targets: Vector, across: Sequence[Matrix]) -> Vector:
        """Return the expected improvement (M,) over the best of ``targets`` (Jones et al. 1998, equation 15)."""
        best = float(targets.max())
        total = np.zeros(across[0].shape[1])
        for member, share in zip(self.members, self.shares, strict=True):
            mean, deviation = Posterior(member, distances, targets).predict(across)
            # expected improvement of each member, weighted by its share
            z = (mean - best) / deviation
            total += share * deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / sqrt(2 * pi))
        return total


def squared_distances(a: Matrix, b: Matrix) -> Matrix:
    """Return the squared Euclidean distances (N, M) between the rows of ``a`` (N, D) and of ``b`` (M, D)."""
    norms = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None]
    squared: Matrix = norms - 2 * a @ b.T
    squared[squared < ROUNDING * norms] = 0
    return squared


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which BLAS runs on one thread, since its sums differ in the last bit with their number."""
    return _limit()(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _limit() -> Callable[..., AbstractContextManager[object]]:
    # to look for the thread pools of this process takes longer than a fit, so that is done once
    limit: Callable[..., AbstractContextManager[object]] = import_module("threadpoolctl").ThreadpoolController().limit
    return limit


def normal_scores(rewards: Sequence[float | None]) -> Vector:
    """Return what a standard normal sample of this size would hold at every reward's rank; None ranks last.

    Equal rewards get their mean rank. Only the order of rewards counts, so any scale and any outlier will do.
    """
    values = np.array([-np.inf if r is None else r for r in rewards])
    # ties share their mean rank, else the order of trials would count
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    shares = (np.cumsum(sizes) - sizes / 2) / len(values)
    return np.array([_NORMAL.inv_cdf(share) for share in shares])[group]
