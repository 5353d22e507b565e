"""Runs that lie in another folder of results are found there by their names, as what a search begins with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import nas

WORDS = "--space nb201 --plugin good.py --evaluator mine --trials 6 --baseline none --depth 1 --results-dir elsewhere"


@pytest.mark.long
def test_earlier_runs_and_starts_are_found_in_the_folder_of_results(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(
        "from nas.evaluators import register_evaluator\n\n"
        "@register_evaluator('mine')\ndef mine(job):\n    'Rewards the key.'\n    return int(job.key[:8], 16) % 1000\n"
    )
    first = nas(tmp_path, "search", *WORDS.split(), "--searcher", "random", "--name", "first")
    assert first.returncode == 0, first.stderr
    more = ("--learn-from", "first", "--start-from", "first:1", "--name", "second")
    second = nas(tmp_path, "search", *WORDS.split(), *more)
    assert second.returncode == 0, second.stderr
    events = [json.loads(line) for line in (tmp_path / "elsewhere/second/journal.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (tmp_path / "elsewhere/first/journal.jsonl").read_text().splitlines()]
    wanted = next(e["architecture"] for e in before if e["event"] == "asked" and e["index"] == 1)
    assert next(e["architecture"] for e in events if e["event"] == "asked") == wanted
    assert events[0]["earlier"]
    nowhere = nas(tmp_path, "search", *WORDS.split(), "--learn-from", "third", "--name", "fourth")
    assert nowhere.returncode == 2
    assert "third" in nowhere.stderr
