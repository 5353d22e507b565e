"""The blocks of the families: their structure, their equal forms and what stochastic depth does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from parity import our_layers, randomise
from torch import nn

from nas.errors import GraphError
from nas.graph import Graph, GraphBuilder, LocalResponseNorm, MaxPool, cost
from nas.graph.lowering.torch_module import build_module
from search_spaces.blocks.classic_stages import conv_stage, linear_stage, vgg_stage
from search_spaces.blocks.dense import dense_layer, transition
from search_spaces.blocks.fire import fire
from search_spaces.blocks.layers import squeeze_excite, survival
from search_spaces.blocks.mobile import depthwise_separable, inverted_residual, mbconv
from search_spaces.blocks.residual import FORMS, Style, basic, bottleneck, residual, resnext, wide

Block = Callable[[GraphBuilder, str], str]


def _graph(block: Block, shape: tuple[int, int, int] = (64, 8, 8)) -> Graph:
    b = GraphBuilder(shape)
    return b.build(out=block(b, b.input))


def _kinds(block: Block, shape: tuple[int, int, int] = (64, 8, 8)) -> str:
    short = {"batch_norm": "bn", "relu": "relu", "conv": "conv", "add": "add"}
    return " ".join(short.get(n.op.kind, n.op.kind) for n in _graph(block, shape).nodes[1:])


VARIANT_ORDERS = {
    "original": "conv bn relu conv bn add relu",
    "bn_after_addition": "conv bn relu conv add bn relu",
    "relu_before_addition": "conv bn relu conv bn relu add",
    "relu_only_preactivation": "relu conv bn relu conv bn add",
    "full_preactivation": "bn relu conv bn relu conv add",
    "plain": "conv bn relu conv bn relu",
}


@pytest.mark.parametrize(("variant", "order"), VARIANT_ORDERS.items())
def test_identity_mappings_have_the_orders_of_figure_4(variant: str, order: str) -> None:
    assert _kinds(lambda b, x: basic(b, x, 64, style=Style(variant))) == order


@pytest.mark.parametrize("variant", VARIANT_ORDERS)
def test_variants_cost_the_same_where_the_shape_stays(variant: str) -> None:
    found = cost(_graph(lambda b, x: bottleneck(b, x, 64, 16, style=Style(variant))))
    usual = cost(_graph(lambda b, x: bottleneck(b, x, 64, 16)))
    assert found.macs == usual.macs
    assert found.params - usual.params in (0, 2 * (64 - 16))  # the first norm may be the input's


def test_a_preactivated_unit_that_changes_the_shape_shares_its_activation() -> None:
    graph = _graph(lambda b, x: wide(b, x, 128, 2))
    shortcut = next(node for node in graph.nodes if node.name.startswith("shortcut."))
    assert shortcut.inputs == ("relu",)
    first = _graph(lambda b, x: wide(b, x, 64, first=True))
    assert first.nodes[-1].inputs[1] == "relu"
    assert _graph(lambda b, x: wide(b, x, 64)).nodes[-1].inputs[1] == "image"


def test_the_padded_shortcut_has_no_parameters_and_adds_zeros() -> None:
    style = Style(shortcut="pad")
    graph = _graph(lambda b, x: basic(b, x, 160, 2, style=style))
    assert cost(graph).params == 160 * 9 * (64 + 160) + 4 * 160
    module = build_module(graph, ("out",)).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    images = torch.rand(2, 64, 8, 8)
    out = module(images)
    assert torch.equal(out[:, :64], images[:, :, ::2, ::2])
    assert not out[:, 64:].any()


def test_the_stride_of_a_bottleneck_may_be_in_either_convolution() -> None:
    early, late = (
        cost(_graph(lambda b, x, s=s: bottleneck(b, x, 256, 64, 2, stride_in=s)))  # type: ignore[misc]
        for s in ("1x1", "3x3")
    )
    assert early.params == late.params
    assert late.macs - early.macs == 64 * 64 * (64 - 16)


def _part(state: dict[str, torch.Tensor], path: int, paths: int, dim: int = 0) -> dict[str, torch.Tensor]:
    """Return the part of the grouped form's tensors that belongs to one path (counters belong to all)."""
    return {key: value.chunk(paths, dim)[path] if value.dim() else value for key, value in state.items()}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", FORMS[1:])
def test_the_three_forms_of_resnext_are_one_function(form: str, stride: int) -> None:
    """arXiv:1611.05431, figure 3: the same weights, cut into paths, give the same outputs."""
    paths, shape = 32, (64, 8, 8)
    grouped = _graph(lambda b, x: resnext(b, x, 256, 128, paths, stride), shape)
    other = _graph(lambda b, x: resnext(b, x, 256, 128, paths, stride, form=form), shape)
    source, target = build_module(grouped, ("out",)).eval(), build_module(other, ("out",)).eval()
    randomise(source)
    given = [layer.state_dict() for _, layer in our_layers(grouped, source)]
    inner, last, rest = given[:4], given[4], given[5:]
    layers = [layer for _, layer in our_layers(other, target)]
    each = 5 if form == "summed" else 4
    for path in range(paths):
        own = layers[path * each : path * each + each]
        for layer, state in zip(own, inner, strict=False):
            layer.load_state_dict(_part(state, path, paths))
        if form == "summed":
            own[4].load_state_dict(_part(last, path, paths, 1))
    tail = [*([] if form == "summed" else [last]), *rest]
    for layer, state in zip(layers[paths * each :], tail, strict=True):
        layer.load_state_dict(state)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    expected, found = source(images), target(images)
    assert float((expected - found).detach().abs().max()) <= 1e-5 * float(expected.detach().abs().max())
    assert cost(grouped).params == cost(other).params
    assert cost(grouped).macs == cost(other).macs


def test_squeeze_and_excitation_gates_channels() -> None:
    graph = _graph(lambda b, x: squeeze_excite(b, x, 4))
    assert cost(graph).params == 64 * 4 + 4 + 4 * 64 + 64
    module = build_module(graph, ("out",)).eval()
    images = torch.rand(2, 64, 8, 8) + 0.1
    with torch.no_grad():
        gate = module(images) / images
    assert torch.allclose(gate, gate[:, :, :1, :1].expand_as(gate), atol=1e-5)
    assert 0 < float(gate.min()) <= float(gate.max()) < 1


SE_BLOCKS: dict[str, Block] = {
    "basic": lambda b, x: basic(b, x, 64, style=Style(se=1 / 16)),
    "bottleneck": lambda b, x: bottleneck(b, x, 256, 64, style=Style(se=1 / 16)),
    "preactivated": lambda b, x: wide(b, x, 64, style=Style("full_preactivation", se=1 / 16)),
    "resnext": lambda b, x: resnext(b, x, 256, 128, form="summed", style=Style(se=1 / 16)),
    "dense": lambda b, x: dense_layer(b, x, 32, 128, se=1 / 16),
    "separable": lambda b, x: depthwise_separable(b, x, 64, se=0.25),
    "inverted": lambda b, x: mbconv(b, x, 64),
}


@pytest.mark.parametrize("name", SE_BLOCKS)
def test_any_block_takes_squeeze_and_excitation(name: str) -> None:
    graph = _graph(SE_BLOCKS[name])
    assert [node.op.kind for node in graph.nodes].count("multiply") == 1
    build_module(graph, ("out",)).eval()(torch.zeros(1, 64, 8, 8))


def test_survival_falls_linearly() -> None:
    """arXiv:1603.09382, equation 4."""
    assert [survival(block, 4, 0.5) for block in range(1, 5)] == [0.875, 0.75, 0.625, 0.5]
    with pytest.raises(GraphError, match="stochastic depth"):
        survival(5, 4, 0.5)
    with pytest.raises(GraphError, match="stochastic depth"):
        survival(1, 4, 0.0)


def test_stochastic_depth_drops_the_branch_in_training_only() -> None:
    graph = _graph(lambda b, x: basic(b, x, 64, style=Style(drop=0.5)))
    module = build_module(graph, ("out",))
    images = torch.rand(64, 64, 8, 8)
    with torch.no_grad():
        kept = [not torch.equal(a, b) for a, b in zip(module.train()(images), images, strict=True)]
        assert 10 < sum(kept) < 54
        module.eval()
        assert torch.equal(module(images), module(images))
        assert not torch.equal(module(images), images)


def test_dense_layers_grow_and_transitions_halve() -> None:
    grown = _graph(lambda b, x: dense_layer(b, dense_layer(b, x, 32, 128), 32, 128))
    assert cost(grown).output_shape == (128, 8, 8)
    assert cost(_graph(lambda b, x: transition(b, x))).output_shape == (32, 4, 4)
    assert _kinds(lambda b, x: dense_layer(b, x, 32, 128)) == "bn relu conv bn relu conv concat"
    assert _kinds(lambda b, x: dense_layer(b, x, 32, 0)) == "bn relu conv concat"
    with pytest.raises(GraphError, match="compression"):
        _graph(lambda b, x: transition(b, x, compression=0))


def test_fire_has_its_bypasses() -> None:
    plain = cost(_graph(lambda b, x: fire(b, x, 64, 8)))
    assert plain.params == 64 * 8 + 8 + 8 * 32 + 32 + 9 * 8 * 32 + 32
    simple = _graph(lambda b, x: fire(b, x, 64, 8, bypass="simple"))
    assert cost(simple).params == plain.params
    assert simple.nodes[-1].op.kind == "add"
    assert _graph(lambda b, x: fire(b, x, 128, 8, bypass="simple")).nodes[-1].op.kind == "concat"
    wider = cost(_graph(lambda b, x: fire(b, x, 128, 16, bypass="complex"))).params
    assert wider - cost(_graph(lambda b, x: fire(b, x, 128, 16))).params == 64 * 128 + 128


def test_depthwise_separable_costs_what_the_lecture_says() -> None:
    """Full convolution 9 C^2 H W, separable 9 C H W + C^2 H W."""
    c, pixels = 64, 8 * 8
    assert cost(_graph(lambda b, x: depthwise_separable(b, x, c))).macs == 9 * c * pixels + c * c * pixels
    assert cost(_graph(lambda b, x: conv_stage(b, x, c))).macs == 9 * c * c * pixels


def test_inverted_residuals_add_only_where_shapes_allow() -> None:
    assert _graph(lambda b, x: inverted_residual(b, x, 64)).nodes[-1].op.kind == "add"
    for out, stride in ((64, 2), (32, 1)):
        graph = _graph(lambda b, x, o=out, s=stride: inverted_residual(b, x, o, stride=s))  # type: ignore[misc]
        assert graph.nodes[-1].op.kind == "batch_norm"  # linear: no activation after the last 1x1
    convs = [n for n in _graph(lambda b, x: inverted_residual(b, x, 64, 1)).nodes if n.op.kind == "conv"]
    assert len(convs) == 2  # expansion 1 has no first 1x1


def test_classic_stages() -> None:
    alexnet = _graph(
        lambda b, x: conv_stage(b, x, 256, kernel=5, groups=2, lrn=LocalResponseNorm(), pool=MaxPool(3, 2)),
        (96, 27, 27),
    )
    assert cost(alexnet).output_shape == (256, 13, 13)
    assert cost(alexnet).params == 256 * 48 * 25 + 256
    lenet = _kinds(lambda b, x: conv_stage(b, x, 6, kernel=5, padding=0, activation="sigmoid"), (1, 32, 32))
    assert lenet == "conv sigmoid"
    assert _kinds(lambda b, x: vgg_stage(b, x, 64, 2)) == "conv relu conv relu max_pool"
    assert _kinds(lambda b, x: linear_stage(b, x, 10)) == "flatten linear relu dropout"


@pytest.mark.parametrize(
    ("block", "rule"),
    [
        (lambda b, x: basic(b, x, 64, style=Style("sideways")), "variant"),
        (lambda b, x: basic(b, x, 128, style=Style(shortcut="loop")), "shortcut"),
        (lambda b, x: basic(b, x, 32, style=Style(shortcut="pad")), "cannot lose channels"),
        (lambda b, x: bottleneck(b, x, 64, 16, stride_in="5x5"), "stride_in"),
        (lambda b, x: resnext(b, x, 64, 48, 32), "cardinality"),
        (lambda b, x: resnext(b, x, 64, 64, 32, form="tree"), "form"),
        (lambda b, x: fire(b, x, 63, 8), "even"),
        (lambda b, x: fire(b, x, 64, 8, bypass="double"), "bypass"),
        (lambda b, x: residual(b, x, (), style=Style("sideways")), "variant"),
    ],
)
def test_blocks_refuse_what_breaks_their_rules(block: Block, rule: str) -> None:
    with pytest.raises(GraphError, match=rule):
        _graph(block)
