"""Real searches on real images, from the command line to the report."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli.main import main
from nas.engine.start_points import start_architecture

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--width 2 --depth 1 --epochs 1 --final-epochs 1 --threads 1 --space-arg nodes=2"
EVOLUTION = "--searcher evolution --searcher-arg population=4 --searcher-arg tournament=2"


def run(command: str) -> None:
    assert main(command.split()) == 0


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A reduced search: digits, evolution against random search and a ResNet."""
    folder = tmp_path_factory.mktemp("results")
    sizes = f"{SMALL} --space nasnet --trials 5 --final-seeds 2"
    run(f"search --name digits --dataset digits --results-dir {folder} {EVOLUTION} {sizes}")
    return folder / "digits"


def test_a_search_leaves_everything_a_user_needs(digits):
    files = {str(p.relative_to(digits)) for p in digits.rglob("*") if p.is_file()}
    best = {f"best/{name}" for name in ("architecture.json", "graph.json", "weights.safetensors")}
    plain = {"config.toml", "environment.json", "journal.jsonl", "summary.json", "trials.csv"}
    plain |= {"report.md", "report.html"}
    assert files >= plain | best | {"figures/progress.svg", "figures/cost.svg", "random/journal.jsonl"}


def test_the_summary_agrees_with_the_trials(digits):
    summary = json.loads((digits / "summary.json").read_text())
    with (digits / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    done = [row for row in rows if row["status"] == "done"]
    assert summary["queries"] == 5 == len(done) + sum(row["status"] == "failed" for row in rows)
    best = max(done, key=lambda row: float(row["reward"]))
    assert summary["best"]["reward"] == float(best["reward"])
    assert summary["best"]["macs"] == int(rows[summary["best"]["index"]]["macs"])
    assert summary["random_search"]["queries"] == 5


def test_the_three_finalists_were_trained_alike_and_tested_once_a_seed(digits):
    summary = json.loads((digits / "summary.json").read_text())
    assert {row["role"] for row in summary["finals"]} == {"search", "random", "handcrafted"}
    assert all(len(row["scores"]) == 2 for row in summary["finals"])
    assert summary["test_reads"] == 6
    for row in summary["finals"]:
        assert all(score > 20 for score in row["scores"])  # one epoch; guessing gives 10
    macs = {row["role"]: row["macs"] for row in summary["finals"]}
    assert 0.6 < macs["handcrafted"] / macs["search"] < 1.6
    report = (digits / "report.md").read_text()
    assert "The search against random search: **" in report


def test_the_saved_weights_are_those_of_the_tested_network(digits):
    torch = pytest.importorskip("torch")
    from nas.data.splits import load_splits
    from nas.training.evaluation import measure
    from nas.training.weights import load_weights

    graph = nas.load(digits / "best" / "graph.json")
    module = nas.build_module(graph)
    load_weights(module, digits / "best" / "weights.safetensors")
    splits = load_splits("digits")
    with torch.no_grad():
        accuracy = measure(module, splits.test, splits.train.joined(splits.validation)).accuracy
    summary = json.loads((digits / "summary.json").read_text())
    scores = next(row["scores"] for row in summary["finals"] if row["role"] == "search")
    assert accuracy == scores[0]
    architecture = nas.load(digits / "best" / "architecture.json")
    assert nas.key(nas.build(architecture, nas.Task("digits", (1, 8, 8), 10), 2, 1)) == nas.key(graph)


@pytest.mark.long
def test_the_same_seed_gives_the_same_search_and_scores(digits, tmp_path):
    run(f"search --config {digits / 'config.toml'} --name again --results-dir {tmp_path}")
    first, again = (json.loads((p / "summary.json").read_text()) for p in (digits, tmp_path / "again"))
    assert first["best"] == again["best"]
    assert [row["scores"] for row in first["finals"]] == [row["scores"] for row in again["finals"]]


@pytest.mark.long
def test_a_search_on_real_cifar10_ends_with_a_report(shared_data, tmp_path):
    tool = shared_data.parent / "tools" / "materialize.py"
    subprocess.run([sys.executable, str(tool), "cifar10", str(tmp_path / "data")], check=True)
    sizes = "--train-images 200 --validation-images 100 --final-seeds 1"
    run(
        f"search --name cifar --results-dir {tmp_path} --dataset cifar10 --data-dir {tmp_path / 'data'} "
        f"--space nasnet --trials 12 {SMALL} {EVOLUTION} {sizes}"
    )
    summary = json.loads((tmp_path / "cifar" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["queries"] == 12
    assert summary["test_reads"] == 3
    assert "Final comparison" in (tmp_path / "cifar" / "report.md").read_text()


@pytest.mark.long
def test_a_search_may_start_from_named_networks(tmp_path):
    run(
        f"search --name improve --results-dir {tmp_path} --start-from resnet18 --start-from mobilenet_v2 "
        f"--dataset digits {EVOLUTION} --trials 5 --epochs 1 --width 2 --threads 1 --baseline none "
        "--final-seeds 1 --final-epochs 1"
    )
    with (tmp_path / "improve" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    task = nas.Task("digits", (1, 8, 8), 10)
    for row, name in zip(rows, ("resnet18", "mobilenet_v2"), strict=False):
        graph = nas.build(start_architecture(name), task, width=2)
        assert int(row["macs"]) == nas.cost(graph).macs
    assert json.loads((tmp_path / "improve" / "summary.json").read_text())["queries"] == 5


@pytest.mark.long
def test_a_final_training_that_diverges_is_in_the_report_and_keeps_nothing_from_it(tmp_path, monkeypatch):
    def diverges(*args, **kwargs):
        raise nas.EvaluationError("the training loss is nan", "diverged")

    monkeypatch.setattr("nas.evaluators.test_split.train_final", diverges)
    sizes = f"{SMALL} --dataset digits --space nasnet --trials 2 --baseline none --final-seeds 2"
    run(f"search --name nan --results-dir {tmp_path} {sizes}")
    summary = json.loads((tmp_path / "nan" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert all(row["mean"] is None for row in summary["finals"])
    assert "the training loss is nan" in (tmp_path / "nan" / "report.md").read_text()


@pytest.mark.long
def test_a_search_that_started_from_a_file_resumes_without_it(digits, tmp_path):
    start = tmp_path / "start.json"
    start.write_text((digits / "best" / "architecture.json").read_text())
    run(
        f"search --name s --results-dir {tmp_path} --start-from {start} --width 2 --depth 1 --epochs 1 --trials 2 "
        "--dataset digits --baseline none --final-seeds 0"
    )
    start.unlink()
    run(f"resume s --results-dir {tmp_path}")
    trials = [json.loads(line) for line in (tmp_path / "s" / "journal.jsonl").read_text().splitlines()]
    asked = next(event for event in trials if event["event"] == "asked")
    assert asked["architecture"] == json.loads((digits / "best" / "architecture.json").read_text())
