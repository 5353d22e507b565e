"""Comparisons: what is trained, journalled and gone on with, and what comes out of it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from nas.cli.main import main
from nas.engine.random_streams import FINAL, derive
from nas.errors import ConfigError
from nas.evaluators.test_split import read_predictions, train_final
from nas.evaluators.train import TrainSettings
from nas.graph import BatchNorm, Conv, Flatten, GraphBuilder, Linear, Relu
from nas.report.statistics import paired
from nas.runs.journal import read
from nas.runs.run_folder import RunFolder
from nas.workflows.compare.ensembles import ensemble_accuracy
from nas.workflows.compare.outputs import published_section, write_comparison
from nas.workflows.compare.recipe_effects import effects
from nas.workflows.compare.result import Comparison, PublishedTable
from nas.workflows.compare.run import ComparisonRun
from nas.workflows.compare.settings import CompareSettings, settings_from
from nas.workflows.compare.view import PREDICTIONS

RAY = ["--executor", "ray", "--workers", "2", "--gpus-per-trial", "0", "--threads", "1"]
SHORT = ["--dataset", "digits", "--train-images", "200", "--epochs", "1", "--seeds", "2"]


def linear():
    b = GraphBuilder((1, 8, 8))
    return b.build(logits=b(Linear(10), b(Flatten(), b.input), name="classifier"))


def convolution(width=4, classes=10):
    b = GraphBuilder((1, 8, 8))
    x = b(Relu(), b(BatchNorm(), b(Conv(width, 3, padding=1), b.input)))
    return b.build(logits=b(Linear(classes), b(Flatten(), x), name="classifier"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with graphs and recipes, which becomes the current one."""
    graphs = {"linear": linear(), "narrow": convolution(), "twin": convolution(), "wide": convolution(8)}
    graphs["other"] = convolution(4, classes=7)
    for name, graph in graphs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(graph.to_json()))
    plain = {"epochs": 2, "batch_size": 32, "crop_padding": 0, "flip": False, "warmup_epochs": 0}
    for name, rate in (("slow", 0.001), ("fast", 0.1)):
        (tmp_path / f"{name}.recipe.json").write_text(json.dumps({**plain, "learning_rate": rate}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*arguments, name="c"):
    assert main(["compare", *arguments, "--name", name]) == 0
    return outcome(name)


def outcome(name="c"):
    with open(f"results/{name}/compare.json") as file:
        return json.load(file)


def events(name, kind):
    return [event for event in read(_folder(name) / "journal.jsonl") if event["event"] == kind]


def _folder(name):
    return Path("results") / name


def row(data, name, recipe="default"):
    (found,) = (r for r in data["rows"] if (r["name"], r["recipe"]) == (name, recipe))
    return found


def test_two_networks_are_trained_alike_and_tested_once_a_seed(files, capsys):
    data = compare("./linear.json", "./narrow.json", *SHORT)
    assert (data["format"], data["status"], data["test_reads"]) == ("nas/compare/1", "finished", 4)
    assert len(events("c", "final")) == len(events("c", "test_read")) == 4
    settings = TrainSettings("digits", threads=1, train_images=200)
    for name, graph in (("linear", linear()), ("narrow", convolution())):
        expected = [train_final(graph, settings, 1, derive(0, n, 0, FINAL)).test_accuracy for n in range(2)]
        assert row(data, name)["scores"] == expected
    narrow, first = row(data, "narrow"), row(data, "linear")
    assert narrow["difference"]["mean"] == pytest.approx(narrow["mean"] - first["mean"])
    assert first["difference"] is None
    assert (first["params"], first["macs"]) == (650, 640)
    assert all(milliseconds > 0 for r in data["rows"] for milliseconds in r["latency"].values())
    assert data["ensembles"] == data["published"] == data["against_random"] == []
    printed = capsys.readouterr().out
    assert "narrow against linear" in printed
    assert "neither the Wilcoxon nor the permutation test can fall below 0.5" in printed


def test_a_read_of_the_test_split_is_journalled_before_its_score(files):
    compare("./linear.json", "./narrow.json", *SHORT)
    open_reads = []
    for event in read(_folder("c") / "journal.jsonl"):
        label = tuple(event.get(name) for name in ("role", "number", "recipe"))
        if event["event"] == "test_read":
            open_reads.append(label)
        elif event["event"] == "final":
            assert label in open_reads


def test_the_table_is_what_the_json_says(files):
    data = compare("./linear.json", "./narrow.json", *SHORT)
    with (files / "results/c/compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["name"] for r in rows] == [r["name"] for r in data["rows"]]
    for line, found in zip(rows, data["rows"], strict=True):
        assert float(line["mean"]) == found["mean"]
        assert [float(line[f"seed_{n}"]) for n in range(2)] == found["scores"]
        assert (line["difference"] == "") == (found["difference"] is None)
    report = (files / "results/c/report.md").read_text()
    assert all(f"{found['mean']:.2f}" in report for found in data["rows"])
    assert "test scores read: 4" in report


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_stopped_comparison_goes_on_and_trains_nothing_twice(files, stop_after):
    whole = compare("./linear.json", "./narrow.json", *SHORT)
    given = {"dataset": "digits", "train_images": 200, "epochs": 1, "seeds": 2}
    settings = settings_from(("./linear.json", "./narrow.json"), given)
    run = ComparisonRun.create(files / "results" / "s", settings)

    def observe(progress):
        if progress.phase == "comparison" and progress.done >= stop_after:
            run.stop()

    assert run.execute(observe) == "interrupted"
    assert len(events("s", "final")) == stop_after
    assert outcome("s")["status"] == "interrupted"
    (files / "linear.json").unlink()  # a comparison keeps what it compares
    assert main(["resume", "s"]) == 0
    assert [r["scores"] for r in outcome("s")["rows"]] == [r["scores"] for r in whole["rows"]]
    assert outcome("s")["test_reads"] == 4
    assert len(events("s", "latency")) == 4
    assert main(["report", "s"]) == 0


def test_a_comparison_that_ctrl_c_has_ended_early_says_so(files, monkeypatch):
    original = RunFolder.execute

    def execute(run, observe):
        return original(run, lambda progress: run.stop() if progress.phase == "comparison" and progress.done else None)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "execute", execute)
        assert main(["compare", "./linear.json", "./narrow.json", *SHORT, "--name", "c"]) == 130
    assert outcome()["status"] == "interrupted"
    assert main(["resume", "c"]) == 0


@pytest.mark.long
def test_a_killed_comparison_goes_on_from_any_event(files):
    whole = compare("./linear.json", "./narrow.json", *SHORT, "--ensemble", "2")
    lines = (files / "results/c/journal.jsonl").read_text().splitlines(keepends=True)
    for kept in (1, 4, 6, 8):
        (files / "results/c/journal.jsonl").write_text("".join(lines[:kept]))
        assert main(["resume", "c"]) == 0
        again = outcome()
        assert [r["scores"] for r in again["rows"]] == [r["scores"] for r in whole["rows"]]
        assert [e["scores"] for e in again["ensembles"]] == [e["scores"] for e in whole["ensembles"]]


def test_equal_networks_are_trained_once_for_all_and_do_not_differ(files):
    data = compare("./narrow.json", "./twin.json", *SHORT, "--ensemble", "2")
    assert data["test_reads"] == 2
    difference = row(data, "twin")["difference"]
    assert (difference["mean"], difference["p"], difference["verdict"]) == (0.0, 1.0, "no difference found")
    together = next(e for e in data["ensembles"] if e["of"] == "candidates")
    assert together["scores"] == row(data, "narrow")["scores"]


def test_recipe_and_architecture_are_told_apart(files):
    recipes = ["--recipe", "./slow.recipe.json", "--recipe", "./fast.recipe.json"]
    data = compare("./linear.json", "./narrow.json", *recipes, "--dataset", "digits", "--seeds", "2")
    assert [recipe["name"] for recipe in data["recipes"]] == ["slow.recipe.json", "fast.recipe.json"]
    assert len(data["rows"]) == 4
    found = data["effects"]
    means = [[row(data, name, r["name"])["mean"] for r in data["recipes"]] for name in ("linear", "narrow")]
    assert found["cells"] == pytest.approx(np.array(means))
    slow, fast = found["recipes"]
    assert fast["mean"] - slow["mean"] == pytest.approx(fast["difference"]["mean"])
    assert fast["difference"]["mean"] > 5
    report = (files / "results/c/report.md").read_text()
    assert "## Recipe and architecture apart" in report
    assert report.count("## Under the recipe") == 2


def test_effects_are_those_of_a_two_way_table():
    rng = np.random.default_rng(0)
    table = 90 + np.array([0.0, 1, 4])[:, None, None] + np.array([0.0, 8])[None, :, None] + rng.normal(0, 1, (3, 2, 4))
    scores = [[dict(enumerate(cell)) for cell in line] for line in table]
    found = effects("abc", ["r", "s"], scores)
    assert found.grand == pytest.approx(table.mean())
    assert [c.effect for c in found.candidates] == pytest.approx(table.mean((1, 2)) - table.mean())
    assert found.recipes[1].difference.mean == pytest.approx(table[:, 1].mean() - table[:, 0].mean())
    own = paired(table[2].mean(0).tolist(), table[0].mean(0).tolist())
    assert found.candidates[2].difference.p == own.p
    assert sum(vars(found.shares).values()) == pytest.approx(1)
    assert found.shares.recipes > found.shares.candidates > found.shares.interplay


def test_effects_need_two_recipes_and_a_seed_that_all_have():
    assert effects("ab", ["r"], [[{0: 1.0}], [{0: 2.0}]]) is None
    assert effects("ab", ["r", "s"], [[{0: 1.0}, {}], [{0: 2.0}, {0: 1.0}]]) is None
    found = effects("ab", ["r", "s"], [[{0: 1.0, 1: 5.0}, {0: 1.0}], [{0: 1.0}, {0: 1.0}]])
    assert (found.seeds, found.shares) == ([0], None)


def test_an_ensemble_is_the_mean_of_probabilities_from_the_same_reads(files):
    data = compare("./linear.json", "./narrow.json", "./wide.json", *SHORT, "--ensemble", "2")
    assert data["test_reads"] == 6
    kept = {}
    for index, name in enumerate(("linear", "narrow", "wide")):
        for number in range(2):
            path = files / "results/c" / PREDICTIONS / f"{index}-0-{number}.safetensors"
            kept[name, number] = read_predictions(path.read_bytes(), "")
            probabilities, labels = kept[name, number]
            assert probabilities.sum(1) == pytest.approx(np.ones(len(labels)), abs=1e-4)
            # each network's own predictions are those that its score was counted from
            assert 100 * np.mean(probabilities.argmax(1) == labels) == pytest.approx(row(data, name)["scores"][number])
    together = next(e for e in data["ensembles"] if e["of"] == "candidates")
    assert together["members"] == [r["name"] for r in data["rows"][:2]]
    assert together["chosen"]
    labels = kept["linear", 0][1]
    for number, score in enumerate(together["scores"]):
        mean = sum(kept[name, number][0] for name in together["members"])
        assert score == pytest.approx(100 * np.mean(mean.argmax(1) == labels))
    seeds = [e for e in data["ensembles"] if e["of"] == "seeds"]
    assert [e["name"] for e in seeds] == ["linear", "narrow", "wide"]
    assert all(len(e["members"]) == 2 for e in seeds)
    assert "flatters their ensemble" in (files / "results/c/report.md").read_text()


def test_what_no_recipe_has_a_place_for_is_told_under_each(files):
    for name in ("slow", "fast"):
        path = files / f"{name}.recipe.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "drop_path": 0.2}))
    recipes = ["--recipe", "./slow.recipe.json", "--recipe", "./fast.recipe.json"]
    data = compare("./narrow.json", "./twin.json", *recipes, *SHORT, "--seeds", "1")
    assert [r["not_applied"] for r in data["rows"]] == [["drop_path"]] * 4
    assert (files / "results/c/report.md").read_text().count("has no place for drop_path") == 4


def test_published_rows_keep_their_remarks():
    found = {"network": "A", "top1_accuracy": 70.0, "source": "a paper"}
    text = published_section(PublishedTable("t", "T", [{**found, "remark": "differs"}, {**found, "remark": None}]))
    assert text.splitlines()[-4:] == [
        "| network | top-1, % | source | remark |",
        "|---|---:|---|---|",
        "| A | 70 | a paper | differs |",
        "| A | 70 | a paper |  |",
    ]


def test_an_ensemble_of_other_images_is_none():
    even = np.full((3, 2), 0.5, np.float32)
    assert ensemble_accuracy([(even, np.array([0, 1, 0])), (even, np.array([0, 1, 1]))]) is None
    sure = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], np.float32)
    assert ensemble_accuracy([(even, np.array([0, 1, 0])), (sure, np.array([0, 1, 0]))]) == pytest.approx(200 / 3)


def test_a_network_that_diverges_has_no_score_and_keeps_nothing_from_the_report(files):
    (files / "wild.recipe.json").write_text(json.dumps({"learning_rate": 1e30, "epochs": 1, "clip_norm": 0}))
    assert (
        main(["compare", "./linear.json", "./wide.json", "--recipe", "./wild.recipe.json", "--name", "w", *SHORT]) == 1
    )
    data = outcome("w")
    assert [r["mean"] for r in data["rows"]] == [None, None]
    assert all("diverged" in message for r in data["rows"] for message in r["failures"])
    assert "diverged" in (files / "results/w/report.md").read_text()


def test_one_seed_says_nothing_of_noise(files):
    data = compare("./linear.json", "./narrow.json", *SHORT, "--seeds", "1")
    assert row(data, "narrow")["difference"]["verdict"] == "one seed"
    assert "a single pair says nothing of noise" in (files / "results/c/report.md").read_text()


WRONG = [
    (["./linear.json"], "there is nothing to compare"),
    (["./linear.json", "./linear.json"], "candidate './linear.json' is given twice"),
    (["./linear.json", "resnet81"], "did you mean 'resnet18'"),
    (["./linear.json", "./none.json"], "does not exist"),
    (["./linear.json", "./other.json"], r"candidate 'other' .* gives \(7,\); dataset 'digits' .* 10 classes"),
    (["./linear.json", "lenet5"], "candidate 'lenet5' cannot be built for dataset 'digits'"),
    (["./linear.json", "./wide.json", "--seeds", "0"], "--seeds must be at least 1, found 0"),
    (["./linear.json", "./wide.json", "--ensemble", "1"], "--ensemble must be at least 2"),
    (["./linear.json", "./wide.json", "--ensemble", "9"], "there are 2 candidates and 3 seeds"),
    (["./linear.json", "./wide.json", "--against-random"], "no candidate is a run"),
    (["./linear.json", "./wide.json", "--recipe", "nope"], "--recipe nope: unknown recipe"),
    (["./linear.json", "./wide.json", "--recipe", "nb201-12", "--recipe", "nb201-200"], "set --epochs"),
    (["./linear.json", "./wide.json", "--recipe", "proxy", "--recipe", "proxy"], "--recipe 'proxy' is given twice"),
    (["./linear.json", "./wide.json", "--workers", "2"], "--workers goes with --executor ray"),
    (["./linear.json", "./wide.json", "--epochs", "none"], "--epochs must be an integer"),
    (["./linear.json", "./wide.json", "--name", "../x"], "a name is at most 100 letters"),
    (["./linear.json", "./wide.json", "--ensembel", "2"], "did you mean '--ensemble'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_one_line_and_leaves_nothing_behind(files, capsys, arguments, message):
    assert main(["compare", *arguments, "--dataset", "digits"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error), error
    assert not (files / "results").exists() or not list((files / "results").iterdir())


def test_settings_are_read_as_they_were_written(files):
    given = {"seeds": 4, "ensemble": 2, "recipes": ["proxy", "./fast.recipe.json"], "epochs": 3, "train_images": 99}
    settings = settings_from(("a", "b"), given)
    again = CompareSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again.to_json() == settings.to_json()
    assert again.actual_recipes == settings.actual_recipes
    with pytest.raises(ConfigError, match="unknown setting 'ensembel'; did you mean 'ensemble'"):
        CompareSettings.from_json({**settings.to_json(), "ensembel": 3})


def test_a_resumed_comparison_may_be_elsewhere_and_nothing_else(files):
    settings = settings_from(("a", "b"), {})
    there = settings.elsewhere({"executor": "ray", "workers": 2})
    assert (there.executor.name, there.executor.workers) == ("ray", 2)
    assert there.elsewhere({"executor": "inline"}).executor.workers is None
    with pytest.raises(ConfigError, match="cannot be resumed with another --seed"):
        settings.elsewhere({"seed": 3})


def test_a_file_of_an_earlier_version_is_read_and_written_as_it_was():
    text = (Path(__file__).parents[2] / "golden" / "compare.json").read_text()
    found = Comparison.from_json(json.loads(text))
    assert (found.against_random, found.effects, found.ensembles) != ([], None, [])
    assert json.dumps(found.to_json(), indent=1) + "\n" == text


def test_outputs_are_written_again_from_the_journal_alone(files):
    data = compare("./linear.json", "./narrow.json", *SHORT)
    for name in ("compare.json", "compare.csv", "report.md"):
        (files / "results/c" / name).unlink()
    assert write_comparison(files / "results/c").to_json() == data


@pytest.mark.long
def test_workers_on_ray_give_the_same_scores_and_predictions(files):
    here = compare("./linear.json", "./narrow.json", *SHORT, "--ensemble", "2")
    there = compare("./linear.json", "./narrow.json", *SHORT, "--ensemble", "2", *RAY, name="r")
    assert [r["scores"] for r in there["rows"]] == [r["scores"] for r in here["rows"]]
    assert [e["scores"] for e in there["ensembles"]] == [e["scores"] for e in here["ensembles"]]
    assert there["test_reads"] == 4


def test_latencies_are_left_out_where_nobody_wants_them(files, monkeypatch, capsys):
    monkeypatch.setattr("nas.models.latency.measure_latency", None)  # calling it would be an error
    found = compare("./linear.json", "./narrow.json", *SHORT[:-1], "1", "--no-latency")
    assert found["latency"] is None
    assert found["rows"][0]["latency"] == {"1": None, "64": None}
    assert events("c", "latency") == []
    capsys.readouterr()
    assert main(["status", "c", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["phases"]) == ["comparison"]
