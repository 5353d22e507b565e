"""The training evaluator and the final training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_examples import bright_or_dark, convnet

from nas.core.values import Task
from nas.data.splits import ImageSet
from nas.errors import TOO_SLOW, ConfigError, EvaluationError
from nas.evaluators.test_split import train_final
from nas.evaluators.train import RECORDED, DatasetCache, TrainEvaluator, TrainSettings, shared_images
from nas.graph import cost
from nas.training.recipe import Recipe, default_recipe
from nas.training.train_step import InMemoryBatches
from nas.types import Architecture, Job

TASK = Task("toy", (1, 6, 6), 2)
RECIPE = Recipe(batch_size=8, epochs=2, crop_padding=1).to_json()


def job(settings: dict[str, Any] | None = None, **changes: Any) -> Job:
    settings = {
        "dataset": "toy",
        "data_dir": None,
        "split_seed": 0,
        "recipe": RECIPE,
        "threads": 1,
        "validation": None,
        **(settings or {}),
    }
    made = Job(0, 0, Architecture("test", ()), "key", 2, 7, TASK, convnet(TASK), settings)
    return replace(made, **changes)


def test_the_reward_is_the_validation_accuracy(register: Callable[..., None]) -> None:
    register("toy")
    metrics = TrainEvaluator()(job(epochs=6))
    assert metrics.reward == metrics.values["val_accuracy"] >= 90
    assert metrics.reward in [100 * k / 16 for k in range(17)]
    assert set(metrics.values) == {"val_accuracy", "val_loss", "train_loss", "epochs_trained"} <= set(RECORDED)
    assert metrics.values["epochs_trained"] == 6
    assert 0 < metrics.seconds < 60
    assert not metrics.simulated


def test_a_job_gives_the_same_values_again(register: Callable[..., None]) -> None:
    register("toy")
    first, again, other = (TrainEvaluator()(job(seed=s)) for s in (7, 7, 8))
    assert first.values == again.values
    assert first.values != other.values


def test_no_epochs_stand_for_the_recipes(register: Callable[..., None]) -> None:
    register("toy")
    assert TrainEvaluator()(job(epochs=0)).values == TrainEvaluator()(job(epochs=2)).values
    assert TrainEvaluator()(job(epochs=3)).values != TrainEvaluator()(job(epochs=2)).values


def test_splits_are_read_once_and_the_test_split_never(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy")  # whose test split cannot be read
    TrainEvaluator()(job())
    monkeypatch.setattr("nas.evaluators.train.load_splits", lambda *a: pytest.fail("read again"))
    TrainEvaluator()(job(seed=8))
    settings = TrainSettings("toy")
    assert settings.splits() is settings.splits()


def test_a_worker_trains_on_the_images_it_was_given_and_others_do_not(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy")
    settings = TrainSettings.from_json(job().settings)
    expected, shared = TrainEvaluator()(job()), shared_images(settings)
    register("toy")  # forgets what was read
    monkeypatch.setattr("nas.evaluators.train.load_splits", lambda *a: pytest.fail("read again"))
    datasets = DatasetCache()
    datasets.give(settings, shared)
    assert TrainEvaluator(datasets)(job()).values == expected.values
    with pytest.raises(ConfigError, match="the test split stays with the driver"):
        _ = datasets.splits(settings).test
    with pytest.raises(pytest.fail.Exception, match="read again"):
        TrainEvaluator()(job())


def test_a_space_without_networks_is_refused_on_one_line() -> None:
    with pytest.raises(EvaluationError, match="space 'test' describes no network to train") as error:
        TrainEvaluator()(job(graph=None))
    assert error.value.kind == "error"


def test_divergence_reaches_the_loop_by_its_kind(register: Callable[..., None]) -> None:
    register("toy")
    wild = {**RECIPE, "learning_rate": 1e38, "clip_norm": 0}
    with pytest.raises(EvaluationError) as error:
        TrainEvaluator()(job({"recipe": wild}))
    assert error.value.kind == "diverged"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datset": "toy"}, "unknown setting 'datset'; did you mean 'dataset'?"),
        ({"dataset": None}, "setting 'dataset' must be a dataset's name, found None"),
        ({"dataset": "digit"}, "unknown dataset 'digit'; did you mean 'digits'?"),
        ({"threads": 0}, "setting 'threads' must be an integer of at least 1, found 0"),
        ({"time_limit": 0}, "setting 'time_limit' must be a number of seconds above 0, found 0"),
        ({"deterministic": 1}, "setting 'deterministic' must be true or false, found 1"),
        ({"recipe": {"lr": 1}}, "unknown field 'lr'"),
        ({"validation": 1}, "validation images must be an integer from 2"),
    ],
)
def test_wrong_settings_are_refused(register: Callable[..., None], change: dict[str, Any], words: str) -> None:
    register("toy")
    with pytest.raises(ConfigError) as error:
        TrainEvaluator()(job(change))
    assert words in str(error.value)


def test_settings_have_defaults() -> None:
    settings = TrainSettings.from_json({"dataset": "digits"})
    assert settings == TrainSettings("digits")
    assert settings.actual_recipe() == default_recipe("digits")


def test_a_final_training_reads_the_test_split_exactly_once(register: Callable[..., None]) -> None:
    reads: list[int] = []

    def read_test() -> ImageSet:
        reads.append(1)
        return bright_or_dark(10, seed=2)

    register("toy", read_test)
    graph = convnet(TASK)
    settings = TrainSettings.from_json(job().settings)
    TrainEvaluator()(job())
    assert reads == []
    result = train_final(graph, settings, 6, 3)
    assert reads == [1]
    assert result.test_accuracy in [10 * k for k in range(11)]
    assert result.test_accuracy >= 90
    assert result.test_loss > 0
    assert result.train_seconds > 0
    # conv1 1*8*9, bn1 16, conv2 8*16*9, bn2 32, classifier 16*2 + 2
    assert result.params == 72 + 16 + 1152 + 32 + 34
    assert result.macs == 72 * 36 + 1152 * 9 + 32 == cost(graph).macs
    assert sum(p.numel() for p in result.module.parameters()) == result.params


def test_a_final_training_uses_train_and_validation(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy", lambda: bright_or_dark(10))
    sizes = []
    original = InMemoryBatches.__init__

    def spy(self: InMemoryBatches, images: ImageSet, *rest: Any) -> None:
        sizes.append(len(images))
        original(self, images, *rest)

    monkeypatch.setattr(InMemoryBatches, "__init__", spy)
    train_final(convnet(TASK), TrainSettings.from_json(job().settings), 1, 0)
    TrainEvaluator()(job())
    assert sizes == [48, 32]


def test_a_promotion_goes_on_where_the_shorter_training_stopped(register: Callable[..., None], tmp_path: Path) -> None:
    register("toy")
    short, long = str(tmp_path / "1" / "checkpoint"), str(tmp_path / "2" / "checkpoint")
    first = TrainEvaluator()(job(epochs=2, checkpoint=short))
    promoted = TrainEvaluator()(job(epochs=6, seed=8, checkpoint=long, continue_from=short))
    assert first.values["epochs_trained"] == 2
    assert promoted.values["epochs_trained"] == 4
    assert promoted.reward >= 90
    again = TrainEvaluator()(job(epochs=6, seed=99, continue_from=long))
    assert again.values == {**promoted.values, "epochs_trained": 0}


@pytest.mark.parametrize("damage", ["missing", "cut", "no JSON"])
def test_a_checkpoint_that_cannot_be_used_means_from_scratch(
    register: Callable[..., None], tmp_path: Path, damage: str
) -> None:
    register("toy")
    TrainEvaluator()(job(epochs=2, checkpoint=str(tmp_path)))
    (tensors,) = tmp_path.glob("*.safetensors")
    if damage == "missing":
        tensors.unlink()
    elif damage == "cut":
        tensors.write_bytes(tensors.read_bytes()[:-1])
    else:
        (tmp_path / "checkpoint.json").write_text("{")
    metrics = TrainEvaluator()(job(epochs=3, continue_from=str(tmp_path)))
    assert metrics.values == TrainEvaluator()(job(epochs=3)).values
    assert metrics.values["epochs_trained"] == 3


def test_a_training_that_takes_too_long_is_typed(register: Callable[..., None]) -> None:
    register("toy")
    with pytest.raises(EvaluationError, match="more than 1e-06 s, in epoch 1") as error:
        TrainEvaluator()(job({"time_limit": 1e-6}))
    assert error.value.kind == "timeout"


def test_a_recipe_can_be_named(register: Callable[..., None]) -> None:
    assert TrainSettings.from_json({"dataset": "toy", "recipe": "nb201-12"}).actual_recipe().epochs == 12
    with pytest.raises(ConfigError, match="did you mean 'nb201-12'"):
        TrainSettings.from_json({"dataset": "toy", "recipe": "nb201-13"})


LIMITED = {"max_trial_seconds": 5.0, "full_epochs": 10}


def test_a_training_over_the_limit_is_refused_before_it_begins(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy")
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", lambda *_, **how: 0.6)
    monkeypatch.setattr("nas.training.trainer.train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(EvaluationError, match="10 epochs would take about 6 s, over the limit of 5 s") as error:
        TrainEvaluator()(job(LIMITED))
    assert error.value.kind == TOO_SLOW


def test_one_within_the_limit_is_trained_as_without_and_notes_what_was_predicted(
    register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy")
    limited, free = TrainEvaluator()(job({**LIMITED, "max_trial_seconds": 1000.0})), TrainEvaluator()(job())
    assert limited.values == free.values
    assert 0 < limited.notes["predicted_seconds"] < 1000
    assert "predicted_seconds" not in free.notes
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", lambda *_, **how: pytest.fail("measured"))
    TrainEvaluator()(job(LIMITED, continue_from="nowhere"))  # it was measured when it began
    TrainEvaluator()(job({**LIMITED, "finalist_epochs": job().epochs}))  # and so was a finalist


def test_settings_of_precision_and_limits_are_of_no_images(register: Callable[..., None]) -> None:
    settings = TrainSettings("toy", precision="bf16", max_trial_seconds=3.0, full_epochs=4, threads=2)
    assert settings.images == TrainSettings("toy")
