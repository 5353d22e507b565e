"""The recurrent controller: true gradients, its probabilities, and drawing from it without replacement."""

from __future__ import annotations

import numpy as np
import pytest
from choosing_examples import CONDITIONAL, ONE
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searchers.reinforce.controller import Choice, Controller, Episode
from nas.searchers.reinforce.searcher import Draws

TRACE = (Choice("a", 1, 3), Choice("b", 0, 2), Choice("c", 3, 4), Choice("d", 2, 3))


def test_gradients_agree_with_torch():
    torch = pytest.importorskip("torch")
    controller = Controller(6)
    controller.logp(TRACE)
    episodes = [Episode(TRACE, 0.7, share=0.3), Episode(TRACE[:2], -1.3, share=0.9)]
    core = torch.tensor(controller.core.value, requires_grad=True)
    tables = {key: torch.tensor(p.value, requires_grad=True) for key, p in controller.tables.items()}
    objective = sum(
        e.share * (e.advantage * logp + 0.2 * entropy)
        for e in episodes
        for logp, entropy in [torch_forward(torch, core, tables, e.trace, hidden=6)]
    )
    objective.backward()
    found, by_table = controller.gradients(episodes, entropy=0.2, clip=False)
    np.testing.assert_allclose(found, core.grad.numpy(), rtol=1e-9, atol=1e-14)
    assert by_table.keys() == tables.keys()
    for key, gradient in by_table.items():
        np.testing.assert_allclose(gradient, tables[key].grad.numpy(), rtol=1e-9, atol=1e-14)


def torch_forward(torch, core, tables, trace, hidden):
    """Return log-probability and entropy of a trace by another implementation of the same LSTM."""
    cell_of = torch.nn.LSTMCell(hidden // 2, hidden, dtype=torch.float64)
    i, f, o, g = range(4)
    order = torch.cat([torch.arange(k * hidden, (k + 1) * hidden) for k in (i, f, g, o)])
    weights = {
        "weight_ih": core[1 : 1 + hidden // 2, order].T,
        "weight_hh": core[1 + hidden // 2 :, order].T,
        "bias_ih": core[0, order],
        "bias_hh": torch.zeros(4 * hidden, dtype=torch.float64),
    }
    state = tuple(torch.zeros(1, hidden, dtype=torch.float64) for _ in range(2))
    x = torch.zeros(1, hidden // 2, dtype=torch.float64)
    logp = entropy = 0.0
    for choice in trace:
        state = torch.func.functional_call(cell_of, weights, (x, state))
        table = tables[choice.name, choice.among]
        logps = torch.log_softmax(table[:, :hidden] @ state[0][0] + table[:, hidden], 0)
        logp, entropy = logp + logps[choice.chosen], entropy - (logps.exp() * logps).sum()
        x = table[choice.chosen, hidden + 1 :][None]
    return logp, entropy


@pytest.mark.parametrize(
    ("advantage", "older", "weight"),
    [(1.0, 0.1, np.exp(0.1)), (1.0, 0.3, 0.0), (-1.0, 0.3, -np.exp(0.3)), (-1.0, -0.3, 0.0), (2.0, None, 2.0)],
)
def test_ppo_weighs_by_the_ratio_and_stops_where_it_is_clipped(advantage, older, weight):
    controller = Controller(4)
    logp = None if older is None else controller.logp(TRACE) - older
    clipped, _ = controller.gradients([Episode(TRACE, advantage, logp)], entropy=0.0, clip=True)
    plain, _ = controller.gradients([Episode(TRACE, float(weight))], entropy=0.0, clip=False)
    np.testing.assert_allclose(clipped, plain, rtol=1e-9, atol=1e-15)


def test_stepping_and_replaying_give_one_probability():
    controller = Controller(8)
    memory, previous, logp = controller.start(), None, 0.0
    for choice in TRACE:
        memory, logps = controller.step(memory, previous, choice.name, choice.among)
        assert np.exp(logps).sum() == pytest.approx(1)
        previous, logp = choice, logp + logps[choice.chosen]
    assert controller.logp(TRACE) == pytest.approx(logp, rel=1e-12)
    others = [TRACE[:2], TRACE, (), (*TRACE[:3], Choice("d", 0, 3)), TRACE[:2]]
    expected = [controller.logp(trace) for trace in others]
    assert controller.logps(others) == pytest.approx(expected, rel=1e-12)
    assert expected[1] == pytest.approx(logp, rel=1e-12)


def test_a_table_does_not_depend_on_when_its_decision_appeared():
    one, other = Controller(8), Controller(8)
    for name in ("a", "b", "c"):
        one.table(name, 3)
    for name in ("c", "b", "a"):
        other.table(name, 3)
    for key, parameter in one.tables.items():
        assert np.array_equal(parameter.value, other.tables[key].value)
    assert not np.array_equal(one.table("a", 3).value, one.table("b", 3).value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_draws_without_replacement_are_each_architecture_once(seed):
    draws, seen = Draws(Controller(4), np.random.default_rng(seed)), []
    while not draws.exhausted:
        architecture = CONDITIONAL.attempt(draws.chooser(evenly=seed % 2 == 0))
        seen += [architecture] if architecture else []
    assert len(seen) == len(set(seen)) == CONDITIONAL.size().total


def test_first_draws_follow_the_controllers_probabilities():
    controller, generator = Controller(4), np.random.default_rng(1)
    controller.table("x", 6).value[:, 4] = [0, 1, 2, 3, 0, 1]
    counts = np.zeros(6)
    for _ in range(3_000):
        counts[ONE.attempt(Draws(controller, generator).chooser())["x"]] += 1
    expected = np.exp([controller.logp((Choice("x", i, 6),)) for i in range(6)])
    assert np.abs(counts / 3_000 - expected).max() < 0.03
