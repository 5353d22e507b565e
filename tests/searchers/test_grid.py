"""Grid search: every point once, in turns over the options of each decision."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from nas.core.values import spelled
from nas.searchers.grid import in_turns
from nas.space import Space
from nas.testing import run_search
from nas.testing.spaces import SMALL


def families(choose):
    """Three families of 1, 4 and 8 points."""
    family = choose("family", ("one", "four", "eight"))
    if family != "one":
        choose(f"{family}.depth", (1, 2) if family == "four" else (1, 2, 3, 4))
        choose(f"{family}.stride", (1, 2))


@pytest.mark.parametrize("mixed", [False, True])
def test_every_feasible_point_comes_once(mixed):
    for case in SMALL:
        points = list(in_turns(case.space(), mixed))
        assert sorted(map(spelled, points)) == sorted(map(spelled, case.points))


def test_each_option_of_the_first_decision_has_as_many_trials_as_its_points_allow():
    points = list(in_turns(Space("families", families)))
    for count, expected in ((3, (1, 1, 1)), (7, (1, 3, 3)), (9, (1, 4, 4)), (13, (1, 4, 8))):
        counts = Counter(p["family"] for p in islice(points, count))
        assert tuple(counts[name] for name in ("one", "four", "eight")) == expected
    # within a family the second decision takes turns, earlier options first
    assert [p["eight.depth"] for p in points if p["family"] == "eight"] == [1, 2, 3, 4] * 2
    assert [p["eight.stride"] for p in points if p["family"] == "eight"] == [1] * 4 + [2] * 4


def test_a_search_ends_when_all_are_evaluated():
    for case in SMALL:
        found = run_search(lambda space, context: _grid(space), case, 1_000)
        assert found.reason == "exhausted"
        assert {t.key for t in found.evaluated_trials} == case.keys
        assert len(found.trials) == len(case.points)


def _grid(space):
    from nas.searchers import make_searcher

    return make_searcher("grid", space, {})
