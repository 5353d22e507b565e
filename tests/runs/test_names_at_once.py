"""Runs that are begun at once get names of their own, or are refused with one line; what others make is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack

import pytest
from command import QUICK, command, environment, nas, one_error, python, write_plugin
from file_systems import NO_LOCKS, SLOW_CREATION, with_calls

from nas.errors import ConfigError
from nas.runs.journal import read
from nas.runs.run_folder import check_name, new_folder

SEARCH = ("search", "--trials=3", *QUICK, "--plugin=plug.py")


def at_once(folder, count, *arguments, **variables):
    """Run a command several times at once; return what came of each."""
    write_plugin(folder / "plug.py")
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(**variables), stdout=pipe, stderr=pipe, text=True
        )
        for _ in range(count)
    ]
    told = [process.communicate(timeout=120) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *said)
        for process, said in zip(started, told, strict=True)
    ]


def complete(folder):
    """Return whether a run has all its trials, and a report."""
    done = [e for e in read(folder / "journal.jsonl") if e["event"] in ("done", "reused")]
    return len(done) == 3 and (folder / "report.html").is_file()


@pytest.mark.long
def test_searches_without_a_name_that_begin_at_once_are_numbered(tmp_path):
    done = at_once(tmp_path, 5, *SEARCH, **with_calls(tmp_path, SLOW_CREATION))
    assert [d.returncode for d in done] == [0] * 5, [d.stderr for d in done]
    names = [f"nb201-random-{number}" for number in range(1, 6)]
    assert sorted(os.listdir(tmp_path / "results")) == names  # and no file beside them
    assert all(complete(tmp_path / "results" / name) for name in names)
    assert len({d.stdout.splitlines()[-1] for d in done}) == 5


@pytest.mark.long
@pytest.mark.parametrize("system", ["locks", "no locks"])
def test_of_searches_of_one_name_that_begin_at_once_one_is_made_and_the_others_are_refused(tmp_path, system):
    code = SLOW_CREATION + (NO_LOCKS if system == "no locks" else "")
    done = at_once(tmp_path, 3, *SEARCH, "--name=r", **with_calls(tmp_path, code))
    assert sorted(d.returncode for d in done) == [0, 2, 2], [d.stderr for d in done]
    for refused in done:
        if refused.returncode:
            assert "run 'r' exists already" in one_error(refused)
    assert os.listdir(tmp_path / "results") == ["r"]
    assert complete(tmp_path / "results" / "r")


STAGE = """
import sys, time
from pathlib import Path
from nas.core.files import staged
with staged(Path("r")) as staging:
    (staging / "mine").write_text(sys.argv[0])
    print("filling", flush=True)
    sys.stdin.readline()
"""


def filling(folder):
    """Start a process that fills a folder to be moved to ``r``, until it is told to go on."""
    process = subprocess.Popen(
        [*command()[:1], "-c", STAGE],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"filling\n"
    return process


def test_a_folder_that_another_process_fills_is_not_swept_and_that_of_a_dead_one_is(tmp_path):
    first, second, dead = (filling(tmp_path) for _ in range(3))
    dead.kill()
    dead.communicate()
    second.communicate(b"\n")
    assert second.returncode == 0
    assert os.listdir(tmp_path / "r") == ["mine"]
    fourth = filling(tmp_path)
    assert len(list(tmp_path.glob(".r.*.new"))) == 2  # the first's and the fourth's
    _, said = first.communicate(b"\n")  # late, it finds the place taken
    assert first.returncode == 1
    assert b"OSError: [Errno 39] Directory not empty" in said
    fourth.communicate(b"\n")
    assert os.listdir(tmp_path) == ["r"]


def test_a_moved_folder_has_the_rights_that_the_umask_gives_and_is_its_users_alone_before(tmp_path):
    code = """
import os
from pathlib import Path
from nas.core.files import staged, write_atomic
for umask in (0o022, 0o027, 0o002):
    os.umask(umask)
    with staged(Path(f"r{umask}")) as staging:
        assert staging.stat().st_mode & 0o777 == 0o700
        write_atomic(staging / "file", "x")
    assert Path(f"r{umask}").stat().st_mode & 0o777 == 0o777 & ~umask
    assert Path(f"r{umask}/file").stat().st_mode & 0o777 == 0o666 & ~umask
"""
    done = python(tmp_path, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_names_are_claimed_in_order_and_free_again_where_no_run_was_made(tmp_path):
    results = tmp_path / "results"
    with ExitStack() as stack:
        folders = [stack.enter_context(new_folder(results, None, "a b/c")) for _ in range(3)]
        assert [folder.name for folder in folders] == ["a-b-c-1", "a-b-c-2", "a-b-c-3"]
        with pytest.raises(ConfigError, match="run 'a-b-c-2' exists already"), new_folder(results, "a-b-c-2"):
            pass
        folders[1].mkdir()
    assert os.listdir(results) == ["a-b-c-2"]
    with new_folder(results, None, "a-b-c") as first, new_folder(results, None, "a-b-c") as second:
        assert (first.name, second.name) == ("a-b-c-1", "a-b-c-3")
    with pytest.raises(ConfigError, match="run 'a-b-c-2' exists already"), new_folder(results, "a-b-c-2"):
        pass


def test_where_no_run_is_made_no_folder_is_left(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "results", None, "x"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_short_enough_for_a_file_system_in_any_letters(tmp_path):
    check_name("名" * 60)
    with pytest.raises(ConfigError, match="a name is at most"):
        check_name("名" * 90)
    with new_folder(tmp_path, None, "名" * 500) as folder:
        folder.mkdir()


@pytest.mark.long
def test_a_file_system_without_locks_serves_as_well(tmp_path):
    body = "import time\nif job.index == 1 and not os.path.exists('go'): time.sleep(60)"
    write_plugin(tmp_path / "plug.py", body)
    variables = with_calls(tmp_path, NO_LOCKS)
    process = subprocess.Popen(
        command(*SEARCH, "--name=r"), cwd=tmp_path, env=environment(**variables), stderr=subprocess.DEVNULL
    )
    path = tmp_path / "results/r/journal.jsonl"
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b'"asked"') < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    line = one_error(nas(tmp_path, "resume", "r", **variables))
    assert "another process is running this search" in line
    assert '"state": "running"' in nas(tmp_path, "status", "r", "--json", **variables).stdout
    # killed it leaves its lock file, which is seen to be nobody's
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "go").touch()
    assert '"state": "killed"' in nas(tmp_path, "status", "r", "--json", **variables).stdout
    done = nas(tmp_path, "resume", "r", **variables)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "results/r")
    assert not list(path.parent.glob("*.lock*"))


@pytest.mark.long
def test_a_claim_that_a_killed_process_left_goes_with_the_next_resume(tmp_path):
    write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, *SEARCH, "--name=r").returncode == 0
    claim = tmp_path / "results" / ".r.claim"
    claim.touch()
    assert nas(tmp_path, "resume", "r", "--trials=4").returncode == 0
    assert os.listdir(tmp_path / "results") == ["r"]
