"""A run folder holds data: no code that its journal names is run by commands that look, or train from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command import QUICK, nas, one_error, python, write_plugin

from nas.errors import ConfigError
from nas.runs.journal import encode
from nas.runs.trust import check_address, check_plugins, relocated

LOOKING = (
    "report r",
    "status r",
    "inspect r",
    "draw r -o net.svg",
    "source r -o net.py",
    "export-optuna r -o study.log",
    "export r -o out --formats py,safetensors",
    "scale r --phi 0",
)
TRAINING = (
    "train r --dataset digits --epochs 1 --forecast",
    "finetune r --dataset digits --epochs 1 --forecast",
    "search --dataset digits --space nb201 --start-from r --forecast --depth 1 --epochs 1",
)


def name_in_journal(run: Path, **settings: object) -> None:
    """Let the journal of ``run`` name other ``settings``, as whoever hands a run folder over can."""
    path = run / "journal.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    events = [{name: value for name, value in event.items() if name not in ("crc", "seq")} for event in events]
    events[0]["config"] |= settings
    events[0].pop("inputs", None)
    path.write_bytes(b"".join(encode(i, event) for i, event in enumerate(events)))


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
    """A folder with a run whose journal names a plugin in the run's folder, which leaves a mark when it is run."""
    folder = tmp_path_factory.mktemp("work")
    write_plugin(folder / "plug.py")
    done = nas(folder, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py")
    assert done.returncode == 0, done.stderr
    run = folder / "results" / "r"
    evil = write_plugin(run / "evil.py")
    evil.write_text(f"open({str(folder / 'ran')!r}, 'w')\n{evil.read_text()}")
    name_in_journal(run, plugins=[str(evil)])
    return folder


@pytest.mark.long
@pytest.mark.parametrize("command", LOOKING[:1] + LOOKING[2:3])
def test_looking_runs_no_plugin_of_a_journal(command, handed_over):
    nas(handed_over, *command.split())
    assert not (handed_over / "ran").exists()


@pytest.mark.long
def test_no_command_but_resume_runs_a_plugin_of_a_journal(handed_over):
    for command in (*LOOKING, *TRAINING, "compare r resnet20_cifar --dataset digits --epochs 0"):
        done = nas(handed_over, *command.split())
        assert "Traceback" not in done.stderr, command
        assert not (handed_over / "ran").exists(), command
    for command in LOOKING:
        assert nas(handed_over, *command.split()).returncode in (0, 2), command


@pytest.mark.long
@pytest.mark.parametrize("place", ["its folder", "another run", "the results", "a link", "relative"])
def test_resume_refuses_a_plugin_that_came_with_the_folder(place, handed_over, tmp_path):
    run = handed_over / "results" / "r"
    evil = run / "evil.py"
    if place == "another run":
        (handed_over / "results" / "other").mkdir(exist_ok=True)
        (handed_over / "results" / "other" / "journal.jsonl").touch()
        evil = handed_over / "results" / "other" / "evil.py"
    elif place == "the results":
        evil = handed_over / "results" / "evil.py"
    evil.write_text((run / "evil.py").read_text())
    named = str(evil)
    if place == "a link":
        (tmp_path / "link.py").symlink_to(evil)
        named = str(tmp_path / "link.py")
    elif place == "relative":
        (handed_over / "here.py").write_text(evil.read_text())
        named = "here.py"
    name_in_journal(run, plugins=[named])
    line = one_error(nas(handed_over, "resume", "r"))
    assert named in line
    assert "--plugin" in line
    assert not (handed_over / "ran").exists()


@pytest.mark.long
def test_resume_runs_a_plugin_that_is_named_again_also_elsewhere(tmp_path):
    plugin = write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py").returncode == 0
    assert nas(tmp_path, "resume", "r", "--trials=4").returncode == 0
    (tmp_path / "other").mkdir()
    plugin.rename(tmp_path / "other" / "plug.py")
    done = nas(tmp_path, "resume", "r", "--trials=5", "--plugin=other/plug.py")
    assert done.returncode == 0, done.stderr
    assert "of this name" in one_error(nas(tmp_path, "resume", "r", "--plugin=strange.py"))


def test_a_primitive_of_a_plugin_is_asked_for_by_name(handed_over):
    graph = handed_over / "results" / "r" / "best" / "graph.json"
    before = graph.read_text()
    try:
        graph.write_text(before.replace('"op": "conv"', '"op": "my_conv"', 1))
        line = one_error(nas(handed_over, "inspect", "results/r"))
    finally:
        graph.write_text(before)
    assert "my_conv" in line
    assert "--plugin" in line


def test_a_configuration_in_a_run_folder_runs_no_plugin_of_it(handed_over):
    run = handed_over / "results" / "r"
    config = run / "config.toml"
    text = config.read_text().replace(str(handed_over / "plug.py"), str(run / "evil.py"))
    assert "evil.py" in text
    config.write_text(text)
    one_error(nas(handed_over, "search", "--config", config, "--name=again"))
    assert not (handed_over / "ran").exists()


def test_a_cluster_that_a_journal_alone_names_is_not_connected_to(handed_over):
    run = handed_over / "results" / "r"
    name_in_journal(run, plugins=[str(handed_over / "plug.py")], executor="ray", ray_address="10.255.255.1:6379")
    line = one_error(nas(handed_over, "resume", "r", timeout=60))
    assert "--ray-address 10.255.255.1:6379" in line


def test_the_folder_that_one_works_in_may_hold_runs_and_plugins(tmp_path, monkeypatch):
    plugin = tmp_path / "plug.py"
    monkeypatch.chdir(tmp_path)
    check_plugins([str(plugin)], (), tmp_path / "r")
    monkeypatch.chdir(os.sep)
    check_plugins([str(plugin)], [str(plugin)], tmp_path / "r")
    check_plugins([str(plugin)], (), tmp_path / "results" / "r")
    tmp_path.joinpath("else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    check_plugins([str(plugin)], (), tmp_path / "r")


@pytest.mark.parametrize("address", [None, "auto", "127.0.0.1:6379", "ray://localhost:10001"])
def test_ray_on_this_machine_is_used(address, tmp_path):
    check_address(address, False, tmp_path)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://head:10001", "127.0.0.1.evil.org:6379"])
def test_ray_elsewhere_is_named(address, tmp_path):
    with pytest.raises(ConfigError, match="--ray-address"):
        check_address(address, False, tmp_path)
    check_address(address, True, tmp_path)


def test_a_plugin_takes_the_place_of_the_one_of_its_name():
    assert relocated(["/a/x.py", "/a/y.py"], ["/b/y.py"]) == ("/a/x.py", "/b/y.py")
    assert relocated(["/a/x.py", "/b/x.py"], ["/b/x.py"]) == ("/a/x.py", "/b/x.py")
    with pytest.raises(ConfigError, match="no one plugin of this name"):
        relocated(["/a/x.py", "/b/x.py"], ["/c/x.py"])


def test_no_text_of_a_graph_becomes_code_of_the_written_source(handed_over, tmp_path):
    data = json.loads((handed_over / "results" / "r" / "best" / "graph.json").read_text())
    mark = tmp_path / "ran"
    name = '"""; open("ran", "w"); """'
    data["outputs"][name] = data["outputs"]["logits"]
    (tmp_path / "graph.json").write_text(json.dumps(data))
    done = nas(tmp_path, "source", "graph.json", "-o", "net.py")
    if done.returncode == 0:
        python(tmp_path, "import net")
    assert not mark.exists()
    one_error(done)
