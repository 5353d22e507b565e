"""A run as an Optuna study: for Optuna's dashboard, its plots and its importances. Needs the package optuna."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.core.files import locked_folder, read_json
from nas.core.plugins import load_built_in, naming
from nas.core.values import Value
from nas.engine.config import NONE, RunConfig, config_of
from nas.engine.loop import fold
from nas.errors import ConfigError, NasError, SpaceError, one_line
from nas.runs.journal import read
from nas.searchers.optuna.searcher import import_optuna, quiet, readable
from nas.searchers.pareto import asked_objectives, value_of
from nas.space import SPACES, Space
from nas.space.choices import Options
from nas.space.from_table import table_space
from nas.tables.benchmark_table import load_table
from nas.types import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SUFFIXES = {".log": "Optuna's journal", ".db": "SQLite", ".sqlite3": "SQLite"}
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)
"""When a run without a date is said to have begun."""


def export_study(folder: Path, output: Path) -> int:
    """Write the run in ``folder`` to the new file ``output`` and return the number of its trials.

    A ``.log`` is a journal of Optuna, a ``.db`` or ``.sqlite3`` an SQLite database; the study has the run's name, and
    of a search in several objectives all of them with their names and directions. An existing file, another suffix or
    a missing package raises :class:`ConfigError`.
    """
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"-o must be a file that ends in {', '.join(SUFFIXES)}, found '{output}'")
    if not output.parent.is_dir():
        raise ConfigError(f"-o '{output}': the folder '{output.parent}' does not exist")
    if output.exists():
        raise ConfigError(f"-o '{output}': the file exists already; choose another or delete it")
    optuna = import_optuna()
    events = read(folder / "journal.jsonl")
    config = config_of(events[0], folder.name, events)
    objectives, limits = asked_objectives(config.searcher.name, config.searcher.args)

    # When it began, where the run has a date.
    environment = folder / "environment.json"
    begun = UNDATED
    with contextlib.suppress(ValueError):
        begun = datetime.fromisoformat(read_json(environment).get("date", "") if environment.is_file() else "")
    found = fold(events, None).trials
    trials = optuna_trials(
        found,
        begun if begun.tzinfo else begun.replace(tzinfo=UTC),
        objectives=objectives,
        limits=limits,
        full_epochs=None if config.scheduler.name == NONE else config.train.epochs,
        options=known_options(space_of_run(config, events[0]), found),
    )

    # Written beside the output and moved there whole, so that a failure leaves nothing half done.
    try:
        with locked_folder(output) as (place, _):
            temporary = place / f"study{output.suffix}"
            with quiet(), _storage(temporary, output.suffix) as storage:
                directions = ["maximize", *["minimize"] * len(objectives)]
                study = optuna.create_study(storage=storage, study_name=folder.name, directions=directions)
                study.set_metric_names(["reward", *objectives])
                for name, value in events[0].get("config", {}).items():
                    study.set_user_attr(name, value)
                study.add_trials(trials)
            try:
                os.link(temporary, output)
            except FileExistsError:  # another process has taken the name meanwhile
                raise ConfigError(f"-o '{output}': the file exists already; choose another or delete it") from None
            except OSError:  # a file system without hard links
                temporary.replace(output)
    except OSError as error:
        raise ConfigError(f"cannot write '{output}': {error.strerror or one_line(error)}") from None
    return len(trials)


def space_of_run(config: RunConfig, header: Mapping[str, object]) -> Space | None:
    """Return the space of a search; None where it is a Python object, or a plugin's or a table's that is not here."""
    objects = header.get("objects")
    if isinstance(objects, Mapping) and "space" in objects:
        return None
    load_built_in()
    try:
        if config.table.path and config.space.name not in SPACES:
            return table_space(load_table(Path(config.table.path))).with_args(config.space.args)
        return SPACES[config.space.name].with_args(config.space.args)
    except (ConfigError, SpaceError):
        return None


def known_options(space: Space | None, trials: Sequence[Trial]) -> dict[str, Options]:
    """Return all options of the decisions of ``trials``, by name, in the order of ``space``.

    A decision whose options cannot be told, or whose space offers other ones today than a trial chose, is left out.
    """
    found: dict[str, Options] = {}
    chosen: dict[str, set[Value]] = {}
    for trial in trials:
        decisions = trial.architecture.decisions
        if space is not None and not decisions.keys() <= found.keys():
            try:
                with naming(f"space '{space.name}'"):
                    space.describe(trial.architecture)
            except NasError:  # it was another space then
                return {}
            found |= {name: space.options(name) for name in decisions}
        for name, value in decisions.items():
            chosen.setdefault(name, set()).add(value)
    return {name: options for name, options in found.items() if chosen[name] <= set(options)}


def optuna_trials(
    trials: Sequence[Trial],
    begun: datetime = UNDATED,
    *,
    objectives: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    full_epochs: int | None = None,
    options: Mapping[str, Options] | None = None,
) -> list[FrozenTrial]:
    """Return ``trials`` as Optuna's, one categorical parameter a decision over its ``options``.

    Where these are not known, they are all that were ever chosen. The values are the reward and ``objectives``;
    ``limits`` become Optuna's constraints. ``full_epochs`` are those of a scheduler's last rung: with them a trial and
    its promotions are one of Optuna's, whose intermediate values are the rewards by epochs, and which is pruned where
    it was not promoted to that rung.

    A journal holds no times: each trial is said to begin when the one before it ended, the first at ``begun``.
    """
    from optuna.trial import FrozenTrial, TrialState

    called, distributions = _distributions(trials, options or {})

    # A trial with what continued it, in order: one architecture at more and more epochs.
    stages: dict[int, list[Trial]] = {}
    first: dict[int, int] = {}
    for trial in trials:
        origin = trial.proposal.continue_from
        first[trial.index] = trial.index if origin is None else first[origin]
        stages.setdefault(first[trial.index], []).append(trial)

    found = []
    for number, own in enumerate(stages.values()):
        last, values, constraints = own[-1], None, {}
        state, failure = TrialState.COMPLETE, last.failure and f"{last.failure.kind}: {last.failure.message}"
        if last.status in ("pending", "waiting"):
            state = TrialState.RUNNING
        elif last.reward is None:
            state = TrialState.FAIL
        else:
            try:
                values = [last.reward, *(value_of(last, name) for name in objectives)]
                bounds = (limits or {}).items()
                constraints = (
                    {"constraints": [value_of(last, name) - bound for name, bound in bounds]} if limits else {}
                )
                if full_epochs is not None and last.proposal.epochs < full_epochs:
                    state = TrialState.PRUNED
            except ConfigError as error:  # it lacks an objective
                state, failure = TrialState.FAIL, one_line(error)
        steps = {t.proposal.epochs: t.reward for t in own if t.reward is not None} if full_epochs is not None else {}

        seconds = sum(t.seconds for t in own if t.status != "reused")
        known = {name: getattr(last, name) for name in ("status", "key", "params", "macs", "of")}
        known |= {"index": own[0].index, "seconds": seconds, "epochs": last.proposal.epochs, "failure": failure}
        known |= {"continued_by": [t.index for t in own[1:]] or None}
        known = {name: value for name, value in known.items() if value is not None}
        ended, decisions = begun + timedelta(seconds=seconds), last.architecture.decisions
        frozen = FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            values=values,
            # in local time, without a zone, as Optuna keeps it
            datetime_start=begun.astimezone().replace(tzinfo=None),
            datetime_complete=None if state == TrialState.RUNNING else ended.astimezone().replace(tzinfo=None),
            params={name: called[name][value] for name, value in decisions.items()},
            distributions={name: distributions[name] for name in decisions},
            user_attrs={**(last.metrics.values if last.metrics else {}), **known},
            system_attrs=constraints,
            intermediate_values=steps,
        )
        found.append(frozen)
        begun = ended
    return found


def _distributions(
    trials: Sequence[Trial], options: Mapping[str, Options]
) -> tuple[dict[str, dict[Value, Value]], dict[str, BaseDistribution]]:
    """Return of each decision what Optuna calls its options, and the distribution over them."""
    from optuna.distributions import CategoricalDistribution

    chosen: dict[str, dict[Value, None]] = {}
    for trial in trials:
        for name, value in trial.architecture.decisions.items():
            chosen.setdefault(name, {})[value] = None
    called: dict[str, dict[Value, Value]] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, values in chosen.items():
        # numbers by size, then everything else by its text, so that equal runs give equal studies
        numbers = sorted(value for value in values if isinstance(value, int | float))
        others = sorted((value for value in values if not isinstance(value, int | float)), key=repr)
        known = options.get(name, (*numbers, *others))
        choices = readable(known)
        called[name], distributions[name] = dict(zip(known, choices, strict=True)), CategoricalDistribution(choices)
    return called, distributions


@contextlib.contextmanager
def _storage(path: Path, suffix: str) -> Iterator[BaseStorage]:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if suffix == ".log":
        yield JournalStorage(JournalFileBackend(str(path)))
        return
    from sqlalchemy import event

    storage = RDBStorage(f"sqlite:///{path.resolve()}")

    def unsynced(connection: Any, _: object) -> None:
        # the file is moved to its place when it is whole, and no trial of it needs to be on disk before
        for setting in ("synchronous=OFF", "journal_mode=MEMORY"):
            connection.execute(f"PRAGMA {setting}")

    event.listen(storage.engine, "connect", unsynced)
    storage.engine.dispose()  # connections from before
    try:
        yield storage
    finally:
        # or SQLite's file stays open, and cannot be moved on every system
        storage.remove_session()
        storage.engine.dispose()
