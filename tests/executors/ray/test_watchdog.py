"""The watchdog ends what belongs to the Ray in its folder when its standard input ends, and only that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nas.executors.ray import cluster as ray_session
from nas.executors.ray import watchdog

WAITS = "import sys, time; sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(100)"


@pytest.fixture
def start():
    """Starts processes and ends them after the test."""
    started = []

    def begin(*command, **settings):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **settings)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def guard(start, folder):
    return start(sys.executable, "-I", "-S", watchdog.__file__, str(folder), stdin=subprocess.PIPE)


def of_ray(folder):
    """Return the environment of a process of the Ray in ``folder``."""
    return {**os.environ, watchdog.MARK: str(folder)}


@pytest.mark.long
def test_it_ends_what_belongs_to_the_folder_and_no_reader_of_it(start, tmp_path):
    folder, beside = tmp_path / "ray", tmp_path / "ray-of-another"
    folder.mkdir()
    (folder / "log").touch()
    own = start(sys.executable, "-c", WAITS, env=of_ray(folder))
    other = start(sys.executable, "-c", WAITS, env=of_ray(beside))
    opened = start(sys.executable, "-c", f"file = open({str(folder / 'log')!r}); {WAITS}")
    named = start(sys.executable, "-c", WAITS, f"{folder}/log")
    for process in (own, other, opened, named):
        assert process.stdout.readline() == b"ready\n"
    watcher = guard(start, folder)
    time.sleep(0.2)
    assert own.poll() is watcher.poll() is None
    watcher.stdin.close()
    assert watcher.wait(timeout=10) == 0
    assert own.wait(timeout=1) == -signal.SIGKILL
    assert other.poll() is opened.poll() is named.poll() is None
    assert not folder.exists()


@pytest.mark.long
def test_it_ends_what_a_process_of_the_folder_has_started(start, tmp_path):
    code = "import subprocess; p = subprocess.Popen(['sleep', '100'], stdout=-3); print(p.pid, flush=True); p.wait()"
    code = code.replace("['sleep', '100']", "['sleep', '100'], env={}")
    parent = start(sys.executable, "-c", code, env=of_ray(tmp_path / "ray"))
    child = int(parent.stdout.readline())
    watcher = guard(start, tmp_path / "ray")
    watcher.stdin.close()
    assert watcher.wait(timeout=10) == 0
    assert not Path(f"/proc/{child}").exists() or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"


@pytest.mark.long
def test_a_driver_that_disconnects_lives_on(tmp_path):
    folder = tmp_path / "ray"
    folder.mkdir()
    log = (folder / "driver.log").open("w")  # Ray does not close its logs
    command = [sys.executable, "-I", "-S", str(watchdog.__file__), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as watcher:
        watcher.stdin.close()
        assert watcher.wait(timeout=10) == 0
    assert not folder.exists()
    log.close()


@pytest.mark.long
def test_a_killed_driver_ends_it(start, tmp_path):
    folder = tmp_path / "ray"
    folder.mkdir()
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, {watchdog.__file__!r}, {str(folder)!r}], stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True); time.sleep(100)"
    )
    driver = start(sys.executable, "-c", code)
    assert driver.stdout.readline()
    driver.kill()
    end = time.monotonic() + 10
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not folder.exists()


@pytest.mark.long
def test_it_does_not_wait_forever_for_what_it_may_not_kill(start, tmp_path, monkeypatch):
    process = start(sys.executable, "-c", WAITS, env=of_ray(tmp_path / "ray"))
    assert process.stdout.readline()
    real = os.kill
    (tmp_path / "ray").mkdir()
    # put back before the process is ended
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number: real(pid, 0))
        patch.setattr(watchdog, "PATIENCE", 0.3)
        watchdog.clean(str(tmp_path / "ray"))
    assert not (tmp_path / "ray").exists()
    assert process.poll() is None


@pytest.fixture
def folder_of_ours():
    folder = Path(tempfile.mkdtemp(prefix="nas-ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_folder_is_swept_when_its_driver_is_dead_and_not_before(start, folder_of_ours):
    code = "from pathlib import Path; from nas.core.locks import FileLock\n"
    code += f"lock = FileLock.take(Path({str(folder_of_ours / '.owner')!r})); {WAITS}"
    driver = start(sys.executable, "-c", code)
    assert driver.stdout.readline() == b"ready\n"
    left = start(sys.executable, "-c", WAITS, env=of_ray(folder_of_ours))
    assert left.stdout.readline() == b"ready\n"
    ray_session._sweep()
    assert folder_of_ours.exists()
    assert left.poll() is None
    driver.kill()
    driver.wait()
    ray_session._sweep()
    assert not folder_of_ours.exists()
    assert left.wait(timeout=1) == -signal.SIGKILL


def test_a_folder_of_an_earlier_version_is_left_alone(start):
    """Its driver may live in another container, where it has another number."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    folder = Path(tempfile.mkdtemp(prefix=f"nas-ray-{gone.pid}-", dir="/tmp"))
    (folder / "ray").mkdir()
    try:
        ray_session._sweep()
        assert (folder / "ray").exists()
    finally:
        shutil.rmtree(folder)
