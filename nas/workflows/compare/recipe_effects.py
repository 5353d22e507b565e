"""The effect of recipes apart from that of architectures: a table of candidates by recipes, with both main effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.core.values import Json
from nas.report.statistics import Paired, Values, paired

Scores = Sequence[Sequence[Mapping[int, float]]]
"""By candidate and recipe, the scores by the number of the seed."""


@dataclass(frozen=True)
class MainEffect:
    """What one candidate, or one recipe, does to the scores, averaged over the recipes, or the candidates."""

    name: str
    mean: float
    effect: float
    """``mean`` less the mean of all scores."""
    difference: Paired | None
    """To the first of its kind, None for that one; its p-value is not corrected."""

    @classmethod
    def from_json(cls, data: Json) -> MainEffect:
        """Read what ``asdict`` made."""
        apart = data["difference"]
        return cls(**{**data, "difference": None if apart is None else Paired.from_json(apart)})


@dataclass(frozen=True)
class Shares:
    """Parts of the variance of all scores, summing to 1: a balanced two-way analysis of variance."""

    candidates: float
    recipes: float
    interplay: float
    """Recipes suit some candidates better."""
    seeds: float
    """Seeds and noise."""


@dataclass(frozen=True)
class Effects:
    """The two-way table and its effects."""

    seeds: list[int]
    """The seeds that every cell has, which alone count."""
    grand: float
    """The mean of all scores."""
    cells: list[list[float]]
    """The mean of each candidate (rows) under each recipe (columns)."""
    candidates: list[MainEffect]
    recipes: list[MainEffect]
    shares: Shares | None
    """None where all scores are equal."""

    @classmethod
    def from_json(cls, data: Json | None) -> Effects | None:
        """Read what ``asdict`` made; null means that there are none."""
        if data is None:
            return None
        sides = {side: [MainEffect.from_json(found) for found in data[side]] for side in ("candidates", "recipes")}
        return cls(**{**data, **sides, "shares": None if data["shares"] is None else Shares(**data["shares"])})


def effects(candidates: Sequence[str], recipes: Sequence[str], scores: Scores) -> Effects | None:
    """Return the two-way table and its effects; None with one recipe, or without a seed that all have."""
    if len(recipes) < 2:
        return None
    seeds = sorted(set.intersection(*(set(found) for row in scores for found in row)))
    if not seeds:
        return None
    table = np.array([[[found[s] for s in seeds] for found in row] for row in scores])
    grand = float(table.mean())
    sides = _main(candidates, table.mean(1), grand), _main(recipes, table.mean(0), grand)
    return Effects(seeds, grand, table.mean(2).tolist(), *sides, _shares(table))


def _main(names: Sequence[str], scores: Values, grand: float) -> list[MainEffect]:
    """Return the effects of one factor from its scores (names, seeds), averaged over the other factor."""
    found = []
    for place, (name, own) in enumerate(zip(names, scores, strict=True)):
        mean = float(own.mean())
        apart = None if place == 0 else paired(own.tolist(), scores[0].tolist())
        found.append(MainEffect(name, mean, mean - grand, apart))
    return found


def _shares(table: Values) -> Shares | None:
    """Return how much of the variance of scores (candidates, recipes, seeds) each factor explains."""
    count, kinds, seeds = table.shape
    centred = table - table.mean()
    total = float((centred**2).sum())
    if total < 1e-12:
        return None

    # Sums of squares of both main effects and of what is left of the cells' means without them.
    rows, columns, cells = centred.mean((1, 2)), centred.mean((0, 2)), centred.mean(2)
    interplay = cells - rows[:, None] - columns
    squares = ((kinds * seeds, rows), (count * seeds, columns), (seeds, interplay))
    parts = [times * float((effect**2).sum()) for times, effect in squares]
    own, other, both = (part / total for part in parts)
    return Shares(own, other, both, seeds=max(0.0, 1 - sum(parts) / total))
