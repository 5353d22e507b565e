"""What a search says before it begins: its plan, limits that leave nothing, batches too large for the data."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from nas.cli.main import main
from nas.data.image_set import ImageSet, Splits
from nas.engine.search_plan import check_limits, classes_line
from nas.runs.journal import read
from nas.training.recipe import Recipe

PLUGIN = """
from nas.evaluators import register_evaluator
from nas.graph import Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear
from nas.space import register_space


class Net:
    def __init__(self, channels):
        self.channels = channels

    def key(self):
        return f"net{self.channels}"

    def network(self, task, width, depth):
        "It has 27 n + 10 (n + 1) parameters and 27 * 32 * 32 n + 10 n MACs for n channels."
        b = GraphBuilder(task.input_shape)
        x = b(Flatten(), b(GlobalAvgPool(), b(Conv(self.channels, 3, padding=1), b.input)))
        return b.build(logits=b(Linear(10), x))


@register_space("channels")
def channels(choose):
    "One convolution of 10 to 509 channels."
    return Net(choose("channels", tuple(range(10, 510))))


@register_evaluator("mine")
def mine(job):
    "The share of the channels."
    return job.architecture.decisions["channels"] / 509
"""
MINE = "--space channels --evaluator mine --trials 3 --searcher random --baseline none"
TRAINED = (
    "--dataset digits --space nb201 --depth 1 --width 2 --trials 2 --epochs 1 --train-images 60 --baseline none "
    "--final-seeds 0"
)


@pytest.fixture
def search(tmp_path, monkeypatch, capsys):
    """Return what a search named ``one`` prints for who waits; results are in the folder ``results``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.py").write_text(PLUGIN)

    def run(flags, code=0):
        capsys.readouterr()
        assert main(["search", "--name", "one", "--plugin", "plug.py", *shlex.split(flags)]) == code
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("limit", "least", "each", "base"), [("--max-params", 10, 37, 10), ("--max-macs", 1000, 27 * 1024 + 10, 0)]
)
def test_a_limit_that_nothing_meets_ends_a_search_before_it_is_made(search, tmp_path, limit, least, each, base):
    error = search(f"{MINE} {limit} {least}", code=2)
    told, _, smallest = error.rpartition(" ")
    assert told == f"error: {limit} {least:,}: none of 50 sampled networks has so few; the smallest has"
    # of 50 of 500 numbers of channels the smallest is among the first hundred, but once in 30,000 times
    channels = (int(smallest.replace(",", "")) - base) / each
    assert channels == int(channels)
    assert 10 <= channels < 110
    assert not (tmp_path / "results").exists()


def test_a_limit_that_few_meet_is_warned_of_and_changes_no_proposal(search, tmp_path, monkeypatch):
    whole = search(f"{MINE} --trials 2")
    assert "warning" not in whole
    proposals = [e["architecture"] for e in read(tmp_path / "results/one/journal.jsonl") if e["event"] == "asked"]
    monkeypatch.setattr("nas.engine.loop.MAX_FREE_PROPOSALS", 5)
    # networks of 10 to 14 channels: five of 500
    error = search(f"{MINE} --trials 2 --max-params 528 --results-dir few", code=1)
    assert re.search(
        r"--max-params 528: \d of 500 sampled networks ha(s|ve) so few; the smallest has \d{3}; most", error
    )
    again = [e["architecture"] for e in read(tmp_path / "few/one/journal.jsonl") if e["event"] == "asked"]
    assert again[:2] == proposals[:2]


def test_sampling_ends_after_some_seconds_and_then_refuses_nothing(search, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(
        "nas.engine.run.check_limits", lambda config, parts: check_limits(config, parts, lambda: next(clock))
    )
    monkeypatch.setattr("nas.engine.loop.MAX_FREE_PROPOSALS", 5)
    error = search(f"{MINE} --max-params 10", code=1)
    assert "--max-params 10: none of 4 sampled networks has so few" in error
    assert "most proposals will be refused" in error


def test_a_search_says_first_what_it_will_do(search, capsys):
    lines = search(f"{TRAINED} --searcher random --baseline none").splitlines()
    assert lines[:6] == [
        "search: 2 trials of 1 epoch in space nb201, 15,625 points; searcher random",
        "images: digits, 1 x 8 x 8: 60 to train on, 288 for validation, 359 to test on at the end",
        "classes: 10 of 6 training images; chance level 10 %",
        "then: nothing to compare the winner with",
        "measuring a few steps of 3 sampled networks, 20 s at most ...",
        lines[5],
    ]
    assert lines[5].startswith("forecast: 2 trials x 1 epoch x ")
    # going on repeats none of it
    assert main(["resume", "one", "--trials", "3"]) == 0
    error = capsys.readouterr().err
    assert "images: digits" not in error
    assert "measuring" not in error


def test_what_is_not_trained_is_forecast_by_its_first_trials(search):
    error = search(MINE)
    assert "search: 3 trials in space channels, 500 points; searcher random\nscores: evaluator 'mine'\n" in error
    assert "how long it will take is told when the first trials are done" in error


def test_no_step_is_measured_that_would_take_too_long(search, monkeypatch):
    monkeypatch.setattr("nas.engine.forecast.MOST_STEP", 1)
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", None)
    assert "how long it will take is told" in search(TRAINED)


def test_the_smallest_and_the_largest_class_are_named():
    labels = np.array([0] * 30 + [1] * 3 + [2] * 10)
    images = ImageSet(np.zeros((43, 1, 2, 2), np.uint8), labels)
    splits = Splits("toy", images, images, lambda: images, 3)
    assert classes_line(splits) == (
        "classes: 3, the smallest class 1 with 3 training images, the largest class 0 with 30; chance level 33.3 %, "
        "always the largest class 69.8 %"
    )


@pytest.mark.parametrize(
    ("batch", "images", "told"),
    [
        (128, 240, "batches of 128 give 1 step an epoch on 240 training images, and 112 drawn at random are left out"),
        (128, 100, "batches of 128 are larger than the 100 training images: an epoch is one step on all of them"),
        (60, 240, "batches of 60 give 4 steps an epoch on 240 training images; smaller ones train better: use 16"),
        (48, 240, ""),
    ],
)
def test_batches_that_leave_few_steps_are_warned_of(batch, images, told):
    found = Recipe(batch_size=batch).batch_warning(images, "use {batch}")
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_the_warning_says_how_batches_are_made_smaller(search, tmp_path):
    (tmp_path / "large.json").write_text('{"batch_size": 128, "epochs": 1, "crop_padding": 0}')
    error = search(f"{TRAINED} --recipe large.json --train-images 240")
    assert "warning: batches of 128 give 1 step an epoch on 240 training images" in error
    assert "smaller ones train better: --batch-size 16" in error
