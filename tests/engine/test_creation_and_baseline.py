"""The ends of a run that the storms rarely meet: its creation, and the random search below it."""

from __future__ import annotations

import errno

import pytest

from nas.engine.config import RunOptions
from nas.engine.run import SearchRun
from nas.errors import ConfigError
from nas.evaluators import EVALUATORS, register_evaluator
from nas.runs.journal import read

CONFIG = RunOptions(space="nb201", evaluator="keyed", trials=8, depth=1, baseline="random", final_seeds=0)


@pytest.fixture(autouse=True)
def keyed():
    """An evaluator whose rewards depend on the architecture alone."""
    register_evaluator("keyed")(lambda job: int(job.key[:8], 16))
    yield
    del EVALUATORS._items["keyed"]


def kept(folder):
    """Return the events of a run without times."""
    events = [e for e in read(folder / "journal.jsonl") if e["event"] not in ("run", "stopped")]
    return [{k: v for k, v in e.items() if k not in ("crc", "seq", "wall", "time", "score_seconds")} for e in events]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_creation_that_breaks_leaves_nothing(tmp_path, monkeypatch, error):
    def breaking(path, data):
        raise error

    monkeypatch.setattr("nas.runs.run_folder.write_json", breaking)
    with pytest.raises((KeyboardInterrupt, ConfigError)):
        SearchRun.create(tmp_path / "one", CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_creation_left_is_swept_and_that_of_other_runs_is_not(tmp_path):
    for name in (".one.17.new", ".one.2.17.new", ".other.17.new"):
        (tmp_path / name).mkdir()
    SearchRun.create(tmp_path / "one", CONFIG).journal.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".one.2.17.new", ".other.17.new", "one"]


def test_of_two_creations_at_once_one_is_told_that_the_name_is_taken(tmp_path, monkeypatch):
    other = tmp_path / "one" / "journal.jsonl"

    def overtake(folder):
        other.parent.mkdir()
        other.write_text("another's")

    monkeypatch.setattr("nas.core.files.sweep_staging", overtake)
    with pytest.raises(ConfigError, match="run 'one' exists already"):
        SearchRun.create(tmp_path / "one", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert other.read_text() == "another's"


def test_a_random_search_killed_in_a_write_is_resumed_to_the_same_trials_and_warns(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for folder in (whole, torn):
        assert SearchRun.create(folder, CONFIG).execute() == "finished"
    expected = kept(whole), kept(whole / "random")
    assert (kept(torn), kept(torn / "random")) == expected
    drop_end(torn / "journal.jsonl", 0)
    drop_end(torn / "random" / "journal.jsonl", 40)
    run = SearchRun.resume(torn)
    assert run.warning == ""
    assert run.execute() == "finished"
    assert "random/journal.jsonl': the last write was torn" in run.warning
    assert (kept(torn), kept(torn / "random")) == expected


def drop_end(path, count):
    """Cut the last line and ``count`` bytes more, as a kill between two events, or in one, does."""
    data = path.read_bytes()
    path.write_bytes(data[: data[:-1].rindex(b"\n") + 1 - count])


def test_a_stopped_random_search_goes_on_where_it_stopped(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    SearchRun.create(whole, CONFIG).execute()
    run = SearchRun.create(stopped, CONFIG)

    def stop_in_random_search(progress):
        if progress.phase == "random" and progress.done == 3:
            run.stop()

    assert run.execute(stop_in_random_search) == "interrupted"
    assert sum(e["event"] == "done" for e in read(stopped / "random" / "journal.jsonl")) == 3
    assert SearchRun.resume(stopped).execute() == "finished"
    assert (kept(stopped), kept(stopped / "random")) == (kept(whole), kept(whole / "random"))
