"""The journal: the only truth of a run, one JSON line an event, written by one process; and what its events hold.

A line is ``{"crc": "8 hex digits", "seq": n, ...}``; the CRC-32 covers all that follows it on the line. A last line
without its newline is a write that a crash tore: it is cut off, kept aside and reported. A complete line with a wrong
CRC or number is damage: an error that names it.

An event is written in one piece before anyone acts on it, so a killed process loses nothing that was acknowledged.
``fsync`` follows a result at once; where trials are faster than the disk, one ``fsync`` covers the events of up to
:data:`GROUPING` times its own duration, and only a power failure within that time can lose them. One that fails is
told at the next event, or at the end.

A lock that does not exclude (some network file systems) must not destroy a journal either: before each event the file
must be the one that was opened and as long as its writer left it.

The events of trials and final trainings are each written and read here and nowhere else. A journal is read by every
later version, so fields are added to an event and never taken away or renamed, and what an earlier version left out has
a default where it is read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from zlib import crc32

from nas.core.files import read_bytes
from nas.core.locks import FileLock, is_locked
from nas.core.values import NESTING, Json, levels_of
from nas.errors import TOO_SLOW, ConfigError, JournalError, one_line
from nas.runs.event_fields import check_fields as check_fields
from nas.runs.event_fields import problem_of
from nas.types import Architecture, Failure, Job, Metrics, Outcome, Proposal, Trial

JOURNAL_FORMAT = "nas/journal/1"
DIGITS = 6
"""Of seconds in an event."""
GROUPING = 10.0
"""Seconds between two ``fsync`` over the seconds that one takes."""
Event: TypeAlias = Mapping[str, Any]
"""What happened: ``event`` is its name, the rest is plain JSON of finite numbers."""


class Sink(Protocol):
    """Where the loop writes events."""

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Write ``events``; with ``sync`` they are durable before anything depends on them."""

    def close(self) -> None:
        """Make everything durable."""


class MemoryJournal:
    """A journal that forgets: for searches inside one process that nobody resumes."""

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Journal:
    """The journal file ``path``, locked by this process until :meth:`close`; no fork of it writes it either."""

    def __init__(self, path: Path, flags: int = 0) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | flags, 0o644)
        except OSError as error:
            made = "created" if flags & os.O_CREAT else "opened"
            raise JournalError(f"journal '{path}': cannot be {made} ({error.strerror})") from None
        try:
            self._lock = FileLock.take(Path(os.path.abspath(path)), self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise _running(path, error.strerror) from None
            raise JournalError(f"journal '{path}': cannot be locked ({error.strerror})") from None
        self.path, self._process, self._size, self._count = path, os.getpid(), 0, 0
        self._dirty, self._sync_cost, self._synced = False, 0.0, -1e9
        self._syncing = threading.RLock()  # of the threads that write: one at work, one that ends it
        self._timer: threading.Timer | None = None
        self._lost: OSError | None = None
        """Why what was written may not be on the disk."""

    @classmethod
    def create(cls, path: Path, header: Event) -> Journal:
        """Start a new journal with its first event; an existing file raises :class:`JournalError`."""
        journal = cls(path, os.O_CREAT | os.O_EXCL)
        with journal._closed_on_error():
            journal.append([{"event": "run", "format": JOURNAL_FORMAT, **header}])
        return journal

    @classmethod
    def open(cls, path: Path) -> tuple[Journal, list[Json], str]:
        """Lock and read a journal; return it, its events, and a warning about a torn last write or ``""``."""
        journal = cls(path)
        with journal._closed_on_error():
            data = _read(path)
            events, good = parse(path, data)
            _check_events(path, events)
            journal._size, journal._count = good, len(events)
            warning = _set_aside(path, journal._descriptor, data[good:], good) if good < len(data) else ""
        return journal, events, warning

    def move_to(self, path: Path) -> None:
        """Take note that the folder of the journal was moved."""
        self.path, self._lock.path = path, Path(os.path.abspath(path))

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Write ``events`` in one piece; where that fails the journal is left as it was and JournalError is raised.

        So it is where an earlier event turned out not to be durable, and where the journal is not this process's any
        more: in a fork of it, or when another process has written to the file, replaced it or taken its lock.
        """
        with self._syncing:
            self._append(events, sync)

    def _append(self, events: Sequence[Event], sync: bool) -> None:
        lines = b"".join(encode(self._count + i, event) for i, event in enumerate(events))
        self._check_ours()
        self._check_durable()
        written = 0
        try:
            # a signal or a full disk may end a write early
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
            self._dirty = True
            if sync:
                self._sync_soon()
        except OSError as error:
            # half a line would make the next event part of it; what another process has written is not ours to cut
            with contextlib.suppress(OSError):
                if os.fstat(self._descriptor).st_size == self._size + written:
                    os.ftruncate(self._descriptor, self._size)
            reason = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else error.strerror
            raise JournalError(
                f"journal '{self.path}': cannot write ({reason}); what was recorded is safe: make room and resume"
            ) from None
        self._size += len(lines)
        self._count += len(events)

    def _check_ours(self) -> None:
        """Raise :class:`JournalError` unless this process alone can have written the file since it was opened."""
        found, place = None, self._lock.path
        if os.getpid() == self._process:
            # opened and not just looked at: network file systems then ask their server
            with contextlib.suppress(OSError):
                descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    found = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
        if os.getpid() != self._process:
            wrong = f"process {self._process} has opened it and alone writes it, and this one is a fork of it"
        elif found is None or not os.path.samestat(found, os.fstat(self._descriptor)):
            wrong = "the file was removed or replaced while its run went on; restore it and resume"
        elif found.st_size != self._size:
            rule = "end all processes of this run, then resume it by one"
            wrong = f"something else has written to it ({found.st_size:,} bytes, {self._size:,} were left); {rule}"
        elif self._lock.lost:
            wrong = "its lock was taken by another process, as this one was not heard of for long; resume when it ended"
        else:
            return
        raise JournalError(f"journal '{self.path}': nothing more is written: {wrong}")

    def _check_durable(self) -> None:
        if self._lost is not None:
            rule = "check the disk, then resume: what it has lost is evaluated again"
            raise JournalError(
                f"journal '{self.path}': what was written may not be on the disk ({self._lost.strerror}); {rule}"
            )

    def _sync_soon(self) -> None:
        """Make the journal durable now, or within the grouping time where the last ``fsync`` was just now."""
        left = self._synced + GROUPING * self._sync_cost - time.perf_counter()
        if left <= 0:
            with self._syncing:
                self._fsync()
        elif self._timer is None:
            self._timer = threading.Timer(left, self._sync_late)
            self._timer.daemon = True
            self._timer.start()

    def _sync_late(self) -> None:
        with self._syncing:
            self._timer = None
            try:
                if self._dirty:
                    self._fsync()
            except OSError as error:  # the system tells it once: a later fsync may succeed without the lost pages
                self._lost = error

    def _fsync(self) -> None:
        start = time.perf_counter()
        self._dirty = False  # before, so that what is written meanwhile counts as not yet durable
        os.fsync(self._descriptor)
        self._synced = time.perf_counter()
        self._sync_cost = self._synced - start

    def close(self) -> None:
        """Make everything durable and release the lock; where events are not durable JournalError is raised.

        In a fork of the process that opened it this does nothing.
        """
        if os.getpid() != self._process:
            return
        timer = self._timer
        if timer is not None:
            timer.cancel()
        # one that has begun already is waited for: its file must stay open
        self._sync_late()
        self._lock.release()
        os.close(self._descriptor)
        self._check_durable()

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(JournalError):  # the first error is the one to tell
                self.close()
            raise


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Journal, list[Json], str]]:
    """Give what :meth:`Journal.open` returns; the journal stays open unless the block raises."""
    journal, events, warning = Journal.open(path)
    with journal._closed_on_error():
        yield journal, events, warning


def read(path: Path) -> list[Json]:
    """Return the events of a journal without locking it, for reports; a torn last line is left out."""
    events = parse(path, _read(path))[0]
    _check_events(path, events)
    return events


def stream(path: Path) -> Iterator[Json]:
    """Yield the events of :func:`read` one by one: of 10,000 trials they take 80 MiB together."""
    for event, _ in _events(path, _read(path)):
        if "event" not in event:
            raise JournalError(f"journal '{path}': line {event['seq'] + 1} is damaged (it names no event)")
        yield event


def _check_events(path: Path, events: Sequence[Event]) -> None:
    for number, event in enumerate(events, 1):
        if "event" not in event:
            raise JournalError(f"journal '{path}': line {number} is damaged (it names no event)")
    if events[-1]["event"] == "stopped":  # how a run ended is read without its fold
        check_fields(events[-1])


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except ConfigError as error:
        raise JournalError(f"journal: {error}") from None


def ends_torn(path: Path) -> bool:
    """Return whether the last line has no newline: it is being written at this moment, or a crash tore it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() not in (b"", b"\n")


def encode(number: int, event: Event) -> bytes:
    """Return the line of event ``number``; what JSON cannot hold raises :class:`JournalError`."""
    body = _dumps({"seq": number, **event}, f"event '{event.get('event')}'")[1:].encode()
    return b'{"crc":"%08x",%s\n' % (crc32(body), body)


def plain(data: Mapping[str, Any], what: str) -> Json:
    """Return ``data`` as a journal gives it back; what JSON cannot hold raises :class:`JournalError` with ``what``."""
    return json.loads(_dumps(data, what)) if data else {}


def _dumps(data: Event, what: str) -> str:
    try:
        text = json.dumps(dict(data), separators=(",", ":"), allow_nan=False)
        _check_nesting(data, text)
    except (ConfigError, TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"journal: {what} is not plain JSON of finite numbers: {error}") from None
    return text


def _check_nesting(event: Event, text: str) -> None:
    """Refuse an event that is nested too deeply for those who walk it; hardly any ``text`` makes the walk needed."""
    if text.count("[") + text.count("{") > NESTING:
        for _ in levels_of(event, "it"):
            pass


def parse(path: Path, data: bytes) -> tuple[list[Json], int]:
    """Return the events in ``data`` and the length of what is whole; a damaged line raises :class:`JournalError`."""
    events, good = [], 0
    for event, good in _events(path, data):  # noqa: B007  (the last one counts)
        events.append(event)
    return events, good


def _events(path: Path, data: bytes) -> Iterator[tuple[Json, int]]:
    """Yield each event and where it ends."""
    start = number = 0
    while (end := data.find(b"\n", start)) >= 0:
        event = _decode(path, number, data[start:end])
        if not number and (event.get("event") != "run" or event.get("format") != JOURNAL_FORMAT):
            raise JournalError(f"journal '{path}': format must be '{JOURNAL_FORMAT}', found {event.get('format')!r}")
        start, number = end + 1, number + 1
        yield event, start
    if not number:
        raise JournalError(f"journal '{path}': it holds no complete event; the run never started, delete its folder")


def _decode(path: Path, number: int, line: bytes) -> Json:
    head, body = line[:18], line[18:]
    if head != b'{"crc":"%08x",' % crc32(body):
        rule = "its CRC-32 does not match; restore a copy, or cut the file before this line to go on from there"
        raise JournalError(f"journal '{path}': line {number + 1} is damaged ({rule})")
    try:
        event: Json = json.loads(b"{" + body)
        _check_nesting(event, line.decode())
    except (ConfigError, RecursionError, ValueError) as error:
        raise JournalError(f"journal '{path}': line {number + 1} is damaged ({one_line(error)})") from None
    if event.get("seq") != number:
        raise JournalError(f"journal '{path}': line {number + 1} has number {event.get('seq')}, expected {number}")
    if problem := problem_of(event):
        raise JournalError(f"journal '{path}': line {number + 1} is damaged ({problem})")
    return event


def _running(path: Path, who: str | None = None) -> JournalError:
    return JournalError(f"journal '{path}': another process is running this search{f': {who}' if who else ''}")


def check_unlocked(path: Path) -> None:
    """Refuse a journal that another process has locked: asked before the work of a search is put together."""
    if is_locked(path):
        raise _running(path)


def _set_aside(path: Path, descriptor: int, torn: bytes, good: int) -> str:
    number = 1
    try:
        while True:
            aside = path.with_name(f"{path.name}.torn-{number}")
            with contextlib.suppress(FileExistsError), aside.open("xb") as file:
                file.write(torn)
                break
            number += 1
        os.ftruncate(descriptor, good)
        os.fsync(descriptor)
    except OSError as error:
        raise JournalError(f"journal '{path}': cannot cut a torn last line ({error.strerror})") from None
    return f"journal '{path}': the last write was torn ({len(torn)} bytes); kept in '{aside.name}' and cut off"


def asked_event(trial: Trial) -> Event:
    """Return the event of a proposed trial; :func:`asked_trial` reads it."""
    proposal = trial.proposal
    event: Json = {
        "event": "asked",
        "index": trial.index,
        "key": trial.key,
        "epochs": proposal.epochs,
        "params": trial.params,
        "macs": trial.macs,
        "architecture": proposal.architecture.to_json(),
    }
    if trial.width is not None:
        event["width"] = trial.width
    if trial.scores:
        event["scores"] = dict(trial.scores)
    if trial.score_seconds:
        event["score_seconds"] = round(trial.score_seconds, DIGITS)
    if proposal.info:
        event["info"] = dict(proposal.info)
    if proposal.continue_from is not None:
        event["continue_from"] = proposal.continue_from
    return event


def asked_trial(event: Event) -> Trial:
    """Return the pending trial of an ``asked`` event."""
    architecture = Architecture.from_json(event["architecture"])
    proposal = Proposal(architecture, event["epochs"], event.get("info", {}), event.get("continue_from"))
    params, macs, width = (event.get(name) for name in ("params", "macs", "width"))
    trial = Trial(event["index"], proposal, event["key"], params=params, macs=macs, width=width)
    return replace(trial, scores=event.get("scores", {}), score_seconds=event.get("score_seconds", 0.0))


def begun_event(index: int) -> Event:
    """Return the event that goes before a trial that a process which did not ask it evaluates itself."""
    return {"event": "begun", "index": index}


def reused_event(index: int, of: int) -> Event:
    """Return the event of a trial that has the result of trial ``of``, as both are the same network."""
    return {"event": "reused", "index": index, "of": of}


def refused_event(index: int, failure: Failure) -> Event:
    """Return the event of a trial that is not evaluated; :func:`result_of` reads it."""
    return {"event": "refused", "index": index, **failure.to_json()}


def outcome_event(outcome: Outcome, retried: bool = False) -> Event:
    """Return the event of a finished job: ``done``, ``failed``, ``refused``, or ``retried`` where it begins again.

    It is refused where its evaluator found, before it began, that it would be too slow. :func:`result_of` and
    :func:`wall_of` read it.
    """
    result, wall = outcome.result, round(outcome.seconds, DIGITS)
    if isinstance(result, Failure):
        name = "refused" if result.kind == TOO_SLOW else "retried" if retried else "failed"
        return {"event": name, "index": outcome.index, **result.to_json(), "wall": wall}
    numbers = result.to_json() | {"seconds": round(result.seconds, DIGITS)}
    notes = {"notes": dict(result.notes)} if result.notes else {}
    return {"event": "done", "index": outcome.index, **numbers, "wall": wall, **notes}


def result_of(event: Event) -> Metrics | Failure:
    """Return what the evaluation came to, from a ``done``, ``failed``, ``retried`` or ``refused`` event.

    Notes are for reports, which read them from the event.
    """
    return Metrics.from_json(event) if event["event"] == "done" else Failure.from_json(event)


def wall_of(event: Event) -> float:
    """Return the seconds that the evaluation took on its worker; 0 where the event tells of none."""
    return float(event.get("wall", 0.0))


def test_read_event(label: Mapping[str, str | int]) -> Event:
    """Return the event that goes before a read of the test split by the training that ``label`` names."""
    return {"event": "test_read", **label}


def final_event(
    label: Mapping[str, str | int], name: str, key: str, job: Job, result: Metrics | Failure, notes: Event
) -> Event:
    """Return the event of a final training; ``label`` holds its role, the number of its seed and perhaps a recipe.

    A training that failed has no score and says why: it must not keep a run from its report. What the result notes of
    the images ``per_class`` is a field of its own, as its score is.
    """
    score: Json
    if isinstance(result, Failure):
        score = {"score": None, "failure": result.message, "seconds": 0.0}
    else:
        score = {"score": result.reward, "seconds": round(result.seconds, 3)}
    own: Json = {"event": "final", "role": label["role"], "name": name, "number": label["number"]}
    own |= {**label, "key": key, **score, "params": job.params, "macs": job.macs}
    if isinstance(result, Metrics) and "per_class" in result.notes:
        own["per_class"] = result.notes["per_class"]
    return {**own, "notes": dict(notes)} if notes else own


def killed_event(trial: int) -> Event:
    """Return the event that a later process writes for one that ended without a word while it evaluated ``trial``."""
    return {"event": "stopped", "reason": "killed", "trial": trial, "time": time.time()}


def stopped_event(reason: str, **why: str) -> Event:
    """Return the event with which a process lets go of a run; ``why`` holds kind and message of a failure."""
    return {"event": "stopped", "reason": reason, **why, "time": time.time()}
