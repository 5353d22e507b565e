"""A trial whose evaluator finds beforehand that it would be too slow is refused: free, known, and bounded in number."""

from __future__ import annotations

import pytest

from nas.engine.loop import MAX_TOO_SLOW
from nas.errors import TOO_SLOW, EvaluationError
from nas.executors.inline import InlineExecutor
from nas.testing.searches import SearcherUnderTest, ShuffledExecutor, course, reward, run_search
from nas.testing.spaces import FLAT

MAKE = SearcherUnderTest.of("random", None, None).make


def slow_thirds(job):
    if int(job.key[:8], 16) % 3 == 0:
        raise EvaluationError(f"training would take about {job.index} s, over the limit of 1 s", TOO_SLOW)
    return reward(job)


def always_slow(job):
    raise EvaluationError("training would take about 9 s, over the limit of 1 s", TOO_SLOW)


def search(evaluate=slow_thirds, trials=12, **how):
    return run_search(MAKE, FLAT, trials, executor=how.pop("executor", None) or InlineExecutor(evaluate), **how)


def test_what_is_too_slow_costs_no_trial():
    found = search()
    refused = [t for t in found.trials if t.status == "refused"]
    assert refused
    assert all(t.failure.kind == TOO_SLOW and t.reward is None for t in refused)
    assert len(found.evaluated_trials) == 12
    assert found.reason == "budget"
    told = [e for e in found.events if e["event"] == "refused"]
    assert [e["index"] for e in told] == [t.index for t in refused]
    assert all(e["wall"] >= 0 for e in told)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", [2, 5])
def test_it_is_the_same_search_on_any_number_of_workers(capacity, seed):
    executor = ShuffledExecutor(slow_thirds, capacity, seed)
    assert course(search(executor=executor, lag=5)) == course(search(lag=5))


def test_a_journal_cut_anywhere_leads_to_the_same_search():
    whole = search()
    for length in range(len(whole.events)):
        evaluated = []

        def evaluate(job, evaluated=evaluated):
            evaluated.append(job.index)
            return slow_thirds(job)

        found = search(evaluate, events=whole.events[:length])
        assert course(found) == course(whole)
        ended = {e["index"] for e in whole.events[:length] if e["event"] != "asked"}
        assert not ended & set(evaluated)  # what is journalled is not measured again


def test_an_equal_network_is_not_measured_again():
    evaluated = []

    def evaluate(job):
        evaluated.append(job.key)
        return slow_thirds(job)

    found = search(evaluate, trials=20)
    assert len(evaluated) == len(set(evaluated))
    assert any(t.status == "reused" and t.failure and t.failure.kind == TOO_SLOW for t in found.trials)


@pytest.mark.parametrize("capacity", [1, 4])
def test_a_space_of_slow_networks_is_exhausted(capacity, monkeypatch):
    monkeypatch.setattr("nas.engine.loop.MAX_FREE_PROPOSALS", 30)
    found = search(executor=ShuffledExecutor(always_slow, capacity, 0), lag=None)
    assert found.reason == "exhausted"
    assert not found.evaluated_trials
    assert 30 <= len(found.trials) < 100  # reused ones among them


def test_a_limit_that_nothing_meets_is_found_out_soon(monkeypatch):
    found = search(always_slow)
    assert (found.reason, sum(t.status == "refused" for t in found.trials)) == ("exhausted", MAX_TOO_SLOW)
    # where one is quick enough there may be others
    first = search(lambda job: reward(job) if job.index == 0 else always_slow(job))
    assert sum(t.status == "refused" for t in first.trials) > MAX_TOO_SLOW


def test_seconds_of_measuring_count_towards_those_of_the_search():
    found = search(always_slow, until=lambda ledger: len(ledger.trials) == 3)
    walls = [e["wall"] for e in found.events if e["event"] == "refused"]
    seen = []
    search(events=found.events, until=lambda ledger: bool(seen.append(ledger.seconds)) or True)
    assert seen[0] >= sum(walls) > 0
