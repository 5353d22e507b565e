"""What nsga2 promises: fronts kept, limits kept or repaired, known parents, and clear errors."""

from __future__ import annotations

import json
import time
from functools import cache

import numpy as np
import pytest

import nas
from nas import space_of
from nas.cli.main import main
from nas.errors import ConfigError
from nas.searchers import Nsga2Searcher, make_searcher
from nas.searchers.pareto import front, hypervolume, non_dominated
from nas.types import Candidate, Context, History, Metrics, Proposal, Trial

SPACE = space_of("nb201")
KERNELS = {"nor_conv_3x3": 9, "nor_conv_1x1": 1}


def rng(seed=0):
    return np.random.default_rng(seed)


def trial(index, architecture, reward, **values):
    metrics = None if reward is None else Metrics(reward, values)
    status = "failed" if reward is None else "done"
    return Trial(index, Proposal(architecture), SPACE.key(architecture), status, metrics)


def parents_of(searcher, results, asks=60):
    return {searcher.ask(History(results), rng(seed)).info["parent"] for seed in range(asks)}


@cache
def cells(count):
    generator = rng(7)
    return tuple(SPACE.sample(generator) for _ in range(count))


def results_of(points):
    return [trial(i, cells(len(points))[i], reward, ms=ms) for i, (reward, ms) in enumerate(points)]


def nsga2(**args):
    return Nsga2Searcher(SPACE, "ms", **{"initial": 1, "crossover": 0.0, **args})


def test_parents_come_from_the_population_which_drops_what_is_dominated_first():
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (0.5, 2.0), (1.0, 3.0), (2.5, 9.0)]
    assert parents_of(nsga2(population=3, tournament=1), results_of(points)) == {0, 1, 2}


def test_of_one_front_the_most_crowded_is_dropped_and_the_ends_stay():
    points = [(1.0, 1.0), (1.1, 1.1), (1.2, 1.2), (5.0, 5.0), (9.0, 9.0)]
    assert parents_of(nsga2(population=4, tournament=1), results_of(points)) == {0, 2, 3, 4}


def test_a_tournament_is_won_by_the_better_front_and_then_by_the_less_crowded():
    points = [(1.0, 1.0), (1.1, 1.1), (1.2, 1.2), (9.0, 9.0), (8.0, 9.0)]
    assert parents_of(nsga2(population=5, tournament=5), results_of(points)) == {0, 3}  # the ends
    ahead = [(1.0, 1.0), (0.9, 1.0), (0.8, 1.0)]
    assert parents_of(nsga2(population=3, tournament=3), results_of(ahead)) == {0}


def test_what_keeps_the_limits_goes_before_what_does_not_and_the_lesser_violation_before_the_greater():
    points = [(9.0, 7.0), (9.5, 9.0), (1.0, 5.0), (8.0, 6.0)]
    for size, kept in ((1, {2}), (2, {2, 3}), (3, {0, 2, 3})):
        searcher = nsga2(population=max(size, 2), tournament=4 if size == 1 else 1, limits="ms<=5")
        assert parents_of(searcher, results_of(points)) == kept


def test_failed_and_reused_trials_are_no_parents_but_are_not_proposed_again():
    start = cells(1)[0]
    neighbours = SPACE.neighbours(start, rng())
    results = [trial(0, start, 1.0, ms=1.0), *(trial(i, n, None) for i, n in enumerate(neighbours[:-1], 1))]
    proposal = nsga2().ask(History(results), rng())
    assert proposal.info["parent"] == 0
    assert SPACE.key(proposal.architecture) not in {t.key for t in results}


def test_a_parent_without_new_neighbours_is_closed_and_the_next_takes_its_place():
    start, other = cells(2)
    results = [trial(0, start, 2.0, ms=1.0), trial(1, other, 1.0, ms=2.0)]
    results += [trial(i, n, None) for i, n in enumerate(SPACE.neighbours(start, rng()), 2)]
    searcher = nsga2(tournament=2)
    proposal = searcher.ask(History(results), rng())
    assert proposal.info["closed"] == [0]
    known = Trial(len(results), proposal, SPACE.key(proposal.architecture), "failed")
    assert searcher.ask(History([*results, known]), rng()).info["parent"] == 1


def kernels(architecture):
    return sum(KERNELS.get(op, 0) for _, op in architecture.decisions.items())


def small_context(most):
    def prepare(architecture):
        return Candidate(SPACE.key(architecture), params=1000 * kernels(architecture), macs=kernels(architecture))

    return Context(prepare, max_macs=most)


@pytest.mark.parametrize("searcher", ["nsga2", "evolution"])
def test_nearly_all_proposals_keep_a_tight_limit(searcher):
    context = small_context(3)  # 5 % of all cells
    made = make_searcher(searcher, SPACE, {}, context)
    results = []
    for index in range(120):
        proposal = made.ask(History(results), rng(index))
        prepared = context.prepare(proposal.architecture)
        status, metrics = ("done", Metrics(float(rng(index).random()))) if prepared.macs <= 3 else ("refused", None)
        results.append(Trial(index, proposal, prepared.key, status, metrics, params=1, macs=prepared.macs))
    assert sum(t.status == "refused" for t in results) <= 2
    assert len({t.key for t in results if t.status == "done"}) == sum(t.status == "done" for t in results)


@pytest.mark.long
def test_a_search_ends_with_a_front_of_reward_against_a_recorded_metric_and_macs():
    def evaluate(job):
        ops = [op for _, op in job.architecture.decisions.items()]
        return Metrics(float(kernels(job.architecture)), {"ms": float(sum(len(op) for op in ops))})

    result = nas.search("nb201", evaluate, "nsga2", 150, searcher_args={"objectives": "ms,macs"}, width=2)
    found = front(result.trials, ("ms", "macs"))
    random = nas.search("nb201", evaluate, "random", 150, width=2)
    volumes = [_volume(trials) for trials in (result.trials, random.trials)]
    assert len(found) > 5
    assert volumes[0] > volumes[1]


def _volume(trials):
    points = np.array([(-t.reward, t.metrics.values["ms"]) for t in trials if t.status == "done"])
    return hypervolume(points[non_dominated(points)], (0.0, 80.0))


def test_a_missing_objective_ends_the_search_with_its_name_and_what_there_is():
    with pytest.raises(ConfigError, match=r"searcher 'nsga2': trial 0: unknown objective 'latency'.*known: macs, ms"):
        nas.search(
            "nb201", lambda job: Metrics(1.0, {"ms": 1.0}), "nsga2", 9, searcher_args={"objectives": "latency"}, width=2
        )


def test_the_report_lists_the_front_within_the_limits(tmp_path):
    options = {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}
    choices = np.array([[a, b] for a in range(4) for b in range(4)], dtype=np.uint8)
    speed = 1.0 + choices.sum(axis=1)
    reward = np.sqrt(speed) - (choices[:, 0] > 0)  # a > 1 is no use
    columns = {"acc": reward, "ms": speed, "mj": choices[:, 1].astype(float)}
    np.savez(tmp_path / "t.npz", names=["a", "b"], options=json.dumps(options), choices=choices, **columns)
    args = ["--searcher-arg", "objectives=ms", "--searcher-arg", "limits=mj<=2", "--metric", "ms", "--metric", "mj"]
    table = ["--space", "table", "--table", str(tmp_path / "t.npz"), "--reward", "acc", "--baseline", "none"]
    run = ["search", "--searcher", "nsga2", "--name", "n", "--results-dir", str(tmp_path)]
    assert main([*run, *table, *args, "--trials", "16"]) == 0
    section = (tmp_path / "n" / "report.md").read_text().split("## Pareto front")[1].split("\n## ")[0]
    rows = [line.split("|")[2:4] for line in section.splitlines() if line.startswith("|")][2:]
    assert [(float(acc), float(ms)) for acc, ms in rows] == [(1.732, 3.0), (1.414, 2.0), (1.0, 1.0)]
    assert r"over the limits mj\<=2 are left out" in section


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"objectives": "reward"}, "the reward is maximised anyway"),
        ({"limits": "ms<5"}, "limits must be NAME<=NUMBER"),
        ({"crossover": 2}, "crossover must be a number from 0 to 1, found 2"),
        ({"mutation": "x"}, "mutation must be a number from 0 to 1, found 'x'"),
        ({"population": 1}, "population must be an integer of at least 2"),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(ConfigError, match=message):
        make_searcher("nsga2", SPACE, args)


@pytest.mark.long
def test_an_ask_is_quick_after_many_trials():
    generator = rng(3)
    points = generator.random((10_000, 2))
    found = [SPACE.sample(generator) for _ in range(300)]
    results = [
        Trial(i, Proposal(found[i % 300]), str(i % 300), "done", Metrics(float(x), {"ms": float(y)}))
        for i, (x, y) in enumerate(points)
    ]
    searcher, history = nsga2(), History(results)
    searcher.ask(history, rng())
    start = time.perf_counter()
    for seed in range(20):
        searcher.ask(history, rng(seed))
    assert (time.perf_counter() - start) / 20 <= 0.03  # 10 ms on an idle machine
