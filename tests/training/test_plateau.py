"""A plateau schedule follows the validation error where validation images are held out, and says what it follows."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from command import nas
from training_examples import bright_or_dark, convnet, forbidden

from nas.core.files import read_json, write_json
from nas.data.splits import ImageSet, Splits, stratified
from nas.errors import ConfigError
from nas.runs.journal import read
from nas.training import checkpoint as checkpoints
from nas.training.optimizer import plateau_drops
from nas.training.recipe import Recipe
from nas.training.trainer import TrainResult, fit, train

PLATEAU = Recipe(
    batch_size=8,
    epochs=6,
    warmup_epochs=0,
    crop_padding=0,
    flip=False,
    schedule="plateau",
    patience=1,
    learning_rate=0.05,
)


def splits_with_noise() -> Splits:
    """Splits whose validation error goes up and down."""
    held_out = bright_or_dark(16, seed=1)
    labels = np.random.default_rng(5).integers(0, 2, 16).astype(np.int64)
    return Splits("toy", bright_or_dark(32), ImageSet(held_out.images, labels), forbidden, 2)


def bits(result: TrainResult) -> list[bytes]:
    return [t.numpy().tobytes() for t in result.module.state_dict().values()]


def stalling(folder: Path) -> Path:
    """Write images of which those that will be held out look like the other class: their error never falls."""
    labels = np.arange(160, dtype=np.int64) % 2
    held_out, _ = stratified(labels, 16, 0)
    bright = labels.copy()
    bright[held_out] = 1 - bright[held_out]
    noise = np.random.default_rng(0).integers(0, 100, (160, 28, 28, 1))
    x = (noise + 120 * bright[:, None, None, None]).astype(np.uint8)
    np.savez(folder / "x.npz", train_images=x, train_labels=labels, test_images=x, test_labels=labels)
    return folder / "x.npz"


@pytest.mark.long
def test_the_rate_falls_where_the_validation_error_stays_and_the_loss_falls(tmp_path: Path) -> None:
    own = {"learning_rate": 0.02, "batch_size": 16, "warmup_epochs": 0, "patience": 1, "crop_padding": 0, "flip": False}
    data, losses = ("--dataset", "arrays", "--data-dir", stalling(tmp_path)), {}
    for schedule in ("plateau", "constant"):
        (tmp_path / f"{schedule}.json").write_text(json.dumps({**own, "schedule": schedule}))
        how = ("--recipe", f"{schedule}.json", "--epochs", "4", "--validate", "1", "--name", schedule)
        done = nas(tmp_path, "train", "lenet5", *data, *how)
        assert done.returncode == 0, done.stderr
        events = [e for e in read(tmp_path / "results" / schedule / "journal.jsonl") if e["event"] == "epoch"]
        losses[schedule] = [e["loss"] for e in events]
        errors = [100 - e["validation"]["accuracy"] for e in events]
    assert all(later < earlier for earlier, later in pairwise(losses["constant"]))
    assert plateau_drops(errors, 1) > 0
    assert losses["plateau"] != losses["constant"]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_rate_falls_at_the_epochs_that_the_errors_give(dropout: float) -> None:
    splits = splits_with_noise()
    graph = convnet(splits.task, dropout=dropout)
    found = train(graph, splits, PLATEAU, 3)
    assert len(found.errors) == 6
    assert found.errors[-1] == 100 - found.accuracy
    drops = [plateau_drops(found.errors[:epoch], 1) for epoch in range(7)]
    milestones = tuple(float(epoch) for epoch in range(1, 6) if drops[epoch] > drops[epoch - 1])
    assert milestones
    # the same as a schedule that is told when: measuring changes nothing else
    told = train(graph, splits, replace(PLATEAU, schedule="step", milestones=milestones), 3)
    assert not told.errors
    assert (told.history, bits(told)) == (found.history, bits(found))


def test_without_held_out_images_the_training_loss_is_followed() -> None:
    splits = splits_with_noise()
    splits = replace(splits, read_test=lambda: splits.train)
    found = train(
        convnet(splits.task), splits, PLATEAU, 3, train_on=("train", "validation"), measure_on="test"
    )  # the test split is read after the last epoch alone
    assert found.errors == ()


def test_a_longer_training_goes_on_with_the_errors_of_the_shorter(tmp_path: Path) -> None:
    splits = splits_with_noise()
    graph = convnet(splits.task)
    whole = train(graph, splits, PLATEAU, 3)
    shorter = train(graph, splits, PLATEAU, 3, 3, checkpoint=tmp_path)
    longer = train(graph, splits, PLATEAU, 4, resume=tmp_path)
    assert shorter.errors == whole.errors[:3]
    assert longer.errors == whole.errors
    assert bits(longer) == bits(whole)


def test_a_checkpoint_without_errors_goes_on_by_its_losses(tmp_path: Path) -> None:
    splits = splits_with_noise()
    graph = convnet(splits.task)
    fit(graph, splits, PLATEAU, 3, 3, checkpoint=tmp_path)
    numbers = read_json(tmp_path / "checkpoint.json")
    del numbers["errors"]  # as earlier versions wrote them
    write_json(tmp_path / "checkpoint.json", numbers)
    assert checkpoints.load(tmp_path).errors == ()
    longer = train(graph, splits, PLATEAU, 3, resume=tmp_path)
    assert longer.errors == ()
    assert longer.epochs_trained == 3


@pytest.mark.parametrize("errors", [[1.0], [1.0, 2.0, 3.0, 4.0]])
def test_a_checkpoint_with_other_errors_than_epochs_is_damaged(errors: list[float], tmp_path: Path) -> None:
    splits = splits_with_noise()
    fit(convnet(splits.task), splits, PLATEAU, 3, 3, checkpoint=tmp_path)
    numbers = read_json(tmp_path / "checkpoint.json")
    write_json(tmp_path / "checkpoint.json", {**numbers, "errors": errors})
    with pytest.raises(ConfigError, match="is damaged"):
        checkpoints.load(tmp_path)


@pytest.mark.long
def test_commands_say_what_the_rate_follows_and_count_what_is_measured(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"schedule": "plateau", "patience": 1, "batch_size": 64}))
    few = ("--dataset", "digits", "--train-images", "100")
    own = ("resnet20_cifar", "--recipe", "r.json", "--epochs", "2", "--width", "2", *few)
    done = nas(tmp_path, "train", *own, "--validate", "2", "--name", "held")
    assert done.returncode == 0, done.stderr
    assert "training loss, as" not in done.stderr
    events = read(tmp_path / "results/held/journal.jsonl")
    assert all("validation" in event for event in events if event["event"] == "epoch")
    assert "plateaus of the validation error" in (tmp_path / "results/held/report.md").read_text()

    done = nas(tmp_path, "train", *own, "--name", "all")
    assert done.returncode == 0, done.stderr
    assert "the rate will follow the training loss, as the validation images are trained on" in done.stderr
    assert "plateaus of the training loss" in (tmp_path / "results/all/report.md").read_text()

    search = ("search", "--name", "s", "--space", "nb201", "--depth", "1", "--width", "4", "--trials", "1")
    more = ("--searcher", "random", "--baseline", "none", "--recipe", "r.json", "--epochs", "2", "--final-seeds", "1")
    done = nas(tmp_path, *search, *more, "--final-epochs", "1", *few)
    assert done.returncode == 0, done.stderr
    (trial,) = (event for event in read(tmp_path / "results/s/journal.jsonl") if event["event"] == "done")
    assert trial["values"]["validations"] == 2
    text = (tmp_path / "results/s/report.md").read_text()
    assert "plateaus of the validation error" in text
    assert "plateaus of the training loss" in text
