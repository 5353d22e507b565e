"""A run as an Optuna study: for Optuna's dashboard, its plots and its importances. Needs the package optuna."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError, one_line
from nas.files import read_json
from nas.run.journal import read
from nas.run.ledger import fold
from nas.searchers.optuna_coding import import_optuna, quiet, readable
from nas.types import Trial, Value

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
    trials = optuna_trials(fold(events, None).trials, _begun(folder))
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with quiet(), _storage(temporary, output.suffix) as storage:
            study = optuna.create_study(storage=storage, study_name=folder.name, direction="maximize")
            for name, value in events[0].get("config", {}).items():
                study.set_user_attr(name, value)
            study.add_trials(trials)
        _move(temporary, output)
    except OSError as error:
        raise ConfigError(f"cannot write '{output}': {error.strerror or one_line(error)}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return len(trials)


def optuna_trials(trials: Sequence[Trial], begun: datetime = UNDATED) -> list[FrozenTrial]:
    """Return ``trials`` as Optuna's, one categorical parameter a decision over all options that were ever chosen.

    A journal holds no times: each trial is said to begin when the one before it ended, the first at ``begun``.
    """
    from optuna.trial import FrozenTrial, TrialState

    made = _distributions(trials)
    found = []
    for number, trial in enumerate(trials):
        running = trial.status in ("pending", "waiting")
        state = TrialState.RUNNING if running else TrialState.FAIL if trial.reward is None else TrialState.COMPLETE
        ended = begun + timedelta(seconds=0 if trial.status == "reused" else trial.seconds)
        shown = {name: made[name] for name, _ in trial.architecture.decisions}
        frozen = FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=trial.reward,
            datetime_start=_local(begun),
            datetime_complete=None if running else _local(ended),
            params={name: shown[name][0][value] for name, value in trial.architecture.decisions},
            distributions={name: distribution for name, (_, distribution) in shown.items()},
            user_attrs=_attributes(trial),
            system_attrs={},
            intermediate_values={},
        )
        found.append(frozen)
        begun = ended
    return found


def _distributions(trials: Sequence[Trial]) -> dict[str, tuple[dict[Value, Value], BaseDistribution]]:
    """Return by decision what Optuna calls its options, and the distribution over them."""
    from optuna.distributions import CategoricalDistribution

    chosen: dict[str, dict[Value, None]] = {}
    for trial in trials:
        for name, value in trial.architecture.decisions:
            chosen.setdefault(name, {})[value] = None
    found: dict[str, tuple[dict[Value, Value], BaseDistribution]] = {}
    for name, values in chosen.items():
        options = tuple(sorted(values, key=_order))
        choices = readable(options)
        found[name] = dict(zip(options, choices, strict=True)), CategoricalDistribution(choices)
    return found


def _order(value: Value) -> tuple[int, float, str]:
    """Sort numbers by size, then everything else by its text, so that equal runs give equal studies."""
    number = isinstance(value, int | float)
    return (0, float(value), "") if number else (1, 0.0, repr(value))


def _attributes(trial: Trial) -> dict[str, Any]:
    known: dict[str, Any] = {
        "index": trial.index,
        "status": trial.status,
        "key": trial.key,
        "params": trial.params,
        "macs": trial.macs,
        "epochs": trial.proposal.epochs,
        "seconds": trial.seconds,
        "of": trial.of,
        "failure": f"{trial.failure.kind}: {trial.failure.message}" if trial.failure else None,
    }
    measured = dict(trial.metrics.values) if trial.metrics else {}
    return {**measured, **{name: value for name, value in known.items() if value is not None}}


def _begun(folder: Path) -> datetime:
    path = folder / "environment.json"
    date = read_json(path).get("date", "") if path.is_file() else ""
    try:
        begun = datetime.fromisoformat(date)
    except ValueError:
        return UNDATED
    return begun if begun.tzinfo else begun.replace(tzinfo=UTC)


def _local(time: datetime) -> datetime:
    """Return ``time`` as Optuna keeps it: in local time, without a zone."""
    return time.astimezone().replace(tzinfo=None)


@contextmanager
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
        storage.remove_session()
        storage.engine.dispose()


def _move(temporary: Path, output: Path) -> None:
    """Give the finished file its name, unless another process has taken it meanwhile."""
    try:
        os.link(temporary, output)
    except FileExistsError:
        raise ConfigError(f"-o '{output}': the file exists already; choose another or delete it") from None
    except OSError:  # a file system without hard links
        temporary.replace(output)
