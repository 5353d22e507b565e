"""Output that cannot be written: a command's work goes on, and what it leaves is whole."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from command import QUICK, command, environment, nas, python, write_plugin

from nas.runs.journal import read

SEARCH = ("search", "--name=r", "--trials=5", "--plugin=plug.py", *QUICK)


def shell(folder, line, **variables):
    """Run a line of bash in which ``$NAS`` begins a command; return its exit code."""
    words = " ".join(command())
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.replace('$NAS', words)}"],
        cwd=folder,
        env=environment(**variables),
        timeout=120,
        check=False,
    )
    return done.returncode


def is_whole(folder):
    events = [event["event"] for event in read(folder / "results" / "r" / "journal.jsonl")]
    assert events.count("done") + events.count("failed") == 5
    assert events[-1] == "stopped"
    assert (folder / "results" / "r" / "report.html").is_file()


@pytest.mark.long
@pytest.mark.parametrize(
    "redirection", ["2>&1 | head -1", ">&- 2>&-", "> /dev/full 2> /dev/full", "2>&1 >/dev/null | true"]
)
def test_a_search_is_carried_out_though_nothing_can_be_printed(tmp_path, redirection):
    write_plugin(tmp_path / "plug.py", "import time; time.sleep(0.05)")
    assert shell(tmp_path, f"$NAS {' '.join(SEARCH)} {redirection}") == 0
    is_whole(tmp_path)


@pytest.mark.long
def test_a_search_is_carried_out_though_its_terminal_vanishes(tmp_path):
    write_plugin(tmp_path / "plug.py", "import time; time.sleep(0.1)")
    ours, theirs = pty.openpty()
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    # a session of its own, and so no hang-up signal: the terminal alone goes
    process = subprocess.Popen(
        command(*SEARCH), cwd=tmp_path, env=environment(TERM="xterm"), start_new_session=True, **terminal
    )
    os.close(theirs)
    os.read(ours, 10)
    os.close(ours)
    assert process.wait(120) == 0
    is_whole(tmp_path)


@pytest.mark.long
def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path):
    write_plugin(tmp_path / "plug.py", "raise ValueError('naïve 日本') if job.index else None")
    done = nas(tmp_path, *SEARCH, PYTHONIOENCODING="ascii:strict", LC_ALL="C")
    assert done.returncode == 1, done.stderr  # no trial has a score
    assert r"na\xefve \u65e5\u672c" in done.stdout
    is_whole(tmp_path)


@pytest.mark.long
def test_a_status_file_that_cannot_be_written_is_told_of_once(tmp_path):
    write_plugin(
        tmp_path / "plug.py",
        "import os; os.path.isfile(S) and os.remove(S); os.makedirs(S, exist_ok=True)".replace(
            "S", "'results/r/status.json'"
        ),
    )
    done = nas(tmp_path, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"warning: status file '{tmp_path}/results/r/status.json'") == 1
    is_whole(tmp_path)


@pytest.mark.long
def test_a_figure_that_cannot_be_written_keeps_no_run_from_its_report(tmp_path):
    write_plugin(tmp_path / "plug.py", "open('results/r/figures', 'w').close()")
    done = nas(tmp_path, *SEARCH)
    assert done.returncode == 0, done.stderr
    is_whole(tmp_path)
    assert "Figure 'progress' is left out" in (tmp_path / "results" / "r" / "report.md").read_text()


@pytest.mark.long
def test_an_answer_that_is_lost_is_an_error_and_one_that_was_read_enough_is_none(tmp_path):
    assert shell(tmp_path, "$NAS inspect resnet18 > /dev/full 2> /dev/null") == 2
    assert shell(tmp_path, "$NAS list networks | head -1 > /dev/null") == 0


def test_a_python_search_goes_on_without_its_standard_error(tmp_path):
    code = """
import nas, os, sys
os.close(2)
found = nas.search(lambda choose: choose("a", (1, 2, 3)), lambda job: float(job.architecture["a"]), trials=3, name="r")
print(found.best.reward)
"""
    done = python(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3.0\n"
