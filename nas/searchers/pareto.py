"""Several objectives at once: dominance, fronts, crowding, hypervolume. Every objective is minimised here.

Points are arrays (N, M) of N points in M objectives; a point dominates another when it is nowhere worse and somewhere
better. Equal points do not dominate each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError, unknown
from nas.types import Trial

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

COSTS = ("params", "macs")
"""Objectives that a trial has without an evaluation."""
DEFAULT_OBJECTIVES = "macs"


def non_dominated(points: Floats) -> Mask:
    """Return which of the points (N, M) no other point dominates, as (N,) booleans; equal points share their fate."""
    order = np.lexsort(points.T[::-1])
    front = np.empty_like(points)
    size, found = 0, np.zeros(len(points), dtype=bool)
    for i in order:  # what dominates a point comes before it in this order
        kept = front[:size]
        no_worse = (kept <= points[i]).all(axis=1)
        if not (no_worse & (kept < points[i]).any(axis=1)).any():
            found[i] = True
            front[size] = points[i]
            size += 1
    return found


def ranks(points: Floats) -> Ints:
    """Return the front (N,) of each of the points (N, M): 0 for the non-dominated, 1 for those without them, ...

    Fast non-dominated sorting, Deb et al. 2002, section III-A.
    """
    below: Mask = np.asarray((points[:, None, :] <= points[None, :, :]).all(axis=2))
    dominates = below & ~below.T
    found = np.full(len(points), -1, dtype=np.int64)
    dominated_by = dominates.sum(axis=0)
    rank = 0
    while (found < 0).any():
        front = (found < 0) & (dominated_by == 0)
        found[front] = rank
        dominated_by -= dominates[front].sum(axis=0)
        rank += 1
    return found


def crowding(points: Floats) -> Floats:
    """Return the crowding distance (N,) of the points (N, M) of one front; infinite at the ends of each objective.

    Deb et al. 2002, section III-B: over the objectives, the sum of the distances between a point's two neighbours, as
    shares of the front's range.
    """
    distance = np.zeros(len(points))
    for values in points.T if len(points) else ():
        order = np.argsort(values, kind="stable")
        spread = values[order[-1]] - values[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / spread
    return distance


def hypervolume(points: Floats, reference: Sequence[float]) -> float:
    """Return the volume that the points (N, M) dominate within ``reference`` (M values): exact, for any M.

    Two objectives take a sweep; more are cut into slices along the last one (Zitzler 1999; While et al. 2006, section
    III), which takes exponential time in M.
    """
    bound = np.asarray(reference, dtype=np.float64)
    inside = points[(points < bound).all(axis=1)]
    return _volume(inside[non_dominated(inside)], bound)


def _volume(points: Floats, bound: Floats) -> float:
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(bound[0] - points.min())
    # sweep along the last objective: between two neighbours the dominated slab has a constant cross-section
    ordered = points[np.argsort(points[:, -1], kind="stable")]
    heights = np.diff(ordered[:, -1], append=bound[-1])
    if points.shape[1] == 2:
        widths = bound[0] - np.minimum.accumulate(ordered[:, 0])
        return float(widths @ heights)
    volume = 0.0
    for i in np.flatnonzero(heights > 0):
        slab = ordered[: i + 1, :-1]
        volume += float(heights[i]) * _volume(slab[non_dominated(slab)], bound[:-1])
    return volume


def objective_names(objectives: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``objectives``, text with commas or a sequence; what is no such list raises ConfigError.

    The reward is an objective of its own and not among them.
    """
    parts = objectives.split(",") if isinstance(objectives, str) else objectives
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"objectives must be names with commas between them, found {objectives!r}")
    names = tuple(part.strip() for part in parts)
    if not names or not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"objectives must be distinct names with commas between them, found {objectives!r}")
    if "reward" in names:
        raise ConfigError("objectives: the reward is maximised anyway; name what is to be minimised beside it")
    return names


def limits_of(limits: str | Sequence[str]) -> dict[str, float]:
    """Return the bounds in ``limits``, such as ``latency<=5,energy<=2``, by name; no such text raises ConfigError."""
    rule = "limits must be NAME<=NUMBER with commas between them"
    parts = limits.split(",") if isinstance(limits, str) else limits
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"{rule}, found {limits!r}")
    found: dict[str, float] = {}
    for part in parts if limits else ():
        name, sign, number = (piece.strip() for piece in part.partition("<="))
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not name or not sign or name in found or not math.isfinite(bound):
            raise ConfigError(f"{rule}, each name once, found {part!r}")
        found[name] = bound
    return found


def violation(trial: Trial, limits: Mapping[str, float]) -> float:
    """Return by how much a scored trial is over ``limits``, summed as shares of them; 0 within (Deb, section VI)."""
    excess = 0.0
    for name, bound in limits.items():
        excess += max(0.0, value_of(trial, name) - bound) / (abs(bound) or 1.0)
    return excess


def value_of(trial: Trial, name: str) -> float:
    """Return the objective ``name`` of a scored trial: its params, macs or a metric; a missing one is a ConfigError."""
    found = dict(trial.metrics.values) if trial.metrics else {}
    found.update({cost: value for cost in COSTS if (value := getattr(trial, cost)) is not None})
    if name not in found:
        hint = "; record columns of a table with --metric"
        raise ConfigError(f"trial {trial.index}: {unknown('objective', name, found)}{hint}")
    return float(found[name])


def front(trials: Sequence[Trial], names: Sequence[str]) -> list[Trial]:
    """Return the evaluated trials that no other dominates in reward and objectives ``names``, best reward first."""
    scored = [t for t in trials if t.status == "done" and t.reward is not None]
    if not scored:
        return []
    points = np.array([[-(t.reward or 0.0), *(value_of(t, name) for name in names)] for t in scored])
    kept = np.flatnonzero(non_dominated(points))
    return [scored[i] for i in sorted(kept, key=lambda i: (*points[i], scored[i].index))]


def final_front(trials: Sequence[Trial], names: Sequence[str], limits: Mapping[str, float]) -> list[Trial]:
    """Return the :func:`front` of the trials of most epochs within ``limits``: rewards of fewer do not compare."""
    scored = [t for t in trials if t.status == "done" and t.reward is not None]
    most = max((t.proposal.epochs for t in scored), default=0)
    return front([t for t in scored if t.proposal.epochs == most and not violation(t, limits)], names)


def knee(trials: Sequence[Trial], names: Sequence[str]) -> Trial | None:
    """Return the knee of a :func:`front` in reward and objectives ``names``; None where it has no trial.

    Every objective is scaled to [0, 1] over the front. The knee is the trial that lies farthest from the line through
    the front's two ends, on the side of better values; with more objectives from the plane through the points that are
    worst in one of them and best in all others (Das 1999, "On characterizing the 'knee' of the Pareto curve",
    Structural Optimization 18, 107). Of equals, such as the ends of a front without a bend, the first counts, which
    has the best reward.
    """
    if not trials:
        return None
    points = np.array([[-(t.reward or 0.0), *(value_of(t, name) for name in names)] for t in trials])
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    # on that line or plane the scaled objectives sum to one; rounded, so that equals are equal
    return trials[int(np.argmin(scaled.sum(axis=1).round(9)))]


@dataclass(frozen=True)
class SearchFront:
    """What of a search no other trial beats."""

    objectives: tuple[str, ...] = ()
    """What is minimised beside the reward; empty where the trials have no cost."""
    trials: tuple[Trial, ...] = ()
    """The front, best reward first."""
    knee: Trial | None = None
    """Its knee; None where the front is empty."""


def asked_objectives(searcher: str, args: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return what a search minimises beside the reward, and its limits by name; a search for the reward has neither."""
    if searcher != "nsga2":
        return (), {}
    return objective_names(args.get("objectives", DEFAULT_OBJECTIVES)), limits_of(args.get("limits", ""))


def search_front(trials: Sequence[Trial], searcher: str, args: Mapping[str, Any]) -> SearchFront:
    """Return the :func:`final_front` of the trials of a search by ``searcher`` with ``args``.

    It is that of its own objectives and limits; of a search for the reward alone that of reward against MACs, where
    some are not known against parameters. An objective that a trial lacks raises :class:`ConfigError`.
    """
    names, limits = asked_objectives(searcher, args)
    if not names:
        scored = [t for t in trials if t.status == "done"]
        known = [cost for cost in ("macs", "params") if all(getattr(t, cost) is not None for t in scored)]
        if not known:
            return SearchFront()
        names = (known[0],)
    found = final_front(trials, names, limits)
    return SearchFront(names, tuple(found), knee(found, names))


def cost_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, score) points, by cost, than which none has a higher score at no more cost; equal ones once."""
    distinct = sorted(set(points))
    kept = non_dominated(np.array([(cost, -score) for cost, score in distinct]).reshape(-1, 2))
    return [point for point, is_kept in zip(distinct, kept, strict=True) if is_kept]
