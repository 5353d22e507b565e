"""The grid search for the factors of compound scaling: arXiv:1905.11946, section 3.3, step 1.

Depth, width and resolution can grow in several proportions for twice the MACs; a network of each is built and trained
for a short time, and the factors with the best validation accuracy are kept for all phi. Since layers, channels and
pixels are whole, each network has the phi near 1 that comes nearest to twice the MACs, so that none is favoured.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.after.scaling import TOLERANCE, Factors, Member, Scaler
from nas.errors import ConfigError
from nas.files import read_text, write_atomic

if TYPE_CHECKING:
    from nas.training.data import Splits

STEP = 0.1
"""Of the grid; with 0.05 the factors of the paper are on it, and four times as many networks are trained."""
COLUMNS = ("settings", "alpha", "beta", "gamma", "resolution", "params", "macs", "seed", "accuracy", "seconds")
_CHUNK = 4096

Train = Callable[[Member, int], tuple[float, float]]
"""``train(member, seed)`` returns the validation accuracy in percent and the seconds it took."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Factors, the network of twice the MACs that they give, and its accuracies, one a seed."""

    factors: Factors
    member: Member
    accuracies: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """The mean accuracy; minus infinity where there is none."""
        return fmean(self.accuracies) if self.accuracies else -math.inf

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds, 0 for one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def facts(self) -> dict[str, Any]:
        """Return the candidate as JSON data."""
        numbers = {"alpha": self.factors.alpha, "beta": self.factors.beta, "gamma": self.factors.gamma}
        scores = {"accuracies": list(self.accuracies), "mean": self.mean if self.accuracies else None}
        return {**numbers, "product": self.factors.product, **scores, "member": self.member.facts()}


def grid(scaler: Scaler, tolerance: float = TOLERANCE, step: float = STEP) -> list[Candidate]:
    """Return the candidates: factors in steps whose product and whose network's MACs are within ``tolerance`` of twice.

    Of factors that come to the same network those are kept whose product is nearest to 2; networks over the budget of
    ``scaler`` are left out. Raises :class:`ConfigError` where there are none.
    """
    if not 0 < step <= 1:
        raise ConfigError(f"--step must be a number above 0 and at most 1, found {step:g}")
    counts = [int(round((most - 1) / step, 9)) + 1 for most in (2.0, 2**0.5, 2**0.5)]
    alphas, betas, gammas = ([round(1 + i * step, 6) for i in range(count)] for count in counts)
    every = (Factors(a, b, c) for a in alphas for b in betas for c in gammas)
    found: dict[tuple[int, ...], Candidate] = {}
    for factors in sorted((f for f in every if f.fits(tolerance)), key=lambda f: abs(f.product - 2)):
        built = candidate(scaler, factors)
        found.setdefault((built.member.params, built.member.macs, built.member.resolution), built)
    kept = [c for c in found.values() if abs(c.member.ratio / 2 - 1) <= tolerance]
    if not kept:
        nearest = min((c.member.ratio for c in found.values()), key=lambda ratio: abs(ratio - 2), default=math.nan)
        raise ConfigError(
            f"no factors in steps of {step:g} give a network of twice the MACs within {tolerance:.0%}; the nearest has "
            f"{nearest:.3g} times; widen --tolerance, shorten --step, or begin with a larger --width or --depth"
        )
    return sorted(_within(scaler, kept), key=lambda c: (c.factors.alpha, c.factors.beta, c.factors.gamma))


def _within(scaler: Scaler, found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates within the budget."""
    kept = [c for c in found if not c.member.over]
    if not kept:
        macs, memory = min(c.member.macs for c in found), min(c.member.memory for c in found)
        raise ConfigError(
            f"all candidates, which have about twice the base's MACs, are over {scaler.budget.text}: the least are "
            f"{macs:,} MACs and {memory:,} bytes"
        )
    return kept


def candidate(scaler: Scaler, factors: Factors, accuracies: Sequence[float] = ()) -> Candidate:
    """Return the candidate of ``factors``."""
    return Candidate(factors, scaler.equal("compound", 1, factors), tuple(accuracies))


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the best mean accuracy; of equal ones that of the fewest MACs."""
    return max(candidates, key=lambda c: (c.mean, -c.member.macs))


def from_table(scaler: Scaler, path: Path, tolerance: float = TOLERANCE) -> list[Candidate]:
    """Return the candidates of a CSV file with the columns alpha, beta, gamma and accuracy, a row a training.

    Rows of the same factors are seeds; networks over the budget of ``scaler`` are left out. Factors that break the
    constraint by more than ``tolerance`` raise :class:`ConfigError`, as does a file that is no such table.
    """
    rows = list(csv.DictReader(io.StringIO(read_text(path))))
    wanted = ("alpha", "beta", "gamma", "accuracy")
    if not rows or not set(wanted) <= rows[0].keys():
        raise ConfigError(f"--table {path}: the first line must name the columns {', '.join(wanted)}, and rows follow")
    scores: dict[Factors, list[float]] = {}
    for line, row in enumerate(rows, 2):
        try:
            alpha, beta, gamma, accuracy = (float(row[name] or "") for name in wanted)
        except (TypeError, ValueError):
            raise ConfigError(f"--table {path}, line {line}: {', '.join(wanted)} must be numbers") from None
        if not 0 <= accuracy <= 100:
            raise ConfigError(f"--table {path}, line {line}: the accuracy must be from 0 to 100 %, found {accuracy:g}")
        factors = Factors(alpha, beta, gamma)
        try:
            factors.check(tolerance)
        except ConfigError as error:
            raise ConfigError(f"--table {path}, line {line}: {error}") from None
        scores.setdefault(factors, []).append(accuracy)
    return _within(scaler, [candidate(scaler, factors, found) for factors, found in scores.items()])


class GridFile:
    """The results of a grid search as a CSV file: a row is on disk before the next training begins.

    ``settings`` is a digest of all that makes results comparable; rows of other settings stay in the file and count for
    nothing. A last line that was cut off is dropped.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self._path, self._settings = path, settings
        self._scores: dict[tuple[Factors, int], float] = {}
        head = ",".join(COLUMNS)
        text = read_text(path) if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole and whole.splitlines()[0] != head:
            raise ConfigError(f"--journal {path}: it is no results of a grid search; its first line must be {head}")
        if whole != text or not whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, whole or head + "\n")
        for line, row in enumerate(csv.DictReader(io.StringIO(whole)), 2):
            self._read(line, row)

    def _read(self, line: int, row: Mapping[str, Any]) -> None:
        try:
            factors = Factors(float(row["alpha"]), float(row["beta"]), float(row["gamma"]))
            seed, accuracy = int(row["seed"]), float(row["accuracy"])
        except (TypeError, ValueError):
            raise ConfigError(f"--journal {self._path}, line {line}: it is damaged; delete the line") from None
        if row["settings"] == self._settings:
            self._scores[factors, seed] = accuracy

    def score(self, factors: Factors, seed: int) -> float | None:
        """Return the recorded accuracy, None where there is none."""
        return self._scores.get((factors, seed))

    def record(self, found: Candidate, seed: int, accuracy: float, seconds: float) -> None:
        """Append a result; it is on disk when this returns."""
        f, m = found.factors, found.member
        values = (self._settings, f.alpha, f.beta, f.gamma, m.resolution, m.params, m.macs, seed, accuracy)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(",".join(map(str, values)) + f",{seconds:.2f}\n")
            file.flush()
            os.fsync(file.fileno())
        self._scores[f, seed] = accuracy


def search(
    candidates: Sequence[Candidate],
    train: Train,
    seeds: Sequence[int],
    file: GridFile,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> list[Candidate]:
    """Train every candidate with every seed, what is in the file already not again; return them with accuracies."""
    done, total = 0, len(candidates) * len(seeds)
    for seed in seeds:
        for found in candidates:
            if file.score(found.factors, seed) is None:
                file.record(found, seed, *train(found.member, seed))
            done += 1
            observe(done, total)
    return [_scored(found, [file.score(found.factors, seed) for seed in seeds]) for found in candidates]


def _scored(found: Candidate, scores: Sequence[float | None]) -> Candidate:
    return Candidate(found.factors, found.member, tuple(score for score in scores if score is not None))


def digest(**settings: Any) -> str:
    """Return what stands for settings in a file."""
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def enlarged(splits: Splits, side: int) -> Splits:
    """Return splits whose images are scaled to ``side`` x ``side`` pixels, bilinearly; ones of that size as they are.

    A dataset in memory has one size, so a higher resolution is the same picture with more pixels: the network gets more
    places, no more detail.
    """
    from nas.training.data import ImageSet
    from nas.training.data import Splits as Made

    if splits.train.image_shape[1:] == (side, side):
        return splits

    def sized(images: Any) -> Any:
        if not isinstance(images, ImageSet):
            raise ConfigError(f"dataset '{splits.name}' is read from files: read it at the size that is wanted")
        return ImageSet(resized(images.images, side), images.labels, images.damaged)

    return Made(splits.name, sized(splits.train), sized(splits.validation), lambda: sized(splits.test), splits.classes)


def resized(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return images (N, C, H, W) scaled to ``side`` x ``side`` bilinearly, pixels as areas (not their corners)."""
    rows, columns = (_weights(size, side) for size in images.shape[2:])
    parts = [images[i : i + _CHUNK].astype(np.float32) for i in range(0, len(images), _CHUNK)]
    return np.concatenate([np.rint(rows @ part @ columns.T).astype(np.uint8) for part in parts])


def _weights(size: int, side: int) -> npt.NDArray[np.float32]:
    """Return the matrix (side, size) that interpolates a line of pixels."""
    places = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    below = np.minimum(places.astype(int), max(size - 2, 0))
    weights = np.zeros((side, size), np.float32)
    weights[np.arange(side), below] += 1 - (places - below)
    weights[np.arange(side), np.minimum(below + 1, size - 1)] += places - below
    return weights
