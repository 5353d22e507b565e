"""A study of Optuna is what the search was: its objectives, all options of its decisions, its rungs."""

from __future__ import annotations

import numpy as np
import pytest
from tracked_searches import PLUGIN

import nas
from nas.report.optuna_export import export_study
from nas.runs.journal import read
from nas.searchers.pareto import final_front

optuna = pytest.importorskip("optuna")
from optuna.trial import TrialState  # noqa: E402

pytestmark = pytest.mark.long


def choices(choose):
    """Four decisions, one of them where another allows it."""
    kind = choose("kind", ["a", "b", "c"])
    found = [choose("size", [16, 8, 4, 2]), choose("shape", [(1, 2), (2, 1)])]
    return [kind, *found, *([choose("extra", [0.5, 0.25])] if kind == "c" else [])]


def cost(decisions):
    return float(decisions["size"] + 3 * ("abc".index(decisions["kind"])) + decisions["shape"][0])


def evaluate(job):
    """A reward that rises with the cost, but not evenly, and with the epochs."""
    decisions = dict(job.architecture.decisions)
    reward = cost(decisions) ** 0.5 + ("abc".index(decisions["kind"]) == 1) + job.epochs / 10
    return nas.Metrics(reward, {"latency": cost(decisions), "energy": 20 - decisions["size"]}, seconds=1.0)


def exported(folder, suffix=".db"):
    output = folder.parent / f"{folder.name}{suffix}"
    count = export_study(folder, output)
    if suffix == ".log":
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(output)))
    else:
        storage = f"sqlite:///{output}"
    study = optuna.load_study(study_name=folder.name, storage=storage)
    assert len(study.trials) == count
    return study


@pytest.mark.parametrize("suffix", [".db", ".log"])
@pytest.mark.parametrize(("names", "limits"), [("latency", ""), ("latency,energy", ""), ("latency", "latency<=12")])
def test_a_search_in_several_objectives_keeps_them_all(tmp_path, names, limits, suffix):
    args = {"objectives": names, "limits": limits, "initial": 5}
    nas.Study(choices, evaluate, "nsga2", folder=tmp_path / "several", seed=1, searcher_args=args).run(30)
    study, objectives = exported(tmp_path / "several", suffix), names.split(",")
    assert [d.name for d in study.directions] == ["MAXIMIZE", *["MINIMIZE"] * len(objectives)]
    assert study.metric_names == ["reward", *objectives]
    trials = nas.load_study(tmp_path / "several").trials
    bounds = {"latency": 12.0} if limits else {}
    ours = {trial.index for trial in final_front(trials, objectives, bounds)}
    theirs = {t.number for t in study.best_trials if "of" not in t.user_attrs}
    assert theirs == ours
    assert len(ours) > 1
    for target in range(len(study.directions)):
        found = optuna.importance.get_param_importances(study, target=lambda t, k=target: t.values[k])
        assert sum(found.values()) == pytest.approx(1)
        assert {"kind", "size", "shape"} <= set(found)


def test_distributions_hold_every_option_of_the_space_though_few_occurred(tmp_path):
    space = nas.get_space("nb201")
    nas.Study("nb201", lambda job: float(job.index), "random", folder=tmp_path / "few", seed=0).run(2)
    study = exported(tmp_path / "few")
    trials = nas.load_study(tmp_path / "few").trials
    space.sample(np.random.default_rng(0))  # which makes the space say its options
    for trial, ours in zip(study.trials, trials, strict=True):
        assert trial.params == dict(ours.architecture.decisions)
        for name, distribution in trial.distributions.items():
            assert distribution.choices == space.options(name)
    assert study.metric_names == ["reward"]


def test_of_a_space_that_is_not_at_hand_those_that_occurred(tmp_path):
    nas.Study(choices, evaluate, "random", folder=tmp_path / "own", seed=0).run(12)
    study, trials = exported(tmp_path / "own"), nas.load_study(tmp_path / "own").trials
    occurred = {trial.architecture.decisions["size"] for trial in trials}
    assert study.trials[0].distributions["size"].choices == tuple(sorted(occurred))
    assert set(study.trials[0].distributions["shape"].choices) <= {"[1, 2]", "[2, 1]"}


def test_a_space_that_has_other_options_today_is_not_believed(tmp_path, monkeypatch):
    from nas.space import SPACES

    monkeypatch.setattr(SPACES, "_items", dict(SPACES._items))
    nas.register_space("changing")(lambda choose: [choose("a", [1, 2, 3])])
    nas.Study("changing", lambda job: 1.0 * job.index, "random", folder=tmp_path / "old", seed=0).run(3)
    assert exported(tmp_path / "old").trials[0].distributions["a"].choices == (1, 2, 3)
    del SPACES._items["changing"]
    nas.register_space("changing")(lambda choose: [choose("a", [7, 8])])
    (tmp_path / "old.db").unlink()
    assert exported(tmp_path / "old").trials[0].distributions["a"].choices == (1, 2, 3)


@pytest.mark.parametrize("scheduler", ["halving", "asha", "hyperband"])
def test_a_trial_and_its_promotions_are_one_with_a_value_for_every_rung(tmp_path, scheduler):
    settings = {"scheduler": scheduler, "epochs": 9, "folder": tmp_path / "rungs", "seed": 2}
    nas.Study(choices, evaluate, "random", **settings).run(25)
    study = exported(tmp_path / "rungs")

    # by brute force from the journal's events: what continued what, and its reward
    events = read(tmp_path / "rungs" / "journal.jsonl")
    asked = {e["index"]: e for e in events if e["event"] == "asked"}
    rewards = {e["index"]: e["reward"] for e in events if e["event"] == "done"}
    rewards |= {e["index"]: rewards[e["of"]] for e in events if e["event"] == "reused"}
    chains = {index: [index] for index, e in asked.items() if e.get("continue_from") is None}
    for index, event in asked.items():
        for chain in chains.values():
            if event.get("continue_from") in chain and index not in chain:
                chain.append(index)
    assert [t.user_attrs["index"] for t in study.trials] == list(chains)
    assert sum(map(len, chains.values())) == len(asked)
    for trial, chain in zip(study.trials, chains.values(), strict=True):
        assert trial.intermediate_values == {asked[index]["epochs"]: rewards[index] for index in chain}
        assert trial.value == rewards[chain[-1]]
        assert trial.state == (TrialState.COMPLETE if asked[chain[-1]]["epochs"] == 9 else TrialState.PRUNED)
        assert trial.user_attrs.get("continued_by", []) == chain[1:]
    best = nas.load_study(tmp_path / "rungs").best
    assert study.best_trial.value == best.reward
    assert {TrialState.COMPLETE, TrialState.PRUNED} == {t.state for t in study.trials}


def test_a_trial_without_an_objective_has_failed(tmp_path):
    from nas.report.optuna_export import optuna_trials
    from nas.types import Architecture, Metrics, Proposal, Trial

    def trial(index, values):
        return Trial(index, Proposal(Architecture("s", {"a": index}), 3), str(index), "done", Metrics(1.0, values))

    known, lacking = optuna_trials([trial(0, {"latency": 2.0}), trial(1, {})], objectives=["latency"])
    assert known.values == [1.0, 2.0]
    assert lacking.state == TrialState.FAIL
    assert "unknown objective 'latency'" in lacking.user_attrs["failure"]


def test_the_plugin_of_a_space_says_its_options_where_it_is_named(tmp_path, monkeypatch):
    from nas.cli.main import main
    from nas.evaluators import EVALUATORS
    from nas.space import SPACES
    from nas.trackers import TRACKERS

    for registry in (EVALUATORS, SPACES, TRACKERS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    plugin, results = tmp_path / "options_plugin.py", tmp_path / "results"
    plugin.write_text(PLUGIN.replace("[0, 1]", "[0, 1, 2, 3]"))
    common = ["--plugin", str(plugin), "--results-dir", str(results)]
    words = "search --space few_bits --evaluator bits --searcher random --trials 1 --name one"
    assert main([*words.split(), *common]) == 0
    assert main(["export-optuna", "one", "-o", str(tmp_path / "one.db"), *common]) == 0
    study = optuna.load_study(study_name="one", storage=f"sqlite:///{tmp_path / 'one.db'}")
    assert {d.choices for d in study.trials[0].distributions.values()} == {(0, 1, 2, 3)}
