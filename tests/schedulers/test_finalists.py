"""Finalists: the best of a search trained again, whatever searches, on any number of workers, and after a kill."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nas
from nas.engine.loop import Ledger, Loop, Settings, fold
from nas.errors import Exhausted
from nas.executors.inline import InlineExecutor
from nas.schedulers import Finalists, finalist_of, make_scheduler
from nas.searchers import make_searcher
from nas.testing import Recorder, ShuffledExecutor
from nas.testing.spaces import FLAT, TASK, prepared

COUNT, EPOCHS = 3, 18


def luck(job):
    """Return the true worth, hidden by noise that halves with twice the epochs; some fail."""
    number = int(job.key[:8], 16)
    if number % 11 == 0:
        raise ValueError("planted")
    noise = np.random.default_rng(job.seed).normal() / job.epochs
    return (number % 1000) / 1000 + noise


def search(
    inner="random", trials=15, lag=1, executor=None, events=(), scheduler=None, count=COUNT, evaluate=luck, most=None
):
    space = FLAT.space()
    searcher = make_searcher(inner, space, {})
    if scheduler:
        searcher = make_scheduler(scheduler, searcher, 9, {})
    journal, ledger = Recorder(json.loads(json.dumps(events))), fold(events, lag)

    def observe(seen):
        if most is not None and len(seen.trials) >= most:
            loop.stop()

    parts = (lambda a: prepared(space, a), executor or InlineExecutor(evaluate), journal, ledger)
    loop = Loop(Finalists(searcher, count, EPOCHS, trials), *parts, Settings(TASK, trials, 9, 3), observe)
    return loop.run(), ledger, journal.events


def seen(ledger):
    return [(t.proposal, t.status, t.reward) for t in ledger.trials]


def best_of_first(ledger, count=COUNT):
    """Return the first trial of each of the best networks of the first stage."""
    done = [t for t in ledger.trials if finalist_of(t) is None and t.status == "done"]
    found = {}
    for t in sorted(done, key=lambda t: (-t.proposal.epochs, -t.reward, t.index)):
        found.setdefault(t.key, t.index)
    return list(found.values())[:count]


@pytest.mark.parametrize("scheduler", [None, "halving", "asha"])
@pytest.mark.parametrize("inner", ["random", "grid", "evolution"])
def test_the_last_trials_are_the_best_of_the_others_with_more_epochs_and_other_seeds(inner, scheduler):
    reason, ledger, _events = search(inner, scheduler=scheduler)
    assert (reason, ledger.queries) == ("budget", 15)
    second = [t for t in ledger.trials if finalist_of(t) is not None]
    assert second == ledger.trials[-COUNT:]
    assert [finalist_of(t) for t in second] == best_of_first(ledger)
    for t in second:
        first = ledger.trials[finalist_of(t)]
        assert (t.key, t.architecture, t.proposal.epochs) == (first.key, first.architecture, EPOCHS)
        assert t.proposal.continue_from is None
        assert t.reward != first.reward  # the noise is another seed's
    # a lucky score of few epochs does not win
    assert ledger.best() is max((t for t in second if t.status == "done"), key=lambda t: t.reward)


def test_a_search_with_a_lag_is_the_same_on_any_number_of_workers():
    expected = seen(search(lag=6)[1])
    for capacity in (2, 3, 6):
        assert seen(search(lag=6, executor=ShuffledExecutor(luck, capacity, capacity))[1]) == expected
    assert [finalist_of(t) for t in search(lag=6)[1].trials[-COUNT:]] == best_of_first(search(lag=6)[1])


def test_without_a_lag_they_wait_for_every_result_and_run_side_by_side():
    executor = ShuffledExecutor(luck, 4, 0)
    _reason, ledger, events = search(lag=None, executor=executor)
    assert [finalist_of(t) for t in ledger.trials[-COUNT:]] == best_of_first(ledger)
    asked = [e for e in events if e["event"] == "asked"][-COUNT:]
    places = [events.index(event) for event in asked]
    assert places == list(range(places[0], places[0] + COUNT))  # no result in between: they are asked together
    assert sum(e["event"] in ("done", "failed") for e in events[: places[0]]) == 15 - COUNT


@pytest.mark.parametrize("lag", [1, 5])
def test_killed_after_any_event_and_resumed_the_search_is_the_same(lag):
    _, ledger, events = search(lag=lag, trials=9)
    for k in range(len(events)):
        assert seen(search(lag=lag, trials=9, events=events[:k])[1]) == seen(ledger), k


def test_a_first_stage_that_ends_early_is_followed_by_finalists():
    reason, ledger, _ = search("grid", trials=100)
    assert reason == "exhausted"
    assert ledger.queries == len(FLAT.keys) + COUNT
    # one that only repeats itself, too
    reason, repeating, _ = search("random", trials=100)
    assert [finalist_of(t) for t in repeating.trials[-COUNT:]] == best_of_first(repeating)


def test_fewer_than_wanted_compete_where_the_rest_failed_and_none_where_all_did():
    def evaluate(job):
        if job.index > 1:
            raise ValueError("planted")
        return 1.0

    reason, ledger, _ = search(evaluate=evaluate, trials=8)
    assert (reason, [finalist_of(t) for t in ledger.trials[-2:]]) == ("exhausted", [0, 1])
    # where all of them fail the best of the first stage is the best
    assert ledger.best() is ledger.trials[0]

    def failing(job):
        raise ValueError("planted")

    assert search(evaluate=failing, trials=8)[0] == "exhausted"


@pytest.mark.parametrize("scheduler", [None, "halving", "asha"])
@pytest.mark.parametrize("more", [11, 20])
def test_a_search_that_gets_a_larger_budget_goes_on_and_chooses_again_of_the_others(more, scheduler):
    _, before, events = search("evolution", trials=10, scheduler=scheduler)
    reason, after, _ = search("evolution", trials=more, scheduler=scheduler, events=events)
    assert seen(after)[: len(before.trials)] == seen(before)
    assert (reason, after.queries) == ("budget", more)
    known = {t.key for t in before.trials if finalist_of(t) is not None}
    again = [t for t in after.trials[len(before.trials) :] if finalist_of(t) is not None]
    others = [index for index in best_of_first(after, 99) if after.trials[index].key not in known]
    assert [finalist_of(t) for t in again] == others[: min(COUNT, more - 10)]


def test_a_searcher_that_only_waits_ends_with_a_message():
    class Waits:
        def ask(self, history, rng):
            raise nas.errors.NeedsResults("for ever")

    with pytest.raises(nas.errors.NeedsResults, match="for ever"):
        Loop(Waits(), None, InlineExecutor(luck), Recorder(), Ledger(), Settings(TASK, 3, 9)).run()


def test_asked_again_it_says_the_same():
    _, ledger, _ = search()
    searcher = Finalists(make_searcher("random", FLAT.space(), {}), COUNT, EPOCHS, 15)
    for count in (15, 14, 15, 13):
        whole = nas.types.History(ledger.trials[: len(ledger.trials) - COUNT + count - 12])
        if count == 15:
            with pytest.raises(Exhausted):
                searcher.ask(whole, np.random.default_rng(0))
            continue
        found = searcher.ask(whole, np.random.default_rng(0))
        assert found == ledger.trials[len(whole)].proposal
