"""Interrupted anywhere and resumed, or evaluated in any order: the search proposes the same architectures."""

from __future__ import annotations

import json

import pytest
from search_examples import SEARCHERS, ShuffledExecutor, reward, run_search


def proposals(trials):
    """Return what defines a search: every proposal, what became of it, and its reward."""
    return [(t.architecture, t.status, t.reward, t.of, dict(t.proposal.info)) for t in trials]


@pytest.mark.long
@pytest.mark.parametrize(
    "searcher", [pytest.param(name, marks=[pytest.mark.long] * (name == "local")) for name in SEARCHERS]
)
def test_interrupted_after_any_event_and_resumed_the_proposals_are_the_same(searcher):
    trials, events = run_search(searcher)
    whole = proposals(trials)
    assert len({t.key for t in trials}) > 20
    assert {t.status for t in trials} >= {"done", "failed"}
    for k in range(len(events)):
        kept = json.loads(json.dumps(events[:k]))
        again, _ = run_search(searcher, events=kept)
        assert proposals(again) == whole, f"differs when resumed after {k} events"


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_with_lag_4_the_order_of_results_changes_nothing(searcher):
    expected = proposals(run_search(searcher, lag=4)[0])
    for capacity in (1, 2, 4, 7):
        for seed in range(3):
            executor = ShuffledExecutor(reward, capacity, seed)
            assert proposals(run_search(searcher, lag=4, executor=executor)[0]) == expected


@pytest.mark.parametrize("searcher", ["local", "evolution"])
def test_the_lag_matters_so_that_the_test_above_can_fail(searcher):
    assert proposals(run_search(searcher, lag=1)[0]) != proposals(run_search(searcher, lag=4)[0])


def test_without_lag_the_order_of_results_matters():
    runs = [run_search("evolution", lag=None, executor=ShuffledExecutor(reward, 4, seed)) for seed in range(3)]
    assert any(proposals(trials) != proposals(runs[0][0]) for trials, _ in runs)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_without_lag_the_same_order_of_results_gives_the_same_search(searcher):
    runs = [run_search(searcher, lag=None, executor=ShuffledExecutor(reward, 4, 1)) for _ in range(2)]
    assert proposals(runs[0][0]) == proposals(runs[1][0])


def test_another_seed_gives_another_search():
    assert proposals(run_search("random", seed=1)[0]) != proposals(run_search("random", seed=2)[0])
