"""What ``nas status`` says of a run: while another process runs it, and after that was killed, stopped or done."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.runs.journal import read

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = '''"""An evaluator that waits for a file, and fails where the key says so."""

import time
from pathlib import Path

from nas.evaluators import register_evaluator


@register_evaluator("waiting")
def waiting(job):
    "Rewards the key when it may."
    gate = Path(__file__).with_name("gate")
    while job.index >= 3 and not gate.exists():
        time.sleep(0.01)
    if job.index == 1:
        raise MemoryError("planted")
    return int(job.key[:8], 16) / 0xFFFFFFFF
'''
SEARCH = "--space nb201 --depth 1 --evaluator waiting --trials 6 --searcher random"
KEYS = {
    "format",
    "name",
    "kind",
    "about",
    "state",
    "phase",
    "phases",
    "process",
    "since",
    "last_event",
    "running",
    "failed",
    "retried",
    "best",
    "result",
    "per_hour",
    "utilisation",
    "left",
    "cost",
    "workers",
    "failures",
    "logs",
    "report",
    "resume",
}


@pytest.fixture
def ask(capsys) -> Callable[..., str]:
    """Return what ``status NAME`` prints."""

    def run(results: Path, *flags: str, name: str = "one") -> str:
        capsys.readouterr()
        assert main(["status", name, "--results-dir", str(results), *flags]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a search in another process and wait until its fourth trial waits."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    started = []

    def run() -> subprocess.Popen[str]:
        command = f"search --name one --results-dir {tmp_path}/results {SEARCH} --plugin {tmp_path}/plugin.py"
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_search.py"), *shlex.split(command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        journal = tmp_path / "results" / "one" / "journal.jsonl"
        deadline = time.monotonic() + 30
        while not journal.exists() or not any(e["event"] == "asked" and e["index"] == 3 for e in read(journal)):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_status_from_search_to_end(ask, start, tmp_path):
    results, process = tmp_path / "results", start()
    facts = json.loads(ask(results, "--json"))
    assert set(facts) == KEYS
    assert (facts["state"], facts["phase"], facts["resume"]) == ("running", "search", None)
    assert facts["phases"]["search"] == {"done": 3, "total": 6, "counts": {"done": 2, "failed": 1}}
    assert [trial["index"] for trial in facts["running"]] == [3]
    assert facts["failed"] == {"oom": 1}
    assert facts["failures"] == [{"trial": 1, "kind": "oom", "message": "MemoryError: planted", "retried": False}]
    rewards = {e["index"]: e["reward"] for e in read(results / "one" / "journal.jsonl") if e["event"] == "done"}
    assert facts["best"]["index"] == max(rewards, key=lambda index: rewards[index])
    text = ask(results)
    assert text.startswith("one: running")
    assert "3 of 6: 2 done, 1 failed, 1 running" in text
    assert "trial 1  oom  MemoryError: planted" in text
    (tmp_path / "gate").touch()
    assert process.wait(30) == 0
    text = ask(results)
    assert text.startswith("one: finished")
    assert "6 of 6: 5 done, 1 failed" in text
    assert f"{results}/one/report.html" in text
    assert "resume" not in text


@pytest.mark.long
def test_asking_does_not_lock_a_run_out(ask, start, tmp_path):
    process = start()
    for _ in range(5):
        ask(tmp_path / "results")
    process.kill()
    process.wait()
    ask(tmp_path / "results")
    (tmp_path / "gate").touch()
    assert main(["resume", "one", "--results-dir", str(tmp_path / "results")]) == 0


def test_status_of_a_killed_run(ask, start, tmp_path):
    results, process = tmp_path / "results", start()
    process.kill()
    process.wait()
    facts = json.loads(ask(results, "--json"))
    assert (facts["state"], facts["phase"]) == ("killed", "search")
    assert (facts["running"], facts["workers"], facts["left"]) == ([], [], None)
    assert facts["phases"]["search"]["done"] == 3
    assert facts["resume"] == f"nas resume one --results-dir {results}"
    text = ask(results)
    assert text.startswith("one: killed")
    assert f"nas resume one --results-dir {results}" in text


@pytest.mark.long
def test_status_of_an_interrupted_run(ask, start, tmp_path):
    process = start()
    process.send_signal(signal.SIGINT)
    (tmp_path / "gate").touch()
    assert process.wait(30) == 130
    facts = json.loads(ask(tmp_path / "results", "--json"))
    assert facts["state"] == "interrupted"
    assert facts["phases"]["search"]["done"] == 4
    assert facts["resume"].startswith("nas resume one")


def say_status(folder: Path, **changes: object) -> None:
    """Write the status of a search on two workers into a run's folder."""
    worker = {"node": "gpu01", "pid": 7, "device": "gpu 0", "done": 2, "busy_seconds": 30.0}
    status = {
        "format": "nas/status/1",
        "phase": "search",
        "done": 3,
        "total": 6,
        "best": 0.5,
        "running": 1,
        "failed": 1,
        "retried": 0,
        "workers": [
            {**worker, "name": "worker 0", "state": "busy", "trial": 3, "since": time.time() - 60},
            {**worker, "name": "worker 1", "state": "idle", "trial": None, "since": 0.0},
        ],
        "trials": [{"index": 3, "attempt": 1, "worker": "worker 0", "since": time.time() - 60}],
        "started": time.time() - 600,
        "per_hour": 18.0,
        "utilisation": 0.75,
        "left": 600.0,
        "time": time.time(),
        "pid": os.getpid(),
        "host": "head",
    }
    (folder / "status.json").write_text(json.dumps({**status, **changes}))


def test_what_the_run_says_of_itself_is_shown(ask, start, tmp_path):
    results = tmp_path / "results"
    start()
    say_status(results / "one")
    facts = json.loads(ask(results, "--json"))
    assert facts["running"] == [{"index": 3, "attempt": 1, "worker": "worker 0", "seconds": pytest.approx(60, abs=5)}]
    assert facts["cost"]["unit"] == "GPU-hours"
    assert facts["cost"]["spent"] == pytest.approx(60 / 3600, abs=5 / 3600)
    assert facts["left"]["phase"] == pytest.approx(600, abs=5)
    assert [(w["name"], w["trial"]) for w in facts["workers"]] == [("worker 0", 3), ("worker 1", None)]
    text = ask(results)
    assert f"running as process {os.getpid()} on head" in text
    assert "18 trials/h, workers 75% busy" in text
    assert "10.0 min of this phase" in text
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("  worker ")][1:] == [
        ["worker", "0"],
        ["worker", "1"],
    ]


@pytest.mark.long
@pytest.mark.parametrize("content", [None, "", '{"format": "nas/status/1", "wor', "[]", '{"format": "nas/status/2"}'])
def test_a_torn_or_missing_file_does_not_matter(ask, start, tmp_path, content):
    results = tmp_path / "results"
    start()
    path = results / "one" / "status.json"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    facts = json.loads(ask(results, "--json"))
    assert facts["state"] == "running"
    assert [trial["index"] for trial in facts["running"]] == [3]
    assert facts["workers"] == []
    assert facts["left"] is not None
    assert ask(results).startswith("one: running")


def test_runs_of_every_kind_have_a_status(ask, results, capsys):
    for folder in sorted(results.iterdir()):
        code = main(["status", folder.name, "--results-dir", str(results)])
        assert code in (0, 2)
        out, error = capsys.readouterr()
        assert out.startswith(f"{folder.name}: ") if code == 0 else error.startswith("error: ")


def test_an_unknown_run_names_the_nearest(results, capsys):
    name = next(path.parent.name for path in sorted(results.glob("*/journal.jsonl")))
    assert main(["status", f"{name}x", "--results-dir", str(results)]) == 2
    assert f"did you mean '{name}'?" in capsys.readouterr().err


@pytest.mark.long
def test_asking_writes_nothing(ask, start, tmp_path, tree):
    start().kill()
    time.sleep(0.1)
    before = tree(tmp_path / "results")
    ask(tmp_path / "results")
    ask(tmp_path / "results", "--json")
    assert tree(tmp_path / "results") == before
    shutil.rmtree(tmp_path / "results")
