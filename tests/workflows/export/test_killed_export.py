"""A killed export leaves no process, no folder among temporary files, and nothing that the next one keeps."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import command, environment, nas


def children(pid):
    """Return the processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid):
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.long
def test_a_killed_export_leaves_no_child_and_no_weights(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ("export", "lenet5", "-o", "out", "--formats", "py")
    process = subprocess.Popen(
        command(*words),
        cwd=tmp_path,
        env=environment(TMPDIR=str(temporary)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 90
    while not (found := children(process.pid)):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        end = time.monotonic() + 1.5  # importing torch alone takes longer, where it goes on
        while any(map(alive, found)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not any(map(alive, found))
        assert [path for path in temporary.iterdir() if path.is_dir()] == []
    finally:
        for child in found:
            if alive(child):
                os.kill(child, signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    # the next one removes what was begun, under whatever name
    done = nas(tmp_path, *words[:3], "other", *words[4:], TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["other", "temporary"]
