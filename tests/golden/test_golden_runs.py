"""Runs that an earlier version made: they are read, reported and resumed, and made again they are the same."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from compare_golden_runs import differences, find_runs, recorded_events
from compare_golden_runs import main as compare
from golden_runs import RUNS, kind, proposals, relocate, run_again, write_inputs
from record_golden_runs import COMMANDS as RECORDED

from nas.cli.main import main
from nas.core import plugins
from nas.core.environment import environment
from nas.evaluators import EVALUATORS

NAMES = tuple(RECORDED)
QUICK = ("python", "table-predictor")
COMMANDS = ("status", "status --json", "report", "resume", "inspect")
PYTHON_RUN = {
    "status": (0, "python: finished"),
    "status --json": (0, '"state": "finished"'),
    "report": (0, "best"),
    "resume": (2, "nas.load_study(folder, evaluator=...)"),
    "inspect": (0, "settings"),
}
"""Exit code and text by command for a run that an earlier ``nas.search(name=...)`` made."""


@pytest.fixture(autouse=True)
def _forget_the_plugin():
    """Forget what the recorded plugin registers, so that it may lie in another folder in the next test."""
    plugins.load_built_in()
    before = dict(EVALUATORS._items)
    yield
    EVALUATORS._items.clear()
    EVALUATORS._items.update(before)
    plugins._load.cache_clear()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with the inputs of the recorded commands, where these are given again."""
    folder = tmp_path_factory.mktemp("golden")
    write_inputs(folder)
    return folder


@pytest.fixture
def recorded(inputs, tmp_path, monkeypatch):
    """Return a recorded run by name, as it would be had it been made in the current folder, a fresh one."""
    for name in ("toy.npz", "plug.py", "own.py"):
        shutil.copyfile(inputs / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return lambda name: relocate(name, tmp_path)


def says(command, run, capsys):
    """Run a command on a run; return its exit code and all that it printed."""
    capsys.readouterr()
    verb, *flags = command.split()
    code = main([verb, str(run) if verb == "inspect" else run.name, *flags])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_every_kind_of_run_is_recorded_whole():
    assert {path.name for path in RUNS.iterdir()} == set(NAMES)
    assert {kind(name) for name in NAMES} == {"search", "compare", "train", "python"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "python"])
def test_a_recorded_run_is_read_reported_and_resumed(name, recorded, capsys):
    run = recorded(name)
    before = recorded_events(run)
    code, text = says("status", run, capsys)
    assert code == 0
    assert f"{name}: finished" in text
    code, text = says("status --json", run, capsys)
    assert code == 0
    facts = json.loads(text)
    assert facts["state"] == "finished"
    assert facts["name"] == name
    (run / "report.md").unlink()
    assert says("report", run, capsys)[0] == 0
    assert (run / "report.md").is_file()
    code, text = says("resume", run, capsys)
    assert code == 0
    assert "report:" in text or "report.html" in text
    assert [e for e in recorded_events(run) if e["event"] != "stopped"] == [
        e for e in before if e["event"] != "stopped"
    ]
    if kind(name) == "search":
        assert says("inspect", run, capsys)[0] == 0


@pytest.mark.parametrize("name", [name for name in NAMES if kind(name) == "train"])
def test_a_recorded_training_is_inspected(name, recorded, capsys):
    code, text = says("inspect", recorded(name), capsys)
    assert code == 0
    assert "2,986" in text or "30,250" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_recorded_run_of_a_users_function(command, recorded, capsys):
    run = recorded("python")
    before = (run / "journal.jsonl").read_bytes()
    code, text = says(command, run, capsys)
    wanted, part = PYTHON_RUN[command]
    assert code == wanted
    assert part in text
    assert code == 0 or text.count("\n") == 1
    assert (run / "journal.jsonl").read_bytes() == before


def test_a_recorded_run_of_a_users_function_goes_on(recorded, tmp_path):
    run = recorded("python")
    before = proposals(run)
    script = (tmp_path / "own.py").read_text()
    exec(compile(script.replace("trials=12", "trials=15"), "own.py", "exec"), {})
    assert proposals(run)[:12] == before
    assert len(proposals(run)) == 15


def same_machine(name):
    """Return whether the machine and torch are those that recorded a run (a run without a note: as the others)."""
    path = RUNS / name / "environment.json"
    then = json.loads((path if path.is_file() else RUNS / NAMES[0] / path.name).read_text())
    now = environment()
    return then["processor"] == now["processor"] and then["packages"]["torch"] == now["packages"]["torch"]


def settings_of_training(run):
    """Return what the first steps of a training chose by the clock: it decides the last bits."""
    return [line.partition('"switches":')[2] for line in (run / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in NAMES])
def test_the_same_command_makes_the_same_run(name, inputs):
    new = run_again(name, inputs)
    for inner, old in find_runs(RUNS / name).items():
        again, same = new / inner, same_machine(name)
        # on another processor log-probabilities differ in their last bits
        assert differences(proposals(old), proposals(again), 0.0 if same else 1e-4) == []
        exact = same and settings_of_training(again) == settings_of_training(old)
        before, after = recorded_events(old), recorded_events(again)
        if name == "python":  # which did not say that it had ended, then
            assert after.pop()["event"] == "stopped"
        # another processor rounds otherwise, and so short a training grows that to whole points: what was proposed and
        # recorded is the same, and the numbers are those of that processor
        assert differences(before, after, 0.0 if exact else math.inf) == []


def test_the_comparison_names_what_differs(tmp_path, capsys):
    for side in ("old", "new"):
        shutil.copytree(RUNS / "python", tmp_path / side / "python")
    shutil.copytree(RUNS / "training", tmp_path / "old" / "training")
    journal = tmp_path / "new" / "python" / "journal.jsonl"
    text = journal.read_text().replace('"reward":3.4,', '"reward":3.5,', 1).replace('"wall":', '"wall":9', 1)
    journal.write_text(text)
    assert compare([str(RUNS), str(RUNS)]) == 0
    assert "no difference" in capsys.readouterr().out
    assert compare([str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [["python", "1", "done", "reward", "3.4", "3.5"], ["training", "journal", "there", "missing"]]
    assert compare([str(tmp_path / "old" / "python"), str(tmp_path / "new" / "python"), "--tolerance=1"]) == 0
