"""Initial weights, groups of decay, and the recipe's rates of dropout and drop path."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from training_examples import toy_splits

from nas.graph import BatchNorm, Conv, Dropout, DropPath, Flatten, GlobalAvgPool, Graph, GraphBuilder, LayerNorm, Linear
from nas.graph.lowering.torch_module import build_module
from nas.training.device import ON_CPU
from nas.training.optimizer import parameter_groups
from nas.training.recipe import INITS, Recipe
from nas.training.train_step import ScheduledDrop, TrainStep, init_weights, new_network
from nas.training.trainer import train

RECIPE = Recipe(batch_size=8, epochs=4, crop_padding=0, flip=False)


def dropping(paths: int = 3, rate: float = 0.5) -> Graph:
    b = GraphBuilder((1, 6, 6))
    x = b(Conv(4, 3), b.input)
    for i in range(paths):
        x = b(DropPath(rate), x, name=f"block{i}.path")
    x = b(Dropout(rate), b(Flatten(), b(GlobalAvgPool(), x)), name="dropout")
    return b.build(logits=b(Linear(2), x))


def test_norms_and_biases_do_not_decay() -> None:
    b = GraphBuilder((1, 6, 6))
    x = b(BatchNorm(), b(Conv(4, 3, bias=True), b.input, name="conv"), name="bn")
    x = b(Conv(4, 3, groups=4), x, name="depthwise")
    x = b(Flatten(), b(LayerNorm(), x, name="ln"))
    module = build_module(b.build(logits=b(Linear(2), x, name="fc")))
    names = {id(p): name for name, p in module.named_parameters()}

    def decayed(**changes: bool) -> set[str]:
        decay, rest = parameter_groups(module, Recipe(weight_decay=0.01, **changes))
        assert (decay["weight_decay"], rest["weight_decay"]) == (0.01, 0.0)
        assert len(decay["params"]) + len(rest["params"]) == len(names)
        return {names[id(p)] for p in decay["params"]}

    weights = {"conv.weight", "depthwise.weight", "fc.weight"}
    assert decayed() == weights
    assert decayed(decay_norms=True) == weights | {"bn.weight", "bn.bias", "ln.weight", "ln.bias"}
    assert decayed(decay_biases=True) == weights | {"conv.bias", "fc.bias"}
    assert decayed(decay_depthwise=False) == weights - {"depthwise.weight"}


def drawn(how: str) -> list[nn.Module]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 128, 3), nn.Conv2d(512, 512, 5, groups=512), nn.Linear(200, 400)]
    init_weights(nn.Sequential(*layers), Recipe(init=how, init_std=0.03))
    return layers


@pytest.mark.parametrize(
    ("how", "deviations"),
    [
        ("he_fan_out", (math.sqrt(2 / (128 * 9)), math.sqrt(2 / 25), math.sqrt(1 / 600))),
        ("he_fan_in", (math.sqrt(2 / (64 * 9)), math.sqrt(2 / 25), math.sqrt(2 / 200))),
        ("xavier", (math.sqrt(2 / (192 * 9)), math.sqrt(2 / (513 * 25)), math.sqrt(2 / 600))),
        # a normal distribution cut at two deviations keeps 0.88 of one
        ("truncated_normal", (0.8796 * 0.03,) * 3),
        ("torch", (math.sqrt(1 / (3 * 64 * 9)), math.sqrt(1 / 75), math.sqrt(1 / 600))),
    ],
)
def test_weights_have_the_deviation_of_their_paper(how: str, deviations: tuple[float, ...]) -> None:
    for layer, deviation in zip(drawn(how), deviations, strict=True):
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.03)
        if how not in ("torch", "he_fan_out") or (isinstance(layer, nn.Conv2d) and how != "torch"):
            assert not layer.bias.any()


def test_truncated_weights_are_cut_at_two_deviations() -> None:
    assert float(drawn("truncated_normal")[0].weight.detach().abs().max()) <= 0.06
    assert float(drawn("he_fan_in")[0].weight.detach().abs().max()) > 2 * math.sqrt(2 / (64 * 9))


def test_every_initialisation_reaches_the_network() -> None:
    found = set()
    for how in INITS:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = new_network(dropping(), replace(RECIPE, init=how), ("logits",), torch.zeros(()))
        found.add(float(next(network.parameters()).detach().abs().sum()))
    assert len(found) == len(INITS)


def rates(recipe: Recipe) -> list[float]:
    network = new_network(dropping(), recipe, ("logits",), torch.ones(()))
    layers = map(network.get_submodule, ("block0.path", "block1.path", "block2.path", "dropout"))
    return [layer.rate if isinstance(layer, ScheduledDrop) else layer.p for layer in layers]


@pytest.mark.parametrize("ramp", [False, True])
def test_rates_are_the_recipes_where_it_has_them(ramp: bool) -> None:
    recipe = replace(RECIPE, drop_path_by_epoch=ramp)
    assert rates(recipe) == [0.5, 0.5, 0.5, 0.5]
    assert rates(replace(recipe, dropout=0.1)) == [0.5, 0.5, 0.5, 0.1]
    assert rates(replace(recipe, drop_path=0.3)) == [0.3, 0.3, 0.3, 0.5]
    assert rates(replace(recipe, drop_path=0.3, drop_path_by_depth=True)) == pytest.approx([0.1, 0.2, 0.3, 0.5])
    assert rates(replace(recipe, drop_path_by_depth=True)) == pytest.approx([0.5 / 3, 1 / 3, 0.5, 0.5])


def test_a_rising_rate_is_the_share_of_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = ScheduledDrop.forward

    def spy(self: ScheduledDrop, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen.append(round(self.rate * float(self.progress), 6))
        return original(self, x)

    monkeypatch.setattr(ScheduledDrop, "forward", spy)
    train(dropping(1), toy_splits(), replace(RECIPE, drop_path=0.4, drop_path_by_epoch=True), 0)
    # 4 epochs of 4 steps
    assert seen == [rate for rate in (0.0, 0.1, 0.2, 0.3) for _ in range(4)]


def test_a_scheduled_drop_drops_its_share_and_keeps_the_mean() -> None:
    progress = torch.tensor(0.5)
    layer = ScheduledDrop(0.4, progress)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = layer(torch.ones(20_000))
        assert float((out == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
        assert float(out.max()) == pytest.approx(1.25)
        progress.fill_(0)
        assert torch.equal(layer(torch.ones(9)), torch.ones(9))
    progress.fill_(1)
    assert torch.equal(layer.eval()(torch.ones(9)), torch.ones(9))


def test_dropout_of_the_recipe_changes_the_training() -> None:
    graph, splits = dropping(1, 0.2), toy_splits()
    losses = {
        name: train(graph, splits, replace(RECIPE, **change), 0).history
        for name, change in {
            "as it is": {},
            "none": {"dropout": 0.0},
            "much": {"dropout": 0.9},
            "no path": {"drop_path": 0.0},
            "rising": {"drop_path": 0.2, "drop_path_by_epoch": True},
        }.items()
    }
    assert len(set(losses.values())) == len(losses)
    assert losses["none"][-1] < losses["much"][-1]


def test_heads_are_trained_where_they_have_a_weight_and_not_given_back() -> None:
    b = GraphBuilder((1, 6, 6))
    x = b(Flatten(), b(GlobalAvgPool(), b(Conv(4, 3), b.input)))
    graph = b.build(logits=b(Linear(2), x, name="fc"), aux=b(Linear(2), x, name="head"), other=x)
    assert TrainStep(graph, RECIPE, torch.device("cpu"), ON_CPU).outputs == ("logits",)
    recipe = replace(RECIPE, aux_weight=0.4)
    assert TrainStep(graph, recipe, torch.device("cpu"), ON_CPU).outputs == ("logits", "aux")
    result = train(graph, toy_splits(), recipe, 0)
    assert not any("head" in name for name in result.module.state_dict())
    build_module(graph).load_state_dict(result.module.state_dict())
