"""Grid searches as runs on disk: stopped, killed, failed and resumed, with what an earlier one has trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.errors import ConfigError, EvaluationError
from nas.models.resolve import SizeOptions, resolve
from nas.runs.run_folder import RunFolder
from nas.workflows.scale.compound import ScaledNetwork, Scaler
from nas.workflows.scale.grid_search import recorded_scores
from nas.workflows.scale.grid_training import Trainer
from nas.workflows.scale.run import GridSearchRun
from nas.workflows.scale.settings import GridSettings, GridTrainingConfig
from nas.workflows.scale.view import load_grid

FOUND = str(Path(__file__).resolve().parents[3] / "benchmarks/found/nb201-fashion.json")


def _cell(width: int = 8, depth: int = 1, side: int = 28) -> Scaler:
    return Scaler(resolve(FOUND, SizeOptions((1, side, side), 10, width, depth)).scalable)


def _grid_run(folder: Path, **changes: Any) -> RunFolder[GridSearchRun]:
    """Start a search of few networks, or go on with it."""
    if folder.exists():
        return GridSearchRun.resume(folder, lambda settings, task: _cell().subject)
    training = GridTrainingConfig.of({"dataset": "digits", "train_images": 20, "epochs": 1, "threads": 1})
    settings = GridSettings(training, "cell", seeds=2, tolerance=0.1, step=0.2, phis=(1.0,))
    return GridSearchRun.create(folder, settings, lambda settings, task: _cell().subject, **changes)


def _trains(monkeypatch: pytest.MonkeyPatch, trained: list[tuple[float, int]]) -> None:
    def train(self: Trainer, member: ScaledNetwork, seed: int) -> tuple[float, float]:
        trained.append((member.width, seed))
        return member.width * 10 + seed, 0.5

    monkeypatch.setattr(Trainer, "__call__", train)


def test_a_stopped_grid_goes_on_and_earlier_results_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[float, int]] = []
    _trains(monkeypatch, trained)
    run = _grid_run(tmp_path / "run")
    assert run.execute(lambda progress: run.stop() if len(trained) == 3 else None) == "interrupted"
    assert len(trained) == 3
    with (tmp_path / "run/journal.jsonl").open("a") as file:
        file.write('{"crc":"12')  # a write that was cut off
    again = _grid_run(tmp_path / "run")
    assert "torn" in again.warning
    assert again.execute() == "finished"
    view = load_grid(tmp_path / "run")
    assert sorted(trained) == sorted((c.member.width, seed) for seed in (0, 1) for c in view.candidates)
    assert all(c.accuracies == (c.member.width * 10, c.member.width * 10 + 1) for c in view.candidates)
    assert view.best is not None
    assert view.best.member.width == max(c.member.width for c in view.candidates)
    assert [member.phi for member in view.members] == [1]
    assert _grid_run(tmp_path / "run").execute() == "finished"

    # the table of one search is read by another, but for what is damaged or of other trainings
    table, count = tmp_path / "run/grid.csv", len(trained)
    assert _grid_run(tmp_path / "other", recorded=table).execute() == "finished"
    assert len(trained) == count
    whole = table.read_text()
    table.write_text(whole + "a,1.2,1.1")
    assert len(recorded_scores(table, whole.splitlines()[1].split(",")[0])) == count
    assert recorded_scores(table, "other settings") == {}
    table.write_text("alpha,beta\n1,2\n")
    with pytest.raises(ConfigError, match="it is no results of a grid search"):
        recorded_scores(table, "a")


def test_a_grid_whose_training_fails_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Trainer, member: ScaledNetwork, seed: int) -> tuple[float, float]:
        raise EvaluationError("the loss is not finite", "diverged")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__call__", fail)
        with pytest.raises(EvaluationError):
            _grid_run(tmp_path / "run").execute()
    view = load_grid(tmp_path / "run")
    assert (view.status, view.problem) == ("failed", "the loss is not finite")
    assert "the loss is not finite" in (tmp_path / "run/report.md").read_text()
    _trains(monkeypatch, [])
    assert _grid_run(tmp_path / "run").execute() == "finished"
    assert load_grid(tmp_path / "run").problem == ""


def test_a_grid_of_another_network_is_refused(tmp_path: Path) -> None:
    _grid_run(tmp_path / "run").close()
    with pytest.raises(ConfigError, match="'cell' or its dataset is not what run 'run' began with"):
        GridSearchRun.resume(tmp_path / "run", lambda settings, task: _cell(16, 2).subject)


@pytest.mark.long
def test_the_command_searches_the_grid_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--results-dir", str(tmp_path)]
    words = ["scale", FOUND, "--search", "--dataset", "digits", "--width", "4", "--depth", "1", "--epochs", "1"]
    words += ["--train-images", "40", "--threads", "1", "--phi", "1", "--tolerance", "0.08", "--json", *own]
    assert main([*words, "-o", str(tmp_path / "family")]) == 0
    first = json.loads(capsys.readouterr().out)
    folder = tmp_path / "scale-nb201-fashion-1"
    rows = (folder / "grid.csv").read_text()
    assert len(rows.splitlines()) == 1 + len(first["candidates"])
    best = max(first["candidates"], key=lambda c: (c["mean"], -c["member"]["macs"]))
    assert first["factors"] == {name: best[name] for name in ("alpha", "beta", "gamma")}
    assert [path.name for path in (tmp_path / "family").iterdir()] == [first["members"][0]["name"]]

    # killed after the first training, it goes on to the same accuracies
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:2]))
    assert main(["status", folder.name, *own, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["kind"], status["state"]) == ("scale", "killed")
    assert status["phases"]["grid"]["done"] == 1
    assert main(["resume", folder.name, *own]) == 0
    assert "alpha * beta^2 * gamma^2" in capsys.readouterr().out
    summary = json.loads((folder / "summary.json").read_text())
    assert {name: summary[name] for name in first} | {"members": first["members"]} == first
    (folder / "report.md").unlink()
    assert main(["report", folder.name, *own]) == 0
    assert "Status: **finished**" in (folder / "report.md").read_text()

    # what an earlier search has trained counts
    capsys.readouterr()
    assert main([*words, "--journal", str(folder / "grid.csv")]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert sum('"seconds"' in line for line in (tmp_path / "scale-nb201-fashion-2/journal.jsonl").open()) == 0
