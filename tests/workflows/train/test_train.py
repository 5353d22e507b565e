"""``nas train`` and ``nas transfer``: trainings on disk, killed and resumed, by one process and by many."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_runs import events, stopped_after

from nas.cli.main import main
from nas.core.files import read_json, write_json
from nas.errors import ConfigError
from nas.runs.journal import read
from nas.training.recipe import Recipe
from nas.workflows.train.distributed import GroupGivenUp
from nas.workflows.train.settings import TrainingSettings, settings_from
from nas.workflows.train.view import load_training

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"target": "resnet18", "dataset": "digits", "recipe": {}, "epochs": 3}
TINY = ["--dataset", "digits", "--train-images", "120", "--batch-size", "20", "--width", "2", "--threads", "1"]
OFTEN = "import sys, nas.training.trainer as e, nas.training.train_step as l; e.SAVE_EVERY, l.CHECK_EVERY = 0.0, 1; "


def train(results: Path, *arguments: str, network: str = "resnet18") -> int:
    return main(["train", network, *TINY, "--results-dir", str(results), *arguments])


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every step."""
    monkeypatch.setattr("nas.training.trainer.SAVE_EVERY", 0.0)
    monkeypatch.setattr("nas.training.train_step.CHECK_EVERY", 1)


def test_a_training_leaves_weights_summary_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "--epochs", "2", "--name", "one", "--validate", "1") == 0
    shown = capsys.readouterr().out
    assert "forecast: 2 epochs x 6 steps" in shown
    folder = tmp_path / "one"
    summary = read_json(folder / "summary.json")
    assert (summary["status"], summary["test_reads"], summary["epochs"]) == ("finished", 1, 2)
    assert 0 <= summary["top1"] <= summary["top5"] <= 100
    (trained,) = events(folder, "trained")
    assert f"top-1 {trained['top1']:.2f} %, top-5 {trained['top5']:.2f} %" in shown
    kinds = [event["event"] for event in read(folder / "journal.jsonl")]
    assert kinds == ["run", "began", "epoch", "epoch", "test_read", "trained", "stopped"]
    assert all(0 <= epoch["validation"]["accuracy"] <= 100 for epoch in events(folder, "epoch"))
    report = (folder / "report.md").read_text()
    assert "validation top-1 %" in report
    assert "Test split read: 1 time." in report
    assert "resnet18 (width 2, depth 1)" in report

    from nas import build_module, load
    from nas.data.splits import load_splits
    from nas.training.evaluation import measure
    from nas.training.weights import load_weights

    module = build_module(load(folder / "graph.json"))
    load_weights(module, folder / "weights.safetensors")
    splits = load_splits("digits", train_images=120)
    found = measure(module, splits.test, splits.train)
    assert (found.accuracy, found.top5) == (trained["top1"], trained["top5"])


@pytest.mark.long
@pytest.mark.usefixtures("often")
def test_a_stopped_training_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, "--epochs", "3", "--name", "whole")
    assert stopped_after(8, monkeypatch, lambda: train(tmp_path, "--epochs", "3", "--name", "parts")) == 130
    parts = tmp_path / "parts"
    assert read_json(parts / "summary.json")["status"] == "interrupted"
    assert not events(parts, "test_read")
    assert read_json(parts / "checkpoint" / "checkpoint.json")["step"] == 3
    assert stopped_after(4, monkeypatch, lambda: main(["resume", "parts", "--results-dir", str(tmp_path)])) == 130
    assert main(["resume", "parts", "--results-dir", str(tmp_path)]) == 0
    assert read_json(parts / "summary.json")["begins"] == 3
    whole = tmp_path / "whole"
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert [e["loss"] for e in load_training(parts).epochs] == [e["loss"] for e in load_training(whole).epochs]
    assert len(events(parts, "test_read")) == 1


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    train(tmp_path, "--epochs", "1", "--name", "done")
    before = (tmp_path / "done" / "weights.safetensors").read_bytes()
    (tmp_path / "done" / "report.md").unlink()
    assert main(["resume", "done", "--results-dir", str(tmp_path)]) == 0
    assert (tmp_path / "done" / "weights.safetensors").read_bytes() == before
    assert len(events(tmp_path / "done", "began")) == 1
    assert main(["report", "done", "--results-dir", str(tmp_path)]) == 0
    assert (tmp_path / "done" / "report.md").is_file()


def test_a_training_that_diverges_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wild.json").write_text('{"learning_rate": 1e30, "clip_norm": 0, "warmup_epochs": 0}')
    assert train(tmp_path, "--recipe", str(tmp_path / "wild.json"), "--epochs", "3", "--name", "wild") == 2
    error = capsys.readouterr().err
    assert "training diverged" in error
    assert read_json(tmp_path / "wild" / "summary.json")["status"] == "failed"
    assert "It failed: " in (tmp_path / "wild" / "report.md").read_text()
    assert not events(tmp_path / "wild", "test_read")


def test_a_training_whose_workers_are_lost_too_often_says_so_and_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(self: Any, tell: Any, stop: Any) -> Any:
        raise GroupGivenUp("the group was lost 3 times without a newer checkpoint")

    with monkeypatch.context() as patch:
        patch.setattr("nas.workflows.train.process.LocalTrainer.fit", lost)
        assert train(tmp_path, "--epochs", "1", "--name", "lost") == 2
    assert "lost 3 times" in capsys.readouterr().err
    (stopped,) = events(tmp_path / "lost", "stopped")
    assert (stopped["reason"], stopped["kind"]) == ("failed", "lost")
    assert read_json(tmp_path / "lost" / "summary.json")["status"] == "failed"
    assert "It failed: the group was lost 3 times" in (tmp_path / "lost" / "report.md").read_text()
    assert main(["resume", "lost", "--results-dir", str(tmp_path)]) == 0
    assert read_json(tmp_path / "lost" / "summary.json")["status"] == "finished"


def test_what_a_killed_start_left_goes(tmp_path: Path) -> None:
    (tmp_path / ".one.123.new").mkdir()
    train(tmp_path, "--epochs", "1", "--name", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.usefixtures("often")
def test_the_seconds_of_an_epoch_that_was_resumed_within_are_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(3, monkeypatch, lambda: train(tmp_path, "--epochs", "1", "--name", "one"))
    path = tmp_path / "one" / "checkpoint" / "checkpoint.json"
    found = read_json(path)
    assert found["seconds"] > 0
    write_json(path, {**found, "seconds": 1000.0})
    assert main(["resume", "one", "--results-dir", str(tmp_path)]) == 0
    assert 1000 < read_json(tmp_path / "one" / "summary.json")["seconds"] < 1100


def test_every_read_of_the_test_split_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.workflows.train import process as training_part

    def broken(self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_part.LocalTrainer, "measure_test", broken)
        assert train(tmp_path, "--epochs", "1", "--name", "twice") == 130
    assert main(["resume", "twice", "--results-dir", str(tmp_path)]) == 0
    summary = read_json(tmp_path / "twice" / "summary.json")
    assert (summary["test_reads"], summary["begins"], summary["status"]) == (2, 2, "finished")


def test_a_forecast_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "results", "--epochs", "7", "--forecast") == 0
    assert "forecast: 7 epochs x 6 steps" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "3"], "--workers 3: a batch is shared evenly, so its size must be a multiple of 3, found 20"),
        (["--batch-size", "0"], "--batch-size must be an integer of at least 1, found 0"),
        (["--epochs", "none"], "--epochs must be an integer (600, 2k, 600M), found 'none'"),
        (["--train-images", "12"], "--train-images must be at least 20, two a class, found 12"),
        (["--gpus-per-worker", "1"], "--gpus-per-worker goes with --workers"),
        (["--recipe", "nonsense"], "did you mean"),
        (["--name", "../x"], "run name '../x'"),
        (["--epoch", "3"], "did you mean '--epochs'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "results", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    if message != "did you mean":
        assert message in error
    assert not (tmp_path / "results").exists()


def test_an_unknown_network_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, network="resnet81") == 2
    assert "did you mean 'resnet18'" in capsys.readouterr().err


def test_what_a_resumed_training_may_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "--epochs", "1", "--name", "done")
    capsys.readouterr()
    assert main(["resume", "done", "--results-dir", str(tmp_path), "--table", "x"]) == 2
    assert "cannot be resumed with another --table" in capsys.readouterr().err
    (tmp_path / "done" / "graph.json").write_text((tmp_path / "done" / "graph.json").read_text().replace("64", "32"))
    assert main(["resume", "done", "--results-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert train(tmp_path, "--epochs", "1", "--name", "done") == 2
    assert "exists already" in capsys.readouterr().err


def test_a_training_may_go_on_with_other_workers() -> None:
    recipe = {"batch_size": 24}
    here = TrainingSettings.from_json({**SETTINGS, "recipe": recipe, "threads": 2})
    four = here.elsewhere({"executor": "ray", "workers": 4, "cpus_per_trial": 1, "gpus_per_trial": 1.0})
    assert (four.workers, four.threads, four.gpus_per_worker) == (4, 1, 1)
    assert four.elsewhere({"executor": "inline", "cpus_per_trial": 2}) == here
    with pytest.raises(ConfigError, match="multiple of 5, found 24"):
        here.elsewhere({"workers": 5})
    assert TrainingSettings.from_json(json.loads(json.dumps(four.to_json()))) == four


def test_a_number_of_training_images_is_of_all_that_is_trained_on() -> None:
    for validate, wanted in ((0, {"validation": 10, "train_images": 190}), (1, {"train_images": 200})):
        job = TrainingSettings.from_json({**SETTINGS, "train_images": 200, "validate": validate}).job
        assert job == {"dataset": "digits", **wanted}


def folder_of_images(root: Path, side: int = 48) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for c in range(6):
            (root / split / f"class{c}").mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (side, side, 3)) + 20 * c
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / f"class{c}" / f"{i}.png")
    return root


@pytest.mark.long
@pytest.mark.parametrize("dataset", ["folder", "imagenet"])
def test_cells_are_transferred_within_a_budget(dataset: str, tmp_path: Path) -> None:
    data = folder_of_images(tmp_path / "data")
    size = ["--image-size", "48"]
    command = ["transfer", "DARTS_V2", "--dataset", dataset, "--data-dir", str(data), *size, "--max-macs", "2M"]
    few = ["--epochs", "1", "--batch-size", "24", "--threads", "1", "--name", "t", "--results-dir", str(tmp_path)]
    assert main([*command, *few]) == 0
    view = load_training(tmp_path / "t")
    assert 1_000_000 < view.network["macs"] <= 2_000_000
    recipe = view.settings.actual_recipe
    assert (recipe.ema, recipe.aux_weight, recipe.test_size) == (0.9999, 0.4, 0)
    assert view.trained is not None
    assert view.trained["top5"] is not None
    assert view.network["not_applied"] == ["aux_weight"]  # such small images leave no room for the head
    assert "the recipe's `aux_weight` does not apply" in (tmp_path / "t" / "report.md").read_text()


def started(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"{code}from nas.cli.main import main; sys.exit(main(sys.argv[1:]))", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_epochs(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (folder / "journal.jsonl").is_file() and len(events(folder, "epoch")) >= count:
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.01)
    raise AssertionError(f"no {count} epochs within two minutes")


@pytest.mark.long
def test_a_killed_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    where = ["--results-dir", str(tmp_path)]
    train(tmp_path, "--epochs", "12", "--name", "whole")
    parts = tmp_path / "parts"
    process = started(OFTEN, "train", "resnet18", *TINY, "--epochs", "12", "--name", "parts", *where)
    for epochs in (2, 5, 8):
        wait_for_epochs(parts, epochs, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = started(OFTEN, "resume", "parts", *where)
    assert process.wait() == 0
    assert read_json(parts / "summary.json")["begins"] == 4
    whole = tmp_path / "whole"
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes of Ray's workers that ``process`` has started and that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name, below = path.read_bytes(), int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if name.startswith(b"ray::DistributedWorker") and process.pid in ancestors(below):
            found.append(int(path.parent.name))
    return found


def ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 1:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def test_what_has_only_the_test_left_makes_no_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "--epochs", "2", "--name", "one")
    journal = tmp_path / "one" / "journal.jsonl"
    before = events(tmp_path / "one", "trained")[0]
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = next(i for i, event in enumerate(read(journal)) if event["event"] == "test_read")
    journal.write_bytes(b"".join(lines[:kept]))
    capsys.readouterr()
    assert main(["resume", "one", "--results-dir", str(tmp_path)]) == 0
    assert "forecast" not in capsys.readouterr().out
    assert events(tmp_path / "one", "trained")[0]["top1"] == before["top1"]


def test_a_transfer_tests_smaller_images_as_they_are() -> None:
    def recipe_for(**options: Any) -> Recipe:
        return settings_from("transfer", "imagenet-mobile", {"target": "resnet18", **options}).actual_recipe

    assert (recipe_for(dataset="digits").test_resize, recipe_for(dataset="digits").test_size) == (0, 0)
    assert recipe_for(dataset="digits", recipe="imagenet-mobile").test_size == 224  # refused with its reason later


@pytest.mark.long
def test_two_workers_on_ray_survive_the_death_of_one_and_of_the_driver(tmp_path: Path) -> None:
    where = ["--results-dir", str(tmp_path)]
    options = [*TINY, "--epochs", "30", "--workers", "2", "--name", "two"]
    folder = tmp_path / "two"
    process = started("import sys; ", "train", "resnet18", *options, *where)
    wait_for_epochs(folder, 2, process)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    wait_for_epochs(folder, 5, process)
    deadline = time.monotonic() + 120
    while not events(folder, "lost"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wait_for_epochs(folder, len(events(folder, "epoch")) + 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = started("import sys; ", "resume", "two", *where)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error.decode()
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["epochs"], summary["begins"], summary["test_reads"]) == ("finished", 30, 2, 1)
    assert summary["groups_lost"] == 1
    assert summary["top1"] > 15
