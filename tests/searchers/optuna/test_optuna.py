"""Optuna's samplers as searchers: pure functions of the history that learn, and never ask twice without need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import space_of
from nas.errors import ConfigError, Exhausted, Infeasible
from nas.searchers import FAMILIES, SEARCHERS, make_searcher
from nas.searchers.optuna.searcher import readable
from nas.space import Space
from nas.types import Architecture, Failure, History, Metrics, Proposal, Trial

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("tpe", "cmaes", "random", "qmc", "nsgaii", "nsgaiii", "bruteforce")
COLOURS = ("red", "green", "blue", "grey")

pytest.importorskip("optuna")


def squares(choose):
    """Six decisions of four options, of every kind that an option may have."""
    for i in range(4):
        choose(f"colour{i}", COLOURS)
    choose("size", (1, 2, 4, 8))
    choose("shape", ((1, 1), (3, 3), None, "round"))


def conditional(choose):
    """A decision that is made only after another."""
    if choose("kind", ("cell", "chain")) == "cell":
        choose("nodes", (2, 3, 4))
    choose("width", (16, 32, 64))


def odd(choose):
    """Half of what can be chosen is infeasible."""
    total = sum(choose(f"n{i}", (0, 1, 2, 3)) for i in range(3))
    if total % 2 == 0:
        raise Infeasible("the sum must be odd")


def one_point(choose):
    """Nothing to decide."""
    choose("only", ("this",))


def greens(architecture: Architecture) -> float:
    """Return how many colours are green."""
    return float(sum(value == "green" for _, value in architecture.decisions.items()))


def rng(index: int, seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, index])


def finished(index: int, proposal: Proposal, reward: float | None) -> Trial:
    key = json.dumps(dict(proposal.architecture.decisions))
    if reward is None:
        return Trial(index, proposal, key, "failed", failure=Failure("error", "planted"))
    return Trial(index, proposal, key, "done", Metrics(reward))


def search(name, space, count, score=greens, lag=1, seed=0, args=None):
    """Return the trials of a search that sees results up to ``lag`` behind; one searcher asks for all."""
    searcher, trials = make_searcher(name, space, args or {}), []
    for index in range(count):
        horizon = max(0, index - lag + 1)
        pending = [Trial(t.index, t.proposal, t.key) for t in trials[horizon:]]
        proposal = searcher.ask(History(trials[:horizon], pending), rng(index, seed))
        trials.append(finished(index, proposal, score(proposal.architecture)))
    return trials


def failing(architecture: Architecture) -> float | None:
    """Return no reward now and then."""
    return None if next(iter(architecture.decisions.values())) == "grey" else greens(architecture)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("lag", [1, 5])
def test_a_fresh_searcher_that_sees_the_history_at_once_asks_the_same(name, lag):
    space = Space("squares", squares)
    trials = search(f"optuna:{name}", space, 60, failing, lag)
    for index in (7, 20, 41, 59):
        fresh = make_searcher(f"optuna:{name}", Space("squares", squares), {})
        # what a journal holds is what a resumed search sees
        past = [_through_json(t) for t in trials[: max(0, index - lag + 1)]]
        pending = [_through_json(Trial(t.index, t.proposal, t.key)) for t in trials[len(past) : index]]
        again = fresh.ask(History(past, pending), rng(index))
        assert again == trials[index].proposal


def _through_json(trial: Trial) -> Trial:
    proposal = trial.proposal
    architecture = Architecture.from_json(json.loads(json.dumps(proposal.architecture.to_json())))
    info = json.loads(json.dumps(dict(proposal.info)))
    copy = Proposal(architecture, proposal.epochs, info)
    return Trial(trial.index, copy, trial.key, trial.status, trial.metrics, trial.failure)


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
from test_optuna import *
for name in QUICK:
    for t in search(f"optuna:{{name}}", Space("squares", squares), 40, failing, 3):
        print(t.proposal)
"""


@pytest.mark.long
def test_another_process_with_another_hash_seed_asks_the_same():
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    outputs = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(done.stdout)
        assert done.stderr == ""
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 40 * len(QUICK)


@pytest.mark.parametrize("name", ["tpe", "cmaes", "qmc", "nsgaii"])
def test_it_asks_for_the_history_it_is_given_not_for_the_one_before(name):
    space = Space("squares", squares)
    one, other = (search(f"optuna:{name}", space, 50, failing, seed=seed) for seed in (1, 2))
    used = make_searcher(f"optuna:{name}", space, {})
    for history in (History(one), History(other[:30]), History(one[:45]), History([])):
        fresh = make_searcher(f"optuna:{name}", space, {})
        assert used.ask(history, rng(99)) == fresh.ask(history, rng(99))


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("lag", [1, 4])
def test_nothing_is_asked_twice_until_everything_was(name, lag):
    space = Space("conditional", conditional)
    every = set(space.enumerate())
    trials = search(f"optuna:{name}", space, len(every), lambda a: float(a["width"]), lag)
    assert {t.architecture for t in trials} == every
    with pytest.raises(Exhausted, match="every architecture was tried"):
        make_searcher(f"optuna:{name}", space, {}).ask(History(trials), rng(0))


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsgaii"])
def test_it_finds_what_random_search_does_not(name):
    def score(searcher):
        args = {"population_size": 10} if searcher == "optuna:nsgaii" else {}
        trials = [search(searcher, Space("squares", squares), 60, seed=s, args=args)[20:] for s in range(4)]
        return np.mean([[t.reward for t in run] for run in trials])

    assert score(f"optuna:{name}") > score("random") + 0.3


def test_cma_es_goes_through_generations_and_keeps_one_state_of_its_optimiser():
    searcher = make_searcher("optuna:cmaes", Space("squares", squares), {"popsize": 5})
    trials = []
    for index in range(45):
        proposal = searcher.ask(History(trials), rng(index))
        trials.append(finished(index, proposal, greens(proposal.architecture)))
    generations = [t.proposal.info["attrs"].get("cma:generation", -1) for t in trials]
    assert max(generations) >= 4
    assert sorted(generations) == generations
    past = searcher._fold(History(trials)).past
    assert sum(any(":optimizer:" in key for key in t.system_attrs) for t in past) == 1
    assert not any("optimizer" in json.dumps(dict(t.proposal.info)) for t in trials)


def test_cma_es_goes_on_where_a_decision_turns_out_to_be_conditional():
    def late(choose):
        wide = sum(choose(f"n{i}", tuple(range(8))) for i in range(4))
        if wide != 3:
            choose("extra", (0, 1, 2))

    searcher, trials = make_searcher("optuna:cmaes", Space("late", late), {"popsize": 4}), []
    for index in range(60):
        proposal = searcher.ask(History(trials), rng(index))
        if index == 30:  # none of the others lacks the extra decision
            short = (("n0", 3), ("n1", 0), ("n2", 0), ("n3", 0))
            proposal = Proposal(Architecture("late", short), info=proposal.info)
        trials.append(finished(index, proposal, float(sum(v for _, v in proposal.architecture.decisions.items()))))
    assert any(t.proposal.info["attrs"] for t in trials[35:])
    assert np.mean([t.reward for t in trials[45:]]) > np.mean([t.reward for t in trials[:15]])


def test_the_quasi_random_sequence_advances_and_depends_on_the_seed():
    def points(seed):
        return [t.architecture for t in search("optuna:qmc", Space("squares", squares), 30, seed=seed)]

    trials = search("optuna:qmc", Space("squares", squares), 30)
    positions = [max(t.proposal.info["sequence"].values(), default=-1) for t in trials]
    assert positions == sorted(set(positions))
    assert len({t.proposal.info["seed"] for t in trials}) == 1
    assert points(1) != points(2)


@pytest.mark.parametrize("name", QUICK)
def test_infeasible_suggestions_are_drawn_again(name):
    for trial in search(f"optuna:{name}", Space("odd", odd), 25, lambda a: float(a["n0"])):
        assert sum(value for _, value in trial.architecture.decisions.items()) % 2 == 1


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("rewards", [(1e300, -1e300), (5.0, 5.0), (-3.0, -7.5), (1e-300, 0.0), (None, None)], ids=str)
def test_any_rewards_do(name, rewards):
    space = Space("squares", squares)
    trials = search(f"optuna:{name}", space, 30, lambda a: rewards[int(greens(a)) % 2])
    assert len({t.architecture for t in trials}) == 30


@pytest.mark.long
@pytest.mark.parametrize("rewards", [(1e300, -1e300), (5.0, 5.0), (None, 1.0)], ids=str)
def test_any_rewards_do_for_the_gaussian_process(rewards):
    space = Space("squares", squares)
    trials = search("optuna:gp", space, 14, lambda a: rewards[int(greens(a)) % 2], lag=2)
    assert len({t.architecture for t in trials}) == 14
    past = trials[:12]
    fresh = make_searcher("optuna:gp", Space("squares", squares), {})
    again = fresh.ask(History(past, [Trial(12, trials[12].proposal, trials[12].key)]), rng(13))
    assert again == trials[13].proposal


@pytest.mark.parametrize("name", QUICK)
def test_a_space_of_one_point_is_asked_once(name):
    trials = search(f"optuna:{name}", Space("one", one_point), 1)
    with pytest.raises(Exhausted):
        make_searcher(f"optuna:{name}", Space("one", one_point), {}).ask(History(trials), rng(1))


@pytest.mark.parametrize("name", QUICK)
def test_one_decision_is_enough(name):
    space = Space("single", lambda choose: choose("n", tuple(range(30))))
    trials = search(f"optuna:{name}", space, 30, lambda a: float(a["n"]))
    assert len({t.architecture for t in trials}) == 30


def test_what_others_proposed_is_taken_into_account():
    space = Space("squares", squares)
    draw = np.random.default_rng(0)
    seen = [finished(i, Proposal(space.sample(draw)), float(i)) for i in range(40)]
    for name in QUICK:
        proposal = make_searcher(f"optuna:{name}", Space("squares", squares), {}).ask(History(seen), rng(0))
        assert proposal.architecture not in {t.architecture for t in seen}


option = st.one_of(
    st.booleans(), st.integers(-3, 3), st.text(max_size=4), st.none(), st.tuples(st.integers(0, 2), st.text(max_size=2))
)


@given(st.lists(option, min_size=2, max_size=6, unique=True))
@settings(max_examples=25, deadline=None)
def test_any_options_can_be_suggested_and_read_back(options):
    choices = readable(tuple(options))
    assert len(set(choices)) == len(options)
    assert all(isinstance(c, str | int | float | bool | None) for c in choices)
    space = Space("any", lambda choose: choose("x", tuple(options)))
    trials = search("optuna:tpe", space, len(options), lambda a: 1.0)
    assert {t.architecture["x"] for t in trials} == set(options)


def test_plain_options_keep_their_names():
    assert readable(("conv_3x3", 5, None)) == ("conv_3x3", 5, None)
    assert readable(((1, 2), (3, 4))) == ("[1, 2]", "[3, 4]")
    assert readable(((1,), "[1]")) == ("[1]", '"[1]"')


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("optuna:tp", {}, "unknown searcher 'optuna:tp'; did you mean 'optuna:tpe'?"),
        ("optun:tpe", {}, "unknown searcher 'optun:tpe'; did you mean 'optuna:NAME'?"),
        ("optuna:base", {}, "unknown searcher 'optuna:base'"),
        ("optuna:tpe", {"n_startup_trial": 3}, "unknown argument 'n_startup_trial'; did you mean 'n_startup_trials'?"),
        ("optuna:tpe", {"seed": 3}, "unknown argument 'seed'"),
        ("optuna:tpe", {"n_startup_trials": 2.5}, "n_startup_trials must be of type int, found 2.5"),
        ("optuna:tpe", {"n_ei_candidates": 0}, "n_ei_candidates must be at least 1, found 0"),
        ("optuna:cmaes", {"popsize": 3}, "popsize must be at least 4, found 3"),
        ("optuna:tpe", {"multivariate": 1}, "multivariate must be of type bool, found 1"),
        ("optuna:nsgaii", {"population_size": 1}, "searcher 'optuna:nsgaii': `population_size` must be greater"),
        ("optuna:qmc", {"qmc_type": "magic"}, "searcher 'optuna:qmc': The `qmc_type='magic'` is invalid"),
    ],
)
def test_what_is_wrong_is_named(name, args, message):
    with pytest.raises(ConfigError) as caught:
        make_searcher(name, Space("squares", squares), args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["optuna:tpe", "optuna:TPESampler", "optuna:TPE", "optuna:tpesampler"])
def test_samplers_go_by_their_short_name_or_their_class(name):
    trials = search(name, Space("squares", squares), 15, args={"multivariate": False, "n_startup_trials": 5})
    assert len(trials) == 15


def test_without_optuna_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="Optuna is not installed; pip install optuna"):
        make_searcher("optuna:tpe", Space("squares", squares), {})


def test_cma_es_needs_a_package_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match=r"'optuna:cmaes' needs the package cmaes; pip install cmaes"):
        make_searcher("optuna:cmaes", Space("squares", squares), {})


def test_importing_the_searchers_imports_no_optuna():
    script = "import sys, nas.searchers; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_families_are_no_searchers_by_themselves():
    assert "optuna" in FAMILIES
    assert "optuna" not in SEARCHERS
    assert "tpe" in FAMILIES["optuna"].summary


def test_warnings_and_logs_of_optuna_stay_quiet_and_are_left_as_they_were():
    import logging

    before, filters = logging.getLogger("optuna").level, list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search("optuna:tpe", Space("conditional", conditional), 8, lambda a: 1.0)
        search("optuna:cmaes", Space("conditional", conditional), 8, lambda a: 1.0, args={"popsize": 4})
    assert logging.getLogger("optuna").level == before
    assert warnings.filters == filters


def test_nb201_is_searched_through_the_registered_space():
    trials = search("optuna:tpe", space_of("nb201"), 20, lambda a: float(a["edge_0_1"] == "nor_conv_3x3"))
    assert len({t.architecture for t in trials}) == 20
