"""What a job prints goes to its own file, and a log that fails fails no job."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nas.executors.ray.worker import _printing_to

JOBS = """
import os, sys
from nas.executors.ray.worker import _printing_to
with _printing_to(sys.argv[1], 1):
    print("from Python")
    os.write(1, b"from C\\n")
    os.write(2, b"an error\\n")
with _printing_to(sys.argv[1], 2):
    pass
with _printing_to(sys.argv[1], 3):
    sys.stdout.close()
os.write(1, b"outside\\n")
"""


def test_what_a_job_prints_is_in_its_own_file(tmp_path):
    command = [sys.executable, "-c", JOBS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "outside\n"
    assert sorted((tmp_path / "1.log").read_text().splitlines()) == ["an error", "from C", "from Python"]
    assert [path.name for path in tmp_path.iterdir()] == ["1.log"]


def test_two_attempts_may_share_a_file(tmp_path, capfd):
    with _printing_to(str(tmp_path), 1), _printing_to(str(tmp_path), 1):
        assert (tmp_path / "1.log").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_another_attempt_removed_fails_no_job(tmp_path, capfd):
    with _printing_to(str(tmp_path), 1):
        (tmp_path / "1.log").unlink()
        os.write(1, b"lost\n")
    with _printing_to(str(tmp_path), 1):
        (tmp_path / "1.log").unlink()


@pytest.mark.parametrize("folder", ["missing", "file", "blocked"])
def test_where_no_log_can_be_written_the_job_runs(tmp_path, capfd, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "blocked" / "1.log").mkdir(parents=True)
    ran = False
    with _printing_to(str(tmp_path / folder), 1):
        ran = True
    assert ran
