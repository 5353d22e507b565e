"""The grid search for the factors of compound scaling: arXiv:1905.11946, section 3.3, step 1.

Depth, width and resolution can grow in several proportions for twice the MACs; a network of each is built and trained
for a short time, and the factors with the best validation accuracy are kept for all phi. Since layers, channels and
pixels are whole, each network has the phi near 1 that comes nearest to twice the MACs, so that none is favoured.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Generic, TypeVar

from nas.core.files import read_text
from nas.core.values import Json
from nas.errors import ConfigError
from nas.workflows.scale.compound import TOLERANCE, Factors, ScaledNetwork, ScaledSize, Scaler

STEP = 0.1
"""Of the grid; with 0.05 the factors of the paper are on it, and four times as many networks are trained."""
COLUMNS = ("settings", "alpha", "beta", "gamma", "resolution", "params", "macs", "seed", "accuracy", "seconds")
"""Of the table of results; ``settings`` is a digest of all that makes results comparable."""

M = TypeVar("M", bound=ScaledSize, covariant=True)


@dataclass(frozen=True, eq=False)
class Candidate(Generic[M]):
    """Factors and what they came to."""

    factors: Factors
    """What depth, width and resolution are multiplied by."""
    member: M
    """The network of twice the MACs that they give; only its numbers where it was read from a journal."""
    accuracies: tuple[float, ...] = ()
    """On the validation split in percent, one a seed."""

    @property
    def mean(self) -> float:
        """The mean accuracy; minus infinity where there is none."""
        return fmean(self.accuracies) if self.accuracies else -math.inf

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds, 0 for one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def facts(self) -> Json:
        """Return the candidate as JSON data."""
        scores = {"accuracies": list(self.accuracies), "mean": self.mean if self.accuracies else None}
        return {**self.factors.to_json(), "product": self.factors.product, **scores, "member": self.member.facts()}


def grid(scaler: Scaler, tolerance: float = TOLERANCE, step: float = STEP) -> list[Candidate[ScaledNetwork]]:
    """Return the candidates: factors in steps whose product and whose network's MACs are within ``tolerance`` of twice.

    Of factors that come to the same network those are kept whose product is nearest to 2; networks over the budget of
    ``scaler`` are left out. Raises :class:`ConfigError` where there are none.
    """
    if not 0 < step <= 1:
        raise ConfigError(f"--step must be a number above 0 and at most 1, found {step:g}")
    # each factor alone may take all of the growth: alpha up to 2, the others up to its square root
    counts = [int(round((most - 1) / step, 9)) + 1 for most in (2.0, 2**0.5, 2**0.5)]
    alphas, betas, gammas = ([round(1 + i * step, 6) for i in range(count)] for count in counts)
    every = (Factors(a, b, c) for a in alphas for b in betas for c in gammas)
    # of factors that come to the same network the ones nearest to the constraint
    found: dict[tuple[int, ...], Candidate[ScaledNetwork]] = {}
    for factors in sorted((f for f in every if f.fits(tolerance)), key=lambda f: abs(f.product - 2)):
        built = candidate(scaler, factors)
        found.setdefault((built.member.params, built.member.macs, built.member.resolution), built)
    # the constraint on what was built, not only on the formula
    kept = [c for c in found.values() if abs(c.member.ratio / 2 - 1) <= tolerance]
    if not kept:
        nearest = min((c.member.ratio for c in found.values()), key=lambda ratio: abs(ratio - 2), default=math.nan)
        raise ConfigError(
            f"no factors in steps of {step:g} give a network of twice the MACs within {tolerance:.0%}; the nearest has "
            f"{nearest:.3g} times; widen --tolerance, shorten --step, or begin with a larger --width or --depth"
        )
    return sorted(_within(scaler, kept), key=lambda c: tuple(c.factors.to_json().values()))


def _within(scaler: Scaler, found: Sequence[Candidate[ScaledNetwork]]) -> list[Candidate[ScaledNetwork]]:
    kept = [c for c in found if not c.member.over]
    if not kept:
        macs, memory = min(c.member.macs for c in found), min(c.member.memory for c in found)
        over = f"all candidates, which have about twice the base's MACs, are over {scaler.budget.text}"
        raise ConfigError(f"{over}: the least are {macs:,} MACs and {memory:,} bytes")
    return kept


def candidate(scaler: Scaler, factors: Factors, accuracies: Sequence[float] = ()) -> Candidate[ScaledNetwork]:
    """Return the candidate of ``factors``."""
    return Candidate(factors, scaler.equal("compound", 1, factors), tuple(accuracies))


def best_of(candidates: Sequence[Candidate[M]]) -> Candidate[M]:
    """Return the candidate of the best mean accuracy; of equal ones that of the fewest MACs."""
    return max(candidates, key=lambda c: (c.mean, -c.member.macs))


def from_table(scaler: Scaler, path: Path, tolerance: float = TOLERANCE) -> list[Candidate[ScaledNetwork]]:
    """Return the candidates of a CSV file with the columns alpha, beta, gamma and accuracy, a row a training.

    Rows of the same factors are seeds; networks over the budget of ``scaler`` are left out. Factors that break the
    constraint by more than ``tolerance`` raise :class:`ConfigError`, as does a file that is no such table.
    """
    rows = _rows(read_text(path), f"--table {path}")
    wanted = ("alpha", "beta", "gamma", "accuracy")
    if not rows or not set(wanted) <= rows[0].keys():
        raise ConfigError(f"--table {path}: the first line must name the columns {', '.join(wanted)}, and rows follow")
    scores: dict[Factors, list[float]] = {}
    for line, row in enumerate(rows, 2):
        try:
            alpha, beta, gamma, accuracy = (float(row[name] or "") for name in wanted)
            if not 0 <= accuracy <= 100:
                raise ConfigError(f"the accuracy must be from 0 to 100 %, found {accuracy:g}")
            factors = Factors(alpha, beta, gamma)
            factors.check(tolerance)
        except (ConfigError, TypeError, ValueError) as error:
            wrong = error if isinstance(error, ConfigError) else f"{', '.join(wanted)} must be numbers"
            raise ConfigError(f"--table {path}, line {line}: {wrong}") from None
        scores.setdefault(factors, []).append(accuracy)
    return _within(scaler, [candidate(scaler, factors, found) for factors, found in scores.items()])


def _rows(text: str, where: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names of its first line."""
    try:
        return list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ConfigError(f"{where}: it is not CSV: {error}") from None


def recorded_scores(path: Path, settings: str) -> dict[tuple[Factors, int], float]:
    """Return the accuracies by factors and seed of a CSV file that a grid search has left.

    ``settings`` is a digest of all that makes results comparable; rows of other settings count for nothing, nor does a
    last line that was cut off.
    """
    head, text = ",".join(COLUMNS), read_text(path)
    whole = text[: text.rfind("\n") + 1]
    if whole and whole.splitlines()[0] != head:
        raise ConfigError(f"--journal {path}: it is no results of a grid search; its first line must be {head}")
    scores: dict[tuple[Factors, int], float] = {}
    for line, row in enumerate(_rows(whole, f"--journal {path}"), 2):
        try:
            factors = Factors(float(row["alpha"]), float(row["beta"]), float(row["gamma"]))
            seed, accuracy = int(row["seed"]), float(row["accuracy"])
            if not 0 <= accuracy <= 100:
                raise ValueError
        except (TypeError, ValueError):
            raise ConfigError(f"--journal {path}, line {line}: it is damaged; delete the line") from None
        if row["settings"] == settings:
            scores[factors, seed] = accuracy
    return scores
