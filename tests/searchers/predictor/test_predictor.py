"""The predictor: its Gaussian processes against scikit-learn's, and what it makes of the results it sees."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from search_examples import run_search
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from nas import search, space_of
from nas.errors import ConfigError
from nas.searchers import make_searcher
from nas.searchers.predictor.gaussian_process import (
    JITTER,
    Ensemble,
    Posterior,
    Setting,
    normal_scores,
    settings,
    squared_distances,
)
from nas.space.encoding import WIDTHS, encode
from nas.types import Candidate, Context, History, Metrics, Proposal, Trial


@pytest.fixture
def points():
    """Return 30 known points in the plane, their targets, and 12 other points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1], rng.normal(size=(12, 2))


def test_mean_and_deviation_are_those_of_scikit_learn(points):
    x, y, other = points
    setting = Setting(np.array([0.4, 0.6]), np.array([0.5, 2.0]), 0.1)
    within, across = squared_distances(x, x), squared_distances(x, other)
    posterior = Posterior(setting, [within] * 2, y)
    mean, deviation = posterior.predict([across] * 2)

    unit = 0.4 * RBF(0.5) + 0.6 * RBF(2.0)
    chol = np.linalg.cholesky(unit(x) + (0.1 + JITTER) * np.eye(30))
    variance = float(np.sum(np.linalg.solve(chol, y) ** 2) / 30)
    kernel = ConstantKernel(variance) * unit + WhiteKernel(variance * (0.1 + JITTER))
    reference = GaussianProcessRegressor(kernel, alpha=0, optimizer=None).fit(x, y)
    expected, spread = reference.predict(other, return_std=True)
    assert np.allclose(mean, expected, atol=1e-8)
    assert np.allclose(deviation**2 + variance * (0.1 + JITTER), spread**2, atol=1e-8)
    constant = -15 * (1 + np.log(2 * np.pi))  # what log_likelihood leaves out
    assert posterior.log_likelihood + constant == pytest.approx(reference.log_marginal_likelihood_value_)


def test_expected_improvement_is_the_integral_over_the_posterior(points):
    x, y, other = points
    within, across = [squared_distances(x, x)], [squared_distances(x, other)]
    ensemble = Ensemble.fit(within, y)
    assert ensemble.shares.sum() == pytest.approx(1)
    levels = np.linspace(-8, 8, 20_001)
    expected = 0
    for member, share in zip(ensemble.members, ensemble.shares, strict=True):
        mean, deviation = Posterior(member, within, y).predict(across)
        gain = np.maximum(mean[:, None] + deviation[:, None] * levels - y.max(), 0)
        expected = expected + share * (gain * norm.pdf(levels)).sum(axis=1) * (levels[1] - levels[0])
    assert np.allclose(ensemble.improvement(within, y, across), expected, atol=1e-6)


def test_a_fit_prefers_the_encoding_that_tells():
    rng = np.random.default_rng(1)
    telling, noise = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    distances = [squared_distances(noise, noise) / 6, squared_distances(telling, telling) / 6]
    ensemble = Ensemble.fit(distances, normal_scores(telling.sum(axis=1).tolist()))
    weights = ensemble.shares @ np.stack([member.weights for member in ensemble.members])
    assert weights[1] > 0.7


def test_settings_are_the_same_at_every_call():
    for one, other in zip(settings(3), settings(3), strict=True):
        assert (one.weights == other.weights).all()
        assert one.noise == other.noise


@given(st.lists(st.one_of(st.none(), st.floats(-1e300, 1e300)), min_size=1, max_size=30))
def test_normal_scores_follow_the_ranks_whatever_the_scale(rewards):
    rank = {value: i for i, value in enumerate(sorted({r for r in rewards if r is not None}), 1)}
    ranks = rankdata([0 if r is None else rank[r] for r in rewards])
    assert np.allclose(normal_scores(rewards), norm.ppf((ranks - 0.5) / len(rewards)), atol=1e-9)


def test_an_encoding_counts_decisions_and_what_the_cells_are_made_of():
    space = space_of("nasnet", nodes=3)
    rng = np.random.default_rng(0)
    found = encode(space, space.sample(rng))
    assert {name: len(vector) for name, vector in found.items()} == WIDTHS
    assert found["decisions"].sum() == 24
    assert found["operations"][:-1].sum() > 0
    assert found["operations"][-1] >= 2
    assert found["paths"].any()


def test_a_space_without_cells_has_zeros_for_them():
    space = space_of(lambda choose: {"a": choose("a", (1, 2, 4)), "b": choose("b", ("x", "y"))})
    found = encode(space, space.sample(np.random.default_rng(0)))
    assert found["numbers"].sum() in (1, 2, 4)
    assert not found["paths"].any()
    assert not found["operations"].any()


def _count(architecture):
    return sum(value == "nor_conv_3x3" for _, value in architecture.decisions.items())


@pytest.mark.long
def test_it_finds_an_optimum_that_random_search_misses():
    space = space_of("nb201")
    target = space.sample(np.random.default_rng(99))

    def agreement(job):
        return sum(job.architecture[name] == value for name, value in target.decisions.items())

    found = [search(space, agreement, searcher, 60, seed=1) for searcher in ("predictor", "random")]
    assert found[0].best.reward == 6
    assert found[1].best.reward < 6


def test_free_scores_are_used():
    """With a score that equals the reward, the first proposal after the random ones is near the best there is."""
    space = space_of("nb201")

    def prepare(architecture):
        return Candidate(space.key(architecture), scores={"proxy": float(_count(architecture))})

    trials, rng = [], np.random.default_rng(0)
    searcher = make_searcher("predictor", space, {}, Context(prepare))
    for index in range(14):
        proposal = searcher.ask(History(list(trials)), rng)
        reward = Metrics(_count(proposal.architecture))
        trials.append(Trial(index, proposal, space.key(proposal.architecture), "done", reward))
    assert max(t.reward for t in trials[10:]) > max(t.reward for t in trials[:10])


def _asked(prepare, reward, count, args=()):
    """Return the searcher's trials over four choices of four, with what ``prepare`` knows of each for free."""
    space = space_of(lambda choose: [choose(f"d{i}", (1, 2, 3, 4)) for i in range(4)])
    searcher = make_searcher("predictor", space, dict(args), Context(lambda a: prepare(space.key(a), a)))
    trials = []
    for index in range(count):
        proposal = searcher.ask(History(list(trials)), np.random.default_rng(index))
        metrics = Metrics(reward(proposal.architecture))
        trials.append(Trial(index, proposal, space.key(proposal.architecture), "done", metrics))
    return trials


def _sum(architecture):
    return float(sum(value for _, value in architecture.decisions.items()))


def test_scores_that_some_architectures_lack_are_used_where_they_are():
    def prepare(key, architecture):
        return Candidate(key, scores={"proxy": _sum(architecture)} if int(key[0], 16) % 4 else {})

    assert max(t.reward for t in _asked(prepare, _sum, 20)) == 16


def test_a_cost_that_is_the_same_for_all_changes_nothing():
    """Its deviation is not zero but what rounding leaves of zero, and must not be divided by."""

    def prepare(params):
        return lambda key, architecture: Candidate(key, params=params, scores={"proxy": -_sum(architecture)})

    plain, constant = (_asked(prepare(params), _sum, 24) for params in (None, 123_456))
    assert [t.architecture for t in plain] == [t.architecture for t in constant]


def test_equal_points_have_no_distance_whatever_rounding_leaves():
    rows = np.log1p(np.random.default_rng(0).poisson(0.3, size=(60, 1024)).astype(float))
    rows[10:] = rows[0]
    found = squared_distances(rows, rows)
    assert not found.diagonal().any()
    assert not found[10:, 10:].any()
    exact = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    assert np.allclose(found, exact)


@pytest.mark.long
def test_the_number_of_threads_changes_no_bit_of_a_proposal_s_promise():
    script = """
import numpy as np
from nas.searchers.predictor.gaussian_process import Ensemble, one_thread, squared_distances
rng = np.random.default_rng(0)
x, other, y = rng.normal(size=(150, 512)), rng.normal(size=(125, 512)), rng.normal(size=150)
with one_thread():
    within, across = [squared_distances(x, x) / 1024], [squared_distances(x, other) / 1024]
    print(Ensemble.fit(within, y).improvement(within, y, across).tobytes().hex())
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.long
def test_what_is_pending_is_counted_as_believed():
    """Two asks of one history and stream differ when the first choice is being evaluated already."""
    space = space_of("nb201")
    trials = [t for t in run_search("predictor", trials=30)[0] if t.status in ("done", "failed")]
    searcher = make_searcher("predictor", space, {})
    first = searcher.ask(History(trials), np.random.default_rng(5)).architecture
    pending = [Trial(len(trials), Proposal(first), space.key(first))]
    second = searcher.ask(History(trials, pending), np.random.default_rng(5)).architecture
    assert space.key(second) != space.key(first)


def test_many_results_are_thinned_to_the_best_and_the_latest():
    from nas.searchers.predictor.searcher import MOST, _selection

    space = space_of("nb201")
    architecture = space.sample(np.random.default_rng(0))
    trials = [Trial(i, Proposal(architecture), str(i), "done", Metrics(float(i % 997))) for i in range(5_000)]
    kept = _selection(trials)
    assert len(kept) == MOST
    assert {t.index for t in trials[-MOST // 2 :]} <= {t.index for t in kept}
    assert max(t.reward for t in kept) == 996


@pytest.mark.parametrize("args", [{"starts": 1}, {"candidates": 3}, {"starts": "ten"}])
def test_wrong_arguments_are_refused(args):
    with pytest.raises(ConfigError, match="searcher 'predictor'"):
        make_searcher("predictor", space_of("nb201"), args)
