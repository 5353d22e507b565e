"""What a search will take: trials times measured seconds over workers, before it begins and when the first are done."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from nas.core.plugins import naming
from nas.core.text import count, duration, hours
from nas.engine.assemble import SearchParts
from nas.engine.config import RunConfig
from nas.engine.loop import TICK
from nas.engine.random_streams import SEARCH, TRAIN, derive, stream
from nas.engine.rivals import families_of, final_rows
from nas.errors import ConfigError, NasError
from nas.evaluators.train import TrainSettings
from nas.executors.config import INLINE, ExecutorConfig
from nas.runs.journal import Event
from nas.runs.progress import Progress
from nas.schedulers.base import NONE
from nas.types import Executor, Failure, Job, Outcome, Trial, WorkerState

SAMPLES = 3
"""Networks that are measured."""
DRAWS = 1_000
"""Architectures that are drawn to find them."""
COLD = 20.0
"""A measurement of fewer seconds is repeated: what a worker does once, such as reading the images, counts in it."""
QUICK_SECONDS = 20.0
"""Seconds after which no more steps are measured before a search."""
MOST_STEP = 2e10
"""Multiply-accumulates of a training step that a CPU may take too long for, ten seconds where it is slow."""
LONG = 300.0
"""A search of more seconds is announced when its first trials are done."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take."""

    config: RunConfig
    """The configuration of the run."""
    seconds: float
    """Seconds of one epoch; of one evaluation where nothing is trained."""
    workers: int
    """How many work side by side."""
    gpus: float = 0.0
    """The GPUs that each of them has."""

    @property
    def search(self) -> float:
        """Worker-seconds of the search."""
        return min(self._all_trials, float(self.config.max_seconds or math.inf))

    @property
    def random(self) -> float:
        """Worker-seconds of the random search."""
        return self.search if self.config.comparison.baseline == "random" else 0.0

    @property
    def rivals(self) -> float:
        """Worker-seconds of the search among handcrafted rivals."""
        return self.search if families_of(self.config) else 0.0

    @property
    def worker_seconds(self) -> float:
        """Worker-seconds of everything."""
        return self.search + self.random + self.rivals + self._finals * self.seconds * self.config.comparison.epochs

    @property
    def wall_seconds(self) -> float:
        """Seconds from the start to the end of everything."""
        return (self.search + self.random + self.rivals) / self.workers + self._final_wall

    def text(self) -> str:
        """Return the forecast as a sentence."""
        config, trains = self.config, self.config.evaluator == "train"
        most = "at most " if config.scheduler.name != NONE and trains else ""
        epochs = f" x {count(config.train.epochs, 'epoch')}" if trains else ""
        second = config.finalists.count if trains else 0
        trials, workers = count(config.trials - second, "trial"), count(self.workers, "worker")
        longer = f"{trials}{epochs} + {count(second, 'finalist')} x {count(config.finalist_epochs, 'epoch')}"
        trained = f"({longer})" if second else f"{trials}{epochs}"
        capped = f", as --max-seconds {config.max_seconds} ends it" if self.search < self._all_trials else ""
        calculation = f"{most}{trained} x {duration(self.seconds)} / {workers}"
        parts = [f"{calculation} = {duration(self.search / self.workers)}{capped}"]
        if self.random:
            parts.append("random search the same")
        if self.rivals:
            parts.append("handcrafted rivals the same")
        if self._finals:
            epochs = count(config.comparison.epochs, "epoch")
            parts.append(f"final comparison {self._finals} x {epochs}, {duration(self._final_wall)}")
        if len(parts) > 1:
            parts.append(f"{duration(self.wall_seconds)} in all")
        return f"forecast: {'; '.join([*parts, cost(self.worker_seconds, self.gpus)])}"

    @property
    def _all_trials(self) -> float:
        """Worker-seconds without a limit; at most these where a scheduler spreads the epochs."""
        config = self.config
        if config.evaluator != "train":
            return config.trials * self.seconds
        second = config.finalists.count
        epochs = (config.trials - second) * config.train.epochs + second * config.finalist_epochs
        return self.seconds * epochs

    @property
    def _finals(self) -> int:
        """The number of final trainings, at most: of the winner, and of all that it is compared with."""
        if self.config.evaluator != "train":
            return 0
        return self.config.comparison.seeds * final_rows(self.config)

    @property
    def _final_wall(self) -> float:
        return math.ceil(self._finals / self.workers) * (self.seconds * self.config.comparison.epochs)


def cost(worker_seconds: float, gpus: float) -> str:
    """Return what workers with ``gpus`` each cost: ``2.3 GPU-hours``, or worker-hours where they have none."""
    return f"{hours(worker_seconds * (gpus or 1) / 3600)} {'GPU' if gpus else 'worker'}-hours"


def gpus_of(executor: ExecutorConfig, workers: Sequence[WorkerState], notes: Iterable[Event] = ()) -> float:
    """Return the GPUs that each worker has; the ``notes`` of trainings tell where those in this process ran."""
    trained_on = {note["trained_on"]["device"] for note in notes if "trained_on" in note}
    on_gpu = any(worker.device.startswith("gpu") for worker in workers) or bool(trained_on - {"CPU"})
    return float(on_gpu) if executor.gpus_per_trial is None or not on_gpu else executor.gpus_per_trial


def forecast(config: RunConfig, parts: SearchParts) -> str:
    """Measure one epoch of a few sampled networks where the search would train, and return the forecast.

    Leaves nothing behind. Raises :class:`ConfigError` when none of them can be evaluated.
    """
    if config.evaluator == "table":
        return f"forecast: {count(config.trials, 'trial')}, looked up in the table; nothing is trained"
    jobs = list(islice(_jobs(config, parts), SAMPLES))
    if not jobs:
        raise ConfigError(f"forecast: none of {DRAWS:,} sampled networks can be built within the limits")
    executor, trains = parts.executor, config.evaluator == "train"
    # what would train for too long is measured by its steps
    by_steps = quick_forecast(config, parts, math.inf)
    if by_steps is not None and by_steps.seconds * len(jobs) > COLD:
        return by_steps.text()
    try:
        # one epoch each, or one evaluation where nothing is trained
        first = _run(executor, jobs)
        notes = [o.result.notes for o in first if trains and not isinstance(o.result, Failure)]
        seconds = {o.index: o.seconds for o in first if not isinstance(o.result, Failure)}
        if not seconds:
            failure = next(o.result for o in first if isinstance(o.result, Failure))
            what = f"none of {count(len(jobs), 'sampled network')} could be evaluated"
            raise ConfigError(f"forecast: {what}; {failure.kind}: {failure.message}")

        # short ones again, for as many epochs as a trial has or fit into COLD seconds: what a worker does once counts
        again = {job.index: job for job in jobs if seconds.get(job.index, COLD) < COLD}
        if trains:
            most = {index: min(config.train.epochs, max(1, int(COLD / seconds[index]))) for index in again}
            again = {index: replace(job, epochs=most[index]) for index, job in again.items()}
        for outcome in _run(executor, list(again.values())):
            if not isinstance(outcome.result, Failure):
                each = outcome.seconds / (again[outcome.index].epochs if trains else 1)
                seconds[outcome.index] = min(seconds[outcome.index], each)
        workers = executor.workers()
    finally:
        executor.close()
    # as it would refuse what is too slow, were it not all
    epochs, limit = config.train.epochs if trains else 1, config.constraints.seconds
    quick = [each for each in seconds.values() if limit is None or each * epochs <= limit]
    measured = quick or [min(seconds.values())]
    gpus = gpus_of(config.executor, workers, notes)
    return Forecast(config, statistics.fmean(measured), max(1, len(workers)), gpus).text()


def quick_forecast(config: RunConfig, parts: SearchParts, affordable: float | None = None) -> Forecast | None:
    """Return the forecast by a few training steps of a few sampled networks in this process.

    None where that tells nothing, as nothing is trained or trials run elsewhere, and where the MACs of a step are more
    than ``affordable`` (:data:`MOST_STEP`) on a CPU, or no step could be done. It takes :data:`QUICK_SECONDS`, or the
    steps that were begun before. Nothing is left behind, and torch's random streams stay as they are.
    """
    if config.evaluator != "train" or config.executor.name != INLINE:
        return None
    from nas.training.device import find_device
    from nas.training.trainer import epoch_seconds

    settings, taken = TrainSettings.from_json(parts.settings.job), list[float]()
    recipe, end = settings.actual_recipe(), time.monotonic() + QUICK_SECONDS
    most_macs = MOST_STEP if affordable is None else affordable
    on_gpu = find_device(settings.device).type != "cpu"
    with suppress(NasError), naming("forecast"):  # trials tell better what is wrong
        splits = settings.splits()
        batch = min(recipe.batch_size, len(splits.train))
        for job in islice(_jobs(config, parts, end), SAMPLES):
            left = end - time.monotonic()
            if left <= 0 or job.graph is None or (not on_gpu and 3 * (job.macs or 0) * batch > most_macs):
                break
            each = epoch_seconds(
                job.graph,
                splits,
                recipe,
                device=settings.device,
                threads=settings.threads,
                precision=settings.precision,
                within=left,
            )
            taken.append(each)
    return Forecast(config, statistics.fmean(taken), 1, float(on_gpu)) if taken else None


def _jobs(config: RunConfig, parts: SearchParts, end: float = math.inf) -> Iterator[Job]:
    """Yield jobs of one epoch for sampled networks within the limits, none after the time ``end``."""
    for draw in range(DRAWS):
        if time.monotonic() > end:
            return
        architecture = parts.space.sample(stream(config.seed, draw, 0, SEARCH))
        prepared = parts.prepare(architecture)
        # what the search would refuse costs it nothing
        limits = ((prepared.params, config.constraints.params), (prepared.macs, config.constraints.macs))
        if prepared.problem or any(most and value and value > most for value, most in limits):
            continue
        yield Job(
            index=draw,
            attempt=0,
            architecture=architecture,
            key=prepared.key,
            epochs=1 if config.evaluator == "train" else config.train.epochs,
            seed=derive(config.seed, draw, 0, TRAIN),
            task=parts.settings.task,
            graph=prepared.graph,
            settings={name: value for name, value in parts.settings.job.items() if name != "max_trial_seconds"},
            params=prepared.params,
            macs=prepared.macs,
        )


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
        self._due = config.evaluator != "table"

    def __call__(self, progress: Progress) -> str:
        """Return the forecast when it is time for it and the search is a long one, else nothing."""
        enough = max(2, len(progress.workers))
        if not self._due or progress.phase != "search" or progress.done - len(self._before) < enough:
            return ""
        own = [t for t in self._trials if t.status == "done" and t.index not in self._before]
        if len(own) < enough:
            return ""
        # now that it is known: once, and only where there is something to wait for
        self._due = False
        workers, gpus = max(1, len(progress.workers)), gpus_of(self._config.executor, progress.workers)
        each = epoch_seconds(own) if self._config.evaluator == "train" else statistics.fmean(t.seconds for t in own)
        found = Forecast(self._config, each, workers, gpus)
        return found.text() if found.wall_seconds > LONG else ""


def epoch_seconds(trials: Sequence[Trial]) -> float:
    """Return the seconds that an epoch of these trainings took."""
    epochs = sum(t.metrics.values.get("epochs_trained", t.proposal.epochs) for t in trials if t.metrics)
    return sum(t.seconds for t in trials) / max(1.0, epochs)
