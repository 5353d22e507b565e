"""Checkpoints: a training that is killed and resumed is, bit by bit, one that was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import every_kind
from training_examples import convnet, forbidden, toy_splits

from nas.core.files import read_json, write_json
from nas.data.splits import ImageSet, Splits
from nas.errors import ConfigError, EvaluationError
from nas.training import checkpoint as checkpoints
from nas.training import train_step
from nas.training.checkpoint import Checkpoint
from nas.training.device import BackendOptions
from nas.training.recipe import Recipe
from nas.training.trainer import TrainResult, fit, train

RECIPE = Recipe(batch_size=8, epochs=6, crop_padding=1)
SPLITS = toy_splits()
GRAPH = convnet(SPLITS.task, dropout=0.3)
RMSPROP = {"optimizer": "rmsprop", "nesterov": False, "learning_rate": 0.003}
ADAMW = {"optimizer": "adamw", "nesterov": False, "learning_rate": 0.01}


class Killed(Exception):
    """What ends a training here."""


def bits(result: TrainResult) -> list[bytes]:
    return [t.numpy().tobytes() for t in result.module.state_dict().values()]


def killed_after(epochs: int, folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    def kill(epoch: int, loss: float) -> None:
        if epoch == epochs:
            raise Killed

    monkeypatch.setattr("nas.training.trainer.SAVE_EVERY", 0.0)
    with pytest.raises(Killed):
        train(GRAPH, SPLITS, recipe, 7, on_epoch=kill, checkpoint=folder, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9},
        RMSPROP,
        ADAMW,
        {"momentum": 0.0, "nesterov": False},
        {"schedule": "plateau", "patience": 1},
        {"mixup": 0.4, "cutout": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_resumed_training_has_the_same_bits(
    changes: dict[str, Any], epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, **changes)
    whole = train(GRAPH, SPLITS, recipe, 7)
    killed_after(epochs, tmp_path, recipe, monkeypatch)
    # the weights of another seed must not matter
    resumed = train(GRAPH, SPLITS, recipe, 8, resume=tmp_path)
    assert resumed.epochs_trained == 6 - epochs
    assert resumed.history == whole.history
    assert bits(resumed) == bits(whole)
    assert (resumed.accuracy, resumed.loss) == (whole.accuracy, whole.loss)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"schedule": "plateau", "patience": 1}, {"mixup": 0.4}], ids=str)
@pytest.mark.parametrize("looks", [1, 2, 7])
def test_a_training_that_stops_within_an_epoch_goes_on_with_the_same_bits(
    changes: dict[str, Any], looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.training.train_step.CHECK_EVERY", 1)
    recipe = replace(RECIPE, **changes)
    whole = train(GRAPH, SPLITS, recipe, 7)
    left = iter(range(looks))
    stopped = fit(GRAPH, SPLITS, recipe, 7, checkpoint=tmp_path, stop=lambda: next(left, None) is None)
    assert not stopped.finished
    found = checkpoints.load(tmp_path)
    assert (found.epoch, found.step) == divmod(looks + 1, 4)
    resumed = train(GRAPH, SPLITS, recipe, 8, resume=tmp_path)
    assert resumed.history == whole.history
    assert bits(resumed) == bits(whole)
    shorter = fit(GRAPH, SPLITS, recipe, 7, epochs=found.epoch or 1, resume=tmp_path)
    assert shorter.epochs_trained == (0 if found.epoch and not found.step else found.epoch or 1)


def test_a_training_may_be_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(GRAPH, SPLITS, RECIPE, 7)
    for epochs in (1, 2, 5):
        killed_after(epochs, tmp_path, RECIPE, monkeypatch, resume=tmp_path)
        assert checkpoints.load(tmp_path).epoch == epochs
        assert len(list(tmp_path.iterdir())) == 2
    assert bits(train(GRAPH, SPLITS, RECIPE, 7, resume=tmp_path)) == bits(whole)


def test_writing_checkpoints_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.training.trainer.SAVE_EVERY", 0.0)
    assert bits(train(GRAPH, SPLITS, RECIPE, 7, checkpoint=tmp_path)) == bits(train(GRAPH, SPLITS, RECIPE, 7))


def test_a_finished_training_is_continued_by_the_schedule_of_the_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[int, int]] = []
    original = train_step.learning_rate

    def spy(recipe: Recipe, step: int, steps: int, epochs: int | None = None, drops: int = 0) -> float:
        rates.append((step, epochs or 0))
        return original(recipe, step, steps, epochs, drops)

    short = train(GRAPH, SPLITS, RECIPE, 7, epochs=2, checkpoint=tmp_path)
    monkeypatch.setattr(train_step, "learning_rate", spy)
    longer = train(GRAPH, SPLITS, RECIPE, 7, epochs=5, resume=tmp_path)
    assert rates == [(step, 5) for step in range(8, 20)]
    assert longer.history[:2] == short.history
    assert (len(longer.history), longer.epochs_trained) == (5, 3)


def test_nothing_is_left_to_train_of_a_finished_training(tmp_path: Path) -> None:
    whole = train(GRAPH, SPLITS, RECIPE, 7, checkpoint=tmp_path)
    again = train(GRAPH, SPLITS, RECIPE, 8, resume=tmp_path)
    assert again.epochs_trained == 0
    assert bits(again) == bits(whole)
    assert again.images_per_second == 0


@pytest.mark.parametrize("other", ["recipe", "network", "data", "labels", "fewer epochs", "nothing there"])
def test_a_checkpoint_of_another_training_is_not_used(other: str, tmp_path: Path) -> None:
    if other != "nothing there":
        train(GRAPH, SPLITS, RECIPE, 1, checkpoint=tmp_path)
    graph, splits, recipe, epochs = GRAPH, SPLITS, RECIPE, 6
    if other == "recipe":
        recipe = replace(RECIPE, weight_decay=0.1)
    elif other == "network":
        graph = convnet(SPLITS.task, 4, dropout=0.3)
    elif other == "data":
        splits = toy_splits(40)
    elif other == "labels":
        mirrored = ImageSet(SPLITS.train.images, 1 - SPLITS.train.labels)
        splits = Splits("toy", mirrored, SPLITS.validation, forbidden, 2)
    else:
        epochs = 5
    found = train(graph, splits, recipe, 7, epochs, resume=tmp_path)
    assert found.epochs_trained == epochs
    assert bits(found) == bits(train(graph, splits, recipe, 7, epochs))


def test_a_network_of_equal_names_and_other_shapes_is_another_network(tmp_path: Path) -> None:
    train(convnet(SPLITS.task, 4), SPLITS, RECIPE, 1, checkpoint=tmp_path)
    found = train(convnet(SPLITS.task, 8), SPLITS, RECIPE, 7, resume=tmp_path)
    assert bits(found) == bits(train(convnet(SPLITS.task, 8), SPLITS, RECIPE, 7))


@pytest.mark.parametrize("part", ["weights", "optimizer", "random"])
def test_a_checkpoint_whose_tensors_do_not_fit_means_from_scratch(part: str, tmp_path: Path) -> None:
    train(GRAPH, SPLITS, RECIPE, 1, epochs=2, checkpoint=tmp_path)
    found = checkpoints.load(tmp_path)
    if part == "optimizer":
        wrong = {name: t.new_zeros(3, 3, 3) for name, t in found.tensors[part].items()}
    else:
        wrong = dict(list(found.tensors[part].items())[1:])
    checkpoints.save(replace(found, tensors={**found.tensors, part: wrong}), tmp_path)
    result = train(GRAPH, SPLITS, RECIPE, 7, resume=tmp_path)
    assert result.epochs_trained == 6
    assert bits(result) == bits(train(GRAPH, SPLITS, RECIPE, 7))


def test_the_switches_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    plain = BackendOptions(channels_last=False, fused=False)
    train(GRAPH, SPLITS, RECIPE, 7, epochs=2, checkpoint=tmp_path, backend=plain)
    assert train(GRAPH, SPLITS, RECIPE, 7, resume=tmp_path).backend == plain


def test_unknown_switches_mean_from_scratch(tmp_path: Path) -> None:
    train(GRAPH, SPLITS, RECIPE, 7, epochs=2, checkpoint=tmp_path)
    path = tmp_path / "checkpoint.json"
    write_json(path, {**read_json(path), "switches": {"warp": True}})
    assert train(GRAPH, SPLITS, RECIPE, 7, resume=tmp_path).epochs_trained == RECIPE.epochs


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_a_group_of_another_size_goes_on_with_the_same_mean_loss(world: int) -> None:
    losses = {"loss": torch.tensor(3.0), "loss.1": torch.tensor(4.0), "loss.2": torch.tensor(8.0)}
    found = Checkpoint(0, (), {}, {}, 0, {"random": losses}, 2)
    own = [found.loss(rank, world).item() for rank in range(world)]
    assert sum(own) / world == 5
    if world == 3:
        assert own == [3, 4, 8]
    assert Checkpoint(1, (1.0,), {}, {}, 0, {"random": {}}).loss(1, 2).item() == 0


def test_a_failed_write_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(GRAPH, SPLITS, RECIPE, 7, epochs=2, checkpoint=tmp_path)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_json", fail)
    with pytest.raises(ConfigError, match="No space left"):
        train(GRAPH, SPLITS, RECIPE, 7, epochs=3, checkpoint=tmp_path, resume=tmp_path)
    assert checkpoints.load(tmp_path).epoch == 2


@pytest.mark.parametrize(
    "change", [{"format": "other"}, {"digest": "0"}, {"tensors": "x"}, {"epoch": 3}, {"history": None}]
)
def test_damaged_numbers_are_named(change: dict[str, Any], tmp_path: Path) -> None:
    train(GRAPH, SPLITS, RECIPE, 7, epochs=2, checkpoint=tmp_path)
    write_json(tmp_path / "checkpoint.json", {**read_json(tmp_path / "checkpoint.json"), **change})
    with pytest.raises(ConfigError, match="checkpoint") as error:
        checkpoints.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_time_limit_is_of_the_training() -> None:
    with pytest.raises(EvaluationError) as error:
        train(GRAPH, SPLITS, replace(RECIPE, epochs=10_000), 0, time_limit=0.2)
    assert error.value.kind == "timeout"
    assert train(GRAPH, SPLITS, RECIPE, 0, time_limit=100.0).epochs_trained == 6


def test_a_loss_that_runs_away_is_divergence_before_it_is_infinite() -> None:
    recipe = replace(RECIPE, learning_rate=2.0, clip_norm=0, warmup_epochs=0, schedule="constant", epochs=100)
    with pytest.raises(EvaluationError, match="the training loss rose from") as error:
        train(every_kind(), SPLITS, recipe, 3)
    assert error.value.kind == "diverged"
