"""A Ray of our own is one's own: whatever the environment, a busy machine, and other processes say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import QUICK, SOURCE, command, environment, nas, one_error, write_plugin

pytestmark = pytest.mark.long
pytest.importorskip("ray")
RAY = ("--executor=ray", "--workers=1", "--lag=1")
BUSY = """
import runpy, sys, ray
real, tries = ray.init, []
def init(*arguments, **settings):
    tries.append(settings)
    if len(tries) <= {late}:
        raise Exception("The current node timed out during startup. This could happen because ...")
    return real(*arguments, **settings)
ray.init = init
sys.argv[0] = {program!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def search(folder, *more):
    return ["search", "--name=r", "--trials=2", *QUICK, *RAY, "--plugin", str(write_plugin(folder / "p.py")), *more]


def test_addresses_and_jobs_of_other_clusters_do_not_reach_it(tmp_path):
    foreign = {
        "RAY_ADDRESS": "10.255.255.1:6379",
        "RAY_NAMESPACE": "other",
        "RAY_OVERRIDE_RESOURCES": '{"CPU": 0}',
        "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {"working_dir": "/nowhere"}}',
        "RAY_USE_TLS": "1",
    }
    done = nas(tmp_path, *search(tmp_path), **foreign)
    assert done.returncode == 0, done.stderr


def run(folder, late, *arguments):
    """Run a search whose first starts of Ray time out."""
    code = BUSY.format(late=late, program=str(SOURCE / "run_search.py"))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_start_that_timed_out_is_tried_again(tmp_path):
    done = run(tmp_path, 1, *search(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_start_that_never_comes_is_one_line_with_what_to_do(tmp_path):
    done = run(tmp_path, 9, *search(tmp_path))
    line = one_error(done)
    assert "Ray does not start" in line
    assert "--executor inline" in line
    # the run is whole, and goes on when the machine has time
    if (tmp_path / "results/r").exists():
        done = nas(tmp_path, "resume", "r")
        assert done.returncode == 0, done.stderr


def test_who_reads_a_log_of_it_lives_on(tmp_path):
    """A shell that follows a log, and the shell's other children."""
    before = set(Path("/tmp").glob("nas-ray-*"))
    body = "import time; time.sleep(1.5)"
    arguments = search(tmp_path)
    write_plugin(tmp_path / "p.py", body)
    with subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL) as driver:
        end = time.monotonic() + 60
        while not (logs := [p for f in set(Path("/tmp").glob("nas-ray-*")) - before for p in f.rglob("raylet.out")]):
            assert time.monotonic() < end
            time.sleep(0.05)
        shell = f"sleep 100 & tail -f {logs[0]} > /dev/null & echo $!; wait"
        reader = subprocess.Popen(["bash", "-c", shell], stdout=subprocess.PIPE, text=True, start_new_session=True)
        tail = int(reader.stdout.readline())
        assert driver.wait(60) == 0
    try:
        assert reader.poll() is None
        assert Path(f"/proc/{tail}").exists()
        assert not logs[0].exists()
    finally:
        os.killpg(reader.pid, 9)
        reader.communicate()


def test_a_search_in_another_container_leaves_the_files_of_a_living_one(tmp_path):
    """With its own process numbers, as containers have them, on a ``/tmp`` that both see."""
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no new space of process numbers")
    before = set(Path("/tmp").glob("nas-ray-*"))
    arguments = search(tmp_path)
    write_plugin(tmp_path / "p.py", "import pathlib, time\nwhile not pathlib.Path('gate').exists(): time.sleep(0.1)")
    with subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL) as living:
        end = time.monotonic() + 60
        while not list((tmp_path / "results").glob("r/logs/0.log")):
            assert time.monotonic() < end
            time.sleep(0.05)
        (folder,) = set(Path("/tmp").glob("nas-ray-*")) - before
        other = tmp_path / "other"
        other.mkdir()
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command(*search(other))]
        done = subprocess.run(inside, cwd=other, env=environment(), capture_output=True, text=True, check=False)
        kept = folder.is_dir()
        (tmp_path / "gate").touch()
        assert done.returncode == 0, done.stderr
        assert kept
        assert living.wait(60) == 0
    assert not folder.exists()
