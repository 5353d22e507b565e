"""Signals that ask a command to end: it finishes what runs within its time, reports, and its exit code says why."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import QUICK, command, environment, nas, one_error, write_plugin

CODES = {"INT": 130, "TERM": 143, "HUP": 129}
WAITS = """import pathlib, time
pathlib.Path("begun").touch()
while job.index == 1 and not pathlib.Path("gate").exists():
    time.sleep(0.02)"""


@pytest.fixture
def start(tmp_path):
    """Starts commands; whatever happens they end with the test."""
    started = []

    def begin(*arguments, hangup=signal.SIG_DFL, **settings):
        process = subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            # the tests themselves may run under nohup
            preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
            **settings,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def search(folder, *more, body=WAITS):
    return ("search", "--name=r", "--trials=4", *QUICK, "--plugin", write_plugin(folder / "plug.py", body), *more)


def events(folder, name="r"):
    return [json.loads(line) for line in (folder / "results" / name / "journal.jsonl").read_text().splitlines()]


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)


def wait_for_trial(folder, index=1, seconds=60):
    """Wait until a trial runs: it was asked and nothing came after it."""
    journal, end = folder / "results/r/journal.jsonl", time.monotonic() + seconds
    while not (journal.exists() and journal.read_text().rstrip("\n").split("\n")[-1].find(f'"index":{index},') > 0):
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.2)


@pytest.mark.long
@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_a_signal_lets_the_trial_finish_and_the_report_be_written(tmp_path, start, name):
    process = start(*search(tmp_path))
    wait_for_trial(tmp_path)
    process.send_signal(signal.Signals[f"SIG{name}"])
    time.sleep(0.3)
    assert process.poll() is None
    (tmp_path / "gate").touch()
    assert process.wait(30) == CODES[name]
    found = events(tmp_path)
    assert [e["event"] for e in found] == ["run", "asked", "done", "asked", "done", "stopped"]
    assert found[-1]["reason"] == "interrupted"
    assert "interrupted" in (tmp_path / "results/r/report.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize("name", CODES)
def test_after_the_grace_time_it_ends_with_stopped_event_and_report(tmp_path, start, name):
    # the trial is in C code that no Python handler can enter, as those of libraries are
    body = "import ctypes\nif job.index == 1: ctypes.CDLL(None).poll(None, 0, 600_000)"
    masked = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n" + body
    process = start(*search(tmp_path, "--grace=1", body=masked))
    wait_for_trial(tmp_path)
    begun = time.monotonic()
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert process.wait(20) == CODES[name]
    assert time.monotonic() - begun < 10
    assert [e["event"] for e in events(tmp_path)] == ["run", "asked", "done", "asked", "stopped"]
    assert (tmp_path / "results/r/report.html").exists()


@pytest.mark.long
def test_a_report_is_there_before_docker_kills(tmp_path, start):
    process = start(*search(tmp_path))
    wait_for_trial(tmp_path)
    process.terminate()
    time.sleep(9.0)
    assert process.poll() is None  # there are 30 seconds to finish
    process.kill()
    process.wait()
    assert events(tmp_path)[-1]["event"] == "stopped"
    assert (tmp_path / "results/r/report.md").exists()


@pytest.mark.long
def test_a_second_signal_ends_at_once(tmp_path, start):
    process = start(*search(tmp_path))
    wait_for_trial(tmp_path)
    process.terminate()
    time.sleep(0.3)
    process.terminate()
    assert process.wait(5) == 143
    assert "resume r" in process.stderr.read()
    assert nas(tmp_path, "status", "r").stdout.startswith("r: interrupted")


@pytest.mark.long
def test_a_terminated_search_goes_on_as_one_that_was_never_disturbed(tmp_path, start):
    process = start(*search(tmp_path))
    wait_for_trial(tmp_path)
    process.terminate()
    (tmp_path / "gate").touch()
    assert process.wait(30) == 143
    assert nas(tmp_path, "resume", "r").returncode == 0
    arguments = [a if a != "--name=r" else "--name=whole" for a in search(tmp_path)]
    assert nas(tmp_path, *arguments).returncode == 0

    def results(name):
        kept = ("event", "index", "key", "reward")
        return [{k: e[k] for k in kept if k in e} for e in events(tmp_path, name) if e["event"] in ("asked", "done")]

    assert results("r") == results("whole")


@pytest.mark.long
def test_an_ignored_hangup_stays_ignored(tmp_path, start):
    process = start(*search(tmp_path), hangup=signal.SIG_IGN)
    wait_for_trial(tmp_path)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    (tmp_path / "gate").touch()
    assert process.wait(30) == 0
    assert events(tmp_path)[-1]["reason"] == "finished"


@pytest.mark.long
def test_what_a_trial_has_forked_ends_by_its_own_termination_alone(tmp_path, start):
    body = """import multiprocessing, pathlib, time
with multiprocessing.get_context("fork").Pool(1) as pool:
    found = pool.apply(abs, (-1,))
pool.join()
assert found == 1"""
    done = nas(tmp_path, *search(tmp_path, body=body), timeout=30)
    assert done.returncode == 0, done.stderr
    assert [e["event"] for e in events(tmp_path)].count("done") == 4


@pytest.mark.long
@pytest.mark.parametrize("name", CODES)
def test_a_signal_before_there_is_a_run_leaves_none(tmp_path, start, name):
    plugin = tmp_path / "plug.py"
    write_plugin(plugin)
    plugin.write_text(plugin.read_text() + "\nimport pathlib, time\npathlib.Path('begun').touch(); time.sleep(60)\n")
    process = start("search", "--name=r", *QUICK, "--plugin", plugin)
    wait_for(tmp_path / "begun")
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert process.wait(10) == CODES[name]
    told = "stopped before the first trial: nothing is kept, and the same command begins again"
    assert process.stderr.read() == f"{told}\ninterrupted\n"
    assert not (tmp_path / "results/r").exists()


@pytest.mark.long
def test_a_command_without_a_run_ends_with_one_line_and_nothing_half_written(tmp_path, start):
    process = start("export", "resnet20_cifar", "-o", "out", "--formats", "py,safetensors")
    time.sleep(2.0)  # it imports torch, or writes
    process.terminate()
    code = process.wait(10)
    line = process.stderr.read()
    left = sorted(path.name for path in tmp_path.iterdir())
    if code == 0:  # it was quicker
        assert left == ["out"]
    else:
        assert (code, line, left) == (143, "interrupted\n", [])


def test_a_grace_time_that_is_none_is_named(tmp_path):
    line = one_error(nas(tmp_path, *search(tmp_path, "--grace=soon")))
    assert "--grace must be seconds from 0 to 1,000,000, found 'soon'" in line


TRAIN = ("train", "resnet18", "--name=r", "--dataset=digits", "--epochs=500", "--threads=1")
COMPARE = ("compare", "resnet18", "resnet34", "--name=r", "--dataset=digits", "--epochs=300", "--seeds=2")
GRID = ("scale", "resnet18", "--search", "--name=r", "--dataset=digits", "--epochs=300")


@pytest.mark.long
@pytest.mark.parametrize("arguments", [TRAIN, COMPARE, GRID], ids=["train", "compare", "scale"])
def test_every_kind_of_run_ends_by_a_signal(tmp_path, start, arguments):
    process = start(*arguments, "--grace=1", stdout=subprocess.DEVNULL)
    folder = tmp_path / "results/r"
    wait_for(folder / "journal.jsonl")
    time.sleep(2.0)
    process.terminate()
    assert process.wait(20) == 143, process.stderr.read()
    last = events(tmp_path)[-1]
    assert (last["event"], last["reason"]) == ("stopped", "interrupted")
    assert list(folder.glob("report.*"))


def test_the_folder_of_a_run_is_named_as_before(tmp_path):
    done = nas(tmp_path, *search(tmp_path, body="pass"))
    assert done.returncode == 0, done.stderr
    assert "report: results/r/report.html" in done.stdout
    assert isinstance(Path(tmp_path / "results/r/report.html").read_text(), str)
