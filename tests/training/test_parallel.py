"""Data-parallel training: two processes do what one would do with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from parallel_runs import RECIPE, RUNS, SPLITS, State
from torch import nn
from training_examples import bright_or_dark, convnet

from nas.errors import ConfigError
from nas.training.cuda_graph import WARM_UP
from nas.training.device import BackendOptions
from nas.training.distributed import Group, open_meeting
from nas.training.trainer import STEPS, fit, throughput

HERE = Path(__file__).parents[1] / "helpers"
CPU = torch.device("cpu")
Found = Callable[[str, int], State]


@pytest.fixture(scope="module")
def group_of_two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Let two processes do all runs; return the function from a run's name and a rank to what came out."""
    home = tmp_path_factory.mktemp("group")
    store, address = open_meeting("127.0.0.1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1])))}
    command = [sys.executable, str(HERE / "parallel_runs.py")]
    processes = [
        subprocess.Popen([*command, str(rank), "2", address, str(home)], env=environment, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in processes:
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error.decode()
    del store

    def found(name: str, rank: int) -> State:
        with np.load(home / f"{name}-{rank}.npz") as data:
            return dict(data)

    return found


@pytest.mark.long
@pytest.mark.parametrize("run", ["synchronised", "fixed", "without norms", "adamw"])
def test_two_processes_equal_one_with_the_whole_batch_after_20_steps(run: str, group_of_two: Found) -> None:
    one = RUNS[run](None, Path())
    first, second = (group_of_two(run, rank) for rank in range(2))
    for name, value in one.items():
        np.testing.assert_allclose(first[name], value, rtol=0, atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.long
def test_an_average_of_weights_is_the_same(group_of_two: Found) -> None:
    one, two = RUNS["averaged"](None, Path()), group_of_two("averaged", 0)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.long
def test_a_group_that_was_stopped_goes_on_with_the_same_bits(group_of_two: Found) -> None:
    for rank in range(2):
        first, again = group_of_two("whole", rank), group_of_two("resumed", rank)
        for name, value in first.items():
            np.testing.assert_array_equal(again[name], value)


@pytest.mark.long
def test_a_group_measures_as_one_does(group_of_two: Found) -> None:
    one = RUNS["measured"](None, Path())
    for rank in range(2):
        two = group_of_two("measured", rank)
        assert two["accuracy"] == one["accuracy"]
        assert two["top5"] == one["top5"]
        assert two["correct"].tolist() == one["correct"].tolist()
        assert two["images"].tolist() == one["images"].tolist()
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
    assert 0 < one["accuracy"] < one["top5"] <= 100


def test_top5_counts_the_five_likeliest() -> None:
    from nas.training.evaluation import measure

    class Rising(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.arange(7.0).repeat(len(x), 1)

    images = bright_or_dark(14)
    images.labels[:] = np.arange(14) % 7
    found = measure(Rising(), images, images)
    assert found.accuracy == pytest.approx(100 / 7)
    assert found.top5 == pytest.approx(500 / 7)


def test_an_odd_batch_is_refused() -> None:
    group = Group(0, 3, CPU)
    with pytest.raises(ConfigError, match="multiple of the 3 workers, found 8"):
        fit(convnet(SPLITS.task), SPLITS, RECIPE, 0, group=group)


def test_shares_of_a_measurement_are_disjoint_and_whole() -> None:
    for count in (0, 1, 2, 7, 100):
        parts = np.concatenate([Group(rank, 3, CPU).part(count) for rank in range(3)])
        assert parts.tolist() == list(range(count))


def test_a_pace_is_of_whole_epochs_and_leaves_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    found = throughput(convnet(SPLITS.task, dropout=0.3), SPLITS, RECIPE)
    assert (found.steps, found.images, found.device) == (4, 32, "CPU")
    assert 0 < found.seconds < 1
    assert torch.equal(torch.get_rng_state(), before)


def test_the_step_that_captures_is_no_part_of_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    class Slow:
        def set_rate(self, rate: float) -> None:
            pass

        def step(self, *_: object) -> None:
            steps.append(len(steps))
            time.sleep(0.5 if len(steps) == WARM_UP + 1 else 0.0)

    monkeypatch.setattr("nas.training.trainer.backend_for", lambda *_, **__: BackendOptions(capture=True))
    monkeypatch.setattr("nas.training.trainer.begin", lambda *_, **__: (Slow(), torch.Generator()))
    assert throughput(convnet(SPLITS.task), SPLITS, RECIPE).seconds < 0.02
    assert len(steps) == WARM_UP + 1 + STEPS


@pytest.mark.parametrize(
    ("each", "steps", "told"),
    [
        (50.0, 1, 50.0),  # the first step alone took longer than all may
        (9.0, 3, 9.0),
        (3.0, 5, 3.0),  # two before, three and no more
        (0.001, 22, 0.001),
    ],
)
def test_the_measurement_of_a_slow_machine_ends_after_half_a_minute(
    each: float, steps: int, told: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []

    def timed(*_: object) -> Iterator[float]:
        while True:
            taken.append(each)
            yield each

    monkeypatch.setattr("nas.training.trainer._timed_steps", timed)
    assert throughput(convnet(SPLITS.task), SPLITS, RECIPE).seconds == pytest.approx(told)
    assert len(taken) == steps
