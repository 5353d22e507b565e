"""The choice of switches: a rule on the CPU, elsewhere a measurement that is remembered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_examples import convnet, toy_splits

from nas.errors import ConfigError, EvaluationError
from nas.graph import Conv, Graph, GraphBuilder
from nas.training.engine import the_switches, train
from nas.training.recipe import Recipe
from nas.training.speed import ON_CPU, Switches, choose, safe_on_cpu, step_seconds
from nas.training.step import Captured, Trainee

CPU = torch.device("cpu")


def test_on_a_cpu_nothing_is_measured_or_written(tmp_path: Path) -> None:
    cache = tmp_path / "speed.json"
    assert choose(CPU, cache) == ON_CPU == Switches(channels_last=True, bf16=False, fused=True, capture=False)
    assert not cache.exists()


def strided(channels: int, side: int, kernel: int = 1, stride: int = 2) -> Graph:
    b = GraphBuilder((channels, side, side))
    return b.build(out=b(Conv(8, kernel, stride, kernel // 2), b.input))


@pytest.mark.parametrize(
    ("graph", "batch", "threads", "safe"),
    [
        (strided(15, 56), 16, 1, False),  # benchmarks/out_of_bounds.py: these crash
        (strided(2, 112), 16, 1, False),
        (strided(16, 112), 16, 1, True),
        (strided(8, 48), 16, 1, True),
        (strided(8, 112, kernel=3), 16, 1, True),
        (strided(8, 112, stride=1), 16, 1, True),
        (strided(64, 32), 35, 2, False),  # as did a ResNet in such batches
        (strided(64, 32), 36, 2, True),
        (strided(64, 56), 32, 2, True),
    ],
)
def test_channels_last_only_where_torch_stays_in_its_memory(graph: Graph, batch: int, threads: int, safe: bool) -> None:
    assert safe_on_cpu(ON_CPU, graph, batch, threads).channels_last == safe
    assert not safe_on_cpu(Switches(channels_last=False), graph, batch, threads).channels_last


def test_switches_of_an_old_checkpoint_are_made_safe_too() -> None:
    found = SimpleNamespace(switches=ON_CPU.to_json())
    assert not the_switches(None, found, strided(8, 112), CPU, 16, None).channels_last
    assert the_switches(None, found, strided(64, 112), CPU, 16, None).channels_last


class Timer:
    """Seconds of a step by switches: what is not named changes nothing."""

    def __init__(self, **factors: float) -> None:
        self.factors, self.calls = factors, 0

    def __call__(self, switches: Switches, device: torch.device) -> float:
        self.calls += 1
        seconds = 1.0
        for name, factor in self.factors.items():
            if getattr(switches, name):
                if factor < 0:
                    raise EvaluationError("cannot")
                seconds *= factor
        return seconds


def test_a_switch_is_on_where_it_is_faster_by_more_than_noise() -> None:
    assert choose(CPU, None, Timer(channels_last=0.5, capture=0.99)) == Switches(channels_last=True)
    assert choose(CPU, None, Timer(channels_last=1.1, capture=0.3)) == Switches(channels_last=False, capture=True)
    assert choose(CPU, None, Timer(channels_last=-1)) == Switches(channels_last=False)


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    cache, timer = tmp_path / "deep" / "speed.json", Timer(channels_last=0.5)
    first = choose(CPU, cache, timer)
    calls = timer.calls
    assert choose(CPU, cache, timer) == first
    assert timer.calls == calls > 0


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"cpu": 3}', "\x00", '{"a": {"speed": true}}'])
def test_a_damaged_cache_is_as_good_as_none(content: str, tmp_path: Path) -> None:
    cache = tmp_path / "speed.json"
    cache.write_text(content)
    assert choose(CPU, cache, Timer(capture=0.5)).capture
    cache.write_text(cache.read_text().replace("true", "1"))
    assert choose(CPU, cache, Timer(capture=0.5)).capture


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert choose(CPU, tmp_path / "file" / "speed.json", Timer(capture=0.5)).capture


@pytest.mark.parametrize("data", [[], {"chanels_last": True}, {"bf16": 1}])
def test_wrong_switches_are_refused(data: object) -> None:
    with pytest.raises(ConfigError, match="switches: "):
        Switches.from_json(data)
    assert Switches.from_json({"bf16": True}) == Switches(bf16=True)


def test_a_step_is_measured_without_touching_the_global_generator() -> None:
    before = torch.get_rng_state()
    assert step_seconds(ON_CPU, CPU, batch=2, steps=2) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("switches", "most"),
    [(Switches(channels_last=False), 1e-3), (Switches(fused=False), 1e-3), (Switches(bf16=True), 0.1)],
    ids=str,
)
def test_every_switch_trains_the_same_network(switches: Switches, most: float) -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=3, crop_padding=1)
    usual = train(convnet(splits.task), splits, recipe, 0)
    found = train(convnet(splits.task), splits, recipe, 0, switches=switches)
    assert usual.switches == ON_CPU
    assert found.switches == switches
    assert found.history == pytest.approx(usual.history, abs=most)


def test_where_no_graph_can_be_captured_training_goes_on_with_plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Captured, *_: object) -> bool:
        self.problem = "capture is not possible here"
        return False

    monkeypatch.setattr(Captured, "_beside", lambda self, *batch: self._trainee.compute(*batch))
    monkeypatch.setattr(Captured, "_capture", refuse)
    images, labels = torch.randn(8, 1, 6, 6), torch.arange(8) % 2
    losses = []
    for capture in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            trainee = Trainee(convnet(toy_splits().task), Recipe(batch_size=8), CPU, Switches(capture=capture))
        losses.append([float(trainee.step(images, labels)) for _ in range(7)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[1][-1] < losses[1][0]


def test_on_a_cpu_nothing_is_captured() -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=1, crop_padding=1)
    found = train(convnet(splits.task), splits, recipe, 0, device="cpu", switches=Switches(capture=True))
    assert found.switches == Switches()


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@CUDA
@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optimiser": "rmsprop", "nesterov": False}, {"mixup": 0.2}])
def test_a_captured_training_is_the_plain_one(changes: dict[str, Any]) -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=6, crop_padding=1, learning_rate=0.01, **changes)
    histories = [
        train(convnet(splits.task), splits, recipe, 0, device="cuda", switches=Switches(capture=capture)).history
        for capture in (False, True)
    ]
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)


@CUDA
def test_a_graph_is_captured_and_sees_the_rates_change() -> None:
    splits = toy_splits()
    trainee = Trainee(convnet(splits.task), Recipe(batch_size=8), torch.device("cuda"), Switches(capture=True))
    images, labels = torch.randn(8, 1, 6, 6, device="cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
    for _ in range(5):
        trainee.step(images, labels)
    assert isinstance(trainee._compute, Captured)
    assert trainee._compute.problem == ""
    trainee.set_rate(0.0)
    before = [p.clone() for p in trainee.parameters]
    trainee.step(images, labels)
    assert all(torch.equal(a, b) for a, b in zip(before, trainee.parameters, strict=True))


@CUDA
def test_deterministic_training_on_a_gpu_repeats_its_bits() -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=4, crop_padding=1)
    found = [train(convnet(splits.task), splits, recipe, 0, device="cuda", deterministic=True) for _ in range(2)]
    assert found[0].history == found[1].history
