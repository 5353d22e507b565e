"""Twenty equal failures in a row end a search with one line and exit code 2."""

from __future__ import annotations

import re

import pytest

from nas.cli.main import main
from nas.evaluators import EVALUATORS
from nas.runs.journal import read

PLUGIN = '''"""An evaluator that fails alike but for the trials whose last digits a file beside it names."""

from pathlib import Path

from nas.evaluators import register_evaluator


@register_evaluator("broken")
def broken(job):
    "Fails."
    good = (Path(__file__).parent / "good").read_text()
    if str(job.index % 10) not in good:
        raise FileNotFoundError(2, f"No such file or directory, trial {job.index}", "images.npz")
    return int(job.key[:8], 16)
'''

SAID = ("search: ", "scores: ", "then: ", "how long ", "searching: ", "warning: ")


@pytest.fixture
def search(tmp_path, capfd):
    """Run a command line in a fresh folder; return its exit code and standard error without plan and progress."""

    def run(command, *flags, good=""):
        (tmp_path / "good").write_text(good)
        code = main([command, "--results-dir", str(tmp_path), *flags])
        lines = capfd.readouterr().err.splitlines()
        return code, [line for line in lines if not line.startswith(SAID)]

    (tmp_path / "broken.py").write_text(PLUGIN)
    yield run
    EVALUATORS._items.pop("broken", None)


def flags(tmp_path, *more):
    plugin = ["--plugin", str(tmp_path / "broken.py"), "--evaluator", "broken"]
    settings = ["--name=one", "--space=nb201", "--depth=1", "--searcher=random", "--baseline=none", "--final-seeds=0"]
    return [*plugin, *settings, "--trials=60", *more]


def ends(tmp_path):
    return [e["event"] for e in read(tmp_path / "one" / "journal.jsonl") if e["event"] in ("done", "failed")]


def test_a_search_that_fails_alike_stops_with_one_line(search, tmp_path):
    code, lines = search("search", *flags(tmp_path))
    assert code == 2
    assert len(lines) == 1
    assert re.match("error: .*20 evaluations in a row failed alike.*FileNotFoundError.*images.npz.*resume", lines[0])
    assert ends(tmp_path) == ["failed"] * 20
    stopped = read(tmp_path / "one" / "journal.jsonl")[-1]
    assert (stopped["event"], stopped["reason"], stopped["kind"]) == ("stopped", "failed", "error")
    assert "failed alike" in stopped["message"]
    assert "failed" in (tmp_path / "one" / "report.md").read_text()


def test_it_goes_on_when_the_fault_is_mended(search, tmp_path):
    assert search("search", *flags(tmp_path))[0] == 2
    named = ("--plugin", str(tmp_path / "broken.py"))  # it lies among the runs
    assert search("resume", "one", *named)[0] == 2
    assert ends(tmp_path) == ["failed"] * 40
    assert search("resume", "one", *named, good="0123456789") == (0, [])
    assert ends(tmp_path) == ["failed"] * 40 + ["done"] * 20


def test_one_in_ten_that_succeeds_lets_it_go_on(search, tmp_path):
    code, lines = search("search", *flags(tmp_path, "--trials=38"), good="9")
    assert (code, lines) == (0, [])
    assert len(ends(tmp_path)) == 38


@pytest.mark.long
def test_on_ray_it_stops_after_the_same_trials(search, tmp_path):
    code, lines = search("search", *flags(tmp_path, "--executor=ray", "--workers=2", "--lag=4"))
    assert (code, len(lines)) == (2, 1)
    assert "20 evaluations in a row failed alike" in lines[0]
    assert 20 <= len(ends(tmp_path)) <= 24
