"""A run as an Optuna study: for Optuna's dashboard, its plots and its importances. Needs the package optuna."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.files import locked_folder, read_json
from nas.core.values import Value
from nas.engine.loop import fold
from nas.errors import ConfigError, one_line
from nas.runs.journal import read
from nas.searchers.optuna.searcher import import_optuna, quiet, readable
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

    A ``.log`` is a journal of Optuna, a ``.db`` or ``.sqlite3`` an SQLite database; the study has the run's name. An
    existing file, another suffix or a missing package raises :class:`ConfigError`.
    """
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"-o must be a file that ends in {', '.join(SUFFIXES)}, found '{output}'")
    if not output.parent.is_dir():
        raise ConfigError(f"-o '{output}': the folder '{output.parent}' does not exist")
    if output.exists():
        raise ConfigError(f"-o '{output}': the file exists already; choose another or delete it")
    optuna = import_optuna()
    events = read(folder / "journal.jsonl")

    # When it began, where the run has a date.
    environment = folder / "environment.json"
    begun = UNDATED
    with contextlib.suppress(ValueError):
        begun = datetime.fromisoformat(read_json(environment).get("date", "") if environment.is_file() else "")
    trials = optuna_trials(fold(events, None).trials, begun if begun.tzinfo else begun.replace(tzinfo=UTC))

    # Written beside the output and moved there whole, so that a failure leaves nothing half done.
    try:
        with locked_folder(output) as (place, _):
            temporary = place / f"study{output.suffix}"
            with quiet(), _storage(temporary, output.suffix) as storage:
                study = optuna.create_study(storage=storage, study_name=folder.name, direction="maximize")
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


def optuna_trials(trials: Sequence[Trial], begun: datetime = UNDATED) -> list[FrozenTrial]:
    """Return ``trials`` as Optuna's, one categorical parameter a decision over all options that were ever chosen.

    A journal holds no times: each trial is said to begin when the one before it ended, the first at ``begun``.
    """
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import FrozenTrial, TrialState

    # Of each decision what Optuna calls its options, and the distribution over them.
    chosen: dict[str, dict[Value, None]] = {}
    for trial in trials:
        for name, value in trial.architecture.decisions.items():
            chosen.setdefault(name, {})[value] = None
    called: dict[str, dict[Value, Value]] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, values in chosen.items():
        # numbers by size, then everything else by its text, so that equal runs give equal studies
        numbers = sorted(value for value in values if isinstance(value, int | float))
        options = (*numbers, *sorted((value for value in values if not isinstance(value, int | float)), key=repr))
        choices = readable(options)
        called[name], distributions[name] = dict(zip(options, choices, strict=True)), CategoricalDistribution(choices)

    found = []
    for number, trial in enumerate(trials):
        running, failure = trial.status in ("pending", "waiting"), trial.failure
        state = TrialState.RUNNING if running else TrialState.FAIL if trial.reward is None else TrialState.COMPLETE
        ended = begun + timedelta(seconds=0 if trial.status == "reused" else trial.seconds)
        known = {name: getattr(trial, name) for name in ("index", "status", "key", "params", "macs", "seconds", "of")}
        known |= {"epochs": trial.proposal.epochs, "failure": f"{failure.kind}: {failure.message}" if failure else None}
        known = {name: value for name, value in known.items() if value is not None}
        decisions = trial.architecture.decisions
        frozen = FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=trial.reward,
            # in local time, without a zone, as Optuna keeps it
            datetime_start=begun.astimezone().replace(tzinfo=None),
            datetime_complete=None if running else ended.astimezone().replace(tzinfo=None),
            params={name: called[name][value] for name, value in decisions.items()},
            distributions={name: distributions[name] for name in decisions},
            user_attrs={**(trial.metrics.values if trial.metrics else {}), **known},
            system_attrs={},
            intermediate_values={},
        )
        found.append(frozen)
        begun = ended
    return found


@contextlib.contextmanager
def _storage(path: Path, suffix: str) -> Iterator[BaseStorage]:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if suffix == ".log":
        yield JournalStorage(JournalFileBackend(str(path)))
        return
    storage = RDBStorage(f"sqlite:///{path.resolve()}")
    try:
        yield storage
    finally:
        # or SQLite's file stays open, and cannot be moved on every system
        storage.remove_session()
        storage.engine.dispose()
