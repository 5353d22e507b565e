"""The space ``stages``: named networks are points of it, sampling has a prior, evolution may leave it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.core.values import Task
from nas.errors import ConfigError, GraphError, Infeasible, SpaceError
from nas.graph import cost
from nas.graph.lowering.torch_module import build_module
from nas.space import SPACES
from nas.space.networks import NETWORKS
from nas.space.validate import problems
from nas.types import Architecture
from search_spaces.spaces.stages import stages, start_architecture
from search_spaces.stages import PLANS, Head, NetworkPlan, Stage, Stem, build
from search_spaces.stages.builder import check_plan, round_width
from search_spaces.stages.plan import MOST_STAGES, WIDTHS, choose_plan

SPACE = SPACES["stages"]
NAMES = tuple(PLANS)
CIFAR = Task("cifar10", (3, 32, 32), 10)
NARROW = Task("narrow", (3, 64, 48), 7)
BASIC = Stage("basic", 2, 64)
HALVED = replace(BASIC, down="first")


def test_the_space_keeps_the_contract() -> None:
    assert list(problems(SPACE, draws=10)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_named_network_is_a_point_of_the_space(name: str) -> None:
    info = NETWORKS[name]
    architecture = start_architecture(name)
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    assert SPACE.build(architecture, Task(name, info.input_shape, info.classes)) == info.build()
    assert choose_plan(PLANS[name]) == PLANS[name]


def test_an_unknown_network_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        start_architecture("resnet19")


def test_names_have_the_classes_and_input_that_are_asked_for() -> None:
    graph = NETWORKS["resnet18"].build((1, 28, 28), 7)
    assert graph.input_shape == (1, 28, 28)
    assert cost(graph).output_shape == (7,)
    with pytest.raises(GraphError, match="auxiliary"):
        NETWORKS["resnet18"].build(aux=True)
    with pytest.raises(GraphError, match="does not fit"):
        NETWORKS["vgg16"].build((3, 16, 16))


def _samples(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def _plan(architecture: Architecture) -> NetworkPlan:
    return choose_plan(lambda name, _: architecture[name])


def test_sampling_draws_one_family_with_widths_that_never_fall() -> None:
    plans = [_plan(a) for a in _samples(200)]
    for plan in plans:
        assert 3 <= len(plan.stages) <= 5
        assert len({(s.block, s.variant, s.activation, s.norm, s.se) for s in plan.stages}) == 1
        widths = [s.width for s in plan.stages]
        assert widths == sorted(widths)
    assert {plan.stages[0].block for plan in plans} == set(SPACE.options("stage1.block"))


def test_sampling_is_a_function_of_the_stream() -> None:
    assert _samples(20, seed=3) == _samples(20, seed=3)
    assert len(set(_samples(100))) == 100


def _cost_as_torch_counts(architecture: Architecture) -> tuple[int, int]:
    with torch.device("meta"):
        module = build_module(SPACE.build(architecture, CIFAR)).eval()
        images = torch.zeros(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        assert module(images).shape == (1, 10)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2


@pytest.mark.long
def test_a_hundred_samples_cost_what_their_modules_do() -> None:
    for architecture in _samples(100):
        found = cost(SPACE.build(architecture, CIFAR))
        assert (found.params, found.macs) == _cost_as_torch_counts(architecture)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in NAMES if "1202" not in n])
def test_named_networks_cost_what_their_modules_do(name: str) -> None:
    architecture = start_architecture(name)
    found = cost(SPACE.build(architecture, CIFAR))
    assert (found.params, found.macs) == _cost_as_torch_counts(architecture)


def test_samples_train() -> None:
    for architecture in _samples(4, seed=5):
        module = build_module(SPACE.build(architecture, Task("tiny", (3, 32, 32), 5)))
        loss = torch.nn.functional.cross_entropy(module(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())


@pytest.mark.long
def test_a_thousand_children_of_known_networks_are_valid() -> None:
    """Mutations and crossovers of named networks and of their children: each child builds, whatever it mixes."""
    rng = np.random.default_rng(0)
    pool = [start_architecture(name) for name in NAMES]
    blocks_mixed = widths_fell = 0
    for i in range(1000):
        parent, other = (pool[int(rng.integers(len(pool)))] for _ in range(2))
        child = SPACE.crossover(parent, other, rng) if i % 2 else SPACE.mutate(parent, rng)
        for task in (CIFAR, NARROW):
            found = cost(SPACE.build(child, task))
            assert found.output_shape == (task.classes,)
        plan = _plan(child)
        blocks_mixed += len({stage.block for stage in plan.stages}) > 1
        widths_fell += any(a.width > b.width for a, b in zip(plan.stages, plan.stages[1:], strict=False))
        if found.params < 50_000_000:
            pool.append(child)
    assert blocks_mixed > 100  # they leave the prior
    assert widths_fell > 100


@pytest.mark.parametrize("name", ["resnet18", "vgg16_bn", "densenet121", "mobilenet_v2", "squeezenet1_1"])
def test_every_single_change_of_a_network_is_valid_or_infeasible(name: str) -> None:
    rng = np.random.default_rng(0)
    start = start_architecture(name)
    SPACE.describe(start)
    moves = SPACE.moves(start)
    chosen = [moves[int(i)] for i in rng.choice(len(moves), 60, replace=False)]
    built = [SPACE.build(child, CIFAR) for move in chosen if (child := SPACE.move(start, move, rng)) is not None]
    assert len(built) > 30
    assert all(cost(graph).output_shape == (10,) for graph in built)


def test_a_stage_that_a_mutation_adds_suits_the_network() -> None:
    rng = np.random.default_rng(0)
    start = start_architecture("resnet18")
    SPACE.describe(start)
    for _ in range(10):
        child = SPACE.move(start, ("stages", 4), rng)
        assert child is not None
        *before, added = _plan(child).stages
        assert tuple(before) == PLANS["resnet18"].stages
        assert (added.block, added.width, added.norm, added.variant) == ("basic", 512, "batch", "original")
        assert added.repeats <= 4


@pytest.mark.parametrize(
    ("plan", "rule"),
    [
        (NetworkPlan(Stem(), (Stage("dense", 2, 32, down="first"),)), "no stride"),
        (NetworkPlan(Stem(), (Stage("fire", 2, 64, down="first"),)), "no stride"),
        (NetworkPlan(Stem(), (Stage("basic", 2, 64, norm="lrn"),)), "local response norm"),
        (NetworkPlan(Stem(), (Stage("basic", 2, 40, groups=64),)), "groups must divide"),
        (NetworkPlan(Stem(), (BASIC, Stage("basic", 2, 32, shortcut="pad"))), "cannot lose channels"),
        (NetworkPlan(Stem(), (Stage("inverted", 1, 64, expansion=0.0),)), "expansion"),
        (NetworkPlan(Stem(stride=4, pool="max_padded"), (HALVED, HALVED, HALVED)), "at most 32"),
    ],
)
def test_what_cannot_be_built_is_infeasible(plan: NetworkPlan, rule: str) -> None:
    with pytest.raises(Infeasible, match=rule):
        check_plan(plan)


def test_infeasible_tables_are_refused_in_replay() -> None:
    start = start_architecture("densenet121")
    wrong = tuple((n, "pool_after" if n == "stage2.down" else v) for n, v in start.decisions.items())
    with pytest.raises(SpaceError, match=r"stage2\.pool' is missing"):
        SPACE.describe(Architecture("stages", wrong))
    with pytest.raises(SpaceError, match="unknown option '33'"):
        SPACE.describe(
            Architecture("stages", tuple((n, 33 if n == "stage1.width" else v) for n, v in start.decisions.items()))
        )


@pytest.mark.parametrize("change", [lambda p: replace(p, stages=(BASIC,) * MOST_STAGES), lambda p: p])
def test_one_to_nine_stages(change: Callable[[NetworkPlan], NetworkPlan]) -> None:
    plan = change(NetworkPlan(Stem(width=16, kernel=3, stride=1), (BASIC,)))
    assert cost(build(plan, CIFAR)).output_shape == (10,)
    with pytest.raises(ValueError, match="not in"):
        choose_plan(_strict(replace(plan, stages=(BASIC,) * (MOST_STAGES + 1))))


def _strict(plan: NetworkPlan) -> Callable[[str, Any], Any]:
    def choose(name: str, options: Any) -> Any:
        value = plan(name, options)
        if value not in options:
            raise ValueError(f"{value!r} is not in {options}")
        return value

    return choose


@pytest.mark.parametrize("name", NAMES)
def test_named_tables_use_allowed_values(name: str) -> None:
    choose_plan(_strict(PLANS[name]))


def test_width_and_depth_scale_a_network() -> None:
    start = start_architecture("resnet20_cifar")
    twice, deeper = SPACE.build(start, CIFAR, width=32), SPACE.build(start, CIFAR, depth=2)
    assert 3.8 < cost(twice).params / cost(SPACE.build(start, CIFAR)).params < 4.1
    assert deeper.nodes[-5].name.startswith("stage3.block6.")
    with pytest.raises(SpaceError, match="width"):
        build(PLANS["resnet18"], CIFAR, width=-1)


@pytest.mark.parametrize(("channels", "rounded"), [(8.0, 8), (11.2, 16), (33.6, 32), (44.8, 48), (3.0, 8), (22.4, 24)])
def test_scaled_widths_are_multiples_of_eight(channels: float, rounded: int) -> None:
    assert round_width(channels) == rounded
    assert rounded % 8 == 0


def test_stochastic_depth_reaches_its_rate_in_the_last_unit() -> None:
    graph = NETWORKS["resnet110_stochastic_depth"].build()
    rates = [node.op.rate for node in graph.nodes if node.op.kind == "drop_path"]  # type: ignore[attr-defined]
    assert len(rates) == 54
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.5 / 54)
    assert rates[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["pool_fc", "act_pool_fc", "norm_pool_fc", "conv_pool_fc", "fc", "conv_classes"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_head_ends_in_one_logit_a_class(kind: str, norm: str) -> None:
    plan = NetworkPlan(Stem(width=16, kernel=3), (replace(BASIC, width=16, norm=norm),), Head(kind, 256, 0.2))
    assert cost(build(plan, CIFAR)).output_shape == (10,)


def test_the_space_is_a_plain_function_that_chooses() -> None:
    network = stages(lambda name, options: PLANS["resnet18"](name, options))
    assert network.network(Task("", (3, 224, 224), 1000), 16, 1) == NETWORKS["resnet18"].build()
    assert max(WIDTHS) == 2048
