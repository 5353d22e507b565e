"""A journal has one writer: the process that opened it, as long as nothing else has touched the file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from command import QUICK, command, environment, nas, one_error, write_plugin
from file_systems import FAILING_FSYNC, LOCAL_LOCKS, with_calls

from nas.errors import JournalError
from nas.runs.journal import Journal, read
from nas.runs.run_folder import resume_run

SEARCH = ("search", "--name=r", "--trials=5", *QUICK, "--plugin=plug.py")


def wait_until(true, seconds=60.0):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.long
@pytest.mark.parametrize(
    ("ending", "code"),
    [("sys.exit(7)", 7), ("raise KeyError(1)", 1), ("return 0.5", 0)],
)
def test_a_child_of_a_trial_ends_as_its_author_meant_and_its_parent_goes_on(tmp_path, ending, code):
    body = f"""
if job.index == 2:
    child = os.fork()
    if child == 0:
        {ending}
    open("code", "w").write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""
    write_plugin(tmp_path / "plug.py", body)
    done = nas(tmp_path, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "code").read_text() == str(code)
    assert done.stdout.count("report:") == 1
    assert [t["index"] for t in read(tmp_path / "results/r/journal.jsonl") if t["event"] == "done"] == [0, 1, 2, 3, 4]
    assert nas(tmp_path, "report", "r").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("place", ["space", "searcher"])
def test_a_child_that_any_other_code_of_the_user_forks_ends_too(tmp_path, place):
    fork = "if os.fork() == 0: sys.exit(0)"
    plugin = write_plugin(tmp_path / "plug.py")
    plugin.write_text(
        plugin.read_text()
        + f"""
from nas.searchers import register_searcher
from nas.space import register_space
from nas.types import Architecture, Proposal

@register_space("letters", source="none")
def letters(choose):
    {fork if place == "space" else "pass"}
    choose("a", tuple(range(50)))

@register_searcher("steps", source="none")
class Steps:
    "Counts."
    def __init__(self, space, context):
        pass
    def ask(self, history, rng):
        n = len(history)
        if n == 2:
            {fork if place == "searcher" else "pass"}
        return Proposal(Architecture("letters", (("a", n),)))
"""
    )
    flags = ("--space=letters", "--searcher=steps", "--baseline=none", "--evaluator=mine", "--plugin=plug.py")
    done = nas(tmp_path, "search", "--name=r", "--trials=4", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report:") == 1
    assert sum(e["event"] == "done" for e in read(tmp_path / "results/r/journal.jsonl")) == 4


@pytest.mark.long
def test_a_child_that_lives_on_keeps_no_lock(tmp_path):
    body = """
if job.index == 2 and not os.path.exists("child"):
    child = os.fork()
    if child == 0:
        import time
        time.sleep(60)
        os._exit(0)
    open("child", "w").write(str(child))
    os.kill(os.getpid(), 9)
"""
    write_plugin(tmp_path / "plug.py", body)
    # no pipes: whoever reads them to their end waits for the child, which has them too
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.run(command(*SEARCH), cwd=tmp_path, env=environment(), timeout=50, check=False, **quiet)
    assert killed.returncode == -signal.SIGKILL
    child = int((tmp_path / "child").read_text())
    try:
        done = nas(tmp_path, "resume", "r")
        assert done.returncode == 0, done.stderr
    finally:
        os.kill(child, signal.SIGKILL)  # it lived on: the run was resumed beside it


def test_a_fork_of_the_writer_writes_nothing_and_its_close_leaves_the_lock(tmp_path):
    path = tmp_path / "j"
    journal = Journal.create(path, {})
    before = path.read_bytes()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal.append([{"event": "asked"}])
        except JournalError as error:
            code = 0 if "fork" in str(error) else 2
        journal.close()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == before
    with pytest.raises(JournalError, match="another process is running this search"):
        Journal.open(path)
    journal.append([{"event": "asked"}])
    journal.close()
    Journal.open(path)[0].close()


@pytest.mark.long
def test_where_locks_do_not_exclude_the_first_of_two_writers_stops_and_the_journal_stays_whole(tmp_path):
    body = """
if job.index == 2 and not os.environ.get("SECOND"):
    import subprocess
    command = [sys.executable, *sys.argv[:1], "resume", "r"]
    subprocess.run(command, env={**os.environ, "SECOND": "1"}, check=True, capture_output=True)
"""
    write_plugin(tmp_path / "plug.py", body)
    line = one_error(nas(tmp_path, *SEARCH, **with_calls(tmp_path, LOCAL_LOCKS)))
    assert "something else has written to it" in line
    assert "end all processes of this run" in line
    events = read(tmp_path / "results/r/journal.jsonl")
    assert [e["index"] for e in events if e["event"] == "done"] == [0, 1, 2, 3, 4]
    assert nas(tmp_path, "resume", "r").returncode == 0


@pytest.mark.parametrize("change", ["longer", "shorter", "replaced", "removed"])
def test_a_file_that_something_else_has_changed_is_not_written(tmp_path, change):
    path = tmp_path / "j"
    journal = Journal.create(path, {})
    journal.append([{"event": "asked"}])
    data = path.read_bytes()
    if change == "longer":
        with path.open("ab") as file:
            file.write(b"{}\n")
    elif change == "shorter":
        os.truncate(path, len(data) - 3)
    elif change == "replaced":
        (tmp_path / "k").write_bytes(data)
        (tmp_path / "k").rename(path)
    else:
        path.unlink()
    after = path.read_bytes() if path.exists() else None
    with pytest.raises(JournalError, match="nothing more is written"):
        journal.append([{"event": "asked"}])
    journal.close()
    assert (path.read_bytes() if path.exists() else None) == after


def test_a_relative_path_is_the_same_journal_wherever_the_process_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with open("j", "w"):
        pass
    os.unlink("j")
    journal = Journal.create(type(tmp_path)("j"), {})
    monkeypatch.chdir(tmp_path / "elsewhere")
    journal.append([{"event": "asked"}])
    journal.close()
    assert len(read(tmp_path / "j")) == 2


@pytest.mark.long
def test_a_deferred_fsync_that_fails_ends_the_search(tmp_path):
    write_plugin(tmp_path / "plug.py")
    line = one_error(nas(tmp_path, *SEARCH, **with_calls(tmp_path, FAILING_FSYNC)))
    assert "what was written may not be on the disk (Input/output error)" in line
    assert nas(tmp_path, "resume", "r").returncode == 0


def deferred_failure(path, monkeypatch):
    """Return a journal whose deferred fsync has failed."""
    journal = Journal.create(path, {})
    journal._synced, journal._sync_cost = time.perf_counter(), 0.02

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("nas.runs.journal.os.fsync", fail)
    journal.append([{"event": "asked"}])
    wait_until(lambda: journal._timer is None)
    monkeypatch.undo()
    return journal


def test_a_failed_fsync_is_told_at_the_next_event_and_at_the_end_though_later_ones_succeed(tmp_path, monkeypatch):
    journal = deferred_failure(tmp_path / "j", monkeypatch)
    for _ in range(2):
        with pytest.raises(JournalError, match="may not be on the disk"):
            journal.append([{"event": "asked"}])
    with pytest.raises(JournalError, match="may not be on the disk"):
        journal.close()
    Journal.open(tmp_path / "j")[0].close()  # nothing is held


def test_a_failed_fsync_hides_no_error_that_is_on_its_way(tmp_path, monkeypatch):
    class Plan:
        kind = "search"
        stop = close = lambda self: None

        def carry_out(self, run, observe):
            raise ValueError("the first error")

    folder = tmp_path / "r"
    folder.mkdir()
    Journal.create(folder / "journal.jsonl", {}).close()
    run = resume_run(folder, lambda events: (Plan(), [], ""))
    run.journal._lost = OSError(errno.EIO, "Input/output error")
    with pytest.raises(ValueError, match="the first error"):
        run.carry_out(lambda progress: None)


@pytest.mark.long
def test_a_running_search_is_refused_at_once_and_a_killed_one_goes_on(tmp_path):
    write_plugin(tmp_path / "plug.py", "import time\nif job.index == 2 and not os.path.exists('go'): time.sleep(60)")
    process = subprocess.Popen(command(*SEARCH), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    path = tmp_path / "results/r/journal.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().count(b'"asked"') == 3)
    assert "another process is running this search" in one_error(nas(tmp_path, "resume", "r"))
    assert json.loads(nas(tmp_path, "status", "r", "--json").stdout)["state"] == "running"
    process.kill()
    process.wait()
    (tmp_path / "go").touch()
    assert nas(tmp_path, "resume", "r").returncode == 0


def test_a_reader_that_asks_for_an_instant_keeps_no_writer_out(tmp_path):
    from nas.core.locks import is_locked

    path = tmp_path / "j"
    Journal.create(path, {}).close()
    ended = threading.Event()

    def ask():
        while not ended.is_set():
            is_locked(path)
            time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(50):
            Journal.open(path)[0].close()
    finally:
        ended.set()
        thread.join()
