"""A run on disk: create it, carry it to its end, resume it, and write what people read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from nas.checkpoints import Checkpoints
from nas.environment import environment
from nas.errors import ConfigError, unknown
from nas.files import staged, write_atomic, write_json
from nas.finals import finalists, run_finals
from nas.placing import LOGS, RAY
from nas.plugins import naming
from nas.report.outputs import write_outputs
from nas.report.view import BASELINE
from nas.run.config import CHANGEABLE, RunConfig, config_of, flag
from nas.run.journal import Journal, opened
from nas.run.ledger import Ledger, fold
from nas.run.loop import Executor, Loop
from nas.run.onlook import Onlooker
from nas.run.status import Observer, Progress, running_trials, watched
from nas.searchers.schedulers import NONE
from nas.study import CACHE, Study, assemble, completed
from nas.types import Architecture, Trial

NAME_RULE = "a name is at most 100 letters, digits, dots, dashes and underscores, and does not begin with a dot"


class Run:
    """One run: its folder, configuration, journal and ledger. Build it with :meth:`create` or :meth:`resume`."""

    def __init__(self, folder: Path, config: RunConfig, study: Study, journal: Journal, ledger: Ledger) -> None:
        self.folder, self.config, self.study = folder, config, study
        self.journal, self.ledger = journal, ledger
        self.warning = ""
        self._loop: Loop | None = None
        self._baseline: Run | None = None
        self._stopping = False

    @classmethod
    def create(cls, folder: Path, config: RunConfig) -> Run:
        """Start a new run in ``folder``, which must not exist; nothing is left behind when something is wrong."""
        check_name(folder.name)
        if folder.exists():
            raise ConfigError(taken(folder))
        config = completed(config)
        study = assemble(config, folder=folder)
        start = [architecture.to_json() for architecture in study.start]
        journal = write_new(folder, {"config": config.to_json(), **({"start": start} if start else {})})
        return cls(folder, config, study, journal, Ledger(study.lag))

    @classmethod
    def resume(cls, folder: Path, changes: Mapping[str, Any] | None = None) -> Run:
        """Open an existing run where it stands; the journal's first event says how it was configured.

        ``changes`` are settings of :data:`nas.run.config.CHANGEABLE`: where workers and files are found now.
        """
        with opened(find_journal(folder)) as (journal, events, warning):
            config = _elsewhere(config_of(events[0], folder.name), changes or {})
            if config.executor == RAY:
                (folder / LOGS).mkdir(exist_ok=True)
            start = [Architecture.from_json(data) for data in events[0].get("start", [])]
            study = assemble(config, start, folder)
            run = cls(folder, config, study, journal, fold(events, study.lag))
        run.warning = warning
        return run

    def stop(self) -> None:
        """Finish what runs now, then write the report; :meth:`resume` goes on from there."""
        self._stopping = True
        if self._loop is not None:
            self._loop.stop()
        if self._baseline is not None:
            self._baseline.stop()

    def execute(self, observe: Observer = lambda progress: None) -> str:
        """Search, compare and write everything; return ``finished``, ``exhausted`` or ``interrupted``."""
        try:
            with watched(self.folder, observe) as observe:
                reason = self._search(observe)
                if reason != "interrupted":
                    reason = self._finish(reason, observe)
                self.journal.append([{"event": "stopped", "reason": reason, "time": time.time()}])
                write_outputs(self.folder)
                return reason
        finally:
            self.study.executor.close()
            self.journal.close()

    def _search(self, observe: Observer, phase: str = "search") -> str:
        study, settings = self.study, self.study.settings
        checkpoints = None
        if self.config.scheduler != NONE and self.config.evaluator == "train":
            folder = self.folder.resolve() / "checkpoints"
            settings, checkpoints = replace(settings, checkpoints=folder), Checkpoints(folder, settings.epochs)

        progress_of = Onlooker(phase, self.config.trials, study.executor.workers)

        def onlook(ledger: Ledger) -> None:
            if checkpoints is not None:
                checkpoints.sweep(ledger)
            observe(progress_of(ledger))

        onlook(self.ledger)
        self._loop = Loop(study.searcher, study.prepare, study.executor, self.journal, self.ledger, settings, onlook)
        if self._stopping:
            return "interrupted"
        with naming("the search stopped"):
            reason = self._loop.run()
        if checkpoints is not None and reason != "interrupted":
            checkpoints.clear()
        return "finished" if reason == "budget" else reason

    def _finish(self, reason: str, observe: Observer) -> str:
        self.study.executor.close()  # the random search and the final trainings need the place of its workers
        baseline = None
        if self.config.baseline == "random" and self.ledger.queries:
            ended, baseline = self.run_baseline(observe)
            if ended == "interrupted":
                return ended
        best = self.ledger.best()
        if best is None:
            return reason
        write_best(self.folder, best, self.study)
        if not self._compares():
            return reason
        rows = finalists(self.config, self.study, best, baseline)
        with closing(self.study.final_executor()) as executor:
            done = run_finals(
                self.config,
                self.study,
                rows,
                executor,
                self.journal,
                self.ledger,
                self.folder / "best",
                lambda: not self._stopping,
                lambda count, total: observe(_final_progress(count, total, executor)),
            )
        return reason if done else "interrupted"

    def _compares(self) -> bool:
        return self.config.final_seeds > 0 and self.config.evaluator in ("train", "table")

    def run_baseline(self, observe: Observer) -> tuple[str, Trial | None]:
        """Run, or go on with, an equally long random search in a run of its own below this one."""
        folder = self.folder / BASELINE
        if folder.exists():
            run = Run.resume(folder, {name: getattr(self.config, name) for name in CHANGEABLE})
            self.warning = run.warning
        else:
            seed = self.config.seed + 1
            config = replace(
                self.config,
                searcher="random",
                searcher_args={},
                start_from=(),
                baseline="none",
                final_seeds=0,
                seed=seed,
                trials=max(1, self.ledger.queries),  # where the search ended early, so does what it is compared with
            )
            run = Run.create(folder, config)
        self._baseline = run
        if self._stopping:
            run.stop()
        try:
            reason = run._search(observe, "random")
            run.journal.append([{"event": "stopped", "reason": reason, "time": time.time()}])
        finally:
            run.study.executor.close()
            run.journal.close()
        return reason, run.ledger.best()


def _final_progress(done: int, total: int, executor: Executor) -> Progress:
    workers = tuple(executor.workers())
    running = running_trials(workers, {})
    return Progress("final", done, total, running=len(running), workers=workers, trials=running)


def _elsewhere(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    for name in changes:
        if name not in CHANGEABLE:
            raise ConfigError(f"a run cannot be resumed with another {flag(name)}; allowed: {_flags(CHANGEABLE)}")
    if changes.get("executor", config.executor) != RAY:  # what is left of a cluster does not hinder
        config = replace(config, ray_address=None, workers=None, gpus_per_trial=None)
    elif "executor" in changes:  # a Ray of its own, where no address is given
        config = replace(config, ray_address=None)
    paths = {name: str(Path(changes[name]).resolve()) for name in ("data_dir", "table") if changes.get(name)}
    return RunConfig.from_json({**config.to_json(), **changes, **paths}, "resume")


def _flags(names: Sequence[str]) -> str:
    return ", ".join(map(flag, names))


def write_new(folder: Path, header: dict[str, Any]) -> Journal:
    """Write the first files of a run beside ``folder`` and move them there, so that it exists whole or not at all.

    The ``header`` holds its configuration and becomes the first event of its journal.
    """

    def fill(staging: Path) -> None:
        (staging / CACHE).mkdir()
        if header["config"]["executor"] == RAY:
            (staging / LOGS).mkdir()

    return write_folder(folder, {**header, "time": time.time()}, header["config"], fill)


def write_folder(
    folder: Path, header: Mapping[str, Any], settings: Mapping[str, Any], fill: Callable[[Path], None]
) -> Journal:
    """Write a run of any kind as :func:`write_new` does: its ``settings`` as TOML, and what ``fill`` writes to it."""
    try:
        with staged(folder) as staging:
            fill(staging)
            write_atomic(staging / "config.toml", tomli_w.dumps(dict(settings)))
            write_json(staging / "environment.json", environment())
            journal = Journal.create(staging / "journal.jsonl", dict(header))
    except OSError as error:
        if folder.exists():
            raise ConfigError(taken(folder)) from None
        raise ConfigError(f"run folder '{folder}' cannot be created: {error.strerror}") from None
    journal.path = folder / "journal.jsonl"
    return journal


def taken(folder: Path) -> str:
    """Return the message for a run that exists already."""
    return f"run '{folder.name}' exists already in '{folder.parent}'; resume it or choose another name"


def write_best(folder: Path, best: Trial, study: Study) -> None:
    """Write the best architecture, and its network where it has one, below ``folder``."""
    (folder / "best").mkdir(exist_ok=True)
    write_json(folder / "best" / "architecture.json", best.architecture.to_json())
    graph = study.plain(best.architecture).graph
    if graph is not None:
        write_json(folder / "best" / "graph.json", graph.to_json())


def check_name(name: str) -> None:
    """Refuse names of runs that are not one plain path segment."""
    plain = name and not name.startswith(".") and all(c.isalnum() or c in "._-" for c in name)
    if not plain or len(name) > 100:
        raise ConfigError(f"run name '{name}': {NAME_RULE}")


def folder_of(results: Path, name: str) -> Path:
    """Return the folder of run ``name``; a name that would lead elsewhere raises :class:`ConfigError`.

    The folder's own path, as the report's last line prints it and shells complete it, stands for the name.
    """
    name = name.rstrip("/").removeprefix(f"{results}/")
    check_name(name)
    return results / name


def fresh_name(results: Path, config: RunConfig) -> str:
    """Return a free name for a run: space, searcher and a number."""
    stem = f"{config.space}-{config.searcher.replace(':', '-')}"
    number = 1
    while (results / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def find_journal(folder: Path) -> Path:
    """Return the journal of the run in ``folder``; a missing run raises with the nearest name."""
    check_name(folder.name)
    path = folder / "journal.jsonl"
    if not path.is_file():
        known = [p.parent.name for p in folder.parent.glob("*/journal.jsonl")]
        raise ConfigError(f"{unknown('run', folder.name, known)} in '{folder.parent}'")
    return path
