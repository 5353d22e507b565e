"""A limit on predicted seconds and a measured precision, from the command line to the report."""

from __future__ import annotations

from itertools import count

import pytest

import nas
from nas.cli.main import main
from nas.core.files import read_toml
from nas.engine.assemble import build_search, with_defaults, with_precision
from nas.engine.config import RunOptions
from nas.runs.journal import read

SMALL = [
    "--space",
    "nb201",
    "--width",
    "4",
    "--depth",
    "1",
    "--epochs",
    "1",
    "--searcher",
    "random",
    "--train-images",
    "200",
]
ALONE = ["--baseline", "none", "--final-seeds", "0", "--name", "one"]


@pytest.fixture
def speedup(monkeypatch):
    """Let bfloat16 be this many times faster where there is no GPU; return the list of what is still to be measured."""
    left = [1.3]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("nas.training.backend_tuning.bf16_speedup", lambda threads: left.pop())
    return left


def test_slow_trials_are_refused_and_told_of(tmp_path, monkeypatch, capsys):
    calls = count()
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", lambda *_, **how: (0.5, 7.0)[next(calls) % 2])
    monkeypatch.setattr("nas.engine.forecast.SAMPLES", 0)
    words = ["search", *SMALL, *ALONE, "--trials", "3", "--max-trial-seconds", "2.5", "--results-dir", str(tmp_path)]
    assert main(words) == 0
    assert "2 proposals refused as too slow" in capsys.readouterr().out
    events = read(tmp_path / "one" / "journal.jsonl")
    refused = [e for e in events if e["event"] == "refused"]
    assert [e["kind"] for e in refused] == ["too_slow"] * 2
    assert refused[0]["message"] == "training for 1 epoch would take about 7 s, over the limit of 2.5 s"
    assert [e["notes"]["predicted_seconds"] for e in events if e["event"] == "done"] == [0.5] * 3
    assert "2 refused (2 as too slow)" in (tmp_path / "one" / "report.md").read_text()
    page = (tmp_path / "one" / "report.html").read_text()
    assert "2 refused (2 as too slow)" in page
    assert "over the limit of 2.5 s" in page
    # what is journalled is not measured again
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", lambda *_, **how: pytest.fail("measured"))
    assert main(["resume", "one", "--results-dir", str(tmp_path)]) == 0


def test_the_limit_is_that_of_all_epochs_and_of_trials_alone():
    given = {"max_trial_seconds": 4, "epochs": 9, "scheduler": "halving", "space": "nb201", "depth": 1}
    parts = build_search(with_defaults(RunOptions.from_json(given)))
    assert (parts.settings.job["max_trial_seconds"], parts.settings.job["full_epochs"]) == (4, 9)
    assert not {"max_trial_seconds", "full_epochs"} & set(parts.final_job)


def test_a_precision_is_measured_once_and_recorded(tmp_path, speedup, capsys):
    words = ["search", *SMALL, "--searcher", "evolution", "--final-seeds", "0", "--name", "one", "--trials", "1"]
    assert (
        main([*words, "--precision", "auto", "--results-dir", str(tmp_path)]) == 0
    )  # its random search measures nothing
    assert speedup == []
    header = read(tmp_path / "one" / "journal.jsonl")[0]
    assert header["precision"] == {"chosen": "bf16", "speedup": 1.3}
    assert header["config"]["precision"] == read_toml(tmp_path / "one" / "config.toml")["precision"] == "bf16"
    assert read(tmp_path / "one" / "random" / "journal.jsonl")[0]["config"]["precision"] == "bf16"
    for name in ("report.md", "report.html"):
        report = (tmp_path / "one" / name).read_text()
        assert "Precision bf16: when the search began bf16 trained a small dense network 1.30 times as fast" in report
        assert "CPU (channels_last, bf16, fused)" in report


@pytest.mark.parametrize(("factor", "chosen"), [(1.09, "float32"), (1.1, "bf16"), (0.1, "float32")])
def test_bf16_must_be_a_tenth_faster(factor, chosen, speedup):
    speedup[:] = [factor]
    config, told = with_precision(with_defaults(RunOptions(precision="auto")))
    assert (config.train.precision, told) == (chosen, {"chosen": chosen, "speedup": factor})
    assert with_precision(config) == (config, {})


def test_gpus_measure_for_themselves(speedup):
    given = {"precision": "auto", "executor": "ray", "workers": 2, "gpus_per_trial": 0.5}
    config, told = with_precision(with_defaults(RunOptions.from_json(given)))
    assert (config.train.precision, told) == (None, {"chosen": None})


def test_a_study_goes_on_with_what_was_measured(tmp_path, speedup):
    def study(**settings):
        evaluator = nas.TrainEvaluator(train_images=200, epochs=1)
        how = {"searcher": "random", "folder": tmp_path / "one", "width": 4, "depth": 1}
        return nas.Study("nb201", evaluator, **how, **settings)

    assert study(precision="auto").run(1).queries == 1
    assert study(precision="auto").run(2).queries == 2
    with pytest.raises(nas.NasError, match="its precision is bf16, not float32"):
        study(precision="float32").run(2)


def test_nothing_is_said_where_nothing_is_asked():
    assert with_precision(config := with_defaults(RunOptions())) == (config, {})
    assert {"precision", "max_trial_seconds"}.isdisjoint(build_search(config).settings.job)
