"""Locks: one process holds one at a time, on any file system; the dead keep none, and the living lose none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from command import environment

from nas.core import locks
from nas.core.locks import OWNER, FileLock, is_locked, remove_abandoned

HOLD = """
import sys, time
from pathlib import Path
if sys.argv[2] == "none":
    import errno, fcntl
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
from nas.core.locks import FileLock
lock = FileLock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["flock", "none"])
def system(request, monkeypatch):
    """A file system that has locks, or none."""
    if request.param == "none":

        def flock(descriptor, operation):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr("nas.core.locks.fcntl.flock", flock)
    return request.param


@pytest.fixture
def holder(system):
    """Start other processes that hold locks."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), system], env=environment(), stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_one_holds_it_at_a_time_and_nothing_is_left(tmp_path, system):
    path = tmp_path / "x"
    lock = FileLock.take(path)
    assert is_locked(path)
    with pytest.raises(BlockingIOError):
        FileLock.take(path)
    assert not lock.lost
    lock.release()
    assert lock.lost
    assert list(tmp_path.iterdir()) == []
    FileLock.take(path).release()


def test_another_process_holds_it_until_it_is_killed(tmp_path, system, holder):
    path = tmp_path / "x"
    process = holder(path)
    with pytest.raises(BlockingIOError) as caught:
        FileLock.take(path)
    if system == "none":
        assert f"process {process.pid} on " in caught.value.strerror
    process.kill()
    process.wait()
    assert not is_locked(path)
    FileLock.take(path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_has_no_part_in_it(tmp_path, system):
    path = tmp_path / "x"
    lock = FileLock.take(path)
    child = os.fork()
    if child == 0:
        lost = lock.lost
        lock.release()
        os._exit(0 if lost else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert is_locked(path)
    assert not lock.lost
    lock.release()


@pytest.mark.long
def test_of_many_that_want_it_at_once_never_two_have_it(tmp_path, system):
    path, inside, most, had = tmp_path / "x", [], [0], []

    def want():
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                lock = FileLock.take(path)
            except BlockingIOError:
                continue
            inside.append(1)
            most[0] = max(most[0], len(inside))
            had.append(1)
            inside.pop()
            lock.release()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(had) > 4
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks whose holders are on other machines."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("nas.core.locks.fcntl.flock", flock)


def of_another_machine(path, silent):
    """Write what a holder elsewhere leaves that was last heard of ``silent`` seconds ago."""
    place = path.with_name(f"{path.name}.lock")
    place.write_text(json.dumps({"host": "far", "boot": "b", "processes": "p", "pid": 1, "start": 1, "token": "t"}))
    os.utime(place, (time.time() - silent,) * 2)
    return place


def test_a_holder_on_another_machine_counts_while_it_is_heard(tmp_path, no_locks):
    path = tmp_path / "x"
    place = of_another_machine(path, locks.SILENCE - 20)
    with pytest.raises(BlockingIOError, match="held by process 1 on far"):
        FileLock.take(path)
    of_another_machine(path, locks.SILENCE + 20)
    lock = FileLock.take(path)
    assert json.loads(place.read_bytes())["pid"] == os.getpid()
    lock.release()


def test_where_locks_work_a_holder_for_whom_they_do_not_counts_too(tmp_path):
    path = tmp_path / "x"
    of_another_machine(path, 0)
    assert not path.exists()
    with pytest.raises(BlockingIOError, match="held by process 1 on far"):
        FileLock.take(path)


def test_one_that_was_taken_for_dead_finds_it_out(tmp_path, no_locks):
    path = tmp_path / "x"
    lock = FileLock.take(path)
    place = of_another_machine(path, 0)
    assert not lock.lost  # the same file, whatever it says
    place.unlink()
    of_another_machine(path, 0)
    assert lock.lost
    lock.release()
    assert place.exists()  # it is another's


def test_a_holder_is_heard(tmp_path, no_locks, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    path = tmp_path / "x"
    lock = FileLock.take(path)
    place = tmp_path / "x.lock"
    os.utime(place, (0, 0))
    end = time.monotonic() + 10
    while place.stat().st_mtime == 0:
        assert time.monotonic() < end
        time.sleep(0.01)
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"pid": "1"}'])
def test_one_that_is_being_written_or_damaged_counts_by_its_age(tmp_path, no_locks, content):
    path, place = tmp_path / "x", tmp_path / "x.lock"
    place.write_bytes(content)
    with pytest.raises(BlockingIOError):
        FileLock.take(path)
    os.utime(place, (0, 0))
    FileLock.take(path).release()


def test_a_process_number_that_was_given_again_is_no_holder(tmp_path, no_locks):
    path, place = tmp_path / "x", tmp_path / "x.lock"
    place.write_text(json.dumps({**locks._machine(), "pid": os.getpid(), "start": 1}))
    FileLock.take(path).release()
    assert not place.exists()


def test_a_folder_is_removed_when_its_owner_is_dead_and_not_before(tmp_path, system, holder):
    folder = tmp_path / "work"
    folder.mkdir()
    process = holder(folder / OWNER)
    (folder / "weights").touch()
    assert not remove_abandoned(folder)
    assert (folder / "weights").exists()
    process.kill()
    process.wait()
    assert remove_abandoned(folder)
    assert not folder.exists()


def test_a_folder_without_a_lock_is_not_touched_unless_it_is_empty(tmp_path):
    full, empty, link = tmp_path / "full", tmp_path / "empty", tmp_path / "link"
    full.mkdir()
    empty.mkdir()
    (full / "file").touch()
    link.symlink_to(full)
    assert [remove_abandoned(path) for path in (full, empty, link)] == [False, True, False]
    assert (full / "file").exists()
