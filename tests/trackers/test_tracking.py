"""Callbacks: what they are told, once each, also when a run is resumed, and what becomes of one that raises."""

from __future__ import annotations

import logging
import sys

import pytest
from tracked_searches import PLUGIN, bits, evaluate, recorded

import nas
from nas.cli.main import main
from nas.engine.loop import Ledger
from nas.errors import ConfigError
from nas.runs.journal import read
from nas.runs.trust import check_trackers
from nas.trackers.base import TrackedRun
from nas.trackers.registry import make_trackers, placed
from nas.trackers.tracking import Listener, Tracking


class Notes(nas.Callback):
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def on_start(self, run):
        self.told.append(("start", run.name))

    def on_trial(self, trial, best):
        self.told.append(("trial", trial.index, trial.reward, None if best is None else best.index))

    def on_best(self, trial, graph):
        self.told.append(("best", trial.index))

    def on_end(self, reason):
        self.told.append(("end", reason))


class Raises(nas.Callback):
    def on_trial(self, trial, best):
        if trial.index == 2:
            raise KeyError("no such thing")


def study(folder, *callbacks, **settings):
    return nas.Study(bits, evaluate, "random", folder=folder, callbacks=callbacks, seed=3, **settings)


def best_so_far(rewards: dict[int, float], count: int) -> list[int | None]:
    """Return the index of the best trial up to each of the first ``count``, the earliest of equals: brute force."""
    found = []
    for index in range(count):
        known = {i: r for i, r in rewards.items() if i <= index}
        found.append(min((i for i in known if known[i] == max(known.values())), default=None))
    return found


def test_every_trial_is_told_once_though_the_run_is_resumed(tmp_path):
    told = []
    for trials in (4, 9, 9):
        notes = Notes()
        study(tmp_path / "bits", notes).run(trials)
        assert (notes.told[0], notes.told[-1]) == (("start", "bits"), ("end", "finished"))
        told += notes.told
    rewards = recorded(tmp_path / "bits")
    count = 1 + max(e["index"] for e in read(tmp_path / "bits" / "journal.jsonl") if e["event"] == "asked")
    best = best_so_far(rewards, count)
    assert [line[1:] for line in told if line[0] == "trial"] == [(i, rewards.get(i), best[i]) for i in range(count)]
    assert [line[1] for line in told if line[0] == "best"] == list(dict.fromkeys(i for i in best if i is not None))


def test_one_that_hears_all_is_told_everything_again(tmp_path):
    class All(Notes):
        hears_all = True

    study(tmp_path / "bits", Notes()).run(3)
    for trials in (3, 6):
        notes = All()
        study(tmp_path / "bits", notes).run(trials)
        assert len([line for line in notes.told if line[0] == "trial"]) == len(nas.load_study(tmp_path / "bits").trials)
    # one that comes late is told what was before it
    late = Raises()
    late.on_trial = lambda trial, best: seen.append(trial.index)
    seen: list[int] = []
    study(tmp_path / "bits", late).run(6)
    assert seen == list(range(len(nas.load_study(tmp_path / "bits").trials)))


def test_a_search_in_memory_tells_the_same(tmp_path):
    on_disk, in_memory = Notes(), Notes()
    study(tmp_path / "bits", on_disk).run(8)
    search = study(None, in_memory)
    search.run(3)
    search.run(8)
    of_trials = [[line for line in notes.told if line[0] == "trial"] for notes in (on_disk, in_memory)]
    assert of_trials[0] == of_trials[1]


def test_a_callback_that_raises_is_switched_off_and_the_search_goes_on(tmp_path, caplog):
    notes = Notes()
    with caplog.at_level(logging.WARNING, "nas"):
        study(tmp_path / "with", Raises(), notes).run(8)
    study(tmp_path / "without").run(8)
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        "warning: callback 'Raises' of run 'with': on_trial: KeyError: 'no such thing'; the work goes on without it"
    )
    assert len([told for told in notes.told if told[0] == "trial"]) == len(nas.load_study(tmp_path / "with").trials)
    # the journals are the same but for times
    one, other = (
        [{k: v for k, v in e.items() if k not in ("time", "wall")} for e in read(tmp_path / name / "journal.jsonl")]
        for name in ("with", "without")
    )
    assert one == other
    assert not (tmp_path / "without" / "trackers").exists()
    assert "track" not in one[0]["config"]


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_in_a_callback_is_one_of_the_search(tmp_path):
    class Interrupts(nas.Callback):
        def on_trial(self, trial, best):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "bits", Interrupts()).run(4)
    notes = Notes()
    study(tmp_path / "bits", notes).run(4)
    assert [line[1] for line in notes.told if line[0] == "trial"][:4] == [0, 1, 2, 3]


def test_trials_are_told_in_order_whatever_ends_first():
    ledger, notes = Ledger(None), Notes()
    run = TrackedRun("run", None, "0" * 16, 0.0, {}, ())
    tracking = Tracking([Listener(notes)], run, ledger, lambda architecture: None)

    def work():
        for index in range(3):
            asked = {"event": "asked", "index": index, "key": str(index), "epochs": 1, "params": None, "macs": None}
            ledger.apply({**asked, "architecture": nas.Architecture("s", {"a": index}).to_json()})
        for index in (2, 0, 1):
            done = {"event": "done", "index": index, "reward": 1.0 * index, "values": {}, "seconds": 0.0}
            ledger.apply({**done, "simulated": False, "wall": 0.0})
            tracking.update()
        return "finished"

    assert tracking.follow(work) == "finished"
    assert [line[1:] for line in notes.told if line[0] == "trial"] == [(0, 0.0, 0), (1, 1.0, 1), (2, 2.0, 2)]


@pytest.fixture
def bits_plugin(tmp_path, monkeypatch):
    """The plugin with the space, the evaluator and a tracker, in a module of its own; registered names are undone."""
    from nas.evaluators import EVALUATORS
    from nas.space import SPACES
    from nas.trackers import TRACKERS

    for registry in (EVALUATORS, SPACES, TRACKERS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def command(words, plugin, results):
    return main([*words.split(), "--plugin", str(plugin), "--results-dir", str(results)])


def test_a_tracker_of_a_plugin_is_named_on_the_command_line_and_kept_on_resume(tmp_path, bits_plugin, monkeypatch):
    results, lines = tmp_path / "results", tmp_path / "lines.txt"
    words = "search --space few_bits --evaluator bits --searcher random --trials 4 --name mine"
    assert command(f"{words} --track lines={lines}", bits_plugin, results) == 0
    assert command("resume mine --trials 7", bits_plugin, results) == 0
    told = [line.split() for line in lines.read_text().splitlines()]
    rewards = recorded(results / "mine")
    assert [int(index) for index, _ in told] == list(range(len(told)))
    assert {int(index): float(reward) for index, reward in told if reward != "None"} == rewards
    # it may be left out
    assert command("resume mine --trials 8 --track none", bits_plugin, results) == 0
    assert len(lines.read_text().splitlines()) == len(told)


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("tensorbord", "unknown tracker 'tensorbord'"),
        ("tensorboard=", "there is no place after '='"),
        ("tensorboard,tensorboard=logs", "'tensorboard' is given twice"),
        ("none,tensorboard", "names of trackers or none"),
    ],
)
def test_a_wrong_tracker_is_told_in_one_line_before_anything_is_made(tmp_path, bits_plugin, capsys, track, message):
    words = f"search --space few_bits --evaluator bits --searcher random --trials 2 --name mine --track {track}"
    assert command(words, bits_plugin, tmp_path / "results") == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "results" / "mine").exists()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch, name):
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"tracker '{name}' needs the package {name}: python -m pip install 'nas-toolkit\[{name}\]'"
    with pytest.raises(ConfigError, match=message):
        study(tmp_path / "bits", name)
    assert not (tmp_path / "bits").exists()


def test_what_is_no_callback_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a callback is a nas.Callback or the name of a tracker, found function"):
        study(tmp_path / "bits", lambda: None)
    with pytest.raises(ConfigError, match="callbacks is a list"):
        nas.Study(bits, evaluate, callbacks="tensorboard")


def test_a_server_that_the_journal_alone_names_is_not_connected_to(tmp_path, bits_plugin, capsys):
    words = (
        f"search --space few_bits --evaluator bits --searcher random --trials 2 --name mine --track lines={tmp_path}"
    )
    assert command(words, bits_plugin, tmp_path) == 0  # a folder cannot be written to: that is told and no more
    path = tmp_path / "mine" / "journal.jsonl"
    from nas.runs.journal import encode

    first, *rest = read(path)
    first["config"]["track"] = ["lines=https://somewhere.example"]
    path.write_bytes(b"".join(encode(e.pop("seq"), e) for e in (first, *rest)))
    capsys.readouterr()
    assert command("resume mine --trials 3", bits_plugin, tmp_path) == 2
    assert "names the tracker lines=https://somewhere.example; name it to go on there" in capsys.readouterr().err
    assert len(read(path)) == len(rest) + 1
    assert command(f"resume mine --trials 3 --track lines={tmp_path / 'x.txt'}", bits_plugin, tmp_path) == 0
    assert (tmp_path / "x.txt").read_text().splitlines()


def test_places_are_absolute_so_that_a_run_is_resumed_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = placed(["tensorboard=logs", "mlflow=sqlite:///ml.db"])
    assert found == (f"tensorboard={tmp_path}/logs", f"mlflow=sqlite:///{tmp_path}/ml.db")
    assert placed(found) == found
    assert make_trackers(["none"]) == ()


@pytest.mark.parametrize(
    ("track", "refused"),
    [
        ("tensorboard", False),
        ("tensorboard=/somewhere", False),
        ("mlflow", False),
        ("mlflow=sqlite:////somewhere.db", False),
        ("wandb", False),
        ("wandb=evil/open", True),
        ("mlflow=databricks", True),
        ("mlflow=https://evil.example", True),
        ("mlflow=file://evil.example/share", True),
    ],
)
def test_only_files_of_this_machine_are_told_where_a_journal_alone_names_them(tmp_path, track, refused):
    check_trackers((track,), True, tmp_path)
    if refused:
        with pytest.raises(nas.NasError, match="names the tracker"):
            check_trackers((track,), False, tmp_path)
    else:
        check_trackers((track,), False, tmp_path)
