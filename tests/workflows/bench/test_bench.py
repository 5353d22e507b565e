"""What searchers find on tables: counted as their protocol says, the same as by a search on disk, told in one table."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pytest
from record_golden_runs import toy_table

from nas.cli.main import main
from nas.core.plugins import load_built_in
from nas.errors import ConfigError
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL
from nas.workflows.bench.measure import Entry, TableName, default_entries
from nas.workflows.bench.peers import PEERS
from nas.workflows.bench.queries import REPEATS, Curve
from nas.workflows.bench.trainings import TrainingSearch, leads

load_built_in()
WORDS = "toy.npz,val=val_acc_9,test=test_acc"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tables")
    toy_table(found / "toy.npz")
    with np.load(found / "toy.npz") as arrays:
        half = {
            name: arrays[name][::2] if len(arrays[name].shape) and len(arrays[name]) > 99 else arrays[name]
            for name in arrays
        }
    np.savez(found / "half.npz", **half)
    return found


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def task_of(folder, words="toy.npz,val=val_acc_9,test=test_acc"):
    (task,) = TableName.of(f"{folder}/{words}").tasks()
    return task


def test_the_best_by_reward_is_told_with_its_score_and_ties_with_their_mean():
    curve = Curve(np.array([1.0, 3.0, 3.0, 2.0]), np.array([9.0, 5.0, 6.0, 8.0]), 0.0, np.array([1.0, 2.0, 4.0, 8.0]))
    assert [curve.after(n) for n in (1, 2, 3, 4)] == [9.0, 5.0, 5.5, 5.5]
    assert [curve.within(s) for s in (1.0, 3.9, 4.0)] == [9.0, 5.0, 5.5]


def test_random_search_finds_what_probability_says(folder):
    """The expected maximum of q draws without replacement is a sum over ranks."""
    task, count = task_of(folder, "toy.npz,val=val_acc_9"), 10
    values = np.sort(task.table.column("val_acc_9", None))
    total = len(values)
    shares = [math.comb(rank, count - 1) / math.comb(total, count) for rank in range(count - 1, total)]
    expected = float(np.dot(shares, values[count - 1 :]))
    found = [task.curve("random", count, seed).after(count) for seed in range(150)]
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / math.sqrt(len(found))


@pytest.mark.parametrize("searcher", ["evolution", "local"])
def test_a_search_on_disk_asks_the_same(searcher, here, tmp_path):
    flags = f"--table {here}/toy.npz --val-column val_acc_9 --searcher {searcher} --trials 25 --epochs 1 --seed 3"
    assert main(f"search {flags} --baseline none --name one --results-dir {tmp_path}".split()) == 0
    rewards = [e["reward"] for e in read(tmp_path / "one" / JOURNAL) if e["event"] == "done"]
    assert rewards == task_of(here).curve(searcher, 25, 3).rewards.tolist()


class Repeats:
    """Proposes each combination twice, and from the tenth on nothing new."""

    def __init__(self, options):
        names = list(options)
        combinations = itertools.islice(itertools.product(*options.values()), 10)
        twice = [dict(zip(names, c, strict=True)) for c in combinations for _ in range(2)]
        self.coming = itertools.chain(twice, itertools.repeat(twice[-1]))
        self.told = []

    def ask(self):
        return next(self.coming)

    def tell(self, decisions, reward):
        self.told.append((tuple(decisions.items()), reward))


def test_repeats_of_another_package_are_queries_only_in_its_plain_use(folder):
    task = task_of(folder)
    distinct, plain = Repeats(task.table.options), Repeats(task.table.options)
    assert len(task.peer_curve(distinct, 8, distinct=True).rewards) == 8
    assert len(distinct.told) == 15
    assert len(task.peer_curve(plain, 8, distinct=False).rewards) == 8
    assert len(plain.told) == 8
    # every answer is the table's
    for decisions, reward in distinct.told:
        row = [task.table.options[name].index(value) for name, value in decisions]
        assert reward == task.table.column("val_acc_9", None)[task.table.rows[bytes(row)]]


def test_a_package_that_proposes_nothing_new_has_ended(folder):
    task = task_of(folder)
    peer = Repeats(task.table.options)
    assert len(task.peer_curve(peer, 50, distinct=True).rewards) == 10
    assert len(peer.told) == 20 + REPEATS - 1


@pytest.mark.parametrize("name", PEERS)
def test_a_package_that_is_there_proposes_and_learns(name, folder):
    if not PEERS[name].installed:
        pytest.skip(f"{PEERS[name].install} is not installed")
    task = task_of(folder)
    curve = task.peer_curve(PEERS[name].make(task.table.options, 0, 30), 30, distinct=False)
    assert len(curve.rewards) == 30
    same = task.peer_curve(PEERS[name].make(task.table.options, 0, 30), 30, distinct=False)
    assert same.rewards.tolist() == curve.rewards.tolist()


def test_the_table_and_its_rows(here, capsys):
    flags = [
        "--seeds",
        "3",
        "--workers",
        "2",
        "--queries",
        "1,5",
        "-o",
        "rows.csv",
        "--searcher",
        "random",
        "--searcher",
    ]
    assert main(["bench", WORDS, *flags, "evolution population=4 tournament=2", "--searcher", "optuna-tpe:plain"]) == 0
    shown = capsys.readouterr().out
    assert "mean of 3 seeds" in " ".join(shown.split())
    for name in ("random", "evolution population=4 tournament=2", "optuna-tpe:plain"):
        assert name in shown
    with (here / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["searcher"], row["seed"]) for row in rows][:4] == [
        *(("random", str(seed)) for seed in range(3)),
        ("evolution population=4 tournament=2", "0"),
    ]
    expected = [task_of(here).curve("random", 5, seed).after(5) for seed in range(3)]
    assert [float(row["score_5"]) for row in rows[:3]] == pytest.approx(expected, abs=1e-4)


def test_what_is_compared_by_default(folder):
    assert "rank:macs" not in default_entries(task_of(folder))  # no networks, nothing to rank
    assert {"predictor", "random", "optuna-tpe", "optuna-tpe:plain"} <= set(default_entries(task_of(folder)))
    assert {"rank:macs", "rank:synflow"} <= set(default_entries(task_of(folder, f"{WORDS},space=nb201")))
    assert "optuna-tpe" not in default_entries(task_of(folder, "half.npz,val=val_acc_9"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("toy.npz", "name the column to maximise: toy.npz,val=COLUMN; it has val_acc_1"),
        ("toy.npz,val=acc", "column 'acc'"),
        ("toy.npz,val=val_acc_9,test=x", "column 'x'"),
        ("toy.npz,val=val_acc_9,dataset=cifar10", "dataset 'cifar10'"),
        ("toy.npz,val=val_acc_9,space=nb20", "did you mean 'nb201'?"),
        ("toy.npz,value=val_acc_9", "'value=val_acc_9' is none of its words"),
        ("none.npz,val=x", "the file does not exist"),
        (f"{WORDS} --queries 5,1", "--queries must be ascending numbers"),
        (f"{WORDS} --queries 0", "--queries must be ascending numbers"),
        (f"{WORDS} --seeds 0", "must be at least 1"),
        (f"{WORDS} --seeds x", "--seeds must be an integer"),
        (f"{WORDS} --searcher predictr", "did you mean 'predictor'?"),
        (f"{WORDS} --searcher predictor=3", "unknown searcher"),
        (f"{WORDS} -o nowhere/x.csv", "folder 'nowhere' does not exist"),
        ("half.npz,val=val_acc_9 --searcher optuna-tpe", "lacks some combinations of its options"),
    ],
)
def test_mistakes_are_one_line_before_the_first_search(words, message, here, capsys):
    assert main(["bench", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_argument_is_a_name_and_a_value(here, capsys):
    assert main(["bench", WORDS, "--searcher", "evolution population"]) == 2
    assert "--searcher must be NAME=VALUE, found 'population'" in capsys.readouterr().err


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="searcher 'smac' needs the package smac; pip install smac"):
        Entry.of("smac", lambda text: ("", 0))


TRAINED = "--dataset digits --space nb201 --width 2 --depth 1 --epochs 1 --final-epochs 1 --train-images 64 --threads 1"


@pytest.mark.long
def test_real_trainings_have_equal_seconds_and_go_on_where_they_ended(here, capsys):
    searchers = ["--searcher=random", "--searcher=evolution population=4 tournament=2"]
    words = ["bench", "--seconds=2", f"--flags={TRAINED}", *searchers]
    assert main([*words, "--seeds=1", "--results-dir=runs"]) == 0
    first = capsys.readouterr()
    assert main([*words, "--seeds=2", "--results-dir=runs", "-o", "t.csv"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 seeds, 2 s of training each" in shown
    with (here / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["searcher"][0], row["seed"]) for row in rows] == [("r", "0"), ("e", "0"), ("r", "1"), ("e", "1")]
    # what had ended was not searched again
    assert f"random, seed 0: best {float(rows[0]['reward']):.2f} of {rows[0]['trials']} trials" in first.err
    for row in rows:
        assert 2 <= float(row["seconds"]) < 20
        assert 0 <= float(row["score"]) <= 100
        (folder,) = (here / "runs").glob(f"bench-{row['searcher'].split()[0]}-*-{row['seed']}/")
        done = [event["reward"] for event in read(folder / JOURNAL) if event["event"] == "done"]
        assert (len(done), max(done)) == (int(row["trials"]), float(row["reward"]))
    # other seconds are other runs
    assert main([*words[:1], "--seconds=1", *words[2:], "--seeds=1", "--results-dir=runs"]) == 0
    assert len([path for path in (here / "runs").iterdir() if path.is_dir()]) == 6


@pytest.mark.long
def test_what_a_search_refuses_is_told_in_one_line(here, capsys):
    assert main(["bench", "--seconds=2", "--flags=--space nb20", "--seeds=1", "--results-dir=wrong"]) == 2
    assert "searcher 'predictor', seed 0: unknown space 'nb20'; did you mean 'nb201'?" in capsys.readouterr().err


def test_the_lead_is_paired_by_seed_and_corrected():
    found = [
        TrainingSearch(name, seed, 50.0, base + seed + 0.01 * seed * len(name), 7, 60.0)
        for name, base in (("a", 70.0), ("bb", 69.0), ("c", 70.0))
        for seed in range(5)
    ]
    one, two = leads(found, ["a", "bb", "c"])
    assert (round(one.mean, 9), one.verdict) == (0.98, "higher")
    assert (two.mean, two.verdict) == (0.0, "no difference found")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give table files, FILE,val=COLUMN, or --seconds N"),
        ([WORDS, "--seconds=3"], "not both"),
        ([WORDS, "--flags=--space nb201"], "--flags goes with --seconds"),
        (["--seconds=0"], "--seconds must be at least 1"),
        (["--seconds=x"], "--seconds must be an integer"),
    ],
)
def test_tables_and_trainings_are_two_things(words, message, here, capsys):
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
