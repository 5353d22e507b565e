"""``nas doctor``: what it finds in environments in which something is missing, and that it leaves nothing behind."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import pytest
from command import SOURCE, nas
from file_systems import LOCAL_LOCKS, NO_LOCKS

from nas.cli.main import main
from nas.workflows import doctor

Usage = namedtuple("Usage", "total used free")
STATES = ("ok", "warning", "missing")


@pytest.fixture
def examined(tmp_path, capsys, monkeypatch):
    """Return what runs the command in an empty folder: its exit code, and its findings by their names."""
    monkeypatch.chdir(tmp_path)

    def run(*flags):
        capsys.readouterr()
        code = main(["doctor", "--json", *map(str, flags)])
        said = json.loads(capsys.readouterr().out)
        assert said["can_search"] == (code == 0)
        findings = {found["name"]: found for found in said["findings"]}
        assert len(findings) == len(said["findings"])
        assert {found["state"] for found in said["findings"]} <= set(STATES)
        return code, findings, said["summary"]

    return run


def without(monkeypatch, *names):
    """Hide packages, as if they were not installed."""
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: "" if name in names else real(name))
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_here_where_the_tests_run_a_search_can_run_and_nothing_is_left(examined, tmp_path):
    code, found, _ = examined()
    assert code == 0
    for name in ("torch", "numpy", "optuna"):
        assert found[name]["text"] == version(name)
    assert found["extra ray"]["text"] == f"ray {version('ray')}"
    import torch

    assert found["threads"]["text"].startswith(f"{torch.get_num_threads()} of torch's")
    assert all(torch.cuda.get_device_name(i) in found[f"GPU {i}"]["text"] for i in range(torch.cuda.device_count()))
    assert found["locks"]["state"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_table_whose_last_line_is_the_summary(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.startswith("a search can run here")
    assert all(line.split()[0] in (*STATES, "->") for line in lines)


def test_without_torch_it_says_so_and_how_to_get_it(examined, monkeypatch):
    without(monkeypatch, "torch")
    code, found, summary = examined()
    assert code == 1
    assert found["packages"]["text"] == "not installed: torch"
    oldest = next(line for line in _dependencies() if line.startswith("torch"))
    assert found["packages"]["fix"] == f"python -m pip install '{oldest}'"
    assert summary.startswith("no search can run here: ")
    assert found["packages"]["fix"] in summary
    assert "threads" not in found


def _dependencies():
    import tomllib

    return tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["dependencies"]


def test_a_torch_that_cannot_be_imported_is_missing(examined, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, found, _ = examined()
    assert code == 1
    assert found["torch import"]["state"] == "missing"
    assert found["torch import"]["fix"] == "python -m pip install --force-reinstall torch"


def test_an_older_numpy_is_too_old(examined, monkeypatch):
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: "1.26.4" if name == "numpy" else real(name))
    code, found, _ = examined()
    assert code == 1
    assert found["packages"]["text"] == "too old: numpy 1.26.4"


@pytest.mark.parametrize("name", ["ray", "optuna", "onnxscript"])
def test_without_what_only_some_searches_need_others_run(name, examined, monkeypatch):
    without(monkeypatch, name)
    code, found, _ = examined()
    assert code == 0
    one = found[{"onnxscript": "extra onnx", "ray": "extra ray"}.get(name, name)]
    assert (one["state"], one["needed"]) == ("missing", False)
    assert f"'{name}>=" in one["fix"]


def test_where_no_package_is_installed_at_all_it_still_answers(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\nfrom nas.cli.main import main\nsys.exit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    needed = [line.partition(">")[0] for line in _dependencies()]
    assert all(f" {name}" in done.stdout for name in needed)


def test_the_least_versions_are_those_of_pyproject():
    required = {f"{name}>={oldest}" for name, oldest in doctor.required()[""].items()}
    assert required == set(_dependencies())


def test_too_little_memory_and_too_little_disk_keep_a_search_from_running(examined, monkeypatch):
    monkeypatch.setattr(doctor, "free_memory", lambda: 400 << 20)
    code, found, _ = examined()
    assert (code, found["memory"]["state"]) == (1, "missing")
    assert "400.0 MiB" in found["memory"]["text"]
    monkeypatch.setattr(doctor, "free_memory", lambda: 1 << 30)
    code, found, summary = examined()
    assert (code, found["memory"]["state"]) == (0, "warning")
    assert "1 warning" in summary
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(1 << 40, 1 << 40, 10 << 20))
    code, found, _ = examined()
    assert (code, found["results"]["state"]) == (1, "missing")


def test_a_container_with_little_shared_memory_is_told_of_docker(examined, monkeypatch):
    real = shutil.disk_usage
    small = Usage(64 << 20, 0, 64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: small if str(place) == "/dev/shm" else real(place))
    code, found, _ = examined()
    assert (code, found["shared memory"]["state"]) == (0, "warning")
    assert "--shm-size" in found["shared memory"]["fix"]


def test_more_threads_than_a_container_allows_are_told(examined, monkeypatch):
    import torch

    monkeypatch.setattr("nas.core.machine.cpu_limit", lambda: 2.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    code, found, _ = examined()
    assert (code, found["threads"]["state"]) == (0, "warning")
    assert found["threads"]["fix"] in ("export OMP_NUM_THREADS=2", "export OMP_NUM_THREADS=1")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs the folder /proc, in which nobody can make files")
def test_a_results_folder_that_cannot_be_written_is_named(examined, tmp_path):
    code, found, summary = examined("--results-dir", "/proc/self/results")
    assert (code, found["results"]["state"]) == (1, "missing")
    assert "'/proc/self'" in summary
    (tmp_path / "file").touch()
    code, found, _ = examined("--results-dir", "file")
    assert (code, found["results"]["text"]) == (1, f"'{tmp_path / 'file'}' is no folder")


def test_a_read_only_file_system_is_named(examined, monkeypatch, tmp_path):
    def take(path, descriptor=None):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(doctor.FileLock, "take", take)
    code, found, _ = examined("--results-dir", "new/results")
    assert (code, found["results"]["text"]) == (1, f"'{tmp_path}' cannot be written: Read-only file system")


@pytest.mark.parametrize(("calls", "told"), [(NO_LOCKS, "no flock here"), (LOCAL_LOCKS, "every process the lock")])
def test_file_systems_without_locks_are_told(calls, told, examined, monkeypatch, tmp_path):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", fcntl.flock)  # put back at the end
    exec(calls, {})
    code, found, _ = examined()
    assert (code, found["locks"]["state"]) == (0, "warning")
    assert told in found["locks"]["text"]
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_answers_and_one_that_does_not(examined):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        code, found, _ = examined("--ray-address", address)
        assert (code, found["Ray address"]["state"]) == (0, "ok")
    code, found, _ = examined("--ray-address", address)
    assert (code, found["Ray address"]["state"]) == (1, "missing")
    code, found, _ = examined("--ray-address", "nonsense")
    assert code == 1
    assert "HOST:PORT" in found["Ray address"]["text"]


@pytest.mark.long
def test_a_ray_is_started_and_ended(tmp_path):
    done = nas(tmp_path, "doctor", "--ray", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {found["name"]: found for found in json.loads(done.stdout)["findings"]}
    assert found["Ray starts"]["state"] == "ok"
    assert found["Ray starts"]["text"].startswith("in ")


@pytest.mark.long
def test_it_answers_in_a_few_seconds(tmp_path):
    assert nas(tmp_path, "doctor", timeout=30).returncode == 0
