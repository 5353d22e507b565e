"""The choice of switches: a rule on the CPU, elsewhere a measurement that is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from command import nas, python
from training_examples import convnet, toy_splits

from nas.errors import ConfigError, EvaluationError
from nas.graph import Conv, Graph, GraphBuilder
from nas.training.backend_tuning import choose, step_seconds
from nas.training.cuda_graph import CapturedStep
from nas.training.device import ON_CPU, BackendOptions, backend_for, safe_on_cpu
from nas.training.recipe import Recipe
from nas.training.train_step import TrainStep
from nas.training.trainer import train

CPU = torch.device("cpu")
CHECKED = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
"""The environment in which glibc ends a process at the first damaged block of memory; elsewhere it changes nothing."""


def test_on_a_cpu_nothing_is_measured_or_written(tmp_path: Path) -> None:
    cache = tmp_path / "speed.json"
    assert choose(CPU, cache) == ON_CPU == BackendOptions(channels_last=True, bf16=False, fused=True, capture=False)
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
    assert safe_on_cpu(ON_CPU, graph, batch, threads, "AVX512").channels_last == safe
    assert not safe_on_cpu(BackendOptions(channels_last=False), graph, batch, threads).channels_last


def test_older_processors_write_outside_their_memory_on_small_images_too() -> None:
    assert not safe_on_cpu(ON_CPU, strided(7, 14), 64, 1, "AVX2").channels_last
    assert safe_on_cpu(ON_CPU, strided(7, 14), 64, 1, "AVX512").channels_last
    assert safe_on_cpu(ON_CPU, strided(16, 14), 64, 1, "AVX2").channels_last
    assert safe_on_cpu(ON_CPU, strided(7, 14, kernel=3), 64, 1, "AVX2").channels_last


@pytest.mark.long
def test_gradients_that_this_processor_gets_wrong_are_not_computed(tmp_path: Path) -> None:
    # a network with such a convolution, trained under glibc's checks where there are some: a damaged block ends it
    code = """
import numpy as np, torch
from nas.graph import Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear
from nas.training.device import backend_for
torch.set_num_threads(1)
b = GraphBuilder((7, 14, 14))
graph = b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), b(Conv(14, 1, 2), b.input)))))
kind = torch.channels_last if backend_for(torch.device("cpu"), graph, 16).channels_last else torch.contiguous_format
module = graph.to_module().to(memory_format=kind)
for _ in range(6):
    module(torch.randn(16, 7, 14, 14).to(memory_format=kind)).sum().backward()
"""
    done = python(tmp_path, code, **CHECKED)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_search_on_grey_images_keeps_to_the_safe_order(tmp_path: Path) -> None:
    # images of one channel have both orders at once, and torch would take the other one for the whole network
    space = ("--space=nasnet", "--space-arg=nodes=2", "--width=2", "--depth=1")
    rest = ("--dataset=digits", "--epochs=1", "--trials=1", "--baseline=none", "--final-seeds=0", "--name=r")
    done = nas(tmp_path, "search", *space, *rest, **CHECKED)
    assert done.returncode == 0, done.stderr


def test_switches_of_an_old_checkpoint_are_made_safe_too() -> None:
    assert not backend_for(CPU, strided(8, 112), 16, given=ON_CPU).channels_last
    assert backend_for(CPU, strided(64, 112), 16, given=ON_CPU).channels_last


class Timer:
    """Seconds of a step by switches: what is not named changes nothing."""

    def __init__(self, **factors: float) -> None:
        self.factors, self.calls = factors, 0

    def __call__(self, switches: BackendOptions, device: torch.device) -> float:
        self.calls += 1
        seconds = 1.0
        for name, factor in self.factors.items():
            if getattr(switches, name):
                if factor < 0:
                    raise EvaluationError("cannot")
                seconds *= factor
        return seconds


def test_a_switch_is_on_where_it_is_faster_by_more_than_noise() -> None:
    assert choose(CPU, None, Timer(channels_last=0.5, capture=0.99)) == BackendOptions(channels_last=True)
    assert choose(CPU, None, Timer(channels_last=1.1, capture=0.3)) == BackendOptions(channels_last=False, capture=True)
    assert choose(CPU, None, Timer(channels_last=-1)) == BackendOptions(channels_last=False)


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
        BackendOptions.from_json(data)
    assert BackendOptions.from_json({"bf16": True}) == BackendOptions(bf16=True)


def test_a_step_is_measured_without_touching_the_global_generator() -> None:
    before = torch.get_rng_state()
    assert step_seconds(ON_CPU, CPU, batch=2, steps=2) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("switches", "most"),
    [
        (BackendOptions(channels_last=False), 1e-3),
        (BackendOptions(fused=False), 1e-3),
        (BackendOptions(bf16=True), 0.1),
    ],
    ids=str,
)
def test_every_switch_trains_the_same_network(switches: BackendOptions, most: float) -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=3, crop_padding=1)
    usual = train(convnet(splits.task), splits, recipe, 0)
    found = train(convnet(splits.task), splits, recipe, 0, backend=switches)
    assert usual.backend == ON_CPU
    assert found.backend == switches
    assert found.history == pytest.approx(usual.history, abs=most)


def test_where_no_graph_can_be_captured_training_goes_on_with_plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: CapturedStep, *_: object) -> bool:
        self.problem = "capture is not possible here"
        return False

    monkeypatch.setattr(CapturedStep, "_beside", lambda self, *batch: self._train_step.compute(*batch))
    monkeypatch.setattr(CapturedStep, "_capture", refuse)
    images, labels = torch.randn(8, 1, 6, 6), torch.arange(8) % 2
    losses = []
    for capture in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            train_step = TrainStep(
                convnet(toy_splits().task), Recipe(batch_size=8), CPU, BackendOptions(capture=capture)
            )
        losses.append([float(train_step.step(images, labels)) for _ in range(7)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[1][-1] < losses[1][0]


def test_on_a_cpu_nothing_is_captured() -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=1, crop_padding=1)
    found = train(convnet(splits.task), splits, recipe, 0, device="cpu", backend=BackendOptions(capture=True))
    assert found.backend == BackendOptions()


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@CUDA
@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optimizer": "rmsprop", "nesterov": False}, {"mixup": 0.2}])
def test_a_captured_training_is_the_plain_one(changes: dict[str, Any]) -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=6, crop_padding=1, learning_rate=0.01, **changes)
    histories = [
        train(convnet(splits.task), splits, recipe, 0, device="cuda", backend=BackendOptions(capture=capture)).history
        for capture in (False, True)
    ]
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)


@CUDA
def test_a_graph_is_captured_and_sees_the_rates_change() -> None:
    splits = toy_splits()
    train_step = TrainStep(
        convnet(splits.task), Recipe(batch_size=8), torch.device("cuda"), BackendOptions(capture=True)
    )
    images, labels = torch.randn(8, 1, 6, 6, device="cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
    for _ in range(5):
        train_step.step(images, labels)
    assert isinstance(train_step._compute, CapturedStep)
    assert train_step._compute.problem == ""
    train_step.set_rate(0.0)
    before = [p.clone() for p in train_step.parameters]
    train_step.step(images, labels)
    assert all(torch.equal(a, b) for a, b in zip(before, train_step.parameters, strict=True))


@CUDA
def test_deterministic_training_on_a_gpu_repeats_its_bits() -> None:
    splits = toy_splits()
    recipe = Recipe(batch_size=8, epochs=4, crop_padding=1)
    found = [train(convnet(splits.task), splits, recipe, 0, device="cuda", deterministic=True) for _ in range(2)]
    assert found[0].history == found[1].history
