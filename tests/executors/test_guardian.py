"""The guardian ends what uses its folder when its standard input ends, and only that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nas.executors import guardian, ray_session

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
    return start(sys.executable, "-I", "-S", guardian.__file__, str(folder), stdin=subprocess.PIPE)


def test_it_ends_what_uses_the_folder_and_removes_it(start, tmp_path):
    folder, beside = tmp_path / "ray", tmp_path / "ray-of-another"
    folder.mkdir()
    beside.mkdir()
    named = start(sys.executable, "-c", WAITS, f"--session={folder}/session")
    opened = start(sys.executable, "-c", f"file = open({str(folder / 'log')!r}, 'w'); {WAITS}")
    other = start(sys.executable, "-c", WAITS, str(beside))
    for process in (named, opened, other):
        assert process.stdout.readline() == b"ready\n"
    watcher = guard(start, folder)
    time.sleep(0.2)
    assert named.poll() is opened.poll() is watcher.poll() is None
    watcher.stdin.close()
    assert watcher.wait(timeout=10) == 0
    assert named.wait(timeout=1) == opened.wait(timeout=1) == -signal.SIGKILL
    assert other.poll() is None
    assert not folder.exists()
    assert beside.exists()


@pytest.mark.long
def test_it_ends_what_a_process_of_the_folder_has_started(start, tmp_path):
    code = "import subprocess; p = subprocess.Popen(['sleep', '100'], stdout=-3); print(p.pid, flush=True); p.wait()"
    parent = start(sys.executable, "-c", code, str(tmp_path / "ray/session"))
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
    command = [sys.executable, "-I", "-S", str(guardian.__file__), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as watcher:
        watcher.stdin.close()
        assert watcher.wait(timeout=10) == 0
    assert not folder.exists()
    log.close()


def test_a_killed_driver_ends_it(start, tmp_path):
    folder = tmp_path / "ray"
    folder.mkdir()
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, {guardian.__file__!r}, {str(folder)!r}], stdin=subprocess.PIPE)\n"
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
    process = start(sys.executable, "-c", WAITS, str(tmp_path / "ray/session"))
    assert process.stdout.readline()
    real = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: real(pid, 0))
    monkeypatch.setattr(guardian, "PATIENCE", 0.3)
    (tmp_path / "ray").mkdir()
    guardian.clean(str(tmp_path / "ray"))
    assert not (tmp_path / "ray").exists()
    assert process.poll() is None


def test_a_new_driver_leaves_a_folder_to_the_guardian_that_still_watches_it(start):
    """To remove a folder is to open it, and the guardian of the dead driver kills who has it open."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    folder = Path(tempfile.mkdtemp(prefix=f"nas-ray-{gone.pid}-", dir="/tmp"))
    watcher = guard(start, folder)
    end = time.monotonic() + 10
    while str(folder).encode() not in Path(f"/proc/{watcher.pid}/cmdline").read_bytes() and time.monotonic() < end:
        time.sleep(0.01)
    ray_session._sweep()
    assert folder.exists()
    watcher.kill()
    watcher.wait()
    ray_session._sweep()
    assert not folder.exists()
