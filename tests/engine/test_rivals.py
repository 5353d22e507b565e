"""What a search is compared with: rivals of its budget, named networks, finalists on all sides, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections import Counter
from dataclasses import replace
from zlib import crc32

import pytest

from nas.core.values import Budget
from nas.data.config import DataConfig
from nas.engine import executor_factory
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunConfig, RunOptions
from nas.engine.forecast import Forecast
from nas.engine.loop import Ledger, fold
from nas.engine.rivals import FAMILIES, best_in_time, network_near, searches_below
from nas.engine.run import SearchRun
from nas.engine.status import read_status
from nas.errors import TOO_SLOW, ConfigError, EvaluationError
from nas.evaluators import EVALUATORS
from nas.models import latency
from nas.report.decision_importance import importance
from nas.report.run_view import load_view
from nas.report.verdict import search_verdicts
from nas.report.write import write_outputs
from nas.runs.journal import read
from nas.space.scalable import macs_of
from nas.types import Architecture, Metrics, Proposal, Trial
from nas.workflows.compare.candidates import candidates_of
from nas.workflows.compare.settings import settings_from

BUDGET, TRIALS, COUNT = 100_000, 7, 2
SETTINGS = {"space": "macro", "dataset": "digits", "searcher": "evolution", "trials": TRIALS, "epochs": 1}
SETTINGS |= {"final_seeds": 2, "final_epochs": 1}
PAYING = {**SETTINGS, "budget_macs": BUDGET, "finalists": COUNT}
CALLS = {
    "search": 2,
    "finalists": 6,
    "random": 9,
    "random finalists": 13,
    "rivals": 16,
    "rivals finalists": 20,
    "final": 23,
}
"""The evaluation that a kill ends, by the phase that it is in: seven of each search, then the finals."""


class Toy:
    """Trains nothing: scores and seconds follow from the network, the seed and the epochs."""

    def __init__(self, kill_at=None):
        self.calls, self.kill_at = 0, kill_at

    def __call__(self, job):
        self.calls += 1
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        number = crc32(job.key.encode())
        return Metrics(50 + number % 40 + job.seed % 97 / 97, seconds=job.epochs * (1 + number % 7))


@pytest.fixture(scope="module")
def toy():
    """Replace the trainings of trials and of the final comparison, and the measurement of latencies."""
    made, info = Toy(), EVALUATORS["train"]
    measured = latency.Latency(1, 0.5, 5, "CPU", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EVALUATORS._items, "train", replace(info, make=lambda config: made))
        patch.setattr(executor_factory, "FinalEvaluator", lambda: made)
        patch.setattr(latency, "measure_latency", lambda graph, batch, threads, device: measured)
        yield made


def kept(folder):
    """Return the events of the journals of a run without times and ends."""
    found = {}
    for path in sorted(folder.rglob("journal.jsonl")):
        events = [e for e in read(path) if e["event"] not in ("run", "stopped", "begun")]
        left_out = ("crc", "seq", "wall", "time", "attempt", "score_seconds")
        found[path.parent.name] = [{k: v for k, v in e.items() if k not in left_out} for e in events]
    return {"run" if name == folder.name else name: events for name, events in found.items()}


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """A run under a budget, with the phases that it went through."""
    phases = {}
    found = SearchRun.create(tmp_path_factory.mktemp("runs") / "whole", RunOptions(**PAYING), write_outputs)
    assert found.execute(lambda progress: phases.setdefault(progress.phase, progress.total)) == "finished"
    return found, phases


def test_every_side_has_as_many_trials_and_finalists_under_one_budget_and_recipe(run):
    found, phases = run
    assert phases == {"search": 5, "finalists": 2, "random": 7, "rivals": 7, "final": phases["final"]}
    folders = {name: found.folder / name for name in ("random", "rivals")}
    events = {name: read(folder / "journal.jsonl") for name, folder in folders.items()} | {
        "search": read(found.folder / "journal.jsonl")
    }
    configs = {name: RunConfig.from_json(e[0]["config"]) for name, e in events.items()}
    assert {c.budget.size for c in configs.values()} == {Budget(BUDGET)}
    assert len({(c.trials, c.finalists, c.train, c.data, c.constraints) for c in configs.values()}) == 1
    assert {name: c.searcher.name for name, c in configs.items()} == {
        "search": "evolution",
        "random": "random",
        "rivals": "grid",
    }
    # no arm of a run is an arm of the run with the next seed
    others = [c.changed(seed=seed) for seed in range(9) for c in [configs["search"].changed(baseline="random")]]
    seeds = [s for c in others for s in (c.seed, *(b.seed for b in searches_below(c, Ledger()).values()))]
    assert len(set(seeds)) == len(seeds) == 27
    assert {configs["random"].seed, configs["rivals"].seed} < set(seeds)
    for name, journal in events.items():
        done = {e["index"] for e in journal if e["event"] == "done"}
        asked = [e for e in journal if e["event"] == "asked" and e["index"] in done]
        assert Counter(e["epochs"] for e in asked) == {1: TRIALS - COUNT, 2: COUNT}, name
        assert all(0.82 * BUDGET <= e["macs"] <= BUDGET for e in asked)
    rivals = [e for e in events["rivals"] if e["event"] == "asked" and e["epochs"] == 1]
    assert [e["architecture"]["decisions"]["family"] for e in rivals] == list(FAMILIES)


def test_the_comparison_is_against_the_best_rival_and_the_best_that_is_as_quick(run):
    found, _ = run
    view = load_view(found.folder)
    rows = {row.role: row for row in view.scores()}
    best, quick = view.rivals.best(), best_in_time(view.ledger, view.rivals)
    assert best.proposal.epochs == 2
    keys = {final["role"]: final["key"] for final in view.ledger.finals}
    assert keys["handcrafted"] == best.key
    differ = quick is not None and quick.key != best.key
    assert set(rows) == {"search", "random", "handcrafted", *(["handcrafted_in_time"] if differ else [])}
    assert keys.get("handcrafted_in_time") == (quick.key if differ else None)
    assert {row.latency for row in rows.values()} == {0.5}
    texts = [verdict.text for verdict in search_verdicts(view) if "began with" not in verdict.text]
    assert texts[0].startswith("The search against random search: ")
    assert f"against the best handcrafted rival ({rows['handcrafted'].name}): " in texts[1]
    assert len(texts) == 3
    report = (found.folder / "report.md").read_text()
    assert "It is the best of 2 finalists, trained again for 2 epochs with another seed" in report
    for part in ("search", "finalists", "random search", "handcrafted rivals", "final comparison"):
        assert f"| {part} |" in report
    summary = json.loads((found.folder / "summary.json").read_text())
    assert list(summary["spent"]) == ["search", "finalists", "random search", "handcrafted rivals", "final comparison"]
    status = read_status(found.folder)
    assert {name: done for name, (done, _) in status.phases.items()} == {
        "search": 5,
        "finalists": 2,
        "random": 7,
        "rivals": 7,
        "final": len(view.ledger.finals),
    }
    assert status.phases["final"][0] == status.phases["final"][1]


@pytest.mark.long
@pytest.mark.parametrize("phase", CALLS)
def test_killed_in_any_phase_and_resumed_the_run_is_the_same(run, toy, tmp_path, phase):
    whole, folder = run[0].folder, tmp_path / "killed"

    def start():
        toy.calls, toy.kill_at = 0, CALLS[phase]
        SearchRun.create(folder, RunOptions(**PAYING)).execute()

    def resume():
        toy.kill_at = None
        assert SearchRun.resume(folder).execute() == "finished"

    assert in_child(start) == signal.SIGKILL
    at = read_status(folder)
    assert at.state == "killed"
    assert at.phase == phase.partition(" ")[0]
    assert at.facts()["phases"][at.phase]["done"] < at.facts()["phases"][at.phase]["total"]
    assert in_child(resume) == 0
    assert {**kept(folder), "run": without_reads(kept(folder)["run"])} == {
        **kept(whole),
        "run": without_reads(kept(whole)["run"]),
    }


def without_reads(events):
    """Leave out the reads of the test split: one that was killed is read twice, and both are told."""
    return [event for event in events if event["event"] != "test_read"]


def in_child(function):
    """Return the signal that ended a process in which ``function`` ran, or its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_random_search_asked_for_afterwards_is_compared_at_the_widths_it_found(toy, tmp_path):
    given = {**SETTINGS, "budget_macs": BUDGET, "against": ("none",), "baseline": "none", "final_seeds": 0}
    run = SearchRun.create(tmp_path / "run", RunOptions(**given))
    assert run.execute() == "finished"
    run.close()
    assert not (run.folder / "random").exists()
    asked = settings_from(("run",), {"dataset": "digits", "against_random": True})
    found, random = candidates_of(asked, tmp_path, lambda progress: None)
    best = fold(read(run.folder / "random" / "journal.jsonl"), 1).best()
    won = run.plan.ledger.best()
    assert won.width != best.width
    assert (found.macs, random.macs) == (won.macs, best.macs)


def test_named_networks_are_compared_at_about_the_size_of_the_winner(toy, tmp_path):
    names = ("efficientnet_b0", "resnet", "mobilenet_v2")
    given = {**SETTINGS, "space": "nb201", "width": 4, "depth": 1, "baseline": "none"}
    run = SearchRun.create(tmp_path / "run", RunOptions(**given, against=(",".join(names),)), write_outputs)
    assert run.execute() == "finished"
    rows = {row.role: row for row in load_view(run.folder).scores()}
    assert set(rows) == {"search", *(f"against {name}" for name in names)}
    for row in rows.values():
        assert 0.8 <= row.macs / rows["search"].macs <= 1
    assert not (run.folder / "rivals").exists()
    text = (run.folder / "report.md").read_text()
    assert all(f"The search against the handcrafted {name}" in text for name in names)


def test_against_none_leaves_handcrafted_networks_out(toy, tmp_path):
    for name, more in (("free", {"space": "nb201", "width": 4}), ("budget", {"budget_macs": BUDGET})):
        given = {**SETTINGS, **more, "against": ("none",), "trials": 2}
        run = SearchRun.create(tmp_path / name, RunOptions(**given))
        assert run.execute() == "finished"
        assert {final["role"] for final in run.plan.ledger.finals} == {"search", "random"}
        assert not (run.folder / "rivals").exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"against": ("resnte",)}, "did you mean 'resnet'"),
        ({"against": ("resnet,none",)}, "--against is names of networks or none"),
        ({"budget_macs": 300}, "budget"),
        ({"finalists": 7}, "they must be fewer than --trials 7"),
        ({"finalists": 2, "finalist_epochs": 1}, "must be more than --epochs 1"),
        ({"finalists": None, "finalist_epochs": 3}, "goes with --finalists"),
        ({"finalists": 2, "max_seconds": 9}, "--max-seconds may cut off"),
        ({"searcher": "nsga2"}, "they do not go with --searcher nsga2"),
    ],
)
def test_what_cannot_be_is_refused_before_the_search(changes, rule):
    with pytest.raises(ConfigError) as caught:
        build_search(with_defaults(RunOptions(**{**PAYING, **changes})))
    assert rule in str(caught.value)


def test_finalists_are_not_measured_again_against_the_limit_of_seconds():
    job = build_search(with_defaults(RunOptions(**PAYING, max_trial_seconds=3.0))).settings.job
    assert (job["full_epochs"], job["finalist_epochs"]) == (1, 2)


def test_finalists_that_failed_or_were_refused_are_told_apart(toy, tmp_path, monkeypatch):
    def no_second_training(job):
        if job.epochs > 1:
            raise EvaluationError("planted", TOO_SLOW)
        return toy(job)

    monkeypatch.setitem(
        EVALUATORS._items, "train", replace(EVALUATORS["train"], make=lambda config: no_second_training)
    )
    run = SearchRun.create(tmp_path / "run", RunOptions(**PAYING), write_outputs)
    assert run.execute() == "exhausted"
    status = read_status(run.folder)
    assert (status.phases["search"], status.phases["finalists"]) == ((TRIALS - COUNT, TRIALS - COUNT), (0, COUNT))
    # what it is compared with has no finalists either
    assert read(run.folder / "rivals" / "journal.jsonl")[0]["config"].get("finalists", 0) == 0
    assert "It is the best of" not in (run.folder / "report.md").read_text()


def test_a_forecast_counts_finalists_and_rivals():
    config = with_defaults(RunOptions(**{**PAYING, "finalist_epochs": 5}))
    found = Forecast(config, 10.0, 1)
    assert found.search == 10 * (5 * 1 + 2 * 5)
    assert (found.random, found.rivals) == (found.search, found.search)
    # search, random, the best rival and the best as quick, two seeds each
    assert found.worker_seconds == 3 * found.search + 4 * 2 * 10
    assert "(5 trials x 1 epoch + 2 finalists x 5 epochs) x 10.0 s" in found.text()
    plain = Forecast(with_defaults(RunOptions(**{**SETTINGS, "space": "nb201"})), 10.0, 1)
    assert (plain.rivals, plain.worker_seconds) == (0.0, 2 * 70 + 3 * 2 * 10)


def ledger_of(*rows):
    """Return a ledger of trials: key, epochs, reward and seconds of an epoch each."""
    ledger = Ledger()
    for index, (key, epochs, reward, seconds) in enumerate(rows):
        ledger.ask(Trial(index, Proposal(Architecture("toy", {"key": key}), epochs), key))
        metrics = Metrics(reward, seconds=epochs * seconds)
        ledger.apply({"event": "done", "index": index, **metrics.to_json(), "wall": 99.0})
    return ledger


def test_the_best_in_time_is_the_best_of_those_that_trained_as_quickly_as_the_winner():
    search = ledger_of(("slow", 1, 70, 1.0), ("won", 1, 60, 9.0), ("won", 2, 65, 5.0))
    rivals = ledger_of(("a", 1, 90, 5.1), ("b", 1, 80, 5.0), ("c", 1, 85, 8.0), ("c", 2, 70, 4.0), ("a", 2, 99, 6.0))
    # the quickest training counts: 5 for the winner, 4 for c; of most epochs first
    assert best_in_time(search, rivals).index == 3
    # of one epoch the winner took 9
    assert best_in_time(search, ledger_of(("a", 1, 90, 8.9))).index == 0
    assert best_in_time(search, ledger_of(("a", 1, 90, 9.1))) is None
    assert best_in_time(search, ledger_of(("a", 3, 90, 5.1))) is None
    assert best_in_time(Ledger(), rivals) is None


def test_an_unfinished_comparison_says_nothing_of_a_rival_whose_row_is_to_come(run):
    found, _ = run
    view = load_view(found.folder)
    view = replace(view, rivals=ledger_of(("best", 2, 99, 1e6), ("quick", 2, 60, 1e-6)), status="interrupted")
    del view.ledger.finals[2:]
    assert [verdict.text for verdict in search_verdicts(view) if "took" in verdict.text] == []
    slow = replace(view, rivals=ledger_of(("best", 2, 99, 1e6)))
    assert "No handcrafted rival took as few seconds" in search_verdicts(slow)[-1].text
    same = replace(view, rivals=ledger_of((view.ledger.best().key, 2, 99, 1e6)))
    assert search_verdicts(same)[-1].text == "The best handcrafted rival is the found network itself."


def test_parameter_importance_is_told_of_the_first_stage():
    pytest.importorskip("optuna")

    def trials(second):
        rows = [
            Trial(
                i,
                Proposal(Architecture("toy", {"x": i % 4}), 1),
                str(i),
                status="done",
                metrics=Metrics(i % 4 + i / 99),
            )
            for i in range(40)
        ]
        info = {"finalist_of": 39, "finalists": [39]}
        last = Trial(40, Proposal(rows[39].architecture, 2, info), "39", status="done", metrics=Metrics(5.0))
        return [*rows, last] if second else rows

    assert importance(trials(True)) == importance(trials(False)) is not None


def test_a_larger_budget_measures_the_latency_of_another_winner(toy, tmp_path, monkeypatch):
    def measured(graph, batch, threads, device):
        if len(seen) == 1 and not resumed:
            raise KeyboardInterrupt
        seen.append(graph)
        return latency.Latency(1, float(macs_of(graph)[1]), 5, "CPU", 1)

    monkeypatch.setattr(latency, "measure_latency", measured)
    for seed in range(9):
        seen, resumed = [], False
        run = SearchRun.create(tmp_path / str(seed), RunOptions(**{**PAYING, "seed": seed}))
        with pytest.raises(KeyboardInterrupt):
            run.execute()
        before, resumed = run.plan.ledger.best().key, True
        run = SearchRun.resume(run.folder, {"trials": 14})
        assert run.execute() == "finished"
        if run.plan.ledger.best().key != before:
            break
    assert run.plan.ledger.latencies["search"]["milliseconds"] == run.plan.ledger.best().macs


def test_a_network_far_from_the_winners_size_is_compared_all_the_same(toy, tmp_path):
    given = {**SETTINGS, "space": "nb201", "width": 1, "depth": 1, "baseline": "none", "trials": 1}
    run = SearchRun.create(tmp_path / "run", RunOptions(**given, against=("densenet121,resnet",)), write_outputs)
    assert run.execute() == "finished"
    rows = {row.role: row for row in load_view(run.folder).scores()}
    assert set(rows) == {"search", "against densenet121", "against resnet"}
    assert rows["against densenet121"].macs > 1.2 * rows["search"].macs


def test_families_without_a_network_of_the_budget_are_no_default_rivals():
    config = with_defaults(RunOptions(**{**SETTINGS, "dataset": "fashion-mini", "budget_macs": 20_000}))
    assert 0 < len(config.comparison.against) < len(FAMILIES)
    assert set(config.comparison.against) < set(FAMILIES)
    build_search(config)


@pytest.mark.parametrize("name", [*FAMILIES, "cifar_resnet", "resnet18"])
def test_a_named_network_has_about_the_macs_asked_for(name):
    task = DataConfig(dataset="digits").task()
    _, graph = network_near(name, task, 300_000)
    assert macs_of(graph)[1] == pytest.approx(300_000, rel=0.25)


def test_a_winner_that_the_search_was_given_is_called_so(run):
    found, _ = run
    view = load_view(found.folder)
    best, started = view.ledger.best(), [t for t in view.ledger.trials if "start" in t.proposal.info]
    told = [verdict.text for verdict in search_verdicts(view) if "began with" in verdict.text]
    names = [view.config.searcher.start_from[t.index] for t in started if t.key == best.key]
    assert told == [f"The winner is {name}, which the search began with: it found nothing better." for name in names]
    for trial in started:  # were they proposals of the searcher's
        view.ledger.trials[trial.index] = replace(trial, proposal=replace(trial.proposal, info={}))
    assert not any("began with" in verdict.text for verdict in search_verdicts(view))
