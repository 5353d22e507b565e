"""Runs with a scheduler: what is checked before they begin, what their random search gets, and shorthands."""

from __future__ import annotations

import json
import time
from itertools import product

import numpy as np
import pytest

import nas
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunOptions
from nas.engine.run import SearchRun
from nas.errors import ConfigError
from nas.report.write import write_outputs
from nas.schedulers import SCHEDULERS, make_scheduler
from nas.types import History, Metrics, Proposal, Trial, chain

OPTIONS = {name: [1, 2, 3, 4] for name in "abc"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of 64 architectures, trained for 2 and 10 epochs."""
    path = tmp_path_factory.mktemp("table") / "table.npz"
    choices = np.array(list(product(range(4), repeat=3)), dtype=np.uint8)
    noise = np.random.default_rng(0).permutation(64) / 64
    columns = {"val_2": choices.sum(1) + noise, "val_10": choices.sum(1) + noise / 8, "seconds": np.full(64, 2.0)}
    names = np.array(list(OPTIONS))
    np.savez(path, names=names, options=json.dumps(OPTIONS), choices=choices, seconds_10=np.full(64, 10.0), **columns)
    return path


def config(table, **changes):
    given = {"scheduler": "halving", "scheduler_args": {"rungs": "2,10"}, "reward": "val_{epochs}", **changes}
    return RunOptions(space="table", table=str(table), epochs=10, trials=30, **given)


def test_a_run_reports_the_best_of_most_epochs_and_its_random_search_has_the_same_scheduler(table, tmp_path):
    run = SearchRun.create(
        tmp_path / "run", config(table, searcher="local", searcher_args={"starts": 3}), write_outputs
    )
    assert run.execute() == "finished"
    best = run.plan.ledger.best()
    assert best.proposal.epochs == 10
    assert run.plan.ledger.queries == 30  # promotions among them
    counts = {e: sum(t.proposal.epochs == e and t.status == "done" for t in run.plan.ledger.trials) for e in (2, 10)}
    assert counts == {2: 25, 10: 5}
    assert run.plan.ledger.seconds == 2 * 25 + 10 * 5
    below = SearchRun.resume(tmp_path / "run" / "random")
    assert (below.plan.config.searcher.name, below.plan.config.scheduler.name, below.plan.config.scheduler.args) == (
        "random",
        "halving",
        {"rungs": "2,10"},
    )
    assert below.plan.ledger.queries == 30
    assert {t.proposal.epochs for t in below.plan.ledger.trials} == {2, 10}
    below.journal.close()
    text = (tmp_path / "run" / "report.md").read_text()
    assert "local search under halving" in text
    assert "random search under halving" in text
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"scheduler_args": {}}, "trains for 1,3,10 epochs, but the table has no column 'val_1'"),
        ({"reward": "val_10"}, "write {epochs} in its name"),
        ({"scheduler": "asah"}, "did you mean 'asha'"),
        ({"scheduler": "none"}, "--scheduler-arg needs --scheduler"),
        ({"searcher": "bohb", "scheduler": "asha"}, "name its searcher 'optuna:tpe'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_run_begins(table, tmp_path, changes, rule):
    with pytest.raises(ConfigError) as caught:
        SearchRun.create(tmp_path / "run", config(table, **changes))
    assert rule in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bohb_means_tpe_under_hyperband(table):
    found = with_defaults(config(table, searcher="bohb", scheduler="none"))
    assert (found.searcher.name, found.scheduler.name) == ("optuna:tpe", "hyperband")
    assert with_defaults(RunOptions.from_json(found.to_json())) == found
    pytest.importorskip("optuna")
    assert isinstance(build_search(found).searcher, SCHEDULERS["hyperband"].make)


def number(choose):
    """Three digits."""
    return [choose(f"digit{i}", list(range(10))) for i in range(3)]


def value(job):
    """Reward the sum of the digits, better known with more epochs."""
    return sum(v for _, v in job.architecture.decisions.items()) + 1 / job.epochs


def test_a_named_search_with_a_scheduler_goes_on_where_it_ended_and_is_another_without(tmp_path):
    given = {"epochs": 9, "scheduler": "asha", "scheduler_args": {"eta": 3}}
    whole = nas.search(number, value, "evolution", 40, **given)
    nas.search(number, value, "evolution", 15, **given, name="digits", results_dir=tmp_path)
    found = nas.search(number, value, "evolution", 40, **given, name="digits", results_dir=tmp_path)
    assert [(t.proposal, t.reward) for t in found.trials] == [(t.proposal, t.reward) for t in whole.trials]
    assert whole.best.proposal.epochs == 9
    for other in ({"epochs": 9}, {**given, "scheduler": "halving"}, {**given, "scheduler_args": {"eta": 2}}):
        with pytest.raises(ConfigError, match="belongs to another search: its scheduler"):
            nas.search(number, value, "evolution", 40, **other, name="digits", results_dir=tmp_path)
    with pytest.raises(ConfigError, match="--scheduler-arg needs --scheduler"):
        nas.search(number, value, scheduler_args={"eta": 3})


def test_promotions_tell_the_evaluator_what_they_continue(tmp_path):
    jobs = {}

    def evaluate(job):
        jobs[job.index] = job
        return value(job)

    given = {"epochs": 9, "scheduler": "asha", "name": "digits", "results_dir": tmp_path}
    result = nas.search(number, evaluate, "random", 20, **given)
    promoted = [t for t in result.trials if t.proposal.continue_from is not None]
    assert promoted
    for t in promoted:
        assert jobs[t.index].continue_from == jobs[t.proposal.continue_from].checkpoint
        assert jobs[t.index].checkpoint.startswith(str(tmp_path))
        assert jobs[t.index].epochs > jobs[t.proposal.continue_from].epochs


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "args"), [*((name, {}) for name in SCHEDULERS), ("asha", {"by": "pareto", "objectives": "latency"})]
)
def test_an_ask_at_10000_trials_takes_less_than_10_ms(name, args):
    class Inner:
        def ask(self, history, generator):
            return Proposal(architecture)

    generator = np.random.default_rng(0)
    architecture = nas.space_of("nb201").sample(generator)
    scheduler, trials, digests, seconds = make_scheduler(name, Inner(), 81, args), [], [], []
    for index in range(10_100):
        start = time.perf_counter()
        proposal = scheduler.ask(History(trials, (), digests), generator)
        seconds.append(time.perf_counter() - start)
        metrics = Metrics(generator.random(), {"latency": generator.random()})
        trials.append(Trial(index, proposal, str(index), "done", metrics))
        chain(digests, trials[-1:])
    assert np.median(seconds[-100:]) < 0.010
