"""What each searcher promises, by hand-made histories and by the published table."""

from __future__ import annotations

import numpy as np
import pytest

import nas
from nas import space_of
from nas.engine.loop import Ledger
from nas.errors import ConfigError
from nas.searchers import EvolutionSearcher, LocalSearcher, make_searcher
from nas.types import History, Metrics, Proposal, Trial

SPACE = space_of("nb201")


def rng(seed=0):
    return np.random.default_rng(seed)


def trial(index, architecture, reward, **info):
    metrics = None if reward is None else Metrics(reward)
    status = "failed" if reward is None else "done"
    return Trial(index, Proposal(architecture, info=info), SPACE.key(architecture), status, metrics)


def distance(a, b):
    return sum(a.decisions[name] != value for name, value in b.decisions.items())


def test_evolution_draws_its_parents_from_the_latest_trials_only():
    generator = rng(5)
    architectures = [SPACE.sample(generator) for _ in range(30)]
    results = [trial(i, a, 100.0 if i < 10 else i / 30) for i, a in enumerate(architectures)]
    searcher = EvolutionSearcher(SPACE, population=20, tournament=20)
    proposal = searcher.ask(History(results), rng())
    assert proposal.info["parent"] == 29  # the first ten are better but dead
    assert distance(proposal.architecture, architectures[29]) == 1


def test_evolution_takes_the_best_of_its_tournament_and_ignores_failures():
    generator = rng(6)
    results = [trial(i, SPACE.sample(generator), None if i % 2 else float(i)) for i in range(20)]
    searcher = EvolutionSearcher(SPACE, population=10, tournament=10)
    assert searcher.ask(History(results), rng()).info["parent"] == 18


def test_evolution_starts_with_as_many_random_architectures_as_its_population():
    searcher = EvolutionSearcher(SPACE, population=5, tournament=2)
    results = [trial(i, SPACE.sample(rng(i)), 1.0) for i in range(5)]
    for count in range(5):
        assert "parent" not in searcher.ask(History(results[:count]), rng()).info
    assert "parent" in searcher.ask(History(results), rng()).info


def test_local_search_tries_each_neighbour_once_and_then_starts_anew():
    start = SPACE.sample(rng(1))
    results = [trial(0, start, 50.0, round=0)]
    searcher = LocalSearcher(SPACE, starts=1)
    seen = set()
    for index in range(1, 25):
        proposal = searcher.ask(History(results), rng(index))
        assert proposal.info["parent"] == 0
        assert distance(proposal.architecture, start) == 1
        assert proposal.architecture not in seen
        seen.add(proposal.architecture)
        results.append(trial(index, proposal.architecture, 10.0, **proposal.info))
    assert len(seen) == 24  # 6 edges with 4 other operations each
    again = searcher.ask(History(results), rng())
    assert again.info == {"round": 1}


def test_local_search_moves_to_the_first_better_neighbour():
    start = SPACE.sample(rng(1))
    neighbour = SPACE.neighbours(start, rng())[3]
    results = [trial(0, start, 50.0, round=0), trial(1, neighbour, 51.0, round=0, parent=0)]
    proposal = LocalSearcher(SPACE, starts=1).ask(History(results), rng())
    assert proposal.info["parent"] == 1
    assert distance(proposal.architecture, neighbour) == 1


def test_a_searcher_answers_for_the_history_it_is_given_not_for_the_one_before():
    generator = rng(2)
    long = [trial(i, SPACE.sample(generator), float(i), round=0) for i in range(30)]
    other = [trial(i, SPACE.sample(generator), float(-i), round=0) for i in range(30)]
    used = LocalSearcher(SPACE)
    for results in (long, other, long[:20], other[:12], long):
        fresh = LocalSearcher(SPACE).ask(History(results), rng(9))
        assert used.ask(History(results), rng(9)) == fresh


def test_what_is_known_is_not_evaluated_again_and_costs_no_query():
    evaluated = []

    def evaluate(job):
        evaluated.append(job.key)
        return float(len(evaluated))

    def small(choose):
        return choose("a", [1, 2, 3]), choose("b", [1, 2])

    result = nas.search(small, evaluate, searcher="random", trials=50)
    assert result.reason == "exhausted"
    assert len(evaluated) == len(set(evaluated)) == 6 == result.queries
    reused = [t for t in result.trials if t.status == "reused"]
    assert reused
    for t in reused:
        assert t.reward == result.trials[t.of].reward
        assert t.key == result.trials[t.of].key


@pytest.mark.long
def test_isomorphic_cells_are_evaluated_once():
    keys = []
    nas.search("nb201", lambda job: keys.append(job.key) or 1.0, searcher="random", trials=300)
    assert len(keys) == len(set(keys)) == 300


def test_networks_over_a_limit_are_refused_without_a_query():
    seen = []
    result = nas.search(
        "nb201", lambda job: seen.append(job.params) or 1.0, searcher="random", trials=30, max_params=400_000
    )
    refused = [t for t in result.trials if t.failure and t.failure.kind == "over_limit"]
    assert len(seen) == 30
    assert max(seen) <= 400_000 < min(t.params for t in refused)


def test_a_failing_evaluator_fails_its_trial_and_not_the_search():
    def evaluate(job):
        if job.index % 2:
            raise RuntimeError("two\nlines")
        return float("nan") if job.index % 4 else 1.0

    result = nas.search("nb201", evaluate, searcher="random", trials=12)
    kinds = [t.failure.kind if t.failure else None for t in result.trials if t.status != "reused"]
    assert kinds == [None, "error", "diverged", "error"] * 3
    assert result.trials[1].failure.message == "RuntimeError: two lines"


@pytest.mark.parametrize("value", ["high", None, True, [1.0]])
def test_an_evaluator_that_returns_no_number_is_told_so(value):
    result = nas.search("nb201", lambda job: value, searcher="random", trials=1, record_failures=True)
    assert "an evaluator returns Metrics or a number" in result.trials[0].failure.message


def test_unknown_arguments_of_a_searcher_are_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown argument 'populaton'; did you mean 'population'"):
        make_searcher("evolution", SPACE, {"populaton": 3})


def test_the_ledger_counts_what_it_holds():
    ledger = Ledger()
    nas.search("nb201", lambda job: 1.0, trials=20, observe=lambda seen: ledger.__dict__.update(seen.__dict__))
    assert ledger.queries == 20 == ledger.counts["done"]
    assert sum(ledger.counts.values()) == len(ledger.trials)
