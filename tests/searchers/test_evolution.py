"""What evolution promises beyond a mutated winner: mixing, ageing, nothing twice, an end, and published beginnings."""

from __future__ import annotations

import time

import numpy as np
import pytest

import nas
from nas import space_of
from nas.engine.start_points import start_architecture, start_architectures
from nas.errors import ConfigError, Exhausted
from nas.searchers import EvolutionSearcher, make_searcher
from nas.space.genotypes import GENOTYPES
from nas.types import Candidate, Context, History, Metrics, Proposal, Trial
from search_spaces.genotypes.formats import from_architecture

SPACE = space_of("nb201")


def rng(seed=0):
    return np.random.default_rng(seed)


def trial(index, architecture, reward, **info):
    metrics = None if reward is None else Metrics(reward)
    status = "failed" if reward is None else "done"
    return Trial(index, Proposal(architecture, info=info), SPACE.key(architecture), status, metrics)


def random_trials(count, reward=float, seed=4):
    generator = rng(seed)
    return [trial(i, SPACE.sample(generator), reward(i)) for i in range(count)]


def asked(searcher, results, asks=40):
    return [searcher.ask(History(results), rng(seed)) for seed in range(asks)]


def test_a_mixed_child_has_both_parents_decisions_but_for_one_mutation():
    results = random_trials(20)
    searcher = EvolutionSearcher(SPACE, population=20, tournament=1, crossover=1.0)
    for proposal in asked(searcher, results):
        one, other = (results[proposal.info[name]].architecture for name in ("parent", "mate"))
        foreign = [n for n, v in proposal.architecture.decisions.items() if v not in (one[n], other[n])]
        assert len(foreign) <= 1


def test_crossover_is_the_share_of_mixed_children():
    results = random_trials(20)
    searcher = EvolutionSearcher(SPACE, population=20, crossover=0.3)
    mixed = sum("mate" in proposal.info for proposal in asked(searcher, results, 400))
    assert mixed == pytest.approx(120, abs=4 * (400 * 0.3 * 0.7) ** 0.5)


def test_without_ageing_the_worst_die_and_the_best_of_all_time_are_parents():
    results = random_trials(30, reward=lambda i: float(-i))
    old = EvolutionSearcher(SPACE, population=5, tournament=1, ageing=False)
    young = EvolutionSearcher(SPACE, population=5, tournament=1)
    assert {p.info["parent"] for p in asked(old, results)} == set(range(5))
    assert {p.info["parent"] for p in asked(young, results)} == set(range(25, 30))


def test_neither_decisions_nor_canonical_twins_are_proposed_again_while_pending_or_known():
    results, pending = random_trials(200), random_trials(230)[200:]
    searcher = EvolutionSearcher(SPACE, population=1, tournament=1)
    known = {t.key for t in [*results, *pending]}
    for seed in range(60):
        child = searcher.ask(History(results, pending), rng(seed)).architecture
        assert SPACE.key(child) not in known


def test_the_last_new_neighbour_is_found():
    start = SPACE.sample(rng(1))
    by_key = {SPACE.key(n): n for n in SPACE.neighbours(start, rng()) if SPACE.key(n) != SPACE.key(start)}
    *known, last = by_key.values()
    results = [trial(0, start, 5.0), *(trial(i, n, None) for i, n in enumerate(known, 1))]
    searcher = EvolutionSearcher(SPACE, population=1)
    assert {SPACE.key(p.architecture) for p in asked(searcher, results, 20)} == {SPACE.key(last)}


def test_a_small_space_is_searched_to_its_end_without_a_repeat():
    def small(choose):
        return [choose(name, [1, 2, 3]) for name in "abc"]

    result = nas.search(
        small, lambda job: float(job.architecture["a"]), "evolution", 100, searcher_args={"population": 3}
    )
    assert result.reason == "exhausted"
    assert len(result.trials) == 27 == result.queries


def test_exhausted_tells_how_many_there_were():
    space = space_of(lambda choose: choose("a", [1, 2]))
    results = [Trial(i, Proposal(a), str(i), "done", Metrics(1.0)) for i, a in enumerate(space.enumerate())]
    with pytest.raises(Exhausted, match="all 2 architectures were proposed"):
        EvolutionSearcher(space).ask(History(results), rng())


def test_networks_over_a_limit_are_mended_and_hopeless_ones_left():
    def prepare(architecture):
        return Candidate(
            SPACE.key(architecture), params=sum(v == "nor_conv_3x3" for _, v in architecture.decisions.items())
        )

    repaired = EvolutionSearcher(SPACE, context=Context(prepare, max_params=0))
    assert all(prepare(p.architecture).params == 0 for p in asked(repaired, []))
    hopeless = EvolutionSearcher(SPACE, context=Context(prepare, max_params=-1))
    assert hopeless.ask(History([]), rng()).architecture.space == "nb201"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"crossover": 1.5}, "crossover must be a number from 0 to 1, found 1.5"),
        ({"crossover": True}, "crossover must be a number from 0 to 1, found True"),
        ({"ageing": 1}, "ageing must be true or false, found 1"),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(ConfigError, match=f"searcher 'evolution': {message}"):
        make_searcher("evolution", SPACE, args)


@pytest.mark.long
def test_an_ask_is_quick_after_many_trials():
    space = space_of("nasnet")
    generator = rng(3)
    found = [space.sample(generator) for _ in range(500)]
    results = [Trial(i, Proposal(found[i % 500]), str(i % 500), "done", Metrics(float(i % 97))) for i in range(10_000)]
    searcher, history = EvolutionSearcher(space), History(results)
    searcher.ask(history, rng())
    start = time.perf_counter()
    for seed in range(20):
        searcher.ask(history, rng(seed))
    assert (time.perf_counter() - start) / 20 <= 0.03  # 10 ms on an idle machine


@pytest.mark.parametrize(
    ("text", "name", "space"),
    [("darts_v2", "DARTS_V2", "darts"), ("nasnet_a", "NASNet-A", "nasnet"), ("ENAS", "ENAS", "nasnet")],
)
def test_a_search_may_start_from_a_published_genotype(text, name, space):
    found = start_architecture(text)
    genotype = GENOTYPES[name].genotype
    assert found.space == space
    assert from_architecture(found) == (genotype.ordered() if space == "darts" else genotype)
    assert start_architectures([text], space_of(space)) == [found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("darts_v3", "unknown run, network, genotype or file 'darts_v3'; did you mean 'DARTS_V2'?"),
        ("PNASNet-5", "--start-from PNASNet-5: .*no point of space 'nasnet'"),
    ],
)
def test_what_is_no_start_is_refused_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        start_architecture(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "space"), [("darts_v2", "nasnet"), ("nasnet_a", "nb201"), ("resnet18", "darts")])
def test_a_start_of_another_space_is_refused(text, space):
    with pytest.raises(ConfigError, match="--start-from"):
        start_architectures([text], space_of(space))
