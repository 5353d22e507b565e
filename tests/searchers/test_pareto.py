"""Dominance, fronts, crowding and hypervolume against brute force and inclusion-exclusion."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.searchers.pareto import (
    SearchFront,
    cost_front,
    crowding,
    final_front,
    front,
    hypervolume,
    knee,
    limits_of,
    non_dominated,
    objective_names,
    ranks,
    search_front,
    value_of,
    violation,
)
from nas.types import Architecture, Metrics, Proposal, Trial

NUMBERS = st.integers(0, 6).map(float)
"""Few values, so that ties are common."""


@st.composite
def clouds(draw, most=12, objectives=(1, 2, 3, 4)):
    """Return points (N, M)."""
    width = draw(st.sampled_from(objectives))
    rows = draw(st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=most))
    return np.array(rows)


def dominates(a, b):
    return all(a <= b) and any(a < b)


def peeled(points):
    """Return the front of every point by definition: take the non-dominated away, again and again."""
    found, left, rank = np.zeros(len(points), dtype=int), set(range(len(points))), 0
    while left:
        best = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        found[list(best)] = rank
        left, rank = left - best, rank + 1
    return found


def inclusion_exclusion(points, reference):
    """Return the volume of the union of boxes from each point to the reference."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for subset in combinations(points, size):
            sides = np.maximum(0.0, reference - np.max(subset, axis=0))
            total -= (-1.0) ** size * float(np.prod(sides))
    return total


@given(clouds())
def test_fronts_are_those_of_the_definition(points):
    assert ranks(points).tolist() == peeled(points).tolist()
    assert non_dominated(points).tolist() == (peeled(points) == 0).tolist()


@given(clouds(most=7), NUMBERS)
def test_the_hypervolume_is_that_of_inclusion_and_exclusion(points, bound):
    reference = np.full(points.shape[1], bound)
    assert hypervolume(points, reference) == pytest.approx(inclusion_exclusion(points, reference), abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 5])
def test_the_hypervolume_is_what_random_points_hit(objectives):
    rng = np.random.default_rng(objectives)
    points, shots = rng.random((15, objectives)), rng.random((20_000, objectives))
    hit = (points[:, None, :] <= shots).all(axis=2).any(axis=0)
    assert hypervolume(points, np.ones(objectives)) == pytest.approx(hit.mean(), abs=4 * hit.std() / np.sqrt(len(hit)))


@given(clouds(objectives=(2, 3)), st.integers(0, 100))
def test_more_points_never_have_less_hypervolume_and_dominated_ones_add_none(points, seed):
    reference = np.full(points.shape[1], 5.0)
    whole = hypervolume(points, reference)
    assert hypervolume(points[: len(points) // 2], reference) <= whole
    assert hypervolume(points[non_dominated(points)], reference) == pytest.approx(whole)
    assert hypervolume(np.random.default_rng(seed).permutation(points), reference) == pytest.approx(whole)


def test_known_hypervolumes():
    assert hypervolume(np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]), (3.0, 3.0)) == 6.0
    assert hypervolume(np.array([[0.0, 0.0, 0.0]]), (2.0, 3.0, 4.0)) == 24.0
    assert hypervolume(np.array([[3.0, 0.0]]), (3.0, 3.0)) == 0.0  # on the reference
    assert hypervolume(np.zeros((0, 2)), (1.0, 1.0)) == 0.0


def test_crowding_is_the_distance_of_both_neighbours_as_shares_of_the_range():
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]])
    assert crowding(points).tolist() == [np.inf, 0.4 + 0.5, 0.9 + 0.6, np.inf]
    assert crowding(np.array([[1.0, 1.0]])).tolist() == [np.inf]
    assert len(crowding(np.zeros((0, 2)))) == 0


def trial(index, reward, params=None, status="done", **values):
    metrics = None if reward is None else Metrics(reward, values)
    return Trial(index, Proposal(Architecture("s", ())), str(index), status, metrics, params=params)


def test_the_front_of_trials_is_of_evaluated_ones_best_reward_first():
    trials = [
        trial(0, 1.0, ms=1.0),
        trial(1, 3.0, ms=5.0),
        trial(2, 2.0, ms=6.0),  # trial 1 is better and faster
        trial(3, None, status="failed"),
        trial(4, 3.0, ms=5.0, status="reused"),
        trial(5, 2.0, ms=2.0),
    ]
    assert [t.index for t in front(trials, ["ms"])] == [1, 5, 0]
    assert front([], ["ms"]) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_of_scores_by_cost_is_what_no_cheaper_point_reaches(points):
    assert cost_front(points) == sorted(
        (cost, score)
        for cost, score in set(points)
        if not any((c <= cost and s >= score and (c, s) != (cost, score)) for c, s in points)
    )


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.integers(1, 2)), max_size=10),
    st.sampled_from([{}, {"ms": 3.0}, {"ms": 3.0, "params": 2.0}]),
)
def test_the_final_front_is_that_of_the_trials_of_most_epochs_within_the_limits(rows, limits):
    trials = []
    for index, (reward, params, ms, epochs) in enumerate(rows):
        found = trial(index, reward, params=params, ms=ms)
        trials.append(replace(found, proposal=Proposal(found.architecture, epochs=epochs)))
    most = max((row[3] for row in rows), default=0)
    allowed = {"ms": 9.0, "params": 9.0, **limits}
    kept = {i: r for i, r in enumerate(rows) if r[3] == most and r[1] <= allowed["params"] and r[2] <= allowed["ms"]}
    points = {i: np.array([-reward, params, ms]) for i, (reward, params, ms, _) in kept.items()}
    expected = {i for i, point in points.items() if not any(dominates(other, point) for other in points.values())}
    assert {t.index for t in final_front(trials, ("params", "ms"), limits)} == expected


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], None),
        ([(5.0, 1.0)], 0),
        ([(9.0, 10.0), (8.0, 2.0), (1.0, 1.0)], 1),  # nearly the best reward at hardly any cost
        ([(9.0, 10.0), (6.0, 9.0), (1.0, 1.0)], 0),  # it bends the other way: an end, that of the best reward
        ([(3.0, 3.0), (2.0, 2.0), (1.0, 1.0)], 0),  # a line has no bend
        ([(900.0, 1e-3), (800.0, 2e-4), (100.0, 1e-4)], 1),  # whatever the units
        ([(2.0, 1.0), (2.0, 1.0)], 0),  # one point: the first of equals
    ],
)
def test_the_knee_is_farthest_from_the_line_between_the_ends(points, expected):
    trials = [trial(index, reward, ms=ms) for index, (reward, ms) in enumerate(points)]
    found = knee(trials, ("ms",))
    assert (None if found is None else found.index) == expected


def test_the_knee_of_three_objectives_is_farthest_from_the_plane_through_the_worst_of_each():
    rows = [(9.0, 9, 1.0), (1.0, 1, 1.0), (9.0, 1, 9.0), (8.0, 2, 2.0), (5.0, 1, 5.0)]
    trials = [trial(index, reward, params=params, ms=ms) for index, (reward, params, ms) in enumerate(rows)]
    found = knee(trials, ("params", "ms"))
    assert found is not None
    assert found.index == 3


@pytest.mark.parametrize(("macs", "names"), [(5, ("macs",)), (None, ("params",))])
def test_a_search_for_the_reward_has_the_front_against_its_cost(macs, names):
    trials = [replace(trial(0, 1.0, params=3), macs=4), replace(trial(1, 2.0, params=6), macs=macs)]
    found = search_front(trials, "evolution", {})
    assert (found.objectives, [t.index for t in found.trials]) == (names, [1, 0])
    assert search_front([trial(0, 1.0)], "evolution", {}) == SearchFront()
    assert search_front(trials, "nsga2", {"objectives": "params", "limits": "params<=4"}).trials == (trials[0],)


def test_a_missing_objective_is_named_with_what_there_is():
    with pytest.raises(ConfigError, match=r"trial 7: unknown objective 'mss'; did you mean 'ms'\? \(known: ms, params"):
        value_of(trial(7, 1.0, params=3, ms=1.0), "mss")


@pytest.mark.parametrize("wrong", ["", "macs,", "macs,macs", "reward,macs", 3, ("macs", 1), ()])
def test_wrong_objectives_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"^objectives"):
        objective_names(wrong)


@pytest.mark.parametrize("wrong", ["ms", "ms<5", "ms<=", "<=5", "ms<=x", "ms<=nan", "ms<=1,ms<=2", 5, (1,)])
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(ConfigError, match="limits must be NAME<=NUMBER"):
        limits_of(wrong)


def test_objectives_and_limits_are_read_and_violations_are_shares_of_the_bounds():
    assert objective_names(" macs, ms") == ("macs", "ms") == objective_names(["macs", "ms"])
    limits = limits_of("ms<=5, params<=1e2")
    assert limits == {"ms": 5.0, "params": 100.0}
    assert limits_of("") == {}
    assert violation(trial(0, 1.0, params=100, ms=5.0), limits) == 0.0
    assert violation(trial(0, 1.0, params=150, ms=10.0), limits) == pytest.approx(1.0 + 0.5)
