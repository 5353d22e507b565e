"""Nothing is silent for long: what goes on is told, by clocks that tests turn."""

from __future__ import annotations

import io

import pytest

from nas.cli import waiting
from nas.cli.main import main
from nas.cli.terminal import ProgressBar
from nas.cli.waiting import EVERY, MANY, OFTEN, SELDOM, SilenceMonitor
from nas.core import activity
from nas.core.activity import advance, current_activity, doing
from nas.runs.progress import Progress

PLUGIN = """
import time
from nas.evaluators import register_evaluator


@register_evaluator("slow")
def slow(job):
    "Takes a while."
    time.sleep(0.5)
    return 1.0
"""


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time of activities."""
    found = Clock()
    monkeypatch.setattr(activity, "time", found)
    return found


def test_the_innermost_activity_is_told_with_the_time_that_is_left(clock):
    assert current_activity() == ("", float("inf"))
    with doing("evaluating"):
        clock.now += 7
        assert current_activity()[0] == "evaluating, 0:00:07 so far"
        with doing("training"):
            advance("epoch 1 of 2, step 1 of 10", 1, 20)
            clock.now += 40
            # four steps in forty seconds: fifteen are left
            advance("epoch 1 of 2, step 5 of 10", 5, 20)
            assert current_activity()[0] == "epoch 1 of 2, step 5 of 10, 0:02:30 left"
        assert current_activity()[0] == "evaluating, 0:00:47 so far"
    assert current_activity()[0] == ""
    advance("nothing goes on", 1, 2)


def test_no_silence_is_longer_than_five_seconds_for_a_minute_and_then_than_thirty(clock):
    monitor, lines = SilenceMonitor(clock), []
    with doing("reading the images of dataset 'folder'"):
        for _ in range(400):
            clock.now += EVERY
            if line := monitor.line():
                lines.append((clock.now - 100, line))
    times = [time for time, _ in lines]
    waits = [after - before for before, after in zip([0, *times], times, strict=False)]
    assert max(waits[:MANY]) <= OFTEN == 5
    assert min(waits[MANY:]) >= SELDOM - 1
    assert max(waits) <= SELDOM == 30
    assert 50 <= times[MANY - 1] <= 60
    assert lines[0] == (4.5, "reading the images of dataset 'folder', 0:00:04 so far")


def test_many_short_trials_are_told_by_their_phase(clock):
    monitor, lines = SilenceMonitor(clock), []
    monitor.status = lambda: f"searching: {clock.now - 100:.0f} of 1000"
    for _ in range(11):
        with doing("trial"):
            clock.now += 1
            lines.append(monitor.line())
    assert list(filter(None, lines)) == ["searching: 5 of 1000", "searching: 10 of 1000"]


def test_a_command_that_says_nothing_of_what_it_does_is_named_itself(clock):
    monitor, lines = SilenceMonitor(clock), []
    monitor.begin("export")
    for _ in range(140):
        clock.now += EVERY
        lines.append(monitor.line())
    assert list(filter(None, lines)) == ["busy with 'export', 0:00:30 so far", "busy with 'export', 0:00:59 so far"]


def test_what_is_printed_begins_the_wait_anew_and_a_terminal_shows_all_itself(clock):
    monitor = SilenceMonitor(clock)
    with doing("trial 1"):
        for _ in range(20):
            clock.now += 4
            monitor.printed()
            assert monitor.line() == ""
        monitor.status = str
        clock.now += 100
        assert monitor.line() == ""


def test_a_bar_on_a_terminal_has_what_goes_on_in_its_last_line(monkeypatch):
    monkeypatch.setattr("sys.stderr", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar() as bar:
        bar.update(Progress("search", 1, 4))
        with doing("trial 1"), doing("training"):
            advance("epoch 2 of 10, step 5 of 40", 45, 400)
            assert "epoch 2 of 10, step 5 of 40" in str(list(bar._bar.get_renderables())[-1])


def test_a_search_tells_of_a_long_trial_in_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.py").write_text(PLUGIN)
    monkeypatch.setattr(waiting, "SILENCE_TOLD", True)
    for name, seconds in (("OFTEN", 0.1), ("SELDOM", 0.2), ("EVERY", 0.02)):
        monkeypatch.setattr(waiting, name, seconds)
    flags = "search --name one --plugin plug.py --evaluator slow --trials 1 --space nb201 --depth 1 --baseline none"
    assert main(flags.split()) == 0
    error = capsys.readouterr().err
    assert "searching: 0 of 1, 0 s; evaluating, 0:00:00 so far\n" in error


def test_a_training_tells_its_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = []
    monkeypatch.setattr("nas.training.train_step.advance", lambda text, done, total: told.append((text, done, total)))
    flags = "search --name one --trials 1 --space nb201 --depth 1 --width 2 --epochs 2 --train-images 100 "
    (tmp_path / "small.json").write_text('{"batch_size": 20, "crop_padding": 0}')
    assert main([*flags.split(), "--baseline", "none", "--final-seeds", "0", "--recipe", "small.json"]) == 0
    assert told[0] == ("epoch 1 of 2, step 1 of 5", 1, 10)
    assert told[-1] == ("epoch 2 of 2, step 5 of 5", 10, 10)
    assert len(told) == 10
