"""The space ``macro``: the lectures' families are points of it, its networks build everywhere and meet a budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from budget_examples import meets

from nas.core.values import Task
from nas.errors import ConfigError, SpaceError
from nas.graph import Conv, Graph, cost, key
from nas.graph.analysis.cost import layers
from nas.graph.lowering.torch_module import build_module
from nas.space import SPACES
from nas.space.scalable import ScalableNetwork, SearchedAt
from nas.space.validate import problems
from nas.types import Architecture
from nas.workflows.train.transfer import solved
from search_spaces.networks.resnet import cifar_resnet
from search_spaces.networks.wide import wrn
from search_spaces.spaces.macro import macro
from search_spaces.stages import Head, NetworkPlan, Stage, Stem, build
from search_spaces.stages.shape import Shape, build_shape

SPACE = SPACES["macro"]
DIGITS, FASHION, CIFAR = Task("digits", (1, 8, 8), 10), Task("fashion", (1, 28, 28), 10), Task("c", (3, 32, 32), 10)
LARGER = Task("larger", (3, 64, 64), 10), Task("imagenet", (3, 224, 224), 1000)
RESNET: dict[str, Any] = {
    "family": "basic",
    "activation": "relu",
    "se": 0.0,
    "kernel": 3,
    "preactivated": False,
    "stem.stride": 1,
    "stem.width": 1.0,
    "early": False,
    "down": "stride",
    "growth": 2.0,
    "stages": 3,
    "stage1.repeats": 1,
    "stage2.repeats": 1,
    "stage3.repeats": 1,
    "head": "pool_fc",
}
"""ResNet-8 for CIFAR."""


def point(**changes: Any) -> Architecture:
    """ResNet-8 with other decisions; ``None`` leaves one out, ``__`` in a name is a full stop."""
    decisions = RESNET | {name.replace("__", "."): value for name, value in changes.items()}
    return Architecture("macro", {name: value for name, value in decisions.items() if value is not None})


def samples(count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [SPACE.sample(rng) for _ in range(count)]


def costs(graph: Graph) -> tuple[int, int]:
    found = cost(graph)
    return found.params, found.macs


def test_the_space_keeps_the_contract() -> None:
    assert list(problems(SPACE, draws=20)) == []


@pytest.mark.parametrize(("blocks", "width"), [(1, 7), (2, 5), (3, 16)])
@pytest.mark.parametrize("task", [DIGITS, CIFAR])
def test_a_cifar_resnet_is_a_point(blocks: int, width: int, task: Task) -> None:
    resnet = point(stage1__repeats=blocks, stage2__repeats=blocks, stage3__repeats=blocks)
    assert key(SPACE.build(resnet, task, 8 * width)) == key(cifar_resnet(task, blocks, width))


def test_a_wide_resnet_is_a_point() -> None:
    wide = point(preactivated=True, stem__width=0.5, **{f"stage{i}__repeats": 2 for i in (1, 2, 3)})
    assert key(SPACE.build(wide, CIFAR, 8 * 32)) == key(build(wrn(16, 2), CIFAR))


def test_stages_of_inverted_residuals_are_a_point() -> None:
    stages = tuple(
        Stage("inverted", 2, 16 * 2**i, down="first" if i else "none", expansion=6.0, activation="swish", se=0.25)
        for i in range(3)
    )
    stem = Stem("conv_act", 32, 3, 2, activation="swish")
    published = build(NetworkPlan(stem, stages, Head("conv_pool_fc", 256)), CIFAR)
    mobile = point(
        family="inverted",
        activation="swish",
        se=0.25,
        preactivated=None,
        inverted__expansion=6.0,
        stem__stride=2,
        stem__width=2.0,
        head="conv_pool_fc",
        **{f"stage{i}__repeats": 2 for i in (1, 2, 3)},
    )
    assert key(SPACE.build(mobile, CIFAR)) == key(published)


@pytest.mark.parametrize(
    ("changes", "block", "variant"),
    [
        ({"family": "bottleneck", "bottleneck__expansion": 0.25}, "bottleneck", "original"),
        ({"family": "separable", "preactivated": None}, "separable", "original"),
    ],
)
def test_other_families_are_what_tables_of_stages_build(changes: dict[str, Any], block: str, variant: str) -> None:
    stages = tuple(
        Stage(block, 1, 16 * 2**i, down="first" if i else "none", expansion=0.25, variant=variant) for i in range(3)
    )
    table = build(NetworkPlan(Stem("conv_act", 16, 3, 1), stages), CIFAR)
    assert costs(SPACE.build(point(**changes), CIFAR)) == costs(table)


@pytest.mark.parametrize("pool", ["max", "max_overlapping", "avg"])
def test_convolutions_and_pools_are_a_point(pool: str) -> None:
    """The start ``vgg6`` is VGG with one convolution a stage, whose last stage has no room for a pool."""
    stages = [Stage("conv", 1, 8 * 2**i, down="pool_after" if i < 4 else "none", pool=pool) for i in range(5)]
    table = build(NetworkPlan(Stem("none"), tuple(stages)), CIFAR)
    vgg = SPACE.build(Architecture("macro", {**SPACE.start("vgg6").decisions, "down": pool}), CIFAR)
    # torchvision's VGG keeps biases before its norms
    plain = [replace(node.op, bias=False) if isinstance(node.op, Conv) else node.op for node in table.nodes]
    assert [node.op for node in vgg.nodes] == plain


@pytest.mark.parametrize(
    ("head", "stages", "features"),
    [("pool_fc", 3, 1), ("pool2_fc", 3, 4), ("pool4_fc", 3, 16), ("pool4_fc", 2, 16), ("pool4_fc", 4, 4)],
)
def test_a_head_of_parts_sees_as_many_of_them_as_pixels_are_left(head: str, stages: int, features: int) -> None:
    """On 32 pixels an early and two further stages leave 4 a side, three further ones 2."""
    repeats = {f"stage{i + 1}__repeats": 1 if i < stages else None for i in range(4)}
    graph = SPACE.build(point(head=head, early=True, growth=1.0, stages=stages, **repeats), CIFAR, 64)
    assert layers(graph)[-1].params == 10 * (8 * features + 1)


@pytest.mark.parametrize("family", ["basic", "plain"])
def test_a_pool_before_a_stage_costs_what_a_stride_costs(family: str) -> None:
    """Of units whose first convolutions would stride; shortcuts that would stride cost as much, too."""
    own = {"family": family, "preactivated": False if family == "basic" else None}
    found = {costs(SPACE.build(point(**own, down=down), CIFAR)) for down in ("stride", "max", "max_overlapping", "avg")}
    assert len(found) == 1


def test_large_images_have_the_stem_of_a_resnet_for_imagenet() -> None:
    strided = SPACE.build(point(stem__stride=2), LARGER[1], 8)
    assert [node.op.kind for node in strided.nodes][1:5] == ["conv", "batch_norm", "relu", "max_pool"]
    # 224 pixels fall to 7 with a stem of 4, three stages of which two halve, and an early one
    early = cost(SPACE.build(point(stem__stride=2, early=True), LARGER[1], 8))
    assert early.macs < cost(strided).macs
    # a stem without a stride of its own halves them once
    assert "max_pool" not in {node.op.kind for node in SPACE.build(point(), LARGER[1], 8).nodes}


@pytest.mark.parametrize("task", [DIGITS, FASHION, CIFAR, *LARGER])
def test_every_sample_builds(task: Task) -> None:
    for architecture in samples(200):
        assert cost(SPACE.build(architecture, task, 6)).output_shape == (task.classes,)


def test_what_cannot_be_told_apart_is_not_asked() -> None:
    for architecture in samples(100):
        names, family = set(architecture.decisions), architecture["family"]
        assert ("preactivated" in names) == (family in ("basic", "bottleneck"))
        assert ("inverted.expansion" in names) == (family == "inverted")
        assert ("bottleneck.expansion" in names) == (family == "bottleneck")
        assert sum(name.startswith("stage") for name in names) == architecture["stages"] + 1
    assert len({SPACE.key(architecture) for architecture in samples(100)}) == len(set(samples(100)))


def test_a_network_that_hardly_reduces_is_infeasible() -> None:
    with pytest.raises(SpaceError, match="reduce images by 4"):
        SPACE.describe(point(stages=2, stage3__repeats=None))
    assert SPACE.build(point(stages=2, stage3__repeats=None, stem__stride=2), CIFAR)


@pytest.mark.parametrize(("macs", "share"), [(1_000_000, 0.85), (3_000_000, 0.9), (12_000_000, 0.95)])
@pytest.mark.parametrize("task", [FASHION, CIFAR])
def test_most_samples_meet_a_budget(task: Task, macs: int, share: float) -> None:
    met = [meets(SPACE, architecture, task, macs) for architecture in samples(40)]
    assert sum(met) >= share * len(met)


def test_a_wider_network_costs_more() -> None:
    for architecture in samples(10):
        found = [cost(SPACE.build(architecture, CIFAR, width)).macs for width in range(16, 160, 5)]
        assert found == sorted(found)


def test_samples_train() -> None:
    for architecture in samples(6):
        module = build_module(SPACE.build(architecture, Task("tiny", (3, 32, 32), 5), 32))
        loss = torch.nn.functional.cross_entropy(module(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 3]))
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())


def test_it_is_built_again_at_other_sizes() -> None:
    searched = SearchedAt(width=96, depth=1, input_shape=CIFAR.input_shape)
    model = SPACE.scalable(point(), LARGER[0], searched=searched)
    assert isinstance(model, ScalableNetwork)
    assert model.build() == SPACE.build(point(), LARGER[0], 96, 1)
    assert model.build(160, 2) == SPACE.build(point(), LARGER[0], 160, 2)
    assert model.rounded(1.5, 1.6) == (144, 1.6)
    assert model.rounded(0.01, 0.01) == (16, 0.01)
    assert model.scaled(1.5, 1.0, 32).graph == SPACE.build(point(), Task("", (3, 32, 32), 10), 144)
    wide = solved(model, 20_000_000)
    assert wide.depth == 1
    assert wide.macs <= 20_000_000 < cost(model.build(wide.width + 1, 1)).macs
    with pytest.raises(ConfigError, match="at depth 1 the narrowest network, of width 16, has"):
        solved(model, 1000)


def test_depth_multiplies_repeats() -> None:
    twice = point(stage1__repeats=2, stage2__repeats=2, stage3__repeats=2)
    assert key(SPACE.build(point(), CIFAR, depth=2)) == key(SPACE.build(twice, CIFAR))
    with pytest.raises(SpaceError, match="depth must be"):
        build_shape(Shape((1, 1)), CIFAR, 8, 0)


def test_the_space_is_a_plain_function_that_chooses() -> None:
    network = macro(lambda name, options: RESNET[name])
    assert network.widths == (16, 1)
    assert network.network(CIFAR, 128, 1) == SPACE.build(point(), CIFAR)


def test_a_search_begins_with_handcrafted_shapes() -> None:
    """``resnet10`` and ``wide_resnet10`` are the networks of the space ``handcrafted``, at any width."""
    known = SPACES["handcrafted"]
    family = {"family": "resnet", "resnet.layers": 10, "resnet.stem_stride": 2}
    wide = {"family": "wide_resnet", "wide_resnet.layers": 10, "wide_resnet.stem_stride": 2}
    for name, decisions in (("resnet10", family), ("wide_resnet10", wide)):
        for channels in (16, 24):
            same = known.build(Architecture("handcrafted", decisions, known.args), CIFAR, channels * 8)
            assert key(SPACE.build(SPACE.start(name), CIFAR, channels * 8)) == key(same)
    for name in SPACE.starts:
        for task, macs in ((FASHION, 1_000_000), (CIFAR, 3_000_000), (LARGER[0], 12_000_000)):
            assert meets(SPACE, SPACE.start(name), task, macs)
