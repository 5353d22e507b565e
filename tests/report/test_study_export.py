"""A run as an Optuna study, and the importance of its decisions."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from nas import space_of
from nas.cli.main import main
from nas.errors import ConfigError
from nas.report.decision_importance import BEST_LEAST, BEST_SHARE, LEAST, importance
from nas.report.optuna_export import export_study, optuna_trials
from nas.runs.journal import Journal
from nas.types import Architecture, Failure, Metrics, Proposal, Trial

optuna = pytest.importorskip("optuna")
SPACE = space_of("nb201")


@pytest.fixture
def run(tmp_path):
    """A run of 30 trials with every status, as its journal alone."""
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(json.dumps({"date": "2026-01-02T03:04:05+00:00"}))
    journal = Journal.create(folder / "journal.jsonl", {"config": {"space": "nb201", "seed": 7}})
    draw = np.random.default_rng(0)
    for index in range(30):
        asked = {"event": "asked", "index": index, "key": f"key{index if index != 9 else 2}", "epochs": 3}
        journal.append([{**asked, "params": 100 + index, "macs": 5, "architecture": SPACE.sample(draw).to_json()}])
        journal.append([_ending(index)] if index < 29 else [])
    journal.close()
    return folder


def _ending(index):
    if index == 5:
        return {"event": "failed", "index": 5, "kind": "diverged", "message": "NaN", "wall": 1.0}
    if index == 9:
        return {"event": "reused", "index": 9, "of": 2}
    if index == 12:
        return {"event": "refused", "index": 12, "kind": "over_limit", "message": "params"}
    done = {"event": "done", "index": index, "reward": index / 7, "values": {"loss": 0.5}}
    return {**done, "seconds": 2.0, "simulated": False, "wall": 2.0}


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".log", ".db"])
def test_an_exported_study_holds_every_trial(run, tmp_path, suffix):
    output = tmp_path / f"study{suffix}"
    assert main(["study", "mine", "--results-dir", str(run.parent), "-o", str(output)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results", output.name]
    study = optuna.load_study(study_name="mine", storage=_storage(output))
    assert study.user_attrs == {"space": "nb201", "seed": 7}
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    states = [t.state.name for t in study.trials]
    assert [i for i, s in enumerate(states) if s != "COMPLETE"] == [5, 12, 29]
    assert (states[5], states[12], states[29]) == ("FAIL", "FAIL", "RUNNING")
    draw = np.random.default_rng(0)
    for index, trial in enumerate(study.trials):
        assert trial.params == dict(SPACE.sample(draw).decisions)
        assert trial.user_attrs["params"] == 100 + index
        assert trial.user_attrs["epochs"] == 3
    assert study.trials[20].value == 20 / 7
    assert study.trials[9].value == 2 / 7
    assert study.trials[9].user_attrs["of"] == 2
    assert study.trials[5].user_attrs["failure"] == "diverged: NaN"
    assert study.trials[20].user_attrs["loss"] == 0.5
    assert [t.duration.total_seconds() for t in study.trials[1:6]] == [2, 2, 2, 2, 1]
    assert study.trials[1].datetime_start == study.trials[0].datetime_complete
    assert study.best_trial.number == 28
    found = optuna.importance.get_param_importances(study)
    assert set(found) == set(SPACE.sample(draw).decisions)


def _storage(path):
    if path.suffix == ".log":
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return f"sqlite:///{path}"


def test_an_existing_file_is_not_overwritten(run, tmp_path, capsys):
    output = tmp_path / "study.log"
    output.write_text("mine")
    assert main(["study", "mine", "--results-dir", str(run.parent), "-o", str(output)]) == 2
    assert "the file exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"


@pytest.mark.parametrize(("name", "message"), [("s.txt", "ends in .log, .db, .sqlite3"), ("no/s.db", "does not exist")])
def test_a_wrong_file_is_refused(run, tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        export_study(run, tmp_path / name)


def test_a_failed_export_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(self, trials):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(optuna.Study, "add_trials", fail)
    for suffix in (".log", ".db"):
        with pytest.raises(ConfigError, match=r"cannot write .*No space left"):
            export_study(run, tmp_path / f"study{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def trials_of(score, decisions):
    return [
        Trial(i, Proposal(Architecture("s", d), 3), str(i), "done", Metrics(score(dict(d))))
        for i, d in enumerate(decisions)
    ]


def grid():
    names = ("a", "b", "c")
    return [tuple(zip(names, point, strict=True)) for point in itertools.product(range(4), repeat=3)]


def test_the_decision_that_alone_matters_has_all_the_importance():
    found = importance(trials_of(lambda d: -abs(d["b"] - 2), grid()))
    assert found.shares[0][0] == "b"
    assert found.shares[0][1] > 0.8
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert (found.trials, found.good) == (64, 16)  # the seven best have nine equals


def test_conditional_decisions_count_within_the_trials_that_made_them():
    decisions = [d if dict(d)["a"] else d[:2] for d in grid()]
    found = importance(trials_of(lambda d: float(d["b"] * 10 + d.get("c", 0)), decisions))
    assert found.present == {"a": 64, "b": 64, "c": 48}


def test_where_nothing_can_be_said_nothing_is():
    some = grid()[: LEAST - 1]
    assert importance(trials_of(lambda d: float(d["b"]), some)) is None
    assert importance(trials_of(lambda d: 1.0, grid())) is None
    assert importance([]) is None
    failed = [
        Trial(i, Proposal(Architecture("s", d)), "", "failed", failure=Failure("error", ""))
        for i, d in enumerate(grid())
    ]
    assert importance(failed) is None


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_optuna_says(seed):
    """A second implementation: conditional decisions, options of unlike types, ties, options that nothing good has."""
    draw = np.random.default_rng(seed)
    decisions = []
    for _ in range(int(draw.integers(25, 120))):
        pairs = [("a", int(draw.integers(3))), ("b", ["x", "y", 1, 0.5, None][int(draw.integers(5))])]
        pairs += [("c", int(draw.integers(2)))] * (pairs[0][1] > 0) + [("one", "only")]
        decisions.append(tuple(pairs))
    values = {d: round(float(draw.normal()) + d[0][1], 1) for d in decisions}
    trials = trials_of(lambda d: values[tuple(d.items())], decisions)
    study = optuna.create_study(direction="maximize")
    study.add_trials(optuna_trials(trials))
    share = max(BEST_SHARE, BEST_LEAST / len(trials))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    found = dict(importance(trials).shares)
    assert found == pytest.approx(expected, abs=1e-9)
    assert list(found) == sorted(found, key=lambda name: (-found[name], name))


def test_the_importance_is_the_same_every_time():
    trials = trials_of(lambda d: float(d["b"] * d["c"] + d["a"]), grid())
    assert importance(trials) == importance(trials)


def test_the_report_has_a_table_of_it(run):
    from nas.report.markdown import report_text
    from nas.report.run_view import load_view

    text = report_text(load_view(run), [])
    assert "## Parameter importance" in text
    assert text == report_text(load_view(run), [])
    rows = [line for line in text.split("\n") if line.startswith("| `edge_")]
    assert len(rows) == 6
