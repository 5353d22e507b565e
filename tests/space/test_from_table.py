"""The space of a table that holds few of its combinations: every step of every searcher leads to one of its rows."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path as FilePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli.main import main
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.loop import Ledger, Loop, Settings
from nas.engine.prepare import cached, make_prepare
from nas.engine.random_streams import SEARCH, stream
from nas.errors import ConfigError, EvaluationError
from nas.evaluators.table import Known, TableEvaluator
from nas.executors.inline import InlineExecutor
from nas.runs.journal import MemoryJournal
from nas.searchers import make_searcher
from nas.searchers.grid import in_turns
from nas.searchers.reinforce.controller import Controller
from nas.searchers.reinforce.searcher import Draws
from nas.space import Space
from nas.space.choices import Random
from nas.space.from_table import RowSpace, table_space
from nas.tables.benchmark_table import Table, load_table
from nas.types import Architecture, Context, History, Metrics, Trial

SEARCHERS = {
    "random": {},
    "grid": {},
    "local": {"starts": 3},
    "evolution": {"population": 4, "tournament": 2, "crossover": 0.5},
    "nsga2": {"objectives": "latency", "population": 4},
    "predictor": {"starts": 5},
    "reinforce": {},
    "optuna:tpe": {"n_startup_trials": 5},
    "optuna:cmaes": {},
    "optuna:nsgaii": {"population_size": 4},
}
REPEATING = ("random", "local")
"""Searchers that sample with replacement: what they repeat is reused and is no query."""


def table_of(choices, counts):
    """Return a table with these rows, whose decisions have these numbers of options."""
    choices = np.array(choices, dtype=np.uint8)
    names = tuple(f"d{i}" for i in range(len(counts)))
    options = {name: tuple(f"o{i}" for i in range(count)) for name, count in zip(names, counts, strict=True)}
    # the more decisions have option 1, the better
    columns = {"acc": (choices == 1).mean(axis=1), "latency": choices.sum(axis=1).astype(float)}
    return Table(
        FilePath("sparse.npz"), names, options, choices, (), columns, {r.tobytes(): i for i, r in enumerate(choices)}
    )


def sparse(rows, decisions=12, options=6, seed=5):
    """Return a table with some of the combinations, about as far from each other as they can be."""
    drawn = np.random.default_rng(seed).integers(options, size=(rows, decisions))
    return table_of(np.unique(drawn, axis=0), [options] * decisions)


@st.composite
def sparse_tables(draw):
    """Tables of one to four decisions and one to twelve rows, fewer than half of all combinations, in any order."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).filter(lambda c: np.prod(c) >= 3))
    every = list(itertools.product(*map(range, counts)))
    most = min(12, (len(every) - 1) // 2)
    rows = draw(st.lists(st.sampled_from(every), min_size=1, max_size=most, unique=True))
    return table_of(rows, counts)


def indices(table, architecture):
    return tuple(table.options[name].index(architecture[name]) for name in table.names)


def rows_of(table):
    return [tuple(row) for row in table.choices.tolist()]


def nearest(table, wanted, among):
    """Return the rows of ``among`` at the least distance, by brute force."""
    distances = {row: sum(a != b for a, b in zip(row, wanted, strict=True)) for row in among}
    return {row for row in among if distances[row] == min(distances.values())}


@settings(max_examples=100, deadline=None)
@given(sparse_tables(), st.integers(0, 2**32 - 1))
def test_every_step_leads_to_the_nearest_rows(table, seed):
    space, rng, rows = table_space(table), np.random.default_rng(seed), rows_of(table)
    assert isinstance(space, RowSpace)
    assert [indices(table, a) for a in space.enumerate()] == sorted(rows)
    assert space.size() == (len(rows), 0.0, True)
    architecture = space.sample(rng)
    own = indices(table, architecture)
    assert own in rows
    # a mutation
    others = [row for row in rows if row != own]
    mutated = {indices(table, space.mutate(architecture, rng)) for _ in range(60)}
    assert mutated <= (nearest(table, own, others) if others else {own})
    # all single changes that some row has, and what they lead to
    moves = [(n, i) for d, n in enumerate(table.names) for i in range(len(table.options[n])) if i != own[d]]
    moves = [(n, i) for n, i in moves if any(row[table.names.index(n)] == i for row in rows)]
    assert space.moves(architecture) == moves
    for name, option in moves:
        holders = [row for row in rows if row[table.names.index(name)] == option]
        found = indices(table, space.move(architecture, (name, option), rng))
        assert found in nearest(table, own, holders)
    neighbours = {indices(table, a) for a in space.neighbours(architecture, rng)}
    assert neighbours <= set(others)
    assert bool(neighbours) == bool(others)
    # a child of two rows
    assert indices(table, space.crossover(architecture, space.sample(rng), rng)) in rows


@settings(max_examples=100, deadline=None)
@given(sparse_tables(), st.integers(0, 2**32 - 1), st.data())
def test_what_is_chosen_decision_by_decision_leads_to_the_nearest_row_that_is_left(table, seed, data):
    space, plain, rows = table_space(table), everything(table), rows_of(table)
    wanted = indices(table, plain.sample(np.random.default_rng(seed)))
    found = indices(table, space.attempt(Random(np.random.default_rng(seed))))
    assert found in nearest(table, wanted, rows)
    gone = set(data.draw(st.lists(st.sampled_from(rows), unique=True)))
    without = {a for a in space.enumerate() if indices(table, a) in gone}
    found = indices(table, space.attempt(Random(np.random.default_rng(seed)), without))
    assert found in nearest(table, wanted, [row for row in rows if row not in gone] or rows)


@settings(max_examples=100, deadline=None)
@given(sparse_tables(), st.integers(0, 2**32 - 1), st.booleans())
def test_exact_choosers_meet_every_row_once(table, seed, flag):
    space, rows = table_space(table), sorted(rows_of(table))
    assert [indices(table, a) for a in Space.enumerate(space)] == rows
    assert sorted(indices(table, a) for a in in_turns(space, mixed=flag)) == rows
    draws, found = Draws(Controller(4), np.random.default_rng(seed)), []
    while not draws.exhausted:
        found.append(indices(table, space.attempt(draws.chooser(evenly=flag))))  # never infeasible
    assert sorted(found) == rows


def everything(table):
    """Return the space of all combinations."""
    return Space("table", lambda choose: {name: choose(name, table.options[name]) for name in table.names})


def test_with_all_combinations_as_rows_it_is_the_space_of_all_combinations():
    table = table_of(list(itertools.product(range(3), range(2), range(4))), [3, 2, 4])
    rows, plain = RowSpace(table, everything(table).function), everything(table)
    assert list(rows.enumerate()) == list(plain.enumerate())
    assert list(in_turns(rows)) == list(in_turns(plain))
    for seed, one in enumerate(plain.enumerate()):
        rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
        assert rows.moves(one) == plain.moves(one)
        assert rows.neighbours(one, rng) == plain.neighbours(one, rng)
        assert rows.mutate(one, rng) in plain.neighbours(one, rng)
        assert rows.attempt(Random(rng)) in set(plain.enumerate())
        other = plain.sample(again)
        mixed, expected = rows.crossover(one, other, rng), {one, other}
        assert all(mixed[n] in {a[n] for a in expected} for n in table.names)


@pytest.mark.parametrize(("rows", "is_plain"), [(12, True), (8, True), (6, True), (5, False)])
def test_a_table_with_most_combinations_is_searched_as_if_it_had_them_all(rows, is_plain):
    table = table_of(list(itertools.product(range(3), range(4)))[:rows], [3, 4])
    space = table_space(table)
    assert (type(space) is Space) == is_plain
    assert space.with_args({}).name == "table"
    with pytest.raises(ConfigError, match="space 'table': unknown argument 'x'"):
        space.with_args({"x": 1})


def test_a_row_alone_has_no_neighbour():
    space, rng = table_space(table_of([[1, 2, 0]], [3, 3, 3])), np.random.default_rng()
    (only,) = space.enumerate()
    assert space.mutate(only, rng) == only
    assert space.moves(only) == space.neighbours(only, rng) == []


def search(table, name, trials, seed=0):
    """Return the trials of a search of ``table``, and why it ended."""
    space = table_space(table)
    prepare = cached(make_prepare(space, DEFAULT_TASK, None, None, Known(table)))
    searcher, ledger = make_searcher(name, space, SEARCHERS[name], Context(prepare, 1, trials)), Ledger()
    executor = InlineExecutor(TableEvaluator(table, "acc", metrics=("latency",)))
    loop = Loop(searcher, prepare, executor, MemoryJournal(), ledger, Settings(DEFAULT_TASK, trials, 1, seed))
    return loop.run, ledger


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_proposes_rows_and_none_twice(name):
    table = sparse(200)
    run, ledger = search(table, name, 30)
    assert run() == "budget"
    assert all(indices(table, t.architecture) in set(rows_of(table)) for t in ledger.trials)
    done = [t for t in ledger.trials if t.status == "done"]
    assert len({t.architecture for t in done}) == 30
    assert {t.status for t in ledger.trials} <= ({"done", "reused"} if name in REPEATING else {"done"})


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_finds_all_rows_and_is_then_exhausted(name):
    table = sparse(15)
    run, ledger = search(table, name, 100)
    assert run() == "exhausted"
    done = [indices(table, t.architecture) for t in ledger.trials if t.status == "done"]
    assert sorted(done) == sorted(rows_of(table))
    assert name in REPEATING or len(ledger.trials) == len(done)


@pytest.mark.long
@pytest.mark.parametrize("name", ["evolution", "reinforce", "local", "predictor"])
def test_searchers_that_learn_beat_random_search_on_a_sparse_table(name):
    # rows that are near each other score alike: 40 centres, each with rows that differ from it in up to three decisions
    rng = np.random.default_rng(1)
    centres = rng.integers(4, size=(40, 12))
    rows = np.repeat(centres, 50, axis=0)
    for row in rows:
        row[rng.integers(12, size=3)] = rng.integers(4, size=3)
    table = table_of(np.unique(rows, axis=0), [4] * 12)

    def best(searcher, seed):
        run, ledger = search(table, searcher, 80, seed)
        run()
        return ledger.best().reward

    assert np.mean([best(name, seed) for seed in range(4)]) > np.mean([best("random", seed) for seed in range(20)])


@pytest.mark.long
@pytest.mark.parametrize("name", ["random", "grid", "local", "evolution", "reinforce", "optuna:tpe"])
def test_a_proposal_takes_under_50_milliseconds_at_20_000_rows(name):
    table = sparse(20_000, decisions=28, options=8)
    space = table_space(table)
    prepare = cached(make_prepare(space, DEFAULT_TASK, None, None, Known(table)))
    searcher, results, spent = make_searcher(name, space, SEARCHERS[name], Context(prepare, 1, 60)), [], []
    for index in range(60):
        start = time.process_time()
        proposal = searcher.ask(History(results), stream(0, index, 0, SEARCH))
        spent.append(time.process_time() - start)
        reward = float(table.columns["acc"][table.row(proposal.architecture)])
        results.append(Trial(index, proposal, str(index), "done", Metrics(reward)))
    assert np.median(spent) < 0.05


def saved(table, path):
    names = np.array(table.names)
    np.savez(path, names=names, options=json.dumps(table.options), choices=table.choices, **table.columns)


def test_a_sparse_table_is_searched_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved(sparse(100, decisions=20, options=8), "sparse.npz")
    command = "search --table sparse.npz --val-column acc --space table --searcher evolution --trials 40 --name s"
    assert main([*command.split(), "--baseline", "none"]) == 0, capsys.readouterr()
    events = [
        json.loads(line)["event"] for line in (tmp_path / "results" / "s" / "journal.jsonl").read_text().splitlines()
    ]
    assert events.count("done") == 40
    assert "refused" not in events
    table = load_table(tmp_path / "sparse.npz")
    with pytest.raises(EvaluationError, match=r"table 'sparse\.npz': the architecture is not in the table"):
        table.row(Architecture("table", dict.fromkeys(table.names, "o1")))


def test_a_table_in_which_nothing_of_another_space_is_found_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.py").write_text(
        "import nas\n\n@nas.register_space('six')\ndef six(choose):\n"
        "    return [choose(f'd{i}', tuple(f'o{k}' for k in range(6))) for i in range(12)]\n"
    )
    saved(sparse(5), "sparse.npz")
    command = "search --plugin plug.py --table sparse.npz --val-column acc --space six --searcher random --trials 4"
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert "sparse.npz': none of 1,000 architectures drawn from space 'six' can be looked up" in error
    assert error.count("\n") == 1
