"""What a search will take: trials times measured seconds over workers, before it begins and when the first are done."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from nas.errors import ConfigError
from nas.report.words import count, duration, hours
from nas.run.config import RunConfig
from nas.run.loop import TICK, Executor
from nas.run.seeds import SEARCH, TRAIN, derive, stream
from nas.run.status import Progress
from nas.searchers.schedulers import NONE
from nas.study import Study
from nas.types import Failure, Job, Outcome, Trial, WorkerState

SAMPLES = 3
"""Networks that are measured."""
DRAWS = 1_000
"""Architectures that are drawn to find them."""
COLD = 20.0
"""A measurement of fewer seconds is repeated: what a worker does once, such as reading the images, counts in it."""
LONG = 300.0
"""A search of more seconds is announced when its first trials are done."""


@dataclass(frozen=True)
class Forecast:
    """The seconds that one epoch takes (one evaluation where nothing is trained), and what follows for a run.

    ``workers`` work side by side and have ``gpus`` each.
    """

    config: RunConfig
    seconds: float
    workers: int
    gpus: float = 0.0

    @property
    def trial(self) -> float:
        """Seconds of a trial; the most where a scheduler spreads the epochs."""
        return self.seconds * (self.config.epochs if self._trains else 1)

    @property
    def search(self) -> float:
        """Worker-seconds of the search."""
        return min(self.config.trials * self.trial, float(self.config.max_seconds or math.inf))

    @property
    def random(self) -> float:
        """Worker-seconds of the random search."""
        return self.search if self.config.baseline == "random" else 0.0

    @property
    def finals(self) -> int:
        """The number of final trainings: of the winner, the best of random search, and a handcrafted network."""
        return self.config.final_seeds * (3 if self.config.baseline == "random" else 2) if self._trains else 0

    @property
    def final(self) -> float:
        """Seconds of one final training."""
        return self.seconds * self.config.final_epochs

    @property
    def worker_seconds(self) -> float:
        """Worker-seconds of everything."""
        return self.search + self.random + self.finals * self.final

    @property
    def wall_seconds(self) -> float:
        """Seconds from the begin to the end of everything."""
        return (self.search + self.random) / self.workers + self._final_wall

    def text(self) -> str:
        """Return the forecast as a sentence."""
        parts = [f"{self._calculation} = {duration(self.search / self.workers)}{self._capped}"]
        if self.random:
            parts.append("random search the same")
        if self.finals:
            epochs = count(self.config.final_epochs, "epoch")
            parts.append(f"final comparison {self.finals} x {epochs}, {duration(self._final_wall)}")
        if len(parts) > 1:
            parts.append(f"{duration(self.wall_seconds)} in all")
        return f"forecast: {'; '.join([*parts, cost(self.worker_seconds, self.gpus)])}"

    @property
    def _trains(self) -> bool:
        return self.config.evaluator == "train"

    @property
    def _final_wall(self) -> float:
        return math.ceil(self.finals / self.workers) * self.final

    @property
    def _calculation(self) -> str:
        most = "at most " if self.config.scheduler != NONE and self._trains else ""
        epochs = f" x {count(self.config.epochs, 'epoch')}" if self._trains else ""
        trials = count(self.config.trials, "trial")
        return f"{most}{trials}{epochs} x {duration(self.seconds)} / {count(self.workers, 'worker')}"

    @property
    def _capped(self) -> str:
        capped = self.search < self.config.trials * self.trial
        return f", as --max-seconds {self.config.max_seconds} ends it" if capped else ""


def cost(worker_seconds: float, gpus: float) -> str:
    """Return what workers with so many GPUs each cost: ``2.3 GPU-hours``, or worker-hours where they have none."""
    return f"{hours(worker_seconds * (gpus or 1) / 3600)} {'GPU' if gpus else 'worker'}-hours"


def gpus_of(config: RunConfig, workers: Sequence[WorkerState], notes: Iterable[Mapping[str, Any]] = ()) -> float:
    """Return the GPUs that each worker has; the ``notes`` of trainings tell where those in this process ran."""
    trained_on = {note["trained_on"]["device"] for note in notes if "trained_on" in note}
    on_gpu = any(worker.device.startswith("gpu") for worker in workers) or bool(trained_on - {"CPU"})
    return float(on_gpu) if config.gpus_per_trial is None or not on_gpu else config.gpus_per_trial


def forecast(config: RunConfig, study: Study) -> str:
    """Measure one epoch of a few sampled networks where the search would train, and return the forecast.

    Leaves nothing behind. Raises :class:`ConfigError` when none of them can be evaluated.
    """
    if config.evaluator == "table":
        return f"forecast: {count(config.trials, 'trial')}, looked up in the table; nothing is trained"
    jobs = list(islice(_jobs(config, study), SAMPLES))
    if not jobs:
        raise ConfigError(f"forecast: none of {DRAWS:,} sampled networks can be built within the limits")
    executor = study.executor
    try:
        seconds, notes = _measure(config, executor, jobs)
        workers = executor.workers()
    finally:
        executor.close()
    return Forecast(config, seconds, max(1, len(workers)), gpus_of(config, workers, notes)).text()


def _jobs(config: RunConfig, study: Study) -> Iterator[Job]:
    """Yield jobs of one epoch for sampled networks within the limits."""
    for draw in range(DRAWS):
        architecture = study.space.sample(stream(config.seed, draw, 0, SEARCH))
        prepared = study.prepare(architecture)
        limits = ((prepared.params, config.max_params), (prepared.macs, config.max_macs))
        if prepared.problem or any(most and value and value > most for value, most in limits):
            continue
        yield Job(
            index=draw,
            attempt=0,
            architecture=architecture,
            key=prepared.key,
            epochs=1 if config.evaluator == "train" else config.epochs,
            seed=derive(config.seed, draw, 0, TRAIN),
            task=study.settings.task,
            graph=prepared.graph,
            settings=dict(study.settings.job),
            params=prepared.params,
            macs=prepared.macs,
        )


def _measure(config: RunConfig, executor: Executor, jobs: Sequence[Job]) -> tuple[float, list[Mapping[str, Any]]]:
    """Return the mean seconds of an epoch, or of an evaluation where nothing is trained, and what was noted meanwhile.

    Short ones are measured anew for as many epochs as a trial has, or fit into :data:`COLD` seconds.
    """
    first = _run(executor, jobs)
    seconds = {o.index: o.seconds for o in first if not isinstance(o.result, Failure)}
    if not seconds:
        failure = next(o.result for o in first if isinstance(o.result, Failure))
        what = f"none of {count(len(jobs), 'sampled network')} could be evaluated"
        raise ConfigError(f"forecast: {what}; {failure.kind}: {failure.message}")
    trains = config.evaluator == "train"
    again = {
        job.index: replace(job, epochs=min(config.epochs, max(1, int(COLD / seconds[job.index])))) if trains else job
        for job in jobs
        if seconds.get(job.index, COLD) < COLD
    }
    for outcome in _run(executor, list(again.values())):
        if not isinstance(outcome.result, Failure):
            each = outcome.seconds / (again[outcome.index].epochs if trains else 1)
            seconds[outcome.index] = min(seconds[outcome.index], each)
    notes = [outcome.result.notes for outcome in first if not isinstance(outcome.result, Failure)]
    return statistics.fmean(seconds.values()), notes


def _run(executor: Executor, jobs: Sequence[Job]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    waiting, running = list(jobs), 0
    while waiting or running:
        while waiting and running < executor.capacity:
            executor.submit(waiting.pop(0))
            running += 1
        found = executor.wait(TICK)
        running -= len(found)
        outcomes += found
    return outcomes


class Announcer:
    """Says what a search of trainings will take, once, when as many trials are done as there are workers.

    ``trials`` are those of the ledger; those that are done when it begins were done elsewhere and are not counted.
    """

    def __init__(self, config: RunConfig, trials: Sequence[Trial]) -> None:
        self._config, self._trials = config, trials
        self._before = {trial.index for trial in trials if trial.status == "done"}
        self._due = config.evaluator == "train"

    def __call__(self, progress: Progress) -> str:
        """Return the forecast when it is time for it and the search is a long one, else nothing."""
        enough = max(2, len(progress.workers))
        if not self._due or progress.phase != "search" or progress.done - len(self._before) < enough:
            return ""
        own = [t for t in self._trials if t.status == "done" and t.index not in self._before]
        if len(own) < enough:
            return ""
        self._due = False
        workers, gpus = max(1, len(progress.workers)), gpus_of(self._config, progress.workers)
        found = Forecast(self._config, epoch_seconds(own), workers, gpus)
        return found.text() if found.wall_seconds > LONG else ""


def epoch_seconds(trials: Sequence[Trial]) -> float:
    """Return the seconds that an epoch of these trainings took."""
    epochs = sum(t.metrics.values.get("epochs_trained", t.proposal.epochs) for t in trials if t.metrics)
    return sum(t.seconds for t in trials) / max(1.0, epochs)
