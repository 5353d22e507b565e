"""REINFORCE: a controller that learns, and proposals that follow from the history alone."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from choosing_examples import CONDITIONAL, NUMBERS, ONE

from nas.engine.random_streams import SEARCH, stream
from nas.errors import ConfigError, Exhausted, Infeasible, SpaceError
from nas.searchers import ReinforceSearcher, make_searcher
from nas.searchers import fold_cache as cached
from nas.searchers.reinforce.controller import Choice, Controller
from nas.searchers.reinforce.searcher import Known
from nas.space import Space
from nas.types import Candidate, Context, Failure, History, Metrics, Proposal, Trial


def rng(seed=0):
    return np.random.default_rng(seed)


def result(index, proposal, reward):
    metrics = None if reward is None else Metrics(reward)
    failure = Failure("error", "planted") if reward is None else None
    return Trial(index, proposal, str(index), "failed" if reward is None else "done", metrics, failure)


def search(space, reward, trials, seed=0, searcher=None, results=(), **args):
    """Return the results of a search in sequence, going on from ``results``."""
    searcher = searcher or ReinforceSearcher(space, **args)
    found = list(results)
    for index in range(len(found), trials):
        proposal = searcher.ask(History(found), stream(seed, index, 0, SEARCH))
        found.append(result(index, proposal, reward(proposal.architecture)))
    return found


def total(architecture):
    return float(sum(value for _, value in architecture.decisions.items()))


def failing_total(architecture):
    """Return the total, but fail for some."""
    return None if total(architecture) % 4 == 3 else total(architecture)


@pytest.mark.long
@pytest.mark.parametrize("ppo", [False, True])
def test_it_finds_the_optimum_of_a_separable_space_that_random_search_misses(ppo):
    found = sum(max(t.reward for t in search(NUMBERS, total, 120, seed, ppo=ppo)) == 15.0 for seed in range(5))
    assert found >= 4  # 1,024 architectures: random search finds it in 12 % of the searches


def test_it_learns_what_depends_on_an_earlier_choice():
    def likes_equal_digits(results):
        controller = ReinforceSearcher(NUMBERS)._fold(History(results)).controller
        return controller.logp(tuple(Choice(f"digit{i}", 2, 4) for i in range(5)))

    equal = [NUMBERS.attempt(Always(digit)) for digit in range(4)]
    results = []
    for i in range(30):  # each digit is as good as the others at every place: only together they are better
        results.append(result(2 * i, Proposal(equal[i % 4]), 1.0))
        results.append(result(2 * i + 1, Proposal(NUMBERS.sample(rng(i))), 0.0))
    assert likes_equal_digits(results) > likes_equal_digits([]) + 1


BEST = (2, 0, 3, 1, 1, 2)


def _six(choose):
    for i in range(6):
        choose(f"d{i}", (0, 1, 2, 3))


def agreement(architecture):
    return sum(architecture[f"d{i}"] == option for i, option in enumerate(BEST)) / 6


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_a_controller_that_has_found_the_optimum_stays_sure_of_it(seed):
    space, trace = Space("six", _six), tuple(Choice(f"d{i}", option, 4) for i, option in enumerate(BEST))
    results = search(space, agreement, 300, seed)
    searcher, most = ReinforceSearcher(space), 0.0
    for count in range(0, 301, 2):  # after every second result; the fold goes on where it was
        found = float(np.exp(searcher._fold(History(results[:count])).controller.logp(trace)))
        assert most < 0.2 or found > most / 2, f"after {count} results"
        most = max(most, found)
    assert found > 0.5


@pytest.mark.parametrize("known", [(0, 3, 5), (2,), (1, 2, 3, 4)])
def test_the_expected_step_of_draws_without_replacement_is_the_gradient_of_the_expected_reward(known, monkeypatch):
    searcher, rewards = ReinforceSearcher(ONE), [3.0, 1.0, 4.0, 2.0, 5.0, 6.0]
    state = searcher._fold(History([]))
    state.controller.table("x", 6).value[:, 32] = [0.3, -0.2, 0.5, 0.0, -0.4, 0.1]
    state.baseline = 1.0  # nothing is better than expected, which would have a least weight
    architectures = [ONE.attempt(Always(i)) for i in range(6)]
    for i in known:
        state.memory.append(Known(rewards[i], (Choice("x", i, 6),)))
    state.rewards = sorted(rewards[i] for i in known)

    # by the searcher: what it learns from each possible draw, by the probability of that draw
    steps = []
    monkeypatch.setattr(Controller, "update", lambda self, episodes, *args, **kwargs: steps.append(list(episodes)))
    p = np.exp([state.controller.logp((Choice("x", i, 6),)) for i in range(6)])
    drawn = [i for i in range(6) if i not in known]
    expected = 0.0
    for i in drawn:
        searcher._step(deepcopy(state), result(9, Proposal(architectures[i]), rewards[i]))
        _, tables = state.controller.gradients(steps[-1], entropy=0.0, clip=False)
        expected += p[i] / p[drawn].sum() * tables["x", 6][:, 32]

    # by its definition: a softmax's gradient of the sum of p A is p (A - E[A])
    def rank(reward):
        below, ties = (np.array(state.rewards) < reward).sum(), (np.array(state.rewards) == reward).sum()
        return (below + ties / 2 + 0.5) / (len(state.rewards) + 1)

    advantages = np.array([2 * (rank(reward) - 1.0) for reward in rewards])
    np.testing.assert_allclose(expected, p * (advantages - p @ advantages), rtol=1e-9, atol=1e-12)


def test_a_controller_that_is_sure_of_another_turns_to_what_is_known_to_be_better():
    searcher = ReinforceSearcher(ONE)
    state = searcher._fold(History([]))
    architectures = [ONE.attempt(Always(i)) for i in range(6)]
    state.controller.table("x", 6).value[:, 32] = [0, 0, 0, 0, 0, 12]
    for index, i in enumerate((5, 2, 0, 1, 3, *(4, 5) * 60)):  # option 2 is the best, and was drawn once
        reward = {2: 2.0, 5: 1.0}.get(i, 0.0)
        searcher._step(state, result(index, Proposal(architectures[i]), reward))
    assert state.controller.logp((Choice("x", 2, 6),)) > np.log(0.9)


class Always:
    """Chooses one index."""

    def __init__(self, index):
        self.index = index

    def pick(self, name, options):
        return self.index


@pytest.mark.parametrize("space", [NUMBERS, CONDITIONAL, ONE], ids=lambda space: space.name)
@pytest.mark.parametrize("ppo", [False, True])
def test_everything_is_proposed_once_and_then_the_space_is_exhausted(space, ppo):
    size = min(int(space.size().total), 150)
    results = search(space, lambda a: float(len(a.decisions)), size, ppo=ppo)
    assert len({t.architecture for t in results}) == size
    if size < 150:
        with pytest.raises(Exhausted, match=space.name):
            search(space, total, size + 1, results=results, ppo=ppo)


def test_what_is_pending_is_not_proposed_again():
    searcher, pending = ReinforceSearcher(ONE), []
    for index in range(6):
        pending.append(Trial(index, searcher.ask(History([], pending), rng(index)), str(index)))
    assert len({t.architecture for t in pending}) == 6
    with pytest.raises(Exhausted):
        searcher.ask(History([], pending), rng())


def test_a_space_without_a_choice_has_one_architecture():
    space = Space("fixed", lambda choose: choose("only", ("this",)))
    results = search(space, lambda a: 1.0, 1)
    with pytest.raises(Exhausted):
        search(space, lambda a: 1.0, 2, results=results)


def test_a_space_without_an_architecture_is_told():
    def impossible(choose):
        raise Infeasible(f"never with {choose('x', tuple(range(2_000)))}")

    with pytest.raises(SpaceError, match=r"space 'impossible': no feasible architecture in 1,000 draws"):
        ReinforceSearcher(Space("impossible", impossible)).ask(History([]), rng())


def same(space, results, used, **args):
    """Return the next proposal of a searcher that saw other histories; a fresh one must agree."""
    proposal = used.ask(History(results), rng(7))
    assert proposal == ReinforceSearcher(space, **args).ask(History(results), rng(7))
    return proposal


@pytest.mark.long
@pytest.mark.parametrize("args", [{}, {"ppo": True}, {"hidden": 8, "entropy": 0.0}, {"memory": 0, "half_life": 0}])
def test_a_searcher_answers_for_the_history_it_is_given(args):
    long, other = (search(NUMBERS, failing_total, 40, seed, **args) for seed in (1, 2))
    used = ReinforceSearcher(NUMBERS, **args)
    for results in (long, other, long[:20], other[:3], long):
        same(NUMBERS, results, used, **args)


def test_results_are_folded_in_the_order_in_which_they_became_visible():
    results = search(NUMBERS, total, 30)
    swapped = [results[i] for i in rng(3).permutation(30)]
    used = ReinforceSearcher(NUMBERS)
    assert same(NUMBERS, results, used).info != same(NUMBERS, swapped, used).info


def test_the_order_of_decisions_in_a_file_is_of_no_importance():
    results = search(CONDITIONAL, lambda a: float(len(a.decisions)), 10)
    turned = [
        replace(t, proposal=replace(t.proposal, architecture=replace(t.architecture, decisions=decisions)))
        for t in results
        for decisions in [tuple(reversed(tuple(t.architecture.decisions.items())))]
    ]
    assert ReinforceSearcher(CONDITIONAL).ask(History(results), rng()) == ReinforceSearcher(CONDITIONAL).ask(
        History(turned), rng()
    )


SCRIPT = """
import sys; sys.path[:0] = {path!r}
from nas import space_of
from nas.core.values import spelled
from test_reinforce import *
space = space_of("nasnet")
results = search(space, lambda a: float(int(space.key(a)[:4], 16)), 12)
proposal = ReinforceSearcher(space).ask(History(results), rng(5))
sys.stdout.write(spelled(([t.proposal for t in results], proposal)))
"""


@pytest.mark.long
def test_fresh_processes_with_any_number_of_threads_propose_the_same():
    outputs = []
    for threads in ("1", "3"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        here = os.path.dirname(__file__)
        script = SCRIPT.format(path=[here, os.path.join(here, "../../helpers")])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert not done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "logp" in outputs[0]


@pytest.mark.long
@pytest.mark.parametrize(
    "reward",
    [
        lambda a: 1.0,
        lambda a: 1e300 * (-1) ** int(total(a)),
        lambda a: -1e307 * total(a),
        lambda a: 5e-324 * total(a),
        lambda a: None,
    ],
    ids=["equal", "huge", "negative", "tiny", "failed"],
)
@pytest.mark.parametrize("ppo", [False, True])
def test_hostile_rewards_leave_every_parameter_finite(reward, ppo):
    searcher = ReinforceSearcher(NUMBERS, ppo=ppo)
    with np.errstate(all="raise", under="ignore"):
        results = search(NUMBERS, reward, 120, searcher=searcher)
    controller = searcher._fold(History(results)).controller
    assert all(np.isfinite(p.value).all() for p in (controller.core, *controller.tables.values()))
    assert len({t.architecture for t in results}) == 120


def test_rewards_teach_by_their_order_alone():
    plain = search(NUMBERS, total, 40)
    scaled = search(NUMBERS, lambda a: 1e200 * total(a) - 1e201, 40)
    assert [t.architecture for t in plain] == [t.architecture for t in scaled]


def test_the_controller_turns_away_from_what_fails():
    def reward(architecture):
        return None if architecture["digit0"] == 0 else 1.0

    results = search(NUMBERS, reward, 100)
    assert sum(t.reward is None for t in results[50:]) < 5  # 12 at random


def test_what_a_scheduler_shows_without_its_reward_teaches_nothing_and_is_not_repeated():
    results = search(NUMBERS, total, 30)
    silent = [Trial(i, t.proposal, t.key) for i, t in enumerate(search(NUMBERS, total, 60, seed=1), 30)]
    searcher = ReinforceSearcher(NUMBERS)
    plain = searcher._fold(History(results)).controller.core.value
    assert (searcher._fold(History(results + silent)).controller.core.value == plain).all()
    asked = searcher.ask(History(results + silent), rng(1)).architecture
    assert asked not in {t.architecture for t in silent}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"hidden": 0}, "hidden must be an integer of at least 1, found 0"),
        ({"rate": -1.0}, r"rate must be a number from 0 to 1, found -1.0"),
        ({"entropy": float("nan")}, r"entropy must be a number from 0 to 100, found nan"),
        ({"decay": True}, "decay must be a number"),
        ({"ppo": 1}, "ppo must be true or false, found 1"),
        ({"memory": -1}, "memory must be an integer of at least 0, found -1"),
        ({"half_life": 0.5}, "half_life must be an integer of at least 0, found 0.5"),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(ConfigError, match=f"searcher 'reinforce': {message}"):
        ReinforceSearcher(NUMBERS, **args)


# The cache


@pytest.fixture
def often(monkeypatch):
    """Write the state after every 10 results."""
    monkeypatch.setattr(cached, "EVERY", 10)


def with_cache(folder, **args):
    context = Context(lambda architecture: Candidate(NUMBERS.key(architecture)), cache=folder)
    return make_searcher("reinforce", NUMBERS, args, context)


@pytest.mark.parametrize("ppo", [False, True])
def test_with_a_cache_and_without_the_proposals_are_the_same(often, tmp_path, monkeypatch, ppo):
    plain = search(NUMBERS, failing_total, 45, ppo=ppo)
    kept = search(NUMBERS, failing_total, 45, searcher=with_cache(tmp_path, ppo=ppo))
    assert [t.proposal for t in kept] == [t.proposal for t in plain]
    folded = []
    step = ReinforceSearcher._step
    monkeypatch.setattr(ReinforceSearcher, "_step", lambda *args: (folded.append(1), step(*args)))
    again = search(NUMBERS, failing_total, 50, searcher=with_cache(tmp_path, ppo=ppo), results=plain)
    assert 0 < len(folded) <= 14
    assert [t.proposal for t in again] == [t.proposal for t in search(NUMBERS, failing_total, 50, ppo=ppo)]


@pytest.mark.long
def test_a_cache_that_is_damaged_is_ignored(often, tmp_path):
    results = search(NUMBERS, total, 30, searcher=with_cache(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    expected = ReinforceSearcher(NUMBERS).ask(History(results), rng())
    damaged = [b"", b"text", whole[:-1], whole[:1000], whole[: len(whole) // 2], whole + b"x"]
    for position in rng().integers(len(whole), size=20):
        damaged.append(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    for content in damaged:
        path.write_bytes(content)
        assert with_cache(tmp_path).ask(History(results), rng()) == expected


def test_a_cache_of_other_results_or_settings_is_ignored(often, tmp_path):
    results = search(NUMBERS, total, 30, searcher=with_cache(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for foreign, args in ((search(NUMBERS, total, 30, seed=9), {}), (results[:15], {}), (results, {"hidden": 16})):
        path.write_bytes(whole)
        asked = with_cache(tmp_path, **args).ask(History(foreign), rng())
        assert asked == ReinforceSearcher(NUMBERS, **args).ask(History(foreign), rng())


def test_a_cache_that_cannot_be_written_stops_nothing(often, tmp_path):
    results = search(NUMBERS, total, 25, searcher=with_cache(tmp_path / "missing"))
    assert [t.proposal for t in results] == [t.proposal for t in search(NUMBERS, total, 25)]
