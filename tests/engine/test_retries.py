"""What the loop makes of workers that die: a fault costs a trial nothing once, a lost machine twenty times."""

from __future__ import annotations

from collections import Counter

import pytest

from nas.engine.assemble import DEFAULT_TASK
from nas.engine.loop import MAX_NODE_LOSSES, fold
from nas.executors.inline import InlineExecutor, run_evaluator
from nas.testing.searches import SearcherUnderTest, reward, run_search
from nas.testing.spaces import FLAT
from nas.types import Architecture, Failure, Job, Metrics, Outcome

MAKE = SearcherUnderTest.of("random", None, None).make


class Faulty(InlineExecutor):
    """Loses the attempts of trials to faults: ``plan[index]`` are the kinds of its first attempts."""

    def __init__(self, plan):
        super().__init__(reward)
        self.plan, self.began = plan, []

    def wait(self, timeout=None):
        """Evaluate the next job, or lose it."""
        job = self._jobs.popleft()
        self.began.append(job)
        kinds = self.plan.get(job.index, ())
        if job.attempt < len(kinds):
            kind = kinds[job.attempt]
            return [Outcome(job.index, Failure(kind, "planted"), 0.0, retry=not job.alone)]
        return [Outcome(job.index, *run_evaluator(reward, job))]


def search(plan, trials=6, **settings):
    executor = Faulty(plan)
    return run_search(MAKE, FLAT, trials, executor=executor, **settings), executor


def attempts(executor, index):
    return [job for job in executor.began if job.index == index]


def told(found, index):
    return [(e["event"], e.get("kind")) for e in found.events if e["index"] == index and e["event"] != "asked"]


@pytest.mark.parametrize("kind", ["crashed", "timeout"])
def test_a_first_fault_costs_nothing(kind):
    found, executor = search({2: [kind]})
    whole, _ = search({})
    first, second = attempts(executor, 2)
    assert (first.attempt, second.attempt, first.seed) == (0, 1, second.seed)
    assert told(found, 2) == [("retried", kind), *told(whole, 2)]
    assert [(t.key, t.reward, t.status) for t in found.trials] == [(t.key, t.reward, t.status) for t in whole.trials]


@pytest.mark.parametrize("kind", ["crashed", "timeout"])
def test_a_second_fault_fails(kind):
    found, executor = search({2: [kind, kind]})
    assert len(attempts(executor, 2)) == 2
    assert told(found, 2) == [("retried", kind), ("failed", kind)]
    assert found.trials[2].failure == Failure(kind, "planted")


def test_a_fault_of_another_kind_is_the_second_too():
    found, _ = search({2: ["crashed", "timeout"]})
    assert told(found, 2) == [("retried", "crashed"), ("failed", "timeout")]


@pytest.mark.parametrize(("times", "end"), [(MAX_NODE_LOSSES, "done"), (MAX_NODE_LOSSES + 1, "failed")])
def test_a_machine_may_go_away_twenty_times(times, end):
    found, executor = search({2: ["lost"] * times})
    assert len(attempts(executor, 2)) == MAX_NODE_LOSSES + 1
    assert Counter(told(found, 2))["retried", "lost"] == MAX_NODE_LOSSES
    assert told(found, 2)[-1][0] == end
    assert len({job.seed for job in attempts(executor, 2)}) == 1


def test_lost_machines_do_not_count_as_faults():
    found, _ = search({2: ["lost", "crashed", "lost"]})
    assert [event for event, _ in told(found, 2)] == ["retried", "retried", "retried", "done"]
    found, _ = search({2: ["lost", "crashed", "lost", "crashed"]})
    assert told(found, 2)[-1] == ("failed", "crashed")


def test_what_ran_out_of_memory_comes_back_alone():
    found, executor = search({2: ["oom"]})
    assert [job.alone for job in attempts(executor, 2)] == [False, True]
    assert told(found, 2)[0] == ("retried", "oom")
    found, executor = search({2: ["oom", "oom"]})
    assert told(found, 2) == [("retried", "oom"), ("failed", "oom")]
    found, executor = search({2: ["oom", "lost"]})
    assert all(job.alone for job in attempts(executor, 2)[1:])


@pytest.mark.parametrize("kind", ["oom", "crashed"])
def test_a_retry_survives_the_driver(kind):
    whole, _ = search({2: [kind]})
    cut = next(i for i, e in enumerate(whole.events) if e["event"] == "retried") + 1
    assert fold(whole.events[:cut], 1).retried[2] == [kind]
    resumed, executor = search({}, events=whole.events[:cut])
    (job,) = attempts(executor, 2)
    assert (job.attempt, job.alone) == (1, kind == "oom")
    assert told(resumed, 2) == told(whole, 2)
    again, _ = search({2: [kind, kind]}, events=whole.events[:cut])
    assert told(again, 2)[-1] == ("failed", kind)


def test_lost_attempts_survive_the_driver():
    whole, _ = search({2: ["lost"] * 5})
    cut = max(i for i, e in enumerate(whole.events) if e["event"] == "retried") + 1
    _, executor = search({2: ["lost"] * 100}, events=whole.events[:cut])
    assert len(attempts(executor, 2)) == MAX_NODE_LOSSES + 1 - 5


def test_trials_retried_together_keep_to_the_lag():
    class Wide(Faulty):
        capacity = 4

    executor = Wide({i: ["crashed"] for i in range(100)})
    found = run_search(MAKE, FLAT, 12, lag=4, executor=executor)
    whole = run_search(MAKE, FLAT, 12, lag=4)
    assert [(t.key, t.reward) for t in found.trials] == [(t.key, t.reward) for t in whole.trials]
    assert Counter(job.attempt for job in executor.began) == {
        0: len(found.evaluated_trials),
        1: len(found.evaluated_trials),
    }


class Wide(Faulty):
    """Takes four jobs at a time, evaluates them one by one, and gives back those that have not begun."""

    capacity = 4

    def withdraw(self):
        recalled = [job.index for job in self._jobs]
        self._jobs.clear()
        return recalled


def test_one_worker_in_this_process_finishes_what_it_was_handed():
    executor = InlineExecutor(lambda job: 1.0)
    job = Job(0, 0, Architecture("s", ()), "k", 1, 0, DEFAULT_TASK)
    executor.submit(job)
    assert list(executor.withdraw()) == []
    assert [outcome.index for outcome in executor.wait()] == [0]


def test_a_stopped_search_takes_back_what_has_not_begun_and_leaves_it_pending():
    executor = Wide({})
    found = run_search(MAKE, FLAT, 8, lag=4, executor=executor, until=lambda ledger: bool(ledger.counts.get("done")))
    assert found.reason == "interrupted"
    assert [job.index for job in executor.began] == [0]
    assert [t.status for t in found.trials] == ["done", "pending", "pending", "pending"]


def test_notes_that_no_journal_can_hold_fail_their_trial_alone():
    job = Job(0, 0, Architecture("s", ()), "k", 1, 0, DEFAULT_TASK)
    for bad in ({"loss": float("nan")}, {"set": {1}}):
        result, _ = run_evaluator(lambda job, bad=bad: Metrics(1.0, notes=bad), job)
        assert (result.kind, result.message.split(":")[0]) == ("error", "notes must be plain JSON of finite numbers")
