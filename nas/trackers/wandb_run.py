"""A search as a run of Weights & Biases; WANDB_MODE=offline keeps it on this machine until ``wandb sync``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.core.files import read_text
from nas.errors import ConfigError
from nas.graph import Graph
from nas.graph.drawing.svg import draw_svg
from nas.report.run_view import Score
from nas.trackers.base import Callback, Epoch, FinalTraining, TrackedRun, epoch_numbers, numbers_of
from nas.trackers.registry import package
from nas.types import Trial

PROJECT = "nas"
REACHED = 30
"""Seconds in which the server must answer."""


class WeightsAndBiases(Callback):
    """Logs to ``project``, PROJECT or ENTITY/PROJECT, by default ``nas``.

    By trial ``trial/NAME`` and ``best/reward``, over the axis ``trial``; the scores of final trainings, their loss over
    ``epoch``; in the summary the best trial and the final comparison; the winner's picture and the report. A run that
    is resumed goes on under the same id, also offline.
    """

    def __init__(self, project: str = "") -> None:
        self._wandb: Any = package("wandb", "wandb")
        self._entity, _, self._project = (project or PROJECT).rpartition("/")
        if os.environ.get("WANDB_MODE", "online") == "online" and not self._wandb.login(prompt=False, verify=False):
            how = "log in with: wandb login, or set WANDB_MODE=offline"
            raise ConfigError(f"tracker 'wandb': no API key is known; {how}")
        self._run: Any = None
        self._step = 0
        self._rows: Path | None = None
        self._folder: Path | None = None
        self._picture: tuple[str, Graph] | None = None

    def on_start(self, run: TrackedRun) -> None:
        """Begin the run, or go on with it."""
        settings = self._wandb.Settings(silent=True, console="off", init_timeout=REACHED)
        self._run = self._wandb.init(
            project=self._project,
            entity=self._entity or None,
            id=run.id,
            name=run.name,
            resume="allow",
            config=run.config,
            dir=None if run.folder is None else str(run.folder),
            settings=settings,
            reinit="create_new",
        )
        self._folder, self._picture = run.folder, None
        # offline nobody knows how many rows an earlier process has logged, and sync needs them numbered on
        self._step = self._run.step
        if run.folder is not None:
            self._rows = run.folder / "trackers" / "wandb.rows"
            self._step = max(self._step, int(read_text(self._rows)) if self._rows.exists() else 0)
        axes = {"trial": ("trial", "best"), "epoch": ("loss", "train", "validation"), "seed": ("final",)}
        for axis, groups in axes.items():
            self._run.define_metric(axis)
            for group in groups:
                self._run.define_metric(f"{group}/*", step_metric=axis)

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        """Log its numbers."""
        numbers = {f"trial/{name}": value for name, value in numbers_of(trial).items()}
        if best is not None and best.reward is not None:
            numbers["best/reward"] = best.reward
        self._log({"trial": trial.index, **numbers})

    def on_best(self, trial: Trial, graph: Graph | None) -> None:
        """Put it into the summary; its picture is drawn at the end."""
        self._run.summary["best/trial"] = trial.index
        for name, value in trial.architecture.decisions.items():
            self._run.summary[f"best/decisions/{name}"] = list(value) if isinstance(value, tuple) else value
        self._picture = None if graph is None else (f"trial {trial.index}", graph)

    def on_training(self, training: FinalTraining) -> None:
        """Log its score, and its loss by epoch."""
        for epoch, loss in training.curve:
            self._log({"epoch": epoch, f"loss/{training.role} seed {training.number}": loss})
        if training.score is not None:
            self._log({"seed": training.number, f"final/{training.role}": training.score})

    def on_epoch(self, epoch: Epoch) -> None:
        """Log its numbers."""
        self._log({"epoch": epoch.number, **epoch_numbers(epoch)})

    def on_final(self, rows: Sequence[Score]) -> None:
        """Put the mean of every network into the summary."""
        for row in rows:
            if row.scores:
                self._run.summary[f"final/{row.role} mean"] = row.mean

    def on_end(self, reason: str) -> None:
        """Log the winner's picture and the report, and end the run."""
        if self._run is None:
            return
        if self._picture is not None:
            title, graph = self._picture
            self._log({"best/network": self._wandb.Html(draw_svg(graph, title=title), inject=False)})
        if self._folder is not None and (self._folder / "report.html").is_file():
            report = self._wandb.Artifact(f"report-{self._run.id}", "report")
            report.add_file(str(self._folder / "report.html"))
            self._run.log_artifact(report)
        self._run.summary["ended"] = reason
        self._run.finish(exit_code=1 if reason == "failed" else 0)
        self._run = None

    def _log(self, row: Mapping[str, object]) -> None:
        self._run.log(dict(row), step=self._step)
        self._step += 1
        if self._rows is not None:
            self._rows.write_text(str(self._step))
