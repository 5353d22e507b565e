"""What a result depends on is recorded, compared when a run is resumed, and told where it changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, SOURCE, nas, one_error, python, write_plugin

from nas.errors import ConfigError
from nas.runs import inputs
from nas.runs.journal import encode, read

FROM_TABLE = ("--space=table", "--table=toy.npz", "--reward=val", "--searcher=random", "--baseline=none")
ON_ARRAYS = ("--dataset=arrays", "--data-dir=data.npz", "--epochs=1", "--final-seeds=0", "--baseline=none")
TINY = ("--space=nb201", "--depth=1", "--width=4", "--searcher=random")
FOUND = str(SOURCE / "benchmarks" / "found" / "nb201-fashion.json")
IN_PYTHON = """
import nas
def helper(job): return {value}
def evaluator(job):
    return helper(job)
nas.search("nb201", evaluator, "random", trials={trials}, name="r", depth=1{more})
"""


def write_table(path: Path, best: float = 1.0) -> None:
    choices = np.arange(6, dtype=np.uint8)[:, None]
    options = json.dumps({"a": list(range(6))})
    np.savez(path, names=np.array(["a"]), options=np.array(options), choices=choices, val=np.linspace(0, best, 6))


def write_arrays(path: Path, level: int = 0) -> None:
    labels = np.arange(40) % 2
    images = (labels[:, None, None] * 200 + np.arange(8)[None, :, None] + np.zeros((1, 1, 8))).astype(np.uint8)
    images[0, 0, 0] = level
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def journal(run: Path) -> list[dict]:
    return read(run / "journal.jsonl")


def rewrite(run: Path, events: list[dict]) -> None:
    """Write a journal of ``events``: as a kill would have cut it, or an earlier version written it."""
    lines = [{name: value for name, value in event.items() if name not in ("crc", "seq")} for event in events]
    (run / "journal.jsonl").write_bytes(b"".join(encode(i, event) for i, event in enumerate(lines)))


def cut(run: Path, trials: int) -> None:
    """Cut a journal after a number of results."""
    results, kept = 0, []
    for event in journal(run):
        results += event["event"] == "done"
        if results > trials:
            break
        kept.append(event)
    rewrite(run, kept[:-1] if kept[-1]["event"] == "asked" else kept)


@pytest.mark.long
def test_a_changed_plugin_stops_a_resume_with_one_line(tmp_path):
    plugin = write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, "search", "--name=r", "--trials=5", *QUICK, "--plugin=plug.py").returncode == 0
    run = tmp_path / "results" / "r"
    cut(run, 2)
    before = journal(run)
    write_plugin(plugin, "return 0.25")
    line = one_error(nas(tmp_path, "resume", "r"))
    assert str(plugin) in line
    assert "--accept-changes" in line
    assert journal(run) == before


@pytest.mark.long
def test_an_accepted_change_is_recorded_and_reported(tmp_path):
    plugin = write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, "search", "--name=r", "--trials=4", *QUICK, "--plugin=plug.py").returncode == 0
    run = tmp_path / "results" / "r"
    cut(run, 2)
    write_plugin(plugin, "return 0.25")
    assert nas(tmp_path, "resume", "r", "--accept-changes").returncode == 0
    assert [event["changed"] for event in journal(run) if event["event"] == "inputs"] == [
        [f"plugin '{plugin}' has changed"]
    ]
    for report in ("report.md", "report.html"):
        assert "The inputs changed after trial 1: plugin" in (run / report).read_text()
    # what was accepted is what the next resume compares with
    assert nas(tmp_path, "resume", "r", "--trials=5").returncode == 0
    write_plugin(plugin)
    one_error(nas(tmp_path, "resume", "r", "--trials=6"))


@pytest.mark.long
def test_a_changed_table_stops_a_resume(tmp_path):
    write_table(tmp_path / "toy.npz")
    assert nas(tmp_path, "search", "--name=r", "--trials=4", *FROM_TABLE).returncode == 0
    cut(tmp_path / "results" / "r", 2)
    write_table(tmp_path / "toy.npz", best=2.0)
    assert "toy.npz" in one_error(nas(tmp_path, "resume", "r"))
    # the same table in another place is the same
    write_table(tmp_path / "moved.npz")
    assert nas(tmp_path, "resume", "r", "--table=moved.npz").returncode == 0


@pytest.mark.long
def test_changed_images_stop_a_resume_and_moved_ones_do_not(tmp_path):
    write_arrays(tmp_path / "data.npz")
    done = nas(tmp_path, "search", "--name=r", "--trials=2", *TINY, *ON_ARRAYS)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "r"
    cut(run, 1)
    write_arrays(tmp_path / "data.npz", level=9)
    assert "data.npz" in one_error(nas(tmp_path, "resume", "r"))
    write_arrays(tmp_path / "other.npz")
    (tmp_path / "data.npz").unlink()
    done = nas(tmp_path, "resume", "r", "--data-dir=other.npz")
    assert done.returncode == 0, done.stderr
    assert "began with other inputs" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ("train", "resnet20_cifar", "--width=2", "--epochs=1"),
        ("compare", "resnet20_cifar", "resnet32_cifar", "--seeds=1", "--epochs=1"),
        ("scale", FOUND, "--search", "--width=4", "--depth=1", "--epochs=1", "--phi=0"),
    ],
    ids=lambda command: command[0],
)
def test_every_kind_of_run_records_its_data_and_versions(command, tmp_path, monkeypatch):
    """The first event is written before anything long begins, so that it is looked at without carrying the run out."""
    write_arrays(tmp_path / "data.npz")
    code = f"""
import nas.runs.run_folder as runs
from nas.cli.main import main
runs.RunFolder.carry_out = lambda run, observe: "interrupted"
main({[*command, "--name=r", "--dataset=arrays", "--data-dir=data.npz"]!r})
"""
    python(tmp_path, code)
    (header,) = journal(tmp_path / "results" / "r")
    assert header["inputs"]["data"]["files"] == 1
    assert {"torch", "numpy", "python", "nas-toolkit"} <= header["inputs"]["versions"].keys()
    write_arrays(tmp_path / "data.npz", level=9)
    assert "data.npz" in one_error(nas(tmp_path, "resume", "r"))


@pytest.mark.long
def test_other_versions_stop_a_resume(tmp_path):
    write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py").returncode == 0
    run = tmp_path / "results" / "r"
    events = journal(run)
    events[0]["inputs"]["versions"]["numpy"] = "1.0"
    rewrite(run, events)
    assert "numpy was 1.0" in one_error(nas(tmp_path, "resume", "r"))


@pytest.mark.long
def test_a_journal_from_before_digests_resumes_with_one_line(tmp_path):
    write_table(tmp_path / "toy.npz")
    assert nas(tmp_path, "search", "--name=r", "--trials=4", *FROM_TABLE).returncode == 0
    run = tmp_path / "results" / "r"
    cut(run, 2)
    events = journal(run)
    del events[0]["inputs"]
    rewrite(run, events)
    done = nas(tmp_path, "resume", "r")
    assert done.returncode == 0
    assert sum("no digests" in line for line in done.stderr.splitlines()) == 1
    # from here on they are known
    assert "no digests" not in nas(tmp_path, "resume", "r").stderr


@pytest.mark.long
def test_other_code_of_a_python_evaluator_stops_a_resume(tmp_path):
    assert python(tmp_path, IN_PYTHON.format(value=0.5, trials=3, more="")).returncode == 0
    same = IN_PYTHON.format(value=0.5, trials=4, more="").replace("def helper", "# a remark\n\ndef helper")
    assert python(tmp_path, same).returncode == 0
    done = python(tmp_path, IN_PYTHON.format(value=0.75, trials=5, more=""))
    assert "the code of the evaluator has changed" in done.stderr
    more = ", accept_changes=True"
    assert python(tmp_path, IN_PYTHON.format(value=0.75, trials=5, more=more)).returncode == 0


@pytest.mark.long
def test_the_random_search_of_a_search_records_its_inputs_too(tmp_path):
    write_table(tmp_path / "toy.npz")
    flags = [flag for flag in FROM_TABLE if "random" not in flag and "none" not in flag]
    done = nas(tmp_path, "search", "--name=r", "--trials=3", "--searcher=evolution", *flags)
    assert done.returncode == 0, done.stderr
    below = journal(tmp_path / "results" / "r" / "random")[0]
    assert below["inputs"]["table"] == journal(tmp_path / "results" / "r")[0]["inputs"]["table"]


def test_a_difference_is_told_by_name_and_the_missing_is_left_to_others():
    was = {"table": {"file": "t", "digest": "1"}, "versions": {"torch": "1", "python": "3.11"}, "code": {"space": "a"}}
    events = [{"event": "run", "inputs": was}]
    assert inputs.compared("r", events, was, False) == ([], "")
    assert inputs.compared("r", events, {"versions": was["versions"]}, False) == ([], "")
    # each Python has a bytecode of its own
    other = {**was, "code": {"space": "b"}, "versions": {"torch": "1", "python": "3.12"}}
    (event,), _ = inputs.compared("r", events, other, True)
    assert event["changed"] == ["python was 3.11 and is 3.12"]


def test_times_count_in_the_same_place_alone():
    was = {"data": {"place": "/a", "files": 2, "digest": "x", "times": "1"}}
    events = [{"event": "run", "inputs": was}]
    for place, stops in (("/a", True), ("/b", False)):
        now = {"data": {"place": place, "files": 2, "digest": "x", "times": "2"}}
        found, _ = inputs.compared("r", events, now, True)
        assert bool(found) == stops


def test_moved_runs_of_earlier_versions_are_not_refused(tmp_path):
    """A folder of images that is copied, with other times, is the same data."""
    from nas.core.digests import files_digest

    (tmp_path / "a").mkdir()
    for name in ("x", "y"):
        (tmp_path / "a" / name).write_text(name)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    one, other = (files_digest([(n, str(tmp_path / side / n)) for n in ("x", "y")]) for side in "ab")
    assert one == other


def test_after_failures_alone_a_plugin_may_be_put_right():
    was, now = ({"plugins": [[{"file": "/p.py", "digest": digest}]]} for digest in "ab")
    events = [{"event": "run", "inputs": was}, {"event": "asked"}, {"event": "failed"}]
    (event,), told = inputs.compared("r", events, now, False)
    assert event["changed"] == ["plugin '/p.py' has changed"]
    assert "no result yet" in told
    with pytest.raises(ConfigError, match="has changed"):
        inputs.compared("r", [*events, {"event": "done"}], now, False)
