"""One rule for all commands: datasets by one name, flags by one name, and what other tools call them."""

from __future__ import annotations

import shlex

import pytest

from nas.cli.main import build_parser, main
from nas.cli.parser import MEANT
from nas.data.config import actual_dataset
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.errors import ConfigError
from nas.executors.config import ExecutorConfig
from nas.space import SPACES
from nas.workflows.compare.settings import settings_from
from nas.workflows.scale.settings import GridTrainingConfig
from nas.workflows.train.settings import TrainingSettings

ALIAS = [
    "search --dataset imagenet",
    "compare resnet18 vgg16 --dataset imagenet",
    "train resnet18 --dataset imagenet",
    "finetune resnet18 --dataset imagenet",
    "scale efficientnet_b0 --search --dataset imagenet",
]


@pytest.mark.parametrize("command", ALIAS)
def test_imagenet_is_a_folder_for_every_command(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    assert (
        "dataset 'folder': it is read from a folder and none is given; pass with --data-dir" in capsys.readouterr().err
    )


def test_imagenet_has_224_pixels_unless_others_are_asked_for():
    assert actual_dataset({"dataset": "imagenet"}) == {"dataset": "folder", "image_size": 224}
    assert actual_dataset({"dataset": "imagenet", "image_size": 64}) == {"dataset": "folder", "image_size": 64}
    assert actual_dataset({"dataset": "digits"}) == {"dataset": "digits"}
    data = GridTrainingConfig.of({"dataset": "imagenet"}).data, settings_from(("a",), {"dataset": "imagenet"}).data
    assert [(d.dataset, d.image_size) for d in data] == [("folder", 224)] * 2
    # the columns of a table keep their names
    given = {"evaluator": "table", "table": "t.npz", "val_column": "a", "dataset": "imagenet"}
    assert with_defaults(RunOptions(**given)).data.dataset == "imagenet"


def test_the_list_of_datasets_has_it(capsys):
    assert main(["list", "datasets"]) == 0
    assert "the dataset folder at 224 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("search --batch 3", "did you mean '--batch-size'?"),
        ("search --weight-decay 0", "'weight_decay' is a field of a recipe, which --set weight_decay=VALUE sets"),
        ("compare a b --momentum 0", "which --set momentum=VALUE sets"),
        ("scale x --batch 3", "did you mean '--batch-size'?"),
        ("train x --batch 3", "did you mean '--batch-size'?"),
        ("search --gpus 1", "did you mean '--gpus-per-trial'?"),
        ("train x --gpus 1", "did you mean '--gpus-per-worker'?"),
        ("search --output x", "did you mean '--results-dir'?"),
        ("export x --out y", "did you mean '--output'?"),
        ("compare a b --data x", "did you mean '--data-dir'?"),
        ("search --epoch 3", "did you mean '--epochs'?"),
        ("search --model x", "did you mean '--start-from'?"),
        ("train --model x", "it is named without a flag"),
        ("search --device cpu", "trainings run on the GPU where there is one"),
        ("search --n-trials=3", "did you mean '--trials'?"),
    ],
)
def test_flags_of_other_tools_are_told_by_what_they_mean(command, told, capsys):
    assert main(shlex.split(command)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown flag '--")
    assert told in error


def test_what_is_suggested_is_there():
    shown = {name for parser in build_parser()[1].values() for name in parser._option_string_actions}
    assert {flag for flags in MEANT.values() for flag in flags} <= shown


def test_a_flag_of_gpus_has_one_name_for_a_trial_and_one_for_a_worker_and_either_is_read():
    assert ExecutorConfig.from_json({"executor": "ray", "gpus_per_worker": 0.5}).gpus_per_trial == 0.5
    given = {"target": "x", "recipe": {"name": "default"}, "epochs": 1, "workers": 2, "gpus_per_trial": 1}
    assert TrainingSettings.from_json(given).gpus_per_worker == 1


def test_a_search_is_not_resumed_with_other_threads_and_a_training_is():
    with pytest.raises(ConfigError, match="cannot be resumed with another --threads; allowed: --executor"):
        with_defaults(RunOptions()).elsewhere({"threads": 2})
    training = TrainingSettings.from_json({"target": "x", "recipe": {"name": "default"}, "epochs": 1})
    assert training.elsewhere({"threads": 2}).threads == 2


def test_the_cells_of_darts_may_have_another_number_of_nodes(capsys):
    space = SPACES["darts"]
    assert space.with_args({"nodes": 4}).args == {}  # what earlier versions wrote down
    one = space.with_args({"nodes": 2})
    assert one.size().total == (7 * 7 * 7 * 7 * 3) ** 2
    assert main(shlex.split("search --space darts --space-arg steps=3 --dataset digits")) == 2
    assert "space 'darts': unknown argument 'steps'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "draw -o x.svg", "source -o x.py"])
def test_runs_are_found_in_other_folders_by_every_command(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command), "nothing-such", "--results-dir", "elsewhere"]) == 2
    assert "nothing-such" in capsys.readouterr().err
