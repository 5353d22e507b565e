"""Schedulers against the published algorithms written down plainly, their laws, and searches out of order."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nas
from nas import space_of
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.loop import Ledger, Loop, Settings
from nas.errors import ConfigError, Exhausted
from nas.executors.inline import InlineExecutor
from nas.schedulers import SCHEDULERS, make_scheduler
from nas.schedulers.ranking import ByPareto, ByReward
from nas.searchers import Fold, make_searcher
from nas.searchers.base import StartFrom
from nas.testing import Recorder, ShuffledExecutor
from nas.types import Candidate, History, Job, Metrics, Proposal, Trial

SPACE = space_of("nb201")
RANDOM = make_searcher("random", SPACE, {})
NAMES = sorted(SCHEDULERS)


def rng(seed=0):
    return np.random.default_rng(seed)


def noisy(job: Job) -> Metrics:
    """A reward that depends on key and epochs, and fails for one in eleven; costs that depend on the key."""
    number = int(job.key[:8], 16)
    if (number + job.epochs) % 11 == 0:
        raise ValueError("planted failure")
    reward = number / 0xFFFFFFFF + job.epochs + (number * job.epochs % 97) / 97
    return Metrics(reward, {"latency": number % 1009})


def run(scheduler, args=None, trials=60, lag=1, executor=None, events=(), inner="random", epochs=9, seed=3, start=()):
    """Search nb201 and return the trials and the journal, going on from ``events``."""
    ledger, journal = Ledger(lag), Recorder(events)
    for event in events:
        ledger.apply(event)
    searcher = make_searcher(inner, SPACE, {})
    searcher = StartFrom(searcher, start) if start else searcher
    made = make_scheduler(scheduler, searcher, epochs, args or {})
    settings = Settings(DEFAULT_TASK, trials, epochs, seed)

    def prepare(architecture):
        return Candidate(SPACE.key(architecture))

    Loop(made, prepare, executor or InlineExecutor(noisy), journal, ledger, settings).run()
    return ledger.trials, journal.events


def story(trials):
    """Return what defines a search."""
    return [(t.proposal, t.status, t.reward, t.of) for t in trials]


class Sequential:
    """A history that is evaluated one trial after the other, each architecture new; the searcher under it is random."""

    def __init__(self, scheduler, epochs, reward, **args):
        self.scheduler = make_scheduler(scheduler, self, epochs, args)
        self.trials, self.reward, self.new = [], reward, 0

    def ask(self, history, generator):
        self.new += 1
        return Proposal(SPACE.sample(generator))

    def go(self, count):
        for index in range(len(self.trials), len(self.trials) + count):
            proposal = self.scheduler.ask(History(self.trials), rng(index))
            origin = proposal.continue_from
            name = index if origin is None else int(self.trials[origin].key)
            reward = self.reward(name, proposal.epochs)
            metrics = None if reward is None else Metrics(reward)
            status = "failed" if reward is None else "done"
            self.trials.append(Trial(index, proposal, str(name), status, metrics))
        return [(int(t.key), t.proposal.epochs) for t in self.trials]


def shuffled_reward(seed):
    values = rng(seed).permutation(20_000).tolist()
    return lambda name, epochs: values[name * 7 % 9973 + epochs]


def halving_by_hand(first, sizes, rungs, reward, name):
    """Successive halving of fresh names from ``name`` on: what is trained for how long, in order."""
    members, done = list(range(name, name + sizes[0])), []
    for rung, size in enumerate(sizes):
        epochs = rungs[first + rung]
        members = members[:size]
        done += [(m, epochs) for m in members]
        members.sort(key=lambda m: -reward(m, epochs))
    return done


TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(27, 3), (9, 9), (3, 27), (1, 81)],
    2: [(9, 9), (3, 27), (1, 81)],
    1: [(6, 27), (2, 81)],
    0: [(5, 81)],
}
"""arXiv:1603.06560, table 1: R = 81, eta = 3; (n_i, r_i) of each bracket s."""


def test_hyperband_has_the_brackets_of_the_papers_table():
    scheduler = make_scheduler("hyperband", RANDOM, 81, {})
    assert scheduler.rungs == (1, 3, 9, 27, 81)
    found = [list(zip(p.sizes, scheduler.rungs[p.first :], strict=True)) for p in scheduler.plans]
    assert found == [TABLE_1[s] for s in (4, 3, 2, 1, 0)]


def test_hyperband_trains_what_the_algorithm_trains():
    reward = shuffled_reward(1)
    search = Sequential("hyperband", 81, reward)
    expected, rungs = [], (1, 3, 9, 27, 81)
    for _ in range(2):
        for s in (4, 3, 2, 1, 0):
            sizes = [n for n, _ in TABLE_1[s]]
            expected += halving_by_hand(4 - s, sizes, rungs, reward, len(expected))
    assert search.go(len(expected)) == expected


@pytest.mark.parametrize(("size", "eta", "sizes"), [(None, 3, (9, 3, 1)), (20, 3, (20, 6, 2)), (8, 2, (8, 4, 2, 1))])
def test_halving_trains_what_the_algorithm_trains(size, eta, sizes):
    reward = shuffled_reward(2)
    epochs = eta ** (len(sizes) - 1)
    search = Sequential("halving", epochs, reward, eta=eta, **({} if size is None else {"size": size}))
    rungs = [eta**k for k in range(len(sizes))]
    expected = []
    for _ in range(3):
        expected += halving_by_hand(0, sizes, rungs, reward, len(expected))
    assert search.go(len(expected)) == expected


def test_asha_trains_what_the_algorithm_trains():
    reward, eta, rungs = shuffled_reward(3), 3, (1, 3, 9, 27)
    done, promoted, expected = [[], [], [], []], [set(), set(), set()], []
    for index in range(400):
        job = (index, 0)
        for k in (2, 1, 0):  # get_job of algorithm 2
            best = sorted(done[k], key=lambda m: -reward(m, rungs[k]))[: len(done[k]) // eta]
            candidates = [m for m in best if m not in promoted[k]]
            if candidates:
                promoted[k].add(candidates[0])
                job = (candidates[0], k + 1)
                break
        done[job[1]].append(job[0])
        expected.append((job[0], rungs[job[1]]))
    assert Sequential("asha", 27, reward).go(400) == expected


def test_explicit_rungs_promote_the_share_that_makes_rungs_cost_alike():
    search = Sequential("asha", 200, shuffled_reward(4), rungs="12,200")
    assert [epochs for _, epochs in search.go(17)] == [12] * 16 + [200]
    assert make_scheduler("halving", RANDOM, 200, {"rungs": (12, 200)}).plans[0].sizes == (16, 1)
    assert make_scheduler("halving", RANDOM, 100, {"eta": 2, "min_epochs": 12}).rungs == (12, 25, 50, 100)


def test_failures_are_the_worst_of_their_rung_and_a_failed_promotion_is_not_repeated():
    def reward(name, epochs):
        return None if epochs == 3 or (epochs == 1 and name % 2) else float(name)

    search = Sequential("halving", 9, reward, size=9)
    done = search.go(22)
    # 4 of 9 failed; the three best go on and fail, so the bracket ends and the next begins
    assert [name for name, epochs in done[:12] if epochs == 3] == [8, 6, 4]
    assert all(epochs == 1 for _, epochs in done[12:21])
    asha = Sequential("asha", 9, reward).go(40)
    promoted = [name for name, epochs in asha if epochs == 3]
    assert len(promoted) == len(set(promoted)) > 5
    assert max(epochs for _, epochs in asha) == 3


def test_architectures_of_a_bracket_that_cannot_be_filled_compete_all_the_same():
    def tiny(choose):
        return choose("a", [1, 2, 3, 4, 5])

    def evaluate(job):
        return float(job.architecture["a"])

    for name in NAMES:
        result = nas.search(tiny, evaluate, "random", 50, epochs=9, scheduler=name)
        assert result.reason == "exhausted"
        assert result.best.proposal.epochs >= 3
        assert result.best.reward == 5


@pytest.mark.parametrize("name", NAMES)
def test_where_the_searcher_has_nothing_left_what_is_there_is_promoted(name):
    class Six:
        def ask(self, history, generator):
            if len(history) == 6:
                raise Exhausted("no more")
            return Proposal(SPACE.sample(rng(len(history))))

    result = nas.search(SPACE, lambda job: job.index, Six(), 50, epochs=9, scheduler=name)
    epochs = [t.proposal.epochs for t in result.trials]
    assert epochs.count(1) == 6
    assert epochs.count(3) >= 2
    assert epochs.count(9) >= 1
    assert result.reason == "exhausted"


@pytest.mark.long
@pytest.mark.parametrize("lag", [1, 4, None])
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_laws_of_promotion(name, lag, data):
    eta, epochs = data.draw(st.sampled_from([(2, 8), (3, 9), (3, 30), (2, 5)]))
    by = data.draw(st.sampled_from([{}, {"by": "pareto", "objectives": "latency"}]))
    seed, capacity = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 5))
    trials, _ = run(
        name, {"eta": eta, **by}, 70, lag, ShuffledExecutor(noisy, capacity, seed), epochs=epochs, seed=seed
    )
    rungs = make_scheduler(name, RANDOM, epochs, {"eta": eta}).rungs
    below = {high: low for low, high in pairwise(rungs)}
    origins = [t.proposal.continue_from for t in trials if t.proposal.continue_from is not None]
    assert len(origins) == len(set(origins)) > 0
    for t in trials:
        assert t.proposal.epochs in rungs
        if t.proposal.continue_from is not None:
            origin = trials[t.proposal.continue_from]
            assert origin.index < t.index
            assert origin.architecture == t.architecture
            assert origin.proposal.epochs == below[t.proposal.epochs]
            assert origin.status in ("done", "reused")
            assert origin.reward is not None


@pytest.mark.long
@pytest.mark.parametrize("inner", ["random", "evolution", "local"])
@pytest.mark.parametrize("name", NAMES)
def test_interrupted_after_any_event_and_resumed_the_search_is_the_same(name, inner):
    trials, events = run(name, inner=inner, trials=45)
    assert {t.status for t in trials} >= {"done", "failed"}
    for k in range(0, len(events), 7 if inner == "random" else 19):
        kept = json.loads(json.dumps(events[:k]))
        assert story(run(name, inner=inner, trials=45, events=kept)[0]) == story(trials)


@pytest.mark.parametrize("name", NAMES)
def test_with_a_lag_the_order_of_results_changes_nothing_and_no_worker_waits(name):
    expected = story(run(name, lag=5)[0])
    for capacity in (1, 3, 5):
        assert story(run(name, lag=5, executor=ShuffledExecutor(noisy, capacity, 1))[0]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_answers_for_the_history_it_is_given(name):
    used = make_scheduler(name, make_searcher("evolution", SPACE, {}), 9, {})
    long, other = run(name, seed=1)[0], run(name, seed=2)[0]
    for trials in (long, other, long[:20], other[:33], long[:47]):
        fresh = make_scheduler(name, make_searcher("evolution", SPACE, {}), 9, {})
        assert used.ask(History(trials), rng(5)) == fresh.ask(History(trials), rng(5))


class Watcher:
    """A random searcher that keeps what it was shown."""

    def __init__(self):
        self.seen = []
        self.rewards = Fold(list, lambda state, t: state.append((t.index, t.reward)))

    def ask(self, history, generator):
        folded = list(self.rewards(history))
        assert folded == [(t.index, t.reward) for t in history.results]
        self.seen.append((len(history), list(history.results), list(history.pending)))
        return Proposal(SPACE.sample(generator))


def watched(name, lag, **args):
    watcher, ledger = Watcher(), Ledger(lag)
    made = make_scheduler(name, watcher, 9, args)

    def prepare(architecture):
        return Candidate(SPACE.key(architecture))

    executor = ShuffledExecutor(noisy, 3, 0)
    Loop(made, prepare, executor, Recorder(), ledger, Settings(DEFAULT_TASK, 90, 9, 1)).run()
    return watcher, ledger.trials


@pytest.mark.parametrize("learn", ["lowest", "largest"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lag", [1, 4, None])
def test_a_searcher_sees_all_its_proposals_and_rewards_of_one_fidelity(name, learn, lag):
    watcher, trials = watched(name, lag, learn=learn, enough=4)
    fidelities = []
    for asked, (length, results, pending) in enumerate(watcher.seen):
        assert length == asked
        own = [t.index for t in [*results, *pending] if t.proposal.continue_from is None]
        assert sorted(own) == [t.index for t in trials if t.proposal.continue_from is None][:asked]
        epochs = {t.proposal.epochs for t in results if t.reward is not None}
        assert len(epochs) <= 1
        fidelities += epochs
        for t in results:
            assert t.reward in (None, trials[t.index].reward)
    assert fidelities == sorted(fidelities)
    assert set(fidelities) == ({1} if learn == "lowest" else {1, 3, 9}) or name == "asha"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_search_starts_from_comes_first_and_once(name):
    start = [SPACE.sample(rng(i)) for i in range(12)]
    trials, _ = run(name, {"learn": "largest", "enough": 1}, start=start)
    fresh = [t for t in trials if t.proposal.continue_from is None]
    assert [t.architecture for t in fresh[:12]] == start
    assert [t.proposal.info["start"] for t in fresh[:12]] == list(range(12))
    assert not any("start" in t.proposal.info for t in fresh[12:])


def fronts_by_peeling(points):
    left, found = set(range(len(points))), []
    while left:
        front = {
            i
            for i in left
            if not any(all(points[j] <= points[i]) and any(points[j] < points[i]) for j in left if j != i)
        }
        found.append(front)
        left -= front
    return found


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), max_size=40))
def test_the_pareto_ranking_is_that_of_non_dominated_sorting(values):
    ranking = ByPareto(("a", "b"))
    architecture = SPACE.sample(rng())
    for i, (r, a, b) in enumerate(values):
        ranking.add(Trial(i, Proposal(architecture), "k", "done", Metrics(r, {"a": a, "b": b})))
    order = [t.index for t in ranking]
    expected = []
    for front in fronts_by_peeling(np.array([(-r, a, b) for r, a, b in values]).reshape(-1, 3)):
        expected += sorted(front, key=lambda i: (-values[i][0], i))
    assert order == expected


def test_equal_rewards_rank_by_age():
    ranking = ByReward()
    for index in (3, 1, 2):
        ranking.add(Trial(index, Proposal(SPACE.sample(rng())), "k", "done", Metrics(1.0)))
    assert [t.index for t in ranking] == [1, 2, 3]


def test_promotion_by_pareto_rank_keeps_cheap_networks():
    def evaluate(job):
        return Metrics(float(job.params), {"cost": float(job.params)})

    size = {"width": 4, "depth": 1, "epochs": 3, "scheduler": "halving"}
    args = {"rungs": (1, 3), "size": 9, "eta": 3}
    by = {**args, "by": "pareto", "objectives": "params"}
    rich = nas.search("nb201", evaluate, "random", 12, **size, scheduler_args=args).trials
    mixed = nas.search("nb201", evaluate, "random", 12, **size, scheduler_args=by).trials
    costs = sorted(t.params for t in mixed[:9])
    assert [t.params for t in rich[9:]] == costs[::-1][:3]
    assert [t.proposal.epochs for t in mixed[9:]] == [3, 3, 3]  # none dominates another: any may go on


@pytest.mark.parametrize(
    ("name", "args", "rule"),
    [
        ("hyperban", {}, "did you mean 'hyperband'"),
        ("asha", {"etta": 2}, "did you mean 'eta'"),
        ("asha", {"eta": 1}, "eta must be an integer of at least 2"),
        ("asha", {"eta": 2.5}, "eta must be"),
        ("asha", {"min_epochs": 10}, "at most --epochs 9"),
        ("asha", {"min_epochs": 0}, "at least 1"),
        ("asha", {"min_epochs": 4}, "is no step of eta 3"),
        ("asha", {"rungs": "3,12"}, "the last of rungs must be --epochs 9"),
        ("asha", {"rungs": "9,3"}, "ascending"),
        ("asha", {"rungs": 9}, "ascending"),
        ("asha", {"rungs": "a,9"}, "ascending"),
        ("asha", {"rungs": "3,9", "min_epochs": 2}, "not both"),
        ("halving", {"size": 8}, "size must be at least 9"),
        ("asha", {"size": 8}, "unknown argument 'size'"),
        ("asha", {"by": "rank"}, "reward or pareto"),
        ("asha", {"objectives": "params"}, "go with by=pareto"),
        ("asha", {"by": "pareto", "objectives": ""}, "objectives must be"),
        ("hyperband", {"learn": "all"}, "lowest or largest"),
        ("hyperband", {"enough": 0}, "enough must be"),
    ],
)
def test_wrong_arguments_are_one_line(name, args, rule):
    with pytest.raises(ConfigError) as caught:
        make_scheduler(name, RANDOM, 9, args)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)
