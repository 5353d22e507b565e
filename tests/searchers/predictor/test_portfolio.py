"""Scores that need no training: how they rank, when the predictor asks for them, and how it gets out of a corner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas import space_of
from nas.errors import ConfigError
from nas.searchers import make_searcher
from nas.searchers.predictor.portfolio import ALL, first_of, ranks
from nas.space import Space
from nas.types import Candidate, Context, History, Metrics, Trial


def test_ranks_are_those_of_sorting_and_equal_scores_share_their_mean():
    found = ranks([{"a": 3.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 2.0}, {"b": 0.0}])
    assert found["a"].tolist() == [1.5, 3.0, 1.5, 4.0]
    assert found["b"].tolist() == [2.5, 2.5, 1.0, 4.0]
    assert found[ALL] == pytest.approx([np.log(1.5 * 2.5) / 2, np.log(3 * 2.5) / 2, np.log(1.5) / 2, np.log(16) / 2])


def test_a_score_that_is_the_same_for_all_ranks_nothing():
    assert ranks([{"a": 2.0}, {"a": 2.0}]) == {}
    assert first_of([{"a": 2.0}, {"a": 2.0}], "a") is None
    assert first_of([{}, {}], ALL) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20, unique=True))
def test_the_first_has_the_largest_score_by_its_own_ranking_and_by_all_of_one(values):
    scores = [{"a": value} for value in values]
    for ranking in ("a", ALL, "unknown"):
        assert first_of(scores, ranking) == int(np.argmax(values))


def _searched(score, trials, args, counted=None):
    """Return the trials of a search of NAS-Bench-201's cells for many 3x3 convolutions, with ``score`` of each."""
    space = space_of("nb201")

    def scores(architecture):
        if counted is not None:
            counted.append(architecture)
        return {"proxy": score(architecture)}

    context = Context(lambda architecture: Candidate(space.key(architecture)), scores=scores)
    searcher, found = make_searcher("predictor", space, args, context), []
    for index in range(trials):
        proposal = searcher.ask(History(list(found)), np.random.default_rng(index))
        reward = Metrics(convolutions(proposal.architecture))
        found.append(Trial(index, proposal, space.key(proposal.architecture), "done", reward))
    return found


def convolutions(architecture):
    return float(sum(value == "nor_conv_3x3" for value in architecture.decisions.values()))


def test_a_score_that_is_the_reward_finds_the_best_of_many_at_once():
    found = [t.reward for t in _searched(convolutions, 10, {"scores": True})]
    # of 100 random cells the best has four of six; one random cell has 1.2 on average
    assert found[0] >= 3
    assert np.mean(found[:8:2]) > np.mean(found[1:8:2]) + 1
    assert max(found[8:]) >= 5


def test_without_scores_none_is_asked_for():
    counted = []
    _searched(convolutions, 10, {"scores": False}, counted)
    assert counted == []


def _stuck(args, monkeypatch):
    """Return how many candidates were mutations, at each of 14 proposals after one that nothing is better than."""
    space, counted = space_of("nb201"), [0]
    mutate = Space.mutate

    def counting(self, *own):
        counted[0] += 1
        return mutate(self, *own)

    monkeypatch.setattr(Space, "mutate", counting)
    searcher, found, mutations = make_searcher("predictor", space, args), [], []
    for index in range(14):
        counted[0] = 0
        proposal = searcher.ask(History(list(found)), np.random.default_rng(index))
        mutations.append(counted[0])
        reward = Metrics(10.0 if index == 0 else convolutions(proposal.architecture))
        found.append(Trial(index, proposal, space.key(proposal.architecture), "done", reward))
    return mutations


@pytest.mark.long
def test_a_search_that_is_stuck_looks_elsewhere_every_second_time(monkeypatch):
    mutations = _stuck({"starts": 4, "patience": 6}, monkeypatch)
    # the seventh result is the sixth after the best
    assert all(mutations[4:7])
    assert [bool(count) for count in mutations[7:]] == [False, True, False, True, False, True, False]


@pytest.mark.long
def test_without_patience_it_never_does(monkeypatch):
    assert all(_stuck({"starts": 4, "patience": 0}, monkeypatch)[4:])


@pytest.mark.parametrize("args", [{"scores": 1}, {"scores": "yes"}, {"patience": -1}])
def test_wrong_arguments_are_refused(args):
    with pytest.raises(ConfigError, match=f"searcher 'predictor': {next(iter(args))} must be"):
        make_searcher("predictor", space_of("nb201"), args)
