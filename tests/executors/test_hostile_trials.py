"""Whatever a trial does to its process: it is typed, the search has its report, the next trial is none the worse."""

from __future__ import annotations

import builtins
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import QUICK, SOURCE, command, environment, nas, one_error, python, write_plugin
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import FAILURE_KINDS, EvaluationError
from nas.executors.inline import run_evaluator
from nas.executors.process_state import restored
from nas.types import Architecture, Failure, Job

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import hostile_trials

INLINE = {
    "fork-exits": "done",
    "fork-returns": "done",
    "exit-0": "error",
    "cancelled": "error",
    "generator-exit": "error",
    "keyboard-interrupt": "error",
    "base-exception": "error",
    "lying-class": "error",
    "huge-message": "error",
    "descriptors-1-2": "done",
    "streams-closed": "done",
    "chdir": "done",
    "umask": "done",
    "recursion": "done",
    "builtins": "done",
    "modules-cleared": "done",
    "huge-notes": "error",
    "os-exit": "crashed",
}
RAY = {
    "streams-closed": "done",
    "keyboard-interrupt": "error",
    "cancelled": "error",
    "fork-returns": "done",
    "abort": "crashed",
    "os-exit": "crashed",
    "recursion": "done",
    "modules-cleared": "done",
}


def search(folder, body, *more):
    return ("search", "--name=r", "--trials=4", *QUICK, "--plugin", write_plugin(folder / "p.py", body), *more)


def events(folder):
    return [json.loads(line) for line in (folder / "results/r/journal.jsonl").read_text().splitlines()]


def results(folder):
    return {e["index"]: e.get("kind", "done") for e in events(folder) if e["event"] in ("done", "failed")}


@pytest.mark.long
def test_inline_each_is_typed_and_ends_the_process_at_most_twice(tmp_path):
    found, processes = hostile_trials.carry_out(tmp_path, list(INLINE), "inline", SOURCE)
    assert found == INLINE
    assert processes == 3


@pytest.mark.long
def test_on_workers_each_is_typed(tmp_path):
    pytest.importorskip("ray")
    found, processes = hostile_trials.carry_out(tmp_path, list(RAY), "ray", SOURCE)
    assert found == RAY
    assert processes == 1


@pytest.mark.long
@pytest.mark.parametrize("raised", ["asyncio.CancelledError('x')", "KeyboardInterrupt", "GeneratorExit"])
def test_what_is_no_exception_by_name_is_a_failure_of_its_trial(tmp_path, raised):
    done = nas(tmp_path, *search(tmp_path, f"import asyncio\nif job.index == 1: raise {raised}"))
    assert done.returncode == 0, done.stderr
    assert results(tmp_path) == {0: "done", 1: "error", 2: "done", 3: "done"}


@pytest.mark.long
def test_a_recursion_limit_is_of_its_trial_alone(tmp_path):
    done = nas(tmp_path, *search(tmp_path, "if job.index == 1: sys.setrecursionlimit(60)"))
    assert done.returncode == 0, done.stderr
    assert set(results(tmp_path).values()) == {"done"}


@pytest.mark.long
def test_a_trial_that_twice_ended_its_process_has_crashed(tmp_path):
    assert nas(tmp_path, *search(tmp_path, "if job.index == 1: os._exit(0)")).returncode == 0
    told = nas(tmp_path, "resume", "r").stderr
    assert "the process before ended while it evaluated trial 1, which is evaluated again" in told
    done = nas(tmp_path, "resume", "r")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path) == {0: "done", 1: "crashed", 2: "done", 3: "done"}
    (failed,) = [e for e in events(tmp_path) if e["event"] == "failed"]
    assert "--executor ray" in failed["message"]


@pytest.mark.long
def test_a_trial_that_was_stopped_in_order_is_none_the_nearer_to_that(tmp_path):
    arguments = search(
        tmp_path, "import pathlib, time\nif not pathlib.Path('gate').exists(): time.sleep(60)", "--grace=0"
    )
    for _ in range(3):
        with subprocess.Popen(
            command(*arguments), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL
        ) as process:
            end = time.monotonic() + 30
            while not list(tmp_path.glob("results/r/status.json")):
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.3)
            process.terminate()
            assert process.wait(30) == 143
        (tmp_path / "results/r/status.json").unlink()
        arguments = ("resume", "r", "--grace=0")
    (tmp_path / "gate").touch()
    assert nas(tmp_path, "resume", "r").returncode == 0
    assert set(results(tmp_path).values()) == {"done"}


def test_a_run_folder_that_a_trial_removes_ends_the_search_with_one_line(tmp_path):
    done = nas(tmp_path, *search(tmp_path, "import shutil\nif job.index == 1: shutil.rmtree('results')"))
    one_error(done)


@pytest.mark.long
def test_the_working_directory_of_a_trial_moves_no_report(tmp_path):
    done = nas(tmp_path, *search(tmp_path, "os.chdir('/')"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/r/report.html").exists()


@pytest.mark.long
def test_a_library_that_the_environment_breaks_is_named(tmp_path):
    done = nas(tmp_path, "train", "resnet18", "--dataset=digits", TORCH_LOGS="nonsense")
    assert "the environment sets TORCH_LOGS" in one_error(done)


@pytest.mark.long
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit(3)", "asyncio.CancelledError"])
@pytest.mark.parametrize("where", ["ask", "init"])
def test_a_searcher_that_raises_anything_is_named(tmp_path, raised, where):
    (tmp_path / "p.py").write_text(
        "import asyncio\nfrom nas.searchers import register_searcher\n@register_searcher('own', source='mine')\n"
        f"class Own:\n    'Raises.'\n    def __init__(self, space):\n        if '{where}' == 'init': raise {raised}\n"
        f"    def ask(self, history, rng):\n        raise {raised}\n"
    )
    write_plugin(tmp_path / "q.py")
    arguments = [a for a in QUICK if not a.startswith("--searcher")]
    done = nas(tmp_path, "search", *arguments, "--plugin=p.py", "--plugin=q.py", "--searcher=own")
    assert raised.split("(")[0].split(".")[-1] in one_error(done)


@pytest.mark.long
def test_python_has_typed_failures_in_any_thread(tmp_path):
    code = """
import asyncio, threading, nas
def evaluate(job):
    if job.index:
        raise [asyncio.CancelledError, KeyboardInterrupt, SystemExit][job.index - 1]()
    return 0.5
found = []
def work():
    found.append(nas.search("nb201", evaluator=evaluate, trials=4, depth=1))
thread = threading.Thread(target=work); thread.start(); thread.join()
print([trial.status for trial in found[0].trials])
"""
    done = python(tmp_path, code)
    assert done.stdout == "['done', 'failed', 'failed', 'failed']\n", done.stderr


def job():
    return Job(0, 0, Architecture("s", {}, {}), "k", 1, 0, None)  # type: ignore[arg-type]


class Lying(Exception):
    @property
    def __class__(self):
        return EvaluationError


class Mute(BaseException):
    def __str__(self):
        raise SystemExit


@given(
    st.sampled_from([Lying(), Mute(), BaseExceptionGroup("g", [Mute()]), MemoryError(), EvaluationError("x", "oom")])
)
def test_any_exception_is_a_failure_of_a_known_kind(error):
    def raising(job):
        raise error

    result, _ = run_evaluator(raising, job())
    assert isinstance(result, Failure)
    assert result.kind in FAILURE_KINDS
    assert result.message


def test_what_a_block_changes_is_put_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = (dict(os.environ), sys.getrecursionlimit(), signal.getsignal(signal.SIGTERM), sys.stdout, os.umask(0o022))
    with restored():
        os.chdir("/")
        os.environ.clear()
        os.umask(0o777)
        sys.setrecursionlimit(900)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 100)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
        sys.stdout = None
        gc.disable()
        del builtins.hash
        sys.modules.pop("json")
    mask = os.umask(before[4])
    assert (dict(os.environ), sys.getrecursionlimit(), signal.getsignal(signal.SIGTERM), sys.stdout) == before[:4]
    assert (Path.cwd(), mask, resource.getrlimit(resource.RLIMIT_NOFILE)) == (tmp_path, 0o022, (soft, hard))
    assert gc.isenabled()
    assert hash(1) == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert sys.modules["json"] is json
