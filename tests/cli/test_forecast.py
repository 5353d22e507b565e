"""What a search will take: arithmetic by hand, and the flag that measures."""

from __future__ import annotations

import re
import shlex

import pytest

from nas.cli.main import main
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunConfig, RunOptions
from nas.engine.forecast import Announcer, Forecast, cost, epoch_seconds
from nas.engine.forecast import forecast as measured_forecast
from nas.runs.progress import Progress
from nas.types import Architecture, Metrics, Outcome, Proposal, Trial, WorkerState

TRAININGS = RunConfig.from_json(
    {"evaluator": "train", "trials": 100, "epochs": 3, "final_seeds": 3, "final_epochs": 10, "baseline": "random"}
)
SLOW = """
import time
from nas.evaluators import register_evaluator


@register_evaluator("slow")
def slow(job):
    "Takes a while."
    assert job.epochs == 7
    time.sleep(0.05)
    return 1.0


@register_evaluator("failing")
def failing(job):
    "Fails."
    raise ValueError("planted")
"""


def test_the_sentence_of_a_search_of_trainings():
    assert Forecast(TRAININGS, 12.1, 8).text() == (
        "forecast: 100 trials x 3 epochs x 12.1 s / 8 workers = 7.6 min; random search the same; "
        "final comparison 9 x 10 epochs, 4.0 min; 19.2 min in all; 2.3 worker-hours"
    )


def test_the_arithmetic_of_a_forecast():
    found = Forecast(TRAININGS, 12.1, 8, gpus=0.25)
    assert found.search == found.random == pytest.approx(100 * 3 * 12.1)
    assert found.worker_seconds == pytest.approx(2 * 100 * 3 * 12.1 + 9 * 10 * 12.1)
    # nine final trainings on eight workers are two rounds
    assert found.wall_seconds == pytest.approx(2 * 100 * 3 * 12.1 / 8 + 2 * 10 * 12.1)
    assert found.text().endswith("0.58 GPU-hours")
    assert cost(7200, 0) == "2.0 worker-hours"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"scheduler": "asha"}, "forecast: at most 100 trials x 3 epochs x 12.0 s"),
        ({"max_seconds": 600}, "= 75.0 s, as --max-seconds 600 ends it;"),
        ({"evaluator": "own"}, "forecast: 100 trials x 12.0 s / 8 workers = 2.5 min; random search the same; 5.0 min"),
        ({"baseline": "none", "final_seeds": 0}, "= 7.5 min; 1.0 worker-hours"),
        ({"trials": 1, "epochs": 1}, "forecast: 1 trial x 1 epoch x 12.0 s"),
    ],
)
def test_what_changes_the_sentence(changes, part):
    assert part in Forecast(RunConfig.from_json({**TRAININGS.to_json(), **changes}), 12.0, 8).text()


def trial(index, seconds, epochs=3, **values):
    proposal = Proposal(Architecture("space", ()), epochs)
    return Trial(index, proposal, str(index), "done", Metrics(0.5, values), seconds=seconds)


def test_the_seconds_of_an_epoch_count_what_was_trained():
    assert epoch_seconds([trial(0, 30.0), trial(1, 60.0, epochs=9, epochs_trained=6.0)]) == pytest.approx(10)


WORKER = WorkerState("worker", "node", 1, "gpu 0", "busy")


@pytest.mark.parametrize(("workers", "due"), [(1, 2), (2, 2), (4, 4)])
def test_a_long_search_is_announced_once_when_its_first_trials_are_done(workers, due):
    trials = [trial(0, 9999.0), trial(1, 9999.0)]  # what an earlier process did
    announce = Announcer(TRAININGS, trials)
    said = []
    for index in range(2, 9):
        trials.append(trial(index, 36.0))
        said.append(announce(Progress("search", len(trials), 100, workers=(WORKER,) * workers)))
    assert [bool(text) for text in said] == [number == due for number in range(1, 8)]
    assert f"100 trials x 3 epochs x 12.0 s / {workers} worker" in said[due - 1]
    assert "GPU-hours" in said[due - 1]


@pytest.mark.parametrize(("changes", "seconds"), [({}, 0.1), ({"evaluator": "table"}, 100.0)])
def test_short_searches_and_those_of_a_table_are_not_announced(changes, seconds):
    trials = []
    announce = Announcer(RunConfig.from_json({**TRAININGS.to_json(), **changes}), trials)
    for index in range(9):
        trials.append(trial(index, seconds))
        assert announce(Progress("search", len(trials), 100)) == ""


def test_evaluations_of_ones_own_are_announced_by_their_seconds():
    trials = []
    announce = Announcer(RunConfig.from_json({**TRAININGS.to_json(), "evaluator": "own"}), trials)
    said = [announce(Progress("search", 0, 100))]
    for index in range(2):
        trials.append(trial(index, 100.0))
        said.append(announce(Progress("search", len(trials), 100)))
    assert said[:2] == ["", ""]
    assert said[2].startswith("forecast: 100 trials x 100 s / 1 worker = 2.8 h")


@pytest.fixture
def forecast(tmp_path, capsys):
    """Return what ``search --forecast`` prints; it leaves nothing."""
    (tmp_path / "slow.py").write_text(SLOW)

    def run(flags, code=0):
        home = f"--results-dir {tmp_path}/results --plugin {tmp_path}/slow.py"
        capsys.readouterr()
        assert main(["search", "--forecast", *shlex.split(f"{home} {flags}")]) == code
        out, error = capsys.readouterr()
        assert not (tmp_path / "results").exists()
        return out if code == 0 else error

    return run


def test_the_flag_measures_trainings(forecast):
    flags = "--space nb201 --depth 1 --width 4 --dataset digits --train-images 64 --trials 5 --epochs 2 "
    flags += "--final-epochs 3 --final-seeds 1"
    number = r"[\d.]+ (s|min)"
    assert re.fullmatch(
        rf"forecast: 5 trials x 2 epochs x {number} / 1 worker = {number}; random search the same; "
        rf"final comparison 3 x 3 epochs, {number}; {number} in all; [\w .]+ worker-hours\n",
        forecast(flags),
    )


def test_the_flag_measures_an_evaluator_of_ones_own(forecast):
    out = forecast("--space nb201 --depth 1 --evaluator slow --trials 2k --epochs 7")
    seconds = re.fullmatch(r"forecast: 2,000 trials x (0\.\d+) s / 1 worker = .*\n", out)
    assert seconds is not None
    assert 0.05 <= float(seconds[1]) < 0.2


def test_nothing_is_trained_with_a_table(forecast, wrong_files):
    out = forecast(f"--space nb201 --table {wrong_files}/good.npz --reward accuracy --dataset small --trials 12")
    assert out == "forecast: 12 trials, looked up in the table; nothing is trained\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--evaluator failing", "could be evaluated; error: ValueError: planted"),
        ("--evaluator slow --max-params 1", "none of 1,000 sampled networks can be built within the limits"),
        ("--evaluator slow --trials 0", "--trials must be at least 1"),
    ],
)
def test_what_cannot_be_forecast_is_an_error_of_one_line(forecast, flags, message):
    *notes, error = forecast(f"--space nb201 --depth 1 {flags}", code=2).splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert all(note.startswith("measuring") for note in notes)


def test_the_forecast_of_a_search_that_refuses_what_is_slow_is_of_the_others(monkeypatch):
    config = with_defaults(
        RunOptions(
            space="nb201", dataset="digits", width=2, depth=1, train_images=60, trials=6, epochs=2, max_trial_seconds=8
        )
    )
    for seconds, mean in (((1.0, 3.0, 5.0), 2.0), ((5.0, 6.0, 7.0), 5.0)):

        def measured(executor, jobs, seconds=seconds):
            assert all("max_trial_seconds" not in job.settings for job in jobs)
            return [Outcome(job.index, Metrics(1.0), job.epochs * s) for job, s in zip(jobs, seconds, strict=True)]

        monkeypatch.setattr("nas.engine.forecast._run", measured)
        assert f"x {mean:.1f} s" in measured_forecast(config, build_search(config))
