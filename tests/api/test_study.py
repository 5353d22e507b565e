"""The Python page: studies in memory and on disk, and the same run seen from Python and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli.main import main
from nas.errors import ConfigError
from nas.runs.journal import read

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"space_args": {"nodes": 2}, "width": 2, "depth": 1}
TRAIN = nas.TrainEvaluator(dataset="digits", train_images=200, validation_images=100, epochs=1, threads=1)
FLAGS = "--space nasnet --space-arg nodes=2 --width 2 --depth 1 --epochs 1 --threads 1 --dataset digits "
FLAGS += "--validation-images 100 --baseline none --final-seeds 0 --searcher evolution --searcher-arg population=3"
FLAGS += " --train-images 200"


def bits(choose):
    """Six bits."""
    return [choose(f"bit{i}", [0, 1]) for i in range(6)]


def ones(job):
    """The number of ones."""
    return sum(job.architecture.decisions.values())


def of_trials(study_or_folder):
    """Return architectures and rewards, from a study or from a run's journal."""
    if isinstance(study_or_folder, nas.Study):
        return [(t.architecture.to_json(), t.reward) for t in study_or_folder.trials]
    events = read(study_or_folder / "journal.jsonl")
    rewards = {e["index"]: e["reward"] for e in events if e["event"] == "done"}
    return [(e["architecture"], rewards.get(e["index"])) for e in events if e["event"] == "asked"]


def command(words: str, results: Path) -> int:
    return main([*words.split(), "--results-dir", str(results)])


def test_a_study_goes_on_where_it_ended_in_memory_and_on_disk(tmp_path):
    seen = []

    def evaluate(job):
        seen.append(job.index)
        return ones(job)

    whole = nas.Study(bits, ones, "evolution", searcher_args={"population": 4})
    whole.run(trials=20)
    for folder in (None, tmp_path / "bits"):
        seen.clear()
        study = nas.Study(bits, evaluate, "evolution", searcher_args={"population": 4}, folder=folder)
        assert study.run(trials=8).queries == 8
        study.run(trials=20)
        assert of_trials(study) == of_trials(whole)
        assert len(seen) == len(set(seen)) == 20
        assert study.best.reward == whole.best.reward


def test_a_folder_is_gone_on_with_by_another_study_and_looked_at_by_any(tmp_path):
    nas.Study(bits, ones, "local", folder=tmp_path / "bits").run(trials=5)
    again = nas.Study(bits, ones, "local", folder=tmp_path / "bits")
    assert len(again.trials) == 5
    again.run(trials=9)
    loaded = nas.load_study(tmp_path / "bits")
    assert of_trials(loaded) == of_trials(again)
    with pytest.raises(ConfigError, match=r"its evaluator is the Python object 'ones'.*load_study"):
        loaded.run(trials=12)
    whole = nas.load_study(tmp_path / "bits", evaluator=ones, space=bits)
    whole.run(trials=12)
    assert len(whole.trials) == 12


@pytest.mark.long
def test_python_and_the_command_line_make_the_same_run_and_resume_each_others(tmp_path):
    assert command(f"search --name cli --trials 4 {FLAGS}", tmp_path) == 0
    settings = {"searcher_args": {"population": 3}, **SMALL}
    study = nas.Study("nasnet", TRAIN, "evolution", folder=tmp_path / "python", **settings)
    study.run(trials=4)
    assert of_trials(tmp_path / "python") == of_trials(tmp_path / "cli")
    headers = [read(tmp_path / name / "journal.jsonl")[0]["config"] for name in ("cli", "python")]
    assert headers[0] == headers[1]

    # each goes on with the other's, to the same trials
    assert command("resume python --trials 6", tmp_path) == 0
    nas.load_study(tmp_path / "cli").run(trials=6)
    assert of_trials(tmp_path / "python") == of_trials(tmp_path / "cli")
    assert len(of_trials(tmp_path / "cli")) >= 6
    assert command("resume python --trials 6", tmp_path) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run made in Python with the built-in training, and one with a user's own function."""
    results = tmp_path_factory.mktemp("results")
    nas.Study("nb201", TRAIN, "random", folder=results / "trained", width=2, depth=1).run(trials=2)
    nas.Study("nb201", lambda job: -job.params, "random", folder=results / "own", width=2, depth=1).run(trials=3)
    nas.Study(bits, ones, "random", folder=results / "bits").run(trials=3)
    return results


@pytest.mark.parametrize("name", ["trained", "own", "bits"])
def test_the_command_line_reads_what_python_made(made, name, capsys):
    assert command(f"status {name}", made) == 0
    assert f"{name}: finished" in capsys.readouterr().out
    assert command(f"report {name}", made) == 0
    assert {"report.html", "report.md", "summary.json", "config.toml"} <= {p.name for p in (made / name).iterdir()}
    assert main(["inspect", str(made / name)]) == 0
    assert command(f"export-optuna {name} -o {made / name}.log", made) == 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["trained", "own"])
def test_what_python_found_is_trained_exported_and_compared_by_the_command_line(made, name):
    tiny = "--dataset digits --train-images 120 --epochs 1 --threads 1"
    assert command(f"train {name} {tiny} --batch-size 20 --name {name}-trained", made) == 0
    assert command(f"export {name} -o {made / name}-files --formats py", made) == 0
    assert command(f"compare {name} resnet20_cifar {tiny} --seeds 1 --name {name}-compared", made) == 0


def test_a_run_of_a_python_object_names_it_when_it_is_resumed(made, capsys):
    assert command("resume own --trials 5", made) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'own'" in error
    assert "its evaluator is the Python object" in error
    assert "nas.load_study(folder, evaluator=...)" in error


def test_a_searcher_and_a_space_of_ones_own_are_named_in_the_journal(tmp_path):
    class First:
        """Proposes random points."""

        def ask(self, history, rng):
            return nas.Proposal(nas.get_space(bits).sample(rng))

    nas.Study(bits, ones, First(), folder=tmp_path / "mine").run(trials=2)
    header = read(tmp_path / "mine" / "journal.jsonl")[0]
    assert header["objects"] == {"evaluator": "ones", "space": "bits", "searcher": "First"}


@pytest.mark.long
def test_constraints_and_the_front_are_kept(tmp_path):
    def convolutions(job):
        return list(job.architecture.decisions.values()).count("nor_conv_3x3")

    limits = nas.Constraints(params=20_000)
    study = nas.Study("nb201", convolutions, "random", constraints=limits, width=8, depth=1)
    study.run(trials=40)
    evaluated = [t for t in study.trials if t.status == "done"]
    assert all(t.params <= 20_000 for t in evaluated)
    front = study.pareto_front("macs")
    # by hand: nothing has at least the reward and at most the MACs, and one of them better
    beaten = {
        t.index
        for t in evaluated
        for o in evaluated
        if o.reward >= t.reward and o.macs <= t.macs and (o.reward, o.macs) != (t.reward, t.macs)
    }
    assert {(t.reward, t.macs) for t in front} == {(t.reward, t.macs) for t in evaluated if t.index not in beaten}


def test_a_table_is_an_evaluator(tmp_path):
    import numpy as np

    table = {"names": np.array(["a", "b"]), "options": np.array(json.dumps({"a": ["x", "y"], "b": ["x", "y", "z"]}))}
    choices = np.array([[i, j] for i in range(2) for j in range(3)], np.uint8)
    np.savez(tmp_path / "toy.npz", choices=choices, val=np.arange(6.0), test=np.arange(6.0) + 1, **table)
    evaluator = nas.TableEvaluator(tmp_path / "toy.npz", val="val", test="test")
    study = nas.Study("table", evaluator, "random", folder=tmp_path / "run")
    study.run(trials=6)
    assert study.best.reward == 5
    assert dict(study.best.architecture.decisions) == {"a": "y", "b": "z"}


def test_the_rows_of_a_dataframe_are_the_trials(tmp_path):
    study = nas.Study(bits, ones, "random")
    study.run(trials=4)
    try:
        import pandas  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="needs pandas"):
            study.to_dataframe()
        return
    frame = study.to_dataframe()
    assert list(frame["reward"]) == [t.reward for t in study.trials]
    assert list(frame["decisions.bit0"]) == [t.architecture["bit0"] for t in study.trials]


@pytest.mark.long
def test_a_study_compares_its_best_with_random_search_and_a_resnet(tmp_path):
    study = nas.Study("nb201", TRAIN, "evolution", folder=tmp_path / "found", width=2, depth=1)
    study.run(trials=3)
    found = study.compare(seeds=2, epochs=1)
    assert [row.kind for row in sorted(found.rows, key=lambda r: r.name)].count("random") == 1
    assert any("ResNet" in row.name for row in found.rows)
    assert found.seeds == 2


@pytest.mark.long
def test_what_follows_a_search_is_a_function_each(tmp_path):
    nas.Study("nb201", TRAIN, "random", folder=tmp_path / "found", width=2, depth=1).run(trials=2)
    tiny = {"dataset": "digits", "train_images": 120, "epochs": 1, "batch_size": 20, "results_dir": tmp_path}
    trained = nas.train("found", name="t", **tiny)
    assert trained.status == "finished"
    tuned = nas.finetune("t", name="f", **tiny)
    assert tuned.status == "finished"
    assert (nas.export("t", tmp_path / "files", ["py"], results_dir=tmp_path) / "model_card.md").is_file()
    family = nas.scale("resnet18", phi=(0, 1), num_classes=10, input_shape=(3, 32, 32))
    assert [member.phi for member in family] == [0, 1]


@pytest.mark.long
def test_a_run_is_made_by_python_m_nas(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nas", "list", "spaces"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "nb201" in done.stdout
