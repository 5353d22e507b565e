"""The training loop: learns, repeats itself bit by bit, leaves no trace, and fails with a kind."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_examples import bright_or_dark, convnet, forbidden, linear, toy_splits

from nas.core.values import Task
from nas.data.splits import ImageSet, Splits, load_splits
from nas.errors import ConfigError, EvaluationError
from nas.graph import Dropout, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear, Pad
from nas.training.evaluation import measure
from nas.training.recipe import Recipe, default_recipe
from nas.training.trainer import TrainResult, train

QUICK = Recipe(batch_size=8, epochs=2, crop_padding=1)
PLAIN = Recipe(batch_size=32, epochs=1, crop_padding=0, flip=False, warmup_epochs=0, clip_norm=0)


def bits(result: TrainResult) -> list[bytes]:
    return [t.numpy().tobytes() for t in result.module.state_dict().values()]


def test_digits_are_learnt_in_seconds() -> None:
    splits = load_splits("digits")
    result = train(convnet(splits.task, 16), splits, default_recipe("digits"), seed=0)
    assert result.accuracy >= 90
    assert result.history[-1] < result.history[0]
    assert result.train_loss == result.history[-1]
    assert len(result.history) == default_recipe("digits").epochs


def test_the_same_seed_gives_the_same_bits() -> None:
    splits = toy_splits()
    graph = convnet(splits.task, dropout=0.3)
    first, again, other = (train(graph, splits, QUICK, seed=s) for s in (7, 7, 8))
    assert bits(first) == bits(again)
    assert (first.history, first.accuracy, first.loss) == (again.history, again.accuracy, again.loss)
    assert bits(first) != bits(other)


def global_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]


def test_global_generators_are_neither_used_nor_changed() -> None:
    splits = toy_splits()
    graph = convnet(splits.task, dropout=0.3)
    torch.manual_seed(1)
    before = global_states()
    first = train(graph, splits, QUICK, seed=7)
    assert global_states() == before
    torch.manual_seed(2)
    assert bits(train(graph, splits, QUICK, seed=7)) == bits(first)


def test_a_failed_run_leaves_generators_and_threads_alone() -> None:
    splits = toy_splits()
    before = global_states()
    with pytest.raises(EvaluationError):
        train(
            linear(splits.task), splits, Recipe(learning_rate=1e38, clip_norm=0, epochs=5, batch_size=8), 0, threads=2
        )
    assert global_states() == before
    assert torch.get_num_threads() == 1


def test_threads_are_set_for_the_run_alone() -> None:
    splits, seen = toy_splits(), []
    train(linear(splits.task), splits, QUICK, 0, threads=2, on_epoch=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [2, 2]
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("norm", [True, False])
def test_a_run_that_diverges_is_typed_and_stops_at_once(norm: bool) -> None:
    splits, epochs = toy_splits(), []
    recipe = Recipe(learning_rate=1e8, clip_norm=0, epochs=200, warmup_epochs=0, batch_size=8, crop_padding=0)
    with pytest.raises(EvaluationError, match="training diverged") as error:
        train(convnet(splits.task, norm=norm), splits, recipe, 0, on_epoch=lambda e, _: epochs.append(e))
    assert error.value.kind == "diverged"
    assert len(epochs) < 100


def test_the_first_bad_epoch_is_the_last() -> None:
    splits, epochs = toy_splits(), []
    recipe = Recipe(learning_rate=1e38, clip_norm=0, epochs=9, warmup_epochs=0, batch_size=8, nesterov=False)
    with pytest.raises(EvaluationError, match=r"of epoch 1 is (nan|inf)"):
        train(linear(splits.task), splits, recipe, 0, on_epoch=lambda e, _: epochs.append(e))
    assert epochs == []


def test_a_network_that_is_too_big_for_memory_is_typed() -> None:
    splits = toy_splits()
    b = GraphBuilder(splits.task.input_shape)
    x = b(Pad(top=3_000_000, left=3_000_000), b.input)
    graph = b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x))))
    with pytest.raises(EvaluationError, match="out of memory") as error:
        train(graph, splits, QUICK, 0)
    assert error.value.kind == "oom"
    assert "\n" not in str(error.value)


def test_pythons_memory_error_is_typed() -> None:
    def fail(epoch: int, loss: float) -> None:
        raise MemoryError

    splits = toy_splits()
    with pytest.raises(EvaluationError) as error:
        train(linear(splits.task), splits, QUICK, 0, on_epoch=fail)
    assert error.value.kind == "oom"


def test_other_errors_are_not_called_out_of_memory() -> None:
    def fail(epoch: int, loss: float) -> None:
        raise RuntimeError("something else")

    splits = toy_splits()
    with pytest.raises(RuntimeError, match="something else"):
        train(linear(splits.task), splits, QUICK, 0, on_epoch=fail)


@pytest.mark.parametrize(("images", "batch", "steps"), [(5, 64, 1), (2, 64, 1), (33, 32, 1), (65, 32, 2), (64, 32, 2)])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 5, 4)])
def test_any_number_of_images_trains(
    monkeypatch: pytest.MonkeyPatch, images: int, batch: int, steps: int, shape: tuple[int, int, int]
) -> None:
    rates = spy_on_rates(monkeypatch)
    splits = toy_splits(images, 3, shape)
    recipe = Recipe(batch_size=batch, epochs=3, crop_padding=1)
    result = train(convnet(splits.task), splits, recipe, 0)
    assert len(rates) == 3 * steps
    assert np.isfinite(result.loss)


def test_one_image_is_not_enough() -> None:
    splits = toy_splits(1)
    with pytest.raises(ConfigError, match="at least 2 images, found 1"):
        train(convnet(splits.task), splits, QUICK, 0)


def spy_on_rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    rates: list[float] = []
    original = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *args: Any) -> Any:
        first, second = self.param_groups
        assert first["lr"] == second["lr"]
        rates.append(first["lr"])
        return original(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    return rates


def test_every_step_has_the_recipes_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = spy_on_rates(monkeypatch)
    splits = toy_splits(32)
    train(linear(splits.task), splits, Recipe(batch_size=8, epochs=9, warmup_epochs=1, learning_rate=0.4), 0, epochs=3)
    cosine = [0.2 * (1 + np.cos(np.pi * k / 8)) for k in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, *cosine])


def test_one_step_of_sgd_is_the_formula() -> None:
    # w' = w - lr (1 + momentum) (g + decay w) for a first Nesterov step; biases without decay
    splits = toy_splits(32)
    recipe = Recipe(**{**PLAIN.to_json(), "learning_rate": 0.5, "weight_decay": 0.1})
    frozen = Recipe(**{**PLAIN.to_json(), "learning_rate": 1e-30})
    after = train(linear(splits.task), splits, recipe, 3).module.state_dict()
    module = train(linear(splits.task), splits, frozen, 3).module
    assert all(p.grad is None for p in module.parameters())
    nn.functional.cross_entropy(module(normalized(splits.train)), torch.from_numpy(splits.train.labels)).backward()
    w, b = module.classifier.weight, module.classifier.bias
    assert torch.allclose(after["classifier.weight"], w - 0.5 * 1.9 * (w.grad + 0.1 * w), atol=1e-5)
    assert torch.allclose(after["classifier.bias"], b - 0.5 * 1.9 * b.grad, atol=1e-5)


def normalized(images: ImageSet) -> torch.Tensor:
    x = torch.from_numpy(images.images).float()
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), correction=0, keepdim=True)


def test_gradients_are_clipped_to_the_norm() -> None:
    splits = toy_splits(32)
    numbers = {**PLAIN.to_json(), "learning_rate": 1.0, "weight_decay": 0.0, "momentum": 0.0, "nesterov": False}
    start = train(linear(splits.task), splits, Recipe(**{**numbers, "learning_rate": 1e-30}), 3).module.state_dict()
    for norm, moved in ((1e-3, 1e-3), (1e6, None)):
        end = train(linear(splits.task), splits, Recipe(**{**numbers, "clip_norm": norm}), 3).module.state_dict()
        distance = sum(float(((end[k] - start[k]) ** 2).sum()) for k in end) ** 0.5
        assert distance > 1e-2 if moved is None else distance == pytest.approx(moved, rel=1e-2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_the_training_loss_is_smoothed_and_the_measured_is_not(smoothing: float) -> None:
    splits = toy_splits(32, 16)
    recipe = Recipe(**{**PLAIN.to_json(), "learning_rate": 1e-30, "label_smoothing": smoothing})
    result = train(linear(splits.task), splits, recipe, 0)
    with torch.no_grad():
        logits = result.module(normalized(splits.train)).double().numpy()
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    right = logp[np.arange(32), splits.train.labels]
    expected = -(1 - smoothing) * right.mean() - smoothing * logp.mean(1).mean()
    assert result.train_loss == pytest.approx(expected, rel=1e-5)
    assert measure(result.module, splits.train, splits.train).loss == pytest.approx(-right.mean(), rel=1e-5)


def test_measuring_counts_and_averages() -> None:
    # logits (x, 0) of normalized x: class 0 where the pixel is above the mean
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [0.0]]))
        layer.bias.zero_()
    values = np.array([0, 0, 0, 200] * 300, dtype=np.uint8)
    labels = np.array([1, 1, 0, 0] * 300, dtype=np.int64)
    images = ImageSet(values.reshape(-1, 1, 1, 1), labels)
    found = measure(nn.Sequential(nn.Flatten(), layer), images, images)
    assert (found.accuracy, found.top5) == (75.0, None)
    low, high = -1 / 3**0.5, 3**0.5  # mean 50, deviation 50 sqrt 3
    terms = [np.log1p(np.exp(low)), np.log1p(np.exp(low)), np.log1p(np.exp(-low)), np.log1p(np.exp(-high))]
    assert found.loss == pytest.approx(np.mean(terms), rel=1e-5)
    bright = ImageSet(np.full((4, 1, 1, 1), 51, np.uint8), np.zeros(4, np.int64))
    assert measure(nn.Sequential(nn.Flatten(), layer), bright, images).accuracy == 100.0
    assert measure(nn.Sequential(nn.Flatten(), layer), bright, images).loss < np.log(2)


def test_a_loss_that_is_not_a_number_is_no_measurement() -> None:
    layer = nn.Linear(36, 2)
    nn.init.constant_(layer.weight, float("nan"))
    images = bright_or_dark(4)
    with pytest.raises(EvaluationError) as error:
        measure(nn.Sequential(nn.Flatten(), layer), images, images)
    assert error.value.kind == "diverged"


def test_measuring_is_without_dropout_and_augmentation() -> None:
    splits = toy_splits()
    result = train(convnet(splits.task, dropout=0.9), splits, QUICK, 0)
    again = measure(result.module, splits.validation, splits.train)
    assert (again.accuracy, again.loss) == (result.accuracy, result.loss)
    assert not result.module.training


def test_final_training_joins_the_splits_and_measures_the_test() -> None:
    train_set, validation = bright_or_dark(20), bright_or_dark(12, seed=1)
    reads: list[int] = []

    def read_test() -> ImageSet:
        reads.append(1)
        return bright_or_dark(10, seed=2)

    splits = Splits("toy", train_set, validation, read_test, 2)
    joined = Splits("toy", train_set.joined(validation), bright_or_dark(10, seed=2), forbidden, 2)
    recipe = Recipe(batch_size=8, epochs=3, crop_padding=1)
    graph = convnet(splits.task)
    result = train(graph, splits, recipe, 5, train_on=("train", "validation"), measure_on="test")
    assert reads == [1]
    assert bits(result) == bits(train(graph, joined, recipe, 5))
    assert result.accuracy == train(graph, joined, recipe, 5).accuracy


def test_a_search_does_not_read_the_test_split() -> None:
    splits = toy_splits()  # whose test split cannot be read
    assert train(linear(splits.task), splits, QUICK, 0).accuracy >= 0


def without_classes(classes: int) -> Graph:
    return linear(Task("toy", (1, 6, 6), classes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_on": ("train", "test")}, "found training on train, test, measuring on validation"),
        ({"train_on": ()}, "found training on none"),
        ({"train_on": ("train", "validation")}, "measuring on validation"),
        ({"measure_on": "tests"}, "unknown split 'tests'; did you mean 'test'?"),
        ({"seed": -1}, "found -1, 2"),
        ({"epochs": 0}, "found 0, 0"),
        ({"graph": without_classes(3)}, "has 2 classes, the network's logits are (3,)"),
        ({"graph": linear(Task("toy", (3, 6, 6), 2))}, "has images of (1, 6, 6), the network takes (3, 6, 6)"),
        ({"device": "gpu"}, "device 'gpu' is unknown; use cpu, cuda or cuda:N"),
        ({"device": "meta"}, "device 'meta' is not available here; use cpu"),
    ],
)
def test_what_does_not_fit_is_refused_on_one_line(change: dict[str, Any], words: str) -> None:
    splits = toy_splits()
    arguments: dict[str, Any] = {"graph": linear(splits.task), "seed": 0, "epochs": 2, **change}
    with pytest.raises(ConfigError) as error:
        train(splits=splits, recipe=QUICK, **arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_dropout_alone_needs_no_parameters_elsewhere() -> None:
    b = GraphBuilder((1, 6, 6))
    graph = b.build(logits=b(Linear(2), b(Dropout(0.5), b(Flatten(), b.input))))
    assert np.isfinite(train(graph, toy_splits(), QUICK, 0).loss)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_training_on_a_gpu_learns_and_leaves_its_generator_alone() -> None:
    splits = load_splits("digits")
    before = torch.cuda.get_rng_state().tolist()
    result = train(convnet(splits.task, 16), splits, default_recipe("digits"), seed=0, device="cuda")
    assert result.accuracy >= 90
    assert torch.cuda.get_rng_state().tolist() == before


ODD_BATCH = """
import numpy as np
from nas.data.splits import ImageSet, Splits
from nas.training.trainer import train
from nas.training.recipe import Recipe
from nas.types import Task
from search_spaces.networks.resnet import matching_resnet

rng = np.random.default_rng(0)
graph = matching_resnet(Task("odd", (3, 32, 32), 2), 6_674_560)[1]
images = ImageSet(rng.integers(0, 255, (39, 3, 32, 32), dtype=np.uint8), rng.integers(0, 2, 39))
for seed in range(3):
    found = train(graph, Splits("odd", images, images, lambda: images, 2), Recipe(), seed, 2, threads=2)
assert not found.backend.channels_last
"""


NARROW = """
import numpy as np
from nas.graph import Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear
from nas.data.splits import ImageSet, Splits
from nas.training.trainer import train
from nas.training.recipe import Recipe

rng = np.random.default_rng(0)
images = ImageSet(rng.integers(0, 255, (32, 3, 64, 64), dtype=np.uint8), rng.integers(0, 2, 32))
for channels, out in ((8, 7), (4, 11), (14, 14)):
    b = GraphBuilder((3, 64, 64))
    x = b(Conv(out, 1, stride=2), b(Conv(channels, 3, padding=1), b.input))
    graph = b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x))))
    for seed in range(10):
        splits = Splits("narrow", images, images, lambda: images, 2)
        found = train(graph, splits, Recipe(batch_size=8), seed, 1, threads=1)
        assert not found.backend.channels_last
"""


@pytest.mark.long
@pytest.mark.parametrize("code", [ODD_BATCH, NARROW], ids=["odd batches", "narrow strides"])
def test_what_torch_cannot_train_in_channels_last_order_does_not_crash_the_process(code):
    """With torch 2.13 it does: a process of its own, since a crash would end the tests."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
