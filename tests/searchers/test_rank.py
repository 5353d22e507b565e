"""Ranking by one score: the order of a whole space, of samples of a larger one, ties, and what cannot be ranked."""

from __future__ import annotations

import numpy as np
import pytest

from nas.errors import ConfigError
from nas.searchers import make_searcher
from nas.space import Space
from nas.testing import run_search
from nas.testing.spaces import CONDITIONAL, FLAT, LARGE, params
from nas.types import Candidate, Context


def ranked(case, trials, name="rank:params", **args):
    return run_search(lambda space, context: make_searcher(name, space, args, context), case, trials)


def test_a_space_that_can_be_listed_is_proposed_in_descending_order():
    found = ranked(FLAT, len(FLAT.points))
    assert [t.params for t in found.trials] == sorted(map(params, FLAT.points), reverse=True)


def test_of_a_larger_space_the_best_of_a_sample_comes_first():
    found = ranked(LARGE, 20, candidates=30)
    sizes = [t.params for t in found.trials]
    assert sizes == sorted(sizes, reverse=True)
    assert len({t.key for t in found.trials}) == 20
    # of 30 uniform numbers and 30 more the greatest is among the top tenth, but for one time in five hundred
    assert sizes[0] > 0.9 * 65_536


def test_when_a_sample_is_used_up_another_one_follows():
    found = ranked(LARGE, 12, candidates=3)
    assert len({t.key for t in found.trials}) == 12
    assert len({t.proposal.info["sample"] for t in found.trials}) > 1


def test_limits_hold_from_the_first_proposal_on():
    half = sorted(map(params, CONDITIONAL.points))[len(CONDITIONAL.points) // 2]
    make = lambda space, context: make_searcher("rank:params", space, {}, context)  # noqa: E731
    found = run_search(make, CONDITIONAL, 4, max_params=half)
    sizes = [t.params for t in found.trials]
    assert max(sizes) <= half
    assert sizes == sorted(sizes, reverse=True)


def numbers(choose):
    """Sixty-four points, of which a score tells no two apart but the last eight."""
    return {"a": choose("a", tuple(range(8))), "b": choose("b", tuple(range(8)))}


def scored(score):
    space = Space("numbers", numbers)

    def prepare(architecture):
        value = score(architecture)
        return Candidate(space.key(architecture), scores={} if value is None else {"own": value})

    return space, Context(prepare)


def first(space, context, seed):
    from nas.types import History

    searcher = make_searcher("rank:own", space, {}, context)
    return searcher.ask(History([]), np.random.default_rng(seed)).architecture


@pytest.mark.long
def test_ties_are_broken_by_the_stream_of_the_search():
    space, context = scored(lambda a: float(a["a"] == 7))
    found = {first(space, context, seed) for seed in range(60)}
    assert {a["a"] for a in found} == {7}
    # all eight but with probability 8 * (7 / 8) ** 60
    assert len(found) == 8


def test_what_has_no_score_comes_last():
    space, context = scored(lambda a: None if a["a"] else -1.0 - a["b"])
    from nas.types import History

    searcher = make_searcher("rank:own", space, {}, context)
    assert dict(searcher.ask(History([]), np.random.default_rng(0)).architecture.decisions) == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("rank:synflo", "unknown score 'synflo'; did you mean 'synflow'"),
        ("rank:own_", "unknown score 'own_'; did you mean 'own'"),
        ("rank:synflow", "no architecture of space 'numbers' has it.*own"),
    ],
)
def test_a_score_that_nothing_has_is_refused(name, rule):
    space, context = scored(lambda a: 1.0)
    with pytest.raises(ConfigError, match=rule):
        make_searcher(name, space, {}, context)


def test_candidates_are_an_integer_of_at_least_two():
    space, context = scored(lambda a: 1.0)
    with pytest.raises(ConfigError, match="candidates must be an integer of at least 2, found 1"):
        make_searcher("rank:own", space, {"candidates": 1}, context)
