"""The effect of recipes apart from that of architectures: a table of candidates by recipes, with both main effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nas.after.statistics import Values, paired

Scores = Sequence[Sequence[Mapping[int, float]]]
"""By candidate and recipe, the scores by the number of the seed."""


def effects(candidates: Sequence[str], recipes: Sequence[str], scores: Scores) -> dict[str, Any] | None:
    """Return the two-way table and its effects as JSON data; None with one recipe, or without a seed that all have.

    ``seeds``: the seeds that every cell has, which alone count; ``grand``: the mean of all; ``cells``: the mean of each
    candidate (rows) under each recipe. ``candidates`` and ``recipes`` hold for each ``{name, mean, effect,
    difference}``: the mean over the others, that less ``grand``, and the paired difference to the first of its kind,
    averaged over the others; its p-value is not corrected. ``shares`` parts the variance of all scores into
    ``candidates``, ``recipes``, ``interplay`` (recipes suit some candidates better) and ``seeds`` with noise: the sums
    of squares of a balanced two-way analysis of variance, summing to 1.
    """
    if len(recipes) < 2:
        return None
    common = set.intersection(*(set(found) for row in scores for found in row))
    seeds = sorted(common)
    if not seeds:
        return None
    table = np.array([[[found[s] for s in seeds] for found in row] for row in scores])
    cells, grand = table.mean(2), float(table.mean())
    return {
        "seeds": seeds,
        "grand": grand,
        "cells": cells.tolist(),
        "candidates": _main(candidates, table.mean(1), grand),
        "recipes": _main(recipes, table.mean(0), grand),
        "shares": _shares(table),
    }


def _main(names: Sequence[str], scores: Values, grand: float) -> list[dict[str, Any]]:
    """Return the effects of one factor from its scores (names, seeds), averaged over the other factor."""
    return [
        {
            "name": name,
            "mean": float(own.mean()),
            "effect": float(own.mean()) - grand,
            "difference": None if place == 0 else asdict(paired(own.tolist(), scores[0].tolist())),
        }
        for place, (name, own) in enumerate(zip(names, scores, strict=True))
    ]


def _shares(table: Values) -> dict[str, float] | None:
    """Return how much of the variance of scores (candidates, recipes, seeds) each factor explains."""
    count, kinds, seeds = table.shape
    centred = table - table.mean()
    total = float((centred**2).sum())
    if total < 1e-12:
        return None
    rows, columns, cells = centred.mean((1, 2)), centred.mean((0, 2)), centred.mean(2)
    interplay = cells - rows[:, None] - columns
    parts = {
        "candidates": kinds * seeds * float((rows**2).sum()),
        "recipes": count * seeds * float((columns**2).sum()),
        "interplay": seeds * float((interplay**2).sum()),
    }
    return {**{n: part / total for n, part in parts.items()}, "seeds": max(0.0, 1 - sum(parts.values()) / total)}
