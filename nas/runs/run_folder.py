"""What any run is on disk: a folder with a journal, created whole, found by its name, carried out and resumed.

Also what it says of its best network: files, size, dataset and plugins, whatever kind of run it is.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from nas.core.environment import environment
from nas.core.files import check_regular, is_file, read_json, staged, sweep_temporaries, write_atomic, write_json
from nas.core.forks import ending_forks
from nas.core.locks import FileLock, is_locked
from nas.core.values import Json
from nas.errors import (
    NAME_SHOWN,
    ClusterError,
    ConfigError,
    EvaluationError,
    JournalError,
    StoppedSearch,
    described,
    one_line,
    printable,
    unknown,
)
from nas.runs.event_fields import class_names_of
from nas.runs.journal import Event, Journal, opened, read, stopped_event
from nas.runs.progress import Observer, watched

NAME_RULE = "a name is at most 100 letters, digits, dots, dashes and underscores, and does not begin with a dot"
JOURNAL = "journal.jsonl"
BASELINE = "random"
"""Sub-folder of a run that holds its random search."""
RIVALS = "rivals"
"""Sub-folder of a run that holds the search among handcrafted networks of its budget."""
SEARCH = "search"
"""The kind of the runs whose journals name none."""


class RunPlan(Protocol):
    """What a run does; :class:`RunFolder` does all that is the same for every kind of run."""

    @property
    def kind(self) -> str:
        """The kind of run, as the journal's first event names it; that of a search is left out there."""

    def carry_out(self, run: RunFolder[RunPlan], observe: Observer) -> str:
        """Do what the journal does not hold yet; return why it ended: ``finished``, ``interrupted`` or another reason.

        It ends soon after ``run.stopping`` has become true.
        """

    def stop(self) -> None:
        """Pass on, to what runs now, that no more shall be begun."""

    def close(self) -> None:
        """Let go of workers and the like; called again it does nothing."""

    def write_outputs(self, folder: Path) -> None:
        """Write what people read, from the journal in ``folder``."""


P = TypeVar("P", bound=RunPlan)
P_co = TypeVar("P_co", bound=RunPlan, covariant=True)


class RunFolder(Generic[P_co]):
    """A run on disk, locked by this process; made by :func:`create_run` or :func:`resume_run`.

    Attributes:
        folder: where everything of the run is; absolute, as a trial may change the working directory.
        given: the same as its user named it.
        plan: what the run does.
        journal: the events so far; it is open until the run is carried out or closed.
        warning: what its owner must hear, such as a torn last write; empty where there is nothing.
        stopping: whether :meth:`stop` was called.
    """

    def __init__(self, folder: Path, plan: P_co, journal: Journal, warning: str = "") -> None:
        self.folder, self.given = Path(os.path.abspath(folder)), folder
        self.plan, self.journal, self.warning = plan, journal, warning
        self.stopping = False
        self._open = True
        self._ended, self._ending = False, threading.Lock()

    def append(self, *events: Event) -> None:
        """Write events; they are durable when this returns, but for what grouping leaves open."""
        self.journal.append(events)

    def stop(self) -> None:
        """Finish what runs now, then write the report; a run that is resumed goes on from there."""
        self.stopping = True
        self.plan.stop()

    def execute(self, observe: Observer = lambda progress: None) -> str:
        """Carry the run out while ``status.json`` shows its progress to other processes; see :meth:`carry_out`."""
        with watched(self.folder, observe) as told:
            return self.carry_out(told)

    def carry_out(self, observe: Observer) -> str:
        """Do what is left, write the outputs and close the run; return the plan's reason.

        Where evaluations fail for good the run ends as ``failed``, with the reason in its journal and its report, and
        the error is raised.
        """
        try:
            try:
                with ending_forks():
                    reason = self.plan.carry_out(self, observe)
            except (EvaluationError, StoppedSearch) as error:
                with suppress(JournalError):  # the first error is the one to tell, here and below
                    self._end("failed", kind=getattr(error, "kind", "error"), message=one_line(error))
                raise
            except BaseException as error:
                # a signal to all processes of a service ends the workers too
                if isinstance(error, ClusterError) and self.stopping:
                    reason = "interrupted"
                else:
                    self._note_end(error)
                    raise
            self._end(reason)
        except BaseException:
            with suppress(JournalError):
                self.close()
            raise
        self.close()
        return reason

    def _end(self, reason: str, **why: str) -> None:
        with self._ending:
            self._ended = True
            # the event first: the outputs are made of the journal
            self.append(stopped_event(reason, **why))
            self.plan.write_outputs(self.folder)

    def _note_end(self, error: BaseException) -> None:
        """Write why it ends without outputs: a later process must not take it for killed by its trial."""
        interrupted = isinstance(error, KeyboardInterrupt)
        why = {} if interrupted else {"kind": "error", "message": described(error)}
        with suppress(JournalError):
            self.append(stopped_event("interrupted" if interrupted else "failed", **why))

    def interrupt(self, outputs: bool = True) -> None:
        """Write that the run was interrupted, and perhaps its outputs, from another thread than the one at work.

        The process will end before its work does; one that finishes after all writes both once more.
        """
        with self._ending:
            if not self._ended:
                self.append(stopped_event("interrupted"))
                if outputs:
                    self.plan.write_outputs(self.folder)

    def close(self) -> None:
        """Let go of workers and journal, without writing anything."""
        if self._open:
            self._open = False
            with closing(self.journal), closing(self.plan):
                pass


def create_run(
    folder: Path, plan: P, header: Json, settings: Json, fill: Callable[[Path], None] = lambda staging: None
) -> RunFolder[P]:
    """Write the first files of a run beside ``folder`` and move them there, so that it exists whole or not at all.

    The ``header`` is what the journal's first event tells of the run, ``settings`` is written as TOML for people, and
    ``fill`` writes what else belongs to the kind of run. A name that is taken raises :class:`ConfigError`.
    """
    import tomli_w  # here, since nas doctor must run where it is missing

    kind = {} if plan.kind == SEARCH else {"kind": plan.kind}
    journal = None
    try:
        check_free(folder)
        with staged(folder) as staging:
            fill(staging)
            write_atomic(staging / "config.toml", tomli_w.dumps(settings))
            write_json(staging / "environment.json", environment())
            journal = Journal.create(staging / JOURNAL, {**kind, **header, "time": time.time()})
    except BaseException as error:
        with suppress(JournalError), closing(plan):  # the first error is the one to tell
            if journal is not None:
                journal.close()
        if not isinstance(error, OSError):
            raise
        if folder.exists():  # another process was quicker
            raise ConfigError(_taken(folder)) from None
        raise ConfigError(f"run folder '{folder}' cannot be created: {error.strerror}") from None
    journal.move_to(folder / JOURNAL)
    return RunFolder(folder, plan, journal)


def resume_run(folder: Path, plan_of: Callable[[Sequence[Json]], tuple[P, Sequence[Event], str]]) -> RunFolder[P]:
    """Lock the run in ``folder`` and return it with what ``plan_of`` makes of its events.

    That is the plan, the events to append before it is carried out, and a warning or nothing.
    """
    with opened(find_journal(folder)) as (journal, events, warning):
        sweep_temporaries(folder)
        _sweep_claims(folder.parent)
        plan, first, told = plan_of(events)
        run = RunFolder(folder, plan, journal, "; ".join(text for text in (warning, told) if text))
        if first:
            run.append(*first)
        return run


def check_free(folder: Path) -> None:
    """Refuse a name that is none, or that another run has."""
    check_name(folder.name)
    if folder.exists():
        raise ConfigError(_taken(folder))


def _taken(folder: Path) -> str:
    return f"run '{folder.name}' exists already in '{folder.parent}'; resume it or choose another name"


def check_name(name: str) -> None:
    """Refuse names of runs that are not one plain path segment."""
    plain = name and not name.startswith(".") and all(c.isalnum() or c in "._-" for c in name)
    if not plain or len(name) > 100 or len(name.encode()) > 200:  # file systems count bytes
        raise ConfigError(f"run name '{printable(name, NAME_SHOWN)}': {NAME_RULE}")


@contextmanager
def new_folder(results: Path, name: str | None, stem: str = "") -> Iterator[Path]:
    """Give the folder of a new run ``name``, or of the first free one of ``stem`` and a number, for this process alone.

    Others that want a run of that name meanwhile are told that it exists, or get the next number. Within the block the
    run is made; where that fails nothing is left.
    """
    number, made = 0, not results.exists()
    while True:
        number += 1
        folder = folder_of(results, f"{_plain(stem)}-{number}" if name is None else name)
        try:
            if not folder.exists():
                lock = _claim(folder)
                # its run may have been made just before
                if not folder.exists():
                    break
                lock.release()
        except BlockingIOError:
            pass
        if name is not None:
            raise ConfigError(_taken(folder))
    try:
        yield folder
    finally:
        lock.release()
        _sweep_claims(results)
        if made:
            with suppress(OSError):  # it holds something
                results.rmdir()


def _claim(folder: Path) -> FileLock:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock.take(folder.parent / f".{folder.name}.claim")
    except BlockingIOError:
        raise
    except OSError as error:
        why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(f"run folder '{folder}' cannot be created: {why}") from None


def _sweep_claims(results: Path) -> None:
    """Remove the claims on names that were left by processes that were killed."""
    for path in results.glob(".*.claim"):
        with suppress(OSError):
            if not is_locked(path):
                FileLock.take(path).release()


def _plain(stem: str) -> str:
    """Return what a name may hold of ``stem``."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in stem).strip(".-")[:80]
    return plain.encode()[:160].decode(errors="ignore")


def folder_of(results: Path, name: str) -> Path:
    """Return the folder of run ``name``; a name that would lead elsewhere raises :class:`ConfigError`.

    The folder's own path, as the report's last line prints it and shells complete it, is as good as the name.
    """
    name = name.rstrip("/").removeprefix(f"{results}/")
    check_name(name)
    return results / name


def find_journal(folder: Path) -> Path:
    """Return the journal of the run in ``folder``; a missing run raises with the nearest name."""
    check_name(folder.name)
    path = folder / JOURNAL
    if is_file(path):
        return path
    if os.path.exists(path) and not path.is_dir():
        check_regular(path)
    if os.path.lexists(path):
        raise ConfigError(f"run '{folder.name}' in '{folder.parent}' cannot be read: its '{JOURNAL}' is no file")
    raise ConfigError(f"{unknown('run', folder.name, runs_in(folder.parent))} in '{folder.parent}'")


def runs_in(results: Path) -> list[str]:
    """Return the names of the runs in ``results``."""
    return [path.parent.name for path in results.glob(f"*/{JOURNAL}") if is_file(path)]


def find_run(text: str, results: Path) -> Path | None:
    """Return the folder of the run that ``text`` names, by its name in ``results`` or by its path; else None."""
    name = text.rstrip("/").removeprefix(f"{results}/")
    # a plain name is a run's, whatever folder of that name is here
    plain = name and "/" not in name and not name.startswith(".")
    folder = results / name if plain else Path(text)
    return folder if text and os.path.exists(folder / JOURNAL) else None


@dataclass(frozen=True)
class BestNetwork:
    """The best network of a search, or the one that a training trains; files are None where they do not exist yet."""

    name: str
    """Name of the run."""
    folder: Path
    """Folder of the run."""
    plugins: tuple[str, ...]
    """The plugin files that the run was made with."""
    width: int | None
    """Channels of the first stage, under a budget of size those of the best network; None: the default of the space or
    network."""
    depth: int | None
    """Cells a stage; None: the default of the space or network."""
    dataset: tuple[str, str | None] | None
    """The name and folder of the images that it was trained on; None where there were none."""
    test_share: float | None
    """Of the images of a dataset without a test split, that it kept for the test; None: the usual share."""
    class_names: tuple[str, ...]
    """The names of their classes by label; empty where they are not known."""
    architecture: Path | None
    """The file of the best architecture of a search."""
    graph: Path | None
    """The file of the network as it was searched or trained."""
    weights: Path | None
    """The file of its weights, which is written at the end of a training."""
    weights_place: Path
    """Where its weights are or will be."""


def chosen_width(architecture: Path, needed: bool = False) -> int | None:
    """Return the width that a budget chose for the architecture in a file, None where it says none and needs none."""
    found = read_json(architecture)
    width = found.get("width") if isinstance(found, dict) else None
    if (needed or width is not None) and (type(width) is not int or width < 1):
        raise ConfigError(f"file '{architecture}': 'width' must be an integer of at least 1, found {width!r}")
    return width


def read_best(folder: Path) -> BestNetwork:
    """Read what the run in ``folder`` says; one that is no run raises :class:`JournalError`."""
    header = read(folder / JOURNAL)[0]
    search = (header.get("kind") or SEARCH) == SEARCH
    # a run of nas.search that an earlier version made has no settings
    settings = header.get("config" if search else "settings") or {}
    place = folder / "best" if search else folder
    architecture, graph, weights = (
        path if (path := place / name).is_file() else None
        for name in ("architecture.json", "graph.json", "weights.safetensors")
    )
    width = settings.get("width")
    if architecture is not None and (settings.get("budget_macs") or settings.get("budget_params")):
        width = chosen_width(architecture, needed=True)
    dataset = settings.get("dataset")
    return BestNetwork(
        name=folder.name,
        folder=folder,
        plugins=tuple(settings.get("plugins", ())),
        width=width,
        depth=settings.get("depth"),
        dataset=None if dataset is None else (dataset, settings.get("data_dir")),
        test_share=settings.get("test_share"),
        class_names=class_names_of(header),
        architecture=architecture if search else None,
        graph=graph,
        weights=weights,
        weights_place=place / "weights.safetensors",
    )
