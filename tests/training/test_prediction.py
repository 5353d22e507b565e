"""Predicted seconds of a training, and the precision that is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_examples import convnet, toy_splits

from nas.core.values import Task
from nas.graph import Conv, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear
from nas.training import checkpoint as checkpoints
from nas.training.backend_tuning import bf16_speedup
from nas.training.device import BackendOptions, backend_for
from nas.training.recipe import Recipe
from nas.training.trainer import epoch_seconds, train

CPU = torch.device("cpu")
TASK = Task("toy", (1, 6, 6), 2)
RECIPE = Recipe(batch_size=8, epochs=2, crop_padding=1)


def depthwise() -> Graph:
    b = GraphBuilder(TASK.input_shape)
    x = b(Conv(4, 3, padding=1, groups=4), b(Conv(4, 1), b.input))
    return b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x))))


def timed(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> list[float]:
    """Let steps take ``seconds``; return a list of those that were taken."""
    taken: list[float] = []

    def steps(*_: object) -> Iterator[float]:
        for each in seconds:
            taken.append(each)
            yield each

    monkeypatch.setattr("nas.training.trainer._timed_steps", steps)
    return taken


@pytest.mark.parametrize(
    ("steps", "limit", "predicted", "taken"),
    [
        ((9.0, 1.2, 1.0, 1.1, 0.1), math.inf, 4.0, 4),  # the first warms up, the fastest of three counts
        ((9.0, 1.2, 1.0, 1.1), 3.7, 4.0, 4),
        ((5.0, 1.2, 1.0, 1.1), 2.0, 4.8, 2),  # a step tells
        ((9.0, 1.2, 1.0, 1.1), 1.0, 36.0, 1),  # even the first
    ],
)
def test_the_fastest_step_predicts_an_epoch(
    steps: tuple[float, ...], limit: float, predicted: float, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = timed(monkeypatch, *steps)
    assert epoch_seconds(convnet(TASK), toy_splits(), RECIPE, limit=limit) == pytest.approx(predicted)
    assert len(found) == taken


def test_a_real_prediction_leaves_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert 0 < epoch_seconds(convnet(TASK), toy_splits(), RECIPE, threads=1) < 5
    assert torch.equal(torch.get_rng_state(), before)


def test_a_precision_is_for_networks_without_convolutions_in_groups() -> None:
    assert backend_for(CPU, convnet(TASK), 8, precision="bf16").bf16
    assert not backend_for(CPU, depthwise(), 8, precision="bf16").bf16
    assert not backend_for(CPU, convnet(TASK), 8, precision="float32").bf16
    assert not backend_for(CPU, convnet(TASK), 8).bf16


def test_a_training_goes_on_in_the_precision_that_it_began_in(tmp_path: Path) -> None:
    def trained(epochs: int, resume: Path | None, precision: str | None) -> BackendOptions:
        how = {"checkpoint": tmp_path, "resume": resume, "precision": precision, "threads": 1}
        return train(convnet(TASK), toy_splits(), RECIPE, 0, epochs, **how).backend  # type: ignore[arg-type]

    assert trained(1, None, "bf16").bf16
    assert checkpoints.load(tmp_path).backend["bf16"]
    assert trained(2, tmp_path, "float32").bf16


@pytest.mark.parametrize(("factor", "speedup", "calls"), [(0.5, 2.0, 4), (1.0, 1.0, 4), (8.0, 0.125, 2)])
def test_a_hopeless_precision_is_measured_once(factor: float, speedup: float, calls: int) -> None:
    asked: list[tuple[bool, int]] = []

    def measure(backend: BackendOptions, device: torch.device, batch: int, steps: int) -> float:
        asked.append((backend.bf16, batch))
        return batch * (factor if backend.bf16 else 1.0)

    assert bf16_speedup(1, measure) == speedup
    assert len(asked) == calls
