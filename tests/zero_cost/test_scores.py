"""Zero-cost scores against closed forms, plain second implementations in torch, and laws of each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.graph import (
    Add,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GraphBuilder,
    Linear,
    MaxPool,
    Multiply,
    Relu,
    Relu6,
    Sigmoid,
    Swish,
    TransposedConv,
    cost,
)
from nas.models.resolve import resolve
from nas.zero_cost import DEFAULT_SCORES, ZERO_COST, register_zero_cost, zero_cost_scores
from nas.zero_cost.network import BATCH, UntrainedNetwork, isolated


def chain(*ops, shape=(3, 8, 8), classes=5):
    b = GraphBuilder(shape)
    x = b.input
    for op in ops:
        x = b(op, x)
    x = b(Flatten(), b(GlobalAvgPool(), x))
    return b.build(logits=b(Linear(classes), x))


def residual(activation=None, norm=True):
    b = GraphBuilder((3, 8, 8))
    x = b(Conv(8, 3, padding=1), b.input)
    y = b(BatchNorm(), x) if norm else x
    y = b(activation or Relu(), y)
    y = b(Conv(8, 3, padding=1, groups=2), y)
    x = b(Add(), x, b(BatchNorm(), y) if norm else y)
    x = b(MaxPool(2), b(activation or Relu(), x))
    return b.build(logits=b(Linear(4), b(Flatten(), x)))


def network(graph):
    with isolated():
        found = UntrainedNetwork(graph)
        assert found.weights is not None
    return found


def module_of(graph, weights):
    """Return torch's own module of the graph with these weights, and biases of zero."""
    module = graph.to_module()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            node, _, kind = name.rpartition(".")
            if node in weights:
                parameter.copy_(weights[node]) if kind == "weight" else parameter.zero_()
    return module


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_graph():
    graph = residual()
    found = zero_cost_scores(graph, ["params", "macs", "depth", "receptive_field"])
    assert found == {"params": cost(graph).params, "macs": cost(graph).macs, "depth": 3, "receptive_field": 6}


@pytest.mark.parametrize(("name", "layers"), [("resnet18", 18), ("vgg16", 16), ("resnet50", 50)])
def test_depth_is_the_number_in_a_published_networks_name(name, layers):
    assert zero_cost_scores(resolve(name).graph, ["depth"]) == {"depth": layers}


# --- synflow -------------------------------------------------------------------------------------------------------


def synflow_by_autograd(graph, weights):
    """Return the score as arXiv:2006.05467's code has it: absolute weights, no batch norms, float64, a plain sum."""
    module = module_of(graph, {name: weight.abs() for name, weight in weights.items()}).double()
    for name, layer in list(module.named_modules()):
        if isinstance(layer, torch.nn.BatchNorm2d):
            module.set_submodule(name, torch.nn.Identity())
    module(torch.ones(1, *graph.input_shape, dtype=torch.float64)).sum().backward()
    parts = [(p * p.grad).sum() for n, p in module.named_parameters() if n.endswith("weight")]
    return math.log(sum(parts).item())


@pytest.mark.parametrize("norm", [True, False])
def test_synflow_is_that_of_a_plain_implementation(norm):
    graph = residual(norm=norm)
    expected = synflow_by_autograd(graph, network(graph).weights)
    assert zero_cost_scores(graph, ["synflow"])["synflow"] == pytest.approx(expected, rel=1e-6)


def test_synflow_of_a_chain_is_its_depth_times_the_sum_of_its_paths():
    # R is linear in each layer, so by Euler's theorem each contributes R itself
    graph = chain(Conv(6, 3), Relu(), Conv(7, 3, groups=1))
    weights = network(graph).weights
    first, second, last = (w.detach().abs().double() for w in weights.values())
    # 1 everywhere: a pixel of the first map is the sum of its filter, and all pixels are equal
    flow = last @ (second.sum(dim=(2, 3)) @ first.sum(dim=(1, 2, 3)))
    assert zero_cost_scores(graph, ["synflow"])["synflow"] == pytest.approx(math.log(3 * float(flow.sum())), rel=1e-6)


def test_synflow_of_a_network_whose_flow_overflows_float64_is_finite():
    depth, width = 400, 64
    graph = chain(*[op for _ in range(depth) for op in (Conv(width), Relu())], shape=(3, 2, 2))
    score = zero_cost_scores(graph, ["synflow"])["synflow"]
    assert score > math.log(np.finfo(np.float64).max)
    # each layer multiplies by about the mean of |N(0, 2 / n)| times n
    growth = math.log(width * math.sqrt(2 / width) * math.sqrt(2 / math.pi))
    assert score == pytest.approx(depth * growth, rel=0.02)


def test_a_gate_is_open_and_an_activation_passes_what_is_positive():
    plain = chain(Conv(6, 3))
    for op in (Relu6(), Swish(), Sigmoid()):
        assert zero_cost_scores(chain(Conv(6, 3), op), ["synflow"]) == zero_cost_scores(plain, ["synflow"])

    b = GraphBuilder((3, 8, 8))
    x = b(Conv(6, 3), b.input)
    gate = b(Sigmoid(), b(GlobalAvgPool(), x))
    gated = b.build(logits=b(Linear(5), b(Flatten(), b(GlobalAvgPool(), b(Multiply(), x, gate)))))
    assert zero_cost_scores(gated, ["synflow"]) == zero_cost_scores(plain, ["synflow"])


# --- naswot and jacov ----------------------------------------------------------------------------------------------


def test_naswot_counts_units_on_the_same_side():
    graph = residual()
    found = network(graph)
    module, before = module_of(graph, found.weights), []
    for layer in module.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_hook(lambda layer, inputs, out: before.append(inputs[0].detach().flatten(1) > 0))
    module(found.images)
    bits = torch.cat(before, dim=1).numpy()
    kernel = [[np.count_nonzero(one == other) for other in bits] for one in bits]
    expected = np.linalg.slogdet(np.array(kernel, dtype=float))[1]
    assert zero_cost_scores(graph, ["naswot"])["naswot"] == pytest.approx(expected, rel=1e-6)


def test_jacov_is_that_of_the_correlations_of_the_jacobians():
    graph = residual()
    found = network(graph)
    module, images = module_of(graph, found.weights), found.images.detach().requires_grad_()
    module(images).sum().backward()
    values = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).numpy())) + 1e-5
    expected = -np.sum(np.log(values) + 1 / values)
    assert zero_cost_scores(graph, ["jacov"])["jacov"] == pytest.approx(expected, rel=1e-3)


def test_jacov_of_a_linear_network_is_that_of_equal_jacobians():
    # all correlations are 1: the eigenvalues are the batch once, and zero
    expected = -(math.log(BATCH + 1e-5) + 1 / (BATCH + 1e-5) + (BATCH - 1) * (math.log(1e-5) + 1e5))
    assert zero_cost_scores(chain(Conv(6, 3)), ["jacov"])["jacov"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("activation", [Relu6(), Swish(), Sigmoid()])
def test_other_activations_have_every_score(activation):
    assert set(zero_cost_scores(residual(activation), list(ZERO_COST))) == set(ZERO_COST)


def test_a_network_without_activations_has_no_naswot_and_all_others():
    assert set(zero_cost_scores(chain(Conv(6, 3), BatchNorm()), DEFAULT_SCORES)) == set(DEFAULT_SCORES) - {"naswot"}


# --- snip, grasp and zen -------------------------------------------------------------------------------------------


def test_snip_and_grasp_are_those_of_plain_implementations():
    graph = residual()
    found = network(graph)
    module = module_of(graph, found.weights)
    weights = [p for n, p in module.named_parameters() if n.rpartition(".")[0] in found.weights and "weight" in n]
    loss = torch.nn.functional.cross_entropy(module(found.images.detach()), found.labels)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    snip = sum((w * g).abs().sum().item() for w, g in zip(weights, gradients, strict=True))
    # half the gradient of its squared norm is the Hessian's product with it
    products = torch.autograd.grad(sum(g.square().sum() for g in gradients) / 2, weights)
    grasp = -sum((w * h).sum().item() for w, h in zip(weights, products, strict=True))
    scores = zero_cost_scores(graph, ["snip", "grasp"])
    assert scores == pytest.approx({"snip": snip, "grasp": grasp}, rel=1e-4)


def test_zen_is_that_of_a_plain_implementation():
    graph = chain(Conv(6, 3), BatchNorm(), Relu(), Conv(7, 3), BatchNorm(), Relu())
    found = network(graph)
    half = BATCH // 2
    with torch.no_grad():
        a = found.noise(half)
        x = torch.cat([a, a + 0.01 * found.noise(half, 2)])
        total = 0.0
        for weight in list(found.weights.values())[:2]:
            x = torch.nn.functional.conv2d(x, weight * math.sqrt(weight[0].numel() / 2))  # N(0, 1)
            total += math.log(math.sqrt(x.var(dim=(0, 2, 3), correction=0).mean().item()))
            x = torch.nn.functional.batch_norm(x, None, None, training=True).relu()
        total += math.log((x[:half] - x[half:]).flatten(1).norm(dim=1).mean().item())
    assert zero_cost_scores(graph, ["zen"])["zen"] == pytest.approx(total, rel=1e-5)


def test_zen_grows_with_depth_and_width_where_batch_norms_would_hide_it():
    # arXiv:2102.01063, section 3: wider and deeper networks are more expressive
    def score(depth, width):
        ops = [op for _ in range(depth) for op in (Conv(width, 3, padding=1), BatchNorm(), Relu())]
        return zero_cost_scores(chain(*ops), ["zen"])["zen"]

    assert score(2, 8) < score(4, 8) < score(4, 16)


# --- what holds for all of them ------------------------------------------------------------------------------------

OPS = st.sampled_from(
    [
        Conv(6, 3, padding=1, bias=True),
        Conv(6, 1),
        Conv(6, 3, stride=2, padding=1, groups=1),
        BatchNorm(),
        Relu(),
        Relu6(),
        Swish(),
        Dropout(0.5),
        TransposedConv(6),
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(OPS, max_size=6), st.integers(0, 2**31))
def test_scores_are_finite_repeat_themselves_and_leave_torch_alone(ops, seed):
    graph = chain(*ops, shape=(3, 4, 4))
    torch.manual_seed(seed)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        first = zero_cost_scores(graph, list(ZERO_COST))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert all(map(math.isfinite, first.values()))
    assert zero_cost_scores(graph, list(ZERO_COST)) == first
    # a score does not depend on which others are computed before it
    assert zero_cost_scores(graph, sorted(ZERO_COST, reverse=True)) == first
    for name, score in first.items():
        assert zero_cost_scores(graph, [name]) == {name: score}


def test_weights_are_drawn_as_he_et_al_do_and_a_transposed_convolution_counts_what_it_adds_up():
    found = network(chain(Conv(64, 3, groups=2), TransposedConv(32, 3, stride=1), shape=(64, 8, 8)))
    for (name, weight), fan_in in zip(found.weights.items(), (32 * 9, 64 * 9, 32), strict=True):
        assert found.fan_in[name] == fan_in
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)
    assert found.weights["transposed_conv"].shape == (64, 32, 3, 3)


def test_inference_mode_and_other_defaults_do_not_matter():
    graph = residual()
    expected = zero_cost_scores(graph)
    with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu"):
        assert zero_cost_scores(graph) == expected


def test_an_unknown_score_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"'synflo'.*synflow"):
        zero_cost_scores(residual(), ["synflo"])


def test_a_score_of_ones_own_is_registered_by_name():
    @register_zero_cost("test_nodes")
    def nodes(network):
        """Nodes of the graph."""
        return len(network.graph.nodes)

    graph = residual()
    assert zero_cost_scores(graph, ["test_nodes"]) == {"test_nodes": len(graph.nodes)}
    assert ZERO_COST["test_nodes"].summary == "Nodes of the graph."
    assert ZERO_COST["test_nodes"].source == "a user's own"
