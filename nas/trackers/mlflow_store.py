"""A search as a run of MLflow, which is gone on with when the search is resumed."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.graph import Graph
from nas.graph.drawing.svg import draw_svg
from nas.report.run_view import Score
from nas.trackers.base import LOSS, Callback, Epoch, FinalTraining, TrackedRun, epoch_numbers, numbers_of
from nas.trackers.registry import package
from nas.types import Trial

TAG = "nas.run"
"""The tag by which a run is found again: :attr:`nas.trackers.TrackedRun.id`."""
MARK = "trial/index"
"""The metric that every trial has: its steps are the trials that the store holds."""
EXPERIMENT = "nas"
"""Where the environment variable MLFLOW_EXPERIMENT_NAME names no experiment."""
MOST_VALUE = 500
"""Characters of a parameter: what every version of MLflow takes."""
STATUS = {"finished": "FINISHED", "exhausted": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
ARTIFACTS = ("report.html", "report.md", "trials.csv", "summary.json", "best/graph.json", "best/architecture.json")
"""Files of a run's folder."""
_NOT_IN_NAMES = re.compile(r"[^\w.\-/ ]")


class MLflow(Callback):
    """Logs to the tracking server or database at ``uri``, by default MLFLOW_TRACKING_URI or MLflow's own.

    Parameters: the settings. Metrics: ``trial/NAME`` by the trials' numbers, ``best/reward``, the scores of final
    trainings and their loss by epoch. Artifacts: reports, the best network as JSON and as SVG. What is there already is
    asked of the store, so nothing is logged twice.
    """

    hears_all = True

    def __init__(self, uri: str = "") -> None:
        self._uri = uri
        self._mlflow = package("mlflow", "mlflow")
        self._run = ""
        self._time = 0.0
        self._there: set[int] = set()
        self._epochs: set[int] = set()
        self._known: set[str] = set()
        self._folder: Path | None = None
        self._picture: tuple[str, Graph] | None = None

    def on_start(self, run: TrackedRun) -> None:
        """Find the run, or make it with the settings as its parameters."""
        from mlflow.entities import Param

        with _quiet():
            self._client = self._mlflow.MlflowClient(self._uri or None)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            found = self._client.get_experiment_by_name(name)
            experiment = self._client.create_experiment(name) if found is None else found.experiment_id
            runs = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'", max_results=1)
            if runs:
                self._run = runs[0].info.run_id
                self._client.update_run(self._run, status="RUNNING")
            else:
                tags = {TAG: run.id, "nas.objectives": ",".join(("reward", *run.objectives))}
                begun = int(run.started * 1000) or None
                made = self._client.create_run(experiment, begun, tags, run.name)
                self._run = made.info.run_id
            data = self._client.get_run(self._run).data
            # a parameter never changes: places of a run that was resumed elsewhere stay as they were
            new = {n: str(v)[:MOST_VALUE] for n, v in run.config.items() if n not in data.params}
            self._client.log_batch(self._run, params=[Param(n, v) for n, v in new.items()])
            self._known = set(data.metrics)
            self._there, self._epochs = self._steps(MARK), self._steps(LOSS)
        self._time, self._folder, self._picture = run.started, run.folder, None

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        """Log its numbers at its index, the mark last."""
        self._time += trial.seconds
        if trial.index in self._there:
            return
        numbers = {f"trial/{name}": value for name, value in numbers_of(trial).items()}
        if best is not None and best.reward is not None:
            numbers["best/reward"] = best.reward
        self._log(*((name, value, trial.index) for name, value in {**numbers, MARK: trial.index}.items()))

    def on_best(self, trial: Trial, graph: Graph | None) -> None:
        """Say which it is; its picture is drawn at the end."""
        self._client.set_tag(self._run, "nas.best", f"trial {trial.index}, reward {trial.reward}")
        self._picture = None if graph is None else (f"trial {trial.index}", graph)

    def on_training(self, training: FinalTraining) -> None:
        """Log its loss by epoch, then its score at the number of its seed."""
        self._time += training.seconds
        score, losses = f"final/{training.role}/score", f"final/{training.role}/loss of seed {training.number}"
        if _name(losses) not in self._known:
            self._log(*((losses, loss, epoch) for epoch, loss in training.curve))
        if training.score is not None and training.number not in self._steps(_name(score)):
            self._log((score, training.score, training.number))

    def on_epoch(self, epoch: Epoch) -> None:
        """Log its numbers at its number."""
        self._time += epoch.seconds
        if epoch.number not in self._epochs:
            self._log(*((name, value, epoch.number) for name, value in epoch_numbers(epoch).items()))

    def on_final(self, rows: Sequence[Score]) -> None:
        """Log the mean of every network."""
        means = {f"final/{row.role}/mean": row.mean for row in rows if row.scores}
        self._log(*((name, mean, 0) for name, mean in means.items() if _name(name) not in self._known))

    def on_end(self, reason: str) -> None:
        """Log the files of the run, and end it."""
        if not self._run:
            return
        with _quiet():
            if self._picture is not None:
                title, graph = self._picture
                self._client.log_text(self._run, draw_svg(graph, title=title), "best/network.svg")
            if self._folder is not None:
                for file in ARTIFACTS:
                    if (self._folder / file).is_file():
                        place = None if "/" not in file else file.split("/")[0]
                        self._client.log_artifact(self._run, str(self._folder / file), place)
            self._client.set_terminated(self._run, STATUS[reason])

    def _steps(self, name: str) -> set[int]:
        """Return at which steps the store had a metric when this process began."""
        found = self._client.get_metric_history(self._run, name) if name in self._known else []
        return {metric.step for metric in found}

    def _log(self, *numbers: tuple[str, float, int]) -> None:
        """Log (name, value, step) in one request, which the store takes whole or not at all."""
        from mlflow.entities import Metric

        moment = int(self._time * 1000)
        made = [Metric(_name(name), float(value), moment, step) for name, value, step in numbers]
        if made:
            with _quiet():
                self._client.log_batch(self._run, metrics=made)


def _name(name: str) -> str:
    """Return what MLflow allows of a name."""
    return _NOT_IN_NAMES.sub("_", name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what MLflow and its database tell below warnings: it would run through the progress of the search."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
