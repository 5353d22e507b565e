"""What ``nas status`` says of comparisons and trainings: as they run, after a kill, and when they are done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.graph import Flatten, GraphBuilder, Linear
from nas.runs.journal import opened, read
from nas.runs.progress import Progress, Status
from nas.types import WorkerState

SHORT = ["--dataset", "digits", "--train-images", "200", "--epochs", "1", "--seeds", "2", "--threads", "1"]


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys) -> Callable[..., Any]:
    """Return what ``status c`` says in the current folder: its text, or its facts."""
    monkeypatch.chdir(tmp_path)

    def run(as_json: bool = True) -> Any:
        capsys.readouterr()
        assert main(["status", "c", *(["--json"] if as_json else [])]) == 0
        out = capsys.readouterr().out
        return json.loads(out) if as_json else out

    return run


def linear() -> Path:
    b = GraphBuilder((1, 8, 8))
    graph = b.build(logits=b(Linear(10), b(Flatten(), b.input), name="classifier"))
    Path("linear.json").write_text(json.dumps(graph.to_json()))
    return Path("linear.json")


def killed_after(number: int) -> Path:
    """Leave the journal of run ``c`` as a kill after ``number`` events leaves it."""
    folder = Path("results/c")
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:number]))
    return folder


def number_of(folder: Path, kind: str, nth: int) -> int:
    """Return the number of events up to the ``nth`` of a kind."""
    return [i for i, event in enumerate(read(folder / "journal.jsonl"), 1) if event["event"] == kind][nth - 1]


def test_a_comparison(ask):
    plain = {"epochs": 1, "batch_size": 32, "crop_padding": 0, "flip": False, "warmup_epochs": 0, "clip_norm": 0}
    for name, rate in (("tame", 0.01), ("wild", 1e30)):
        Path(f"{name}.recipe.json").write_text(json.dumps({**plain, "learning_rate": rate}))
    recipes = ["--recipe", "./wild.recipe.json", "--recipe", "./tame.recipe.json"]
    assert main(["compare", f"./{linear()}", *recipes, *SHORT, "--name", "c"]) == 0
    found, text = ask(), ask(as_json=False)
    assert (found["kind"], found["state"], found["phase"], found["resume"]) == ("compare", "finished", None, None)
    assert found["phases"]["latency"] == {"done": 2, "total": 2, "counts": {}}
    assert found["phases"]["comparison"] == {"done": 4, "total": 4, "counts": {"done": 2, "failed": 2}}
    scores = [e["score"] for e in read(Path("results/c/journal.jsonl")) if e["event"] == "final" and e["score"]]
    assert found["best"] == {
        "name": "linear",
        "recipe": "tame.recipe.json",
        "mean": pytest.approx(sum(scores) / 2),
        "seeds": 2,
    }
    assert [f["message"].split(":")[0] for f in found["failures"]] == [
        f"linear, recipe wild.recipe.json, seed {n}" for n in (0, 1)
    ]
    assert text.startswith("c: finished")
    assert "comparison of 1 candidate on digits" in text
    assert "4 of 4: 2 done, 2 failed" in text
    folder = killed_after(number_of(Path("results/c"), "final", 2))
    found, text = ask(), ask(as_json=False)
    assert (found["state"], found["phase"], found["left"]) == ("killed", "comparison", None)
    assert found["phases"]["comparison"]["done"] == 2
    taken = [e["seconds"] for e in read(folder / "journal.jsonl") if e["event"] == "final" and e["score"]]
    assert len(taken) == 1  # the other failed, and says nothing of how long one takes
    assert found["cost"]["left"] == pytest.approx(2 * taken[0] / 3600, abs=1e-6)
    assert "nas resume c" in text
    killed_after(number_of(folder, "latency", 1))
    assert ask()["phase"] == "latency"


def test_a_training(ask):
    tiny = ["--dataset", "digits", "--train-images", "120", "--batch-size", "20", "--width", "2", "--threads", "1"]
    assert main(["train", "resnet18", *tiny, "--epochs", "4", "--validate", "1", "--name", "c"]) == 0
    summary = json.loads(Path("results/c/summary.json").read_text())
    found, text = ask(), ask(as_json=False)
    assert (found["kind"], found["state"], found["phase"]) == ("train", "finished", None)
    assert found["phases"] == {
        "training": {"done": 4, "total": 4, "counts": {}},
        "test": {"done": 1, "total": 1, "counts": {}},
    }
    assert f"top-1 {summary['top1']:.2f} %" in found["result"]
    assert found["cost"] == {
        "unit": "worker-hours",
        "spent": pytest.approx(summary["seconds"] / 3600, abs=1e-5),
        "left": 0.0,
        "simulated": None,
    }
    assert "training of resnet18 on digits" in text
    assert "4 of 4" in text
    folder = killed_after(number_of(Path("results/c"), "epoch", 3))
    found = ask()
    assert (found["state"], found["left"], found["resume"]) == ("killed", None, "nas resume c")
    assert found["phases"]["training"]["done"] == 3
    seconds = [e["seconds"] for e in read(folder / "journal.jsonl") if e["event"] == "epoch"]
    assert found["cost"]["left"] == pytest.approx(sum(seconds) / 3 / 3600, rel=0.01, abs=1e-6)
    with opened(folder / "journal.jsonl"):  # as the process that carries it out does
        said = Progress("training", 3, 4, started=time.time() - 30, per_hour=360.0, left=10.0)
        (folder / "status.json").write_text(json.dumps(Status.of(said).to_json()))
        found, text = ask(), ask(as_json=False)
    assert (found["state"], found["phase"], found["resume"]) == ("running", "training", None)
    assert found["left"]["phase"] == pytest.approx(10, abs=2)
    assert f"running as process {os.getpid()}" in text
    assert "epochs/" in text


@pytest.mark.long
def test_a_comparison_in_this_process_is_seen_at_work(ask):
    assert main(["compare", f"./{linear()}", "resnet20_cifar", *SHORT, "--name", "c"]) == 0
    folder = killed_after(number_of(Path("results/c"), "test_read", 3))
    with opened(folder / "journal.jsonl"):
        inline = WorkerState("inline", "here", os.getpid(), "", "idle", done=2, busy_seconds=1.0)
        said = Progress("comparison", 2, 4, started=time.time() - 30, workers=(inline,))
        (folder / "status.json").write_text(json.dumps(Status.of(said).to_json()))
        found = ask()
    assert (found["state"], found["phase"]) == ("running", "comparison")
    assert [(step["index"], step["worker"]) for step in found["running"]] == [(2, "inline")]
    assert [(w["state"], w["trial"]) for w in found["workers"]] == [("busy", 2)]
    assert found["left"]["run"] > 0


@pytest.mark.parametrize("command", ["compare ./linear.json ./linear2.json --seeds 2", "train ./linear.json"])
def test_whatever_a_kill_leaves_has_a_status(ask, command):
    linear().rename("linear2.json")
    linear()
    tiny = "--dataset digits --train-images 100 --epochs 1 --threads 1 --name c"
    assert main([*command.split(), *tiny.split()]) == 0
    journal = Path("results/c/journal.jsonl")
    whole = journal.read_bytes()
    for kept in range(1, len(whole.splitlines())):
        journal.write_bytes(whole)
        killed_after(kept)
        assert ask()["state"] == "killed"
        journal.write_bytes(journal.read_bytes() + b'{"crc": "torn')
        assert ask(as_json=False).startswith("c: killed")


def test_what_went_wrong_with_a_training(ask):
    tiny = ["--dataset", "digits", "--train-images", "40", "--batch-size", "20", "--width", "2", "--threads", "1"]
    assert main(["train", "resnet18", *tiny, "--epochs", "1", "--name", "c"]) == 0
    folder = killed_after(number_of(Path("results/c"), "began", 1))
    with opened(folder / "journal.jsonl") as (journal, _, _):
        journal.append([{"event": "lost", "message": "worker 1 died", "start": 1, "time": time.time()}])
        journal.append(
            [{"event": "stopped", "reason": "failed", "kind": "diverged", "message": "loss is nan", "time": 0.0}]
        )
        journal.close()
    found, text = ask(), ask(as_json=False)
    assert (found["state"], found["retried"]) == ("failed", {"lost": 1})
    assert [(f["kind"], f["retried"]) for f in found["failures"]] == [("lost", True), ("diverged", False)]
    assert "worker 1 died" in text
    assert "nas resume c" in text
