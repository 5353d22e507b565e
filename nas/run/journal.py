"""The journal: the only truth of a run, one JSON line an event, written by one process.

A line is ``{"crc": "8 hex digits", "seq": n, ...}``; the CRC-32 covers all that follows it on the line. A last line
without its newline is a write that a crash tore: it is cut off, kept aside and reported. A complete line with a wrong
CRC or number is damage: an error that names it.

An event is written in one piece before anyone acts on it, so a killed process loses nothing that was acknowledged.
``fsync`` follows a result at once; where trials are faster than the disk, one ``fsync`` covers the events of up to
:data:`GROUPING` times its own duration, and only a power failure within that time can lose them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from nas.errors import JournalError

JOURNAL_FORMAT = "nas/journal/1"
GROUPING = 10.0
Event = Mapping[str, Any]


class Sink(Protocol):
    """Where the loop writes events."""

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Write ``events``; with ``sync`` they are durable before anything depends on them."""
        ...

    def close(self) -> None:
        """Make everything durable."""
        ...


class MemoryJournal:
    """A journal that forgets: for searches inside one process that nobody resumes."""

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Journal:
    """The journal file ``path``, locked by this process until :meth:`close`."""

    def __init__(self, path: Path, descriptor: int, size: int, count: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = size
        self._count = count
        self._dirty = False
        self._sync_cost = 0.0
        self._synced = -1e9
        self._syncing = threading.Lock()
        self._timer: threading.Timer | None = None

    @classmethod
    def create(cls, path: Path, header: Event) -> Journal:
        """Start a new journal with its first event; an existing file raises :class:`JournalError`."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as error:
            raise JournalError(f"journal '{path}': cannot be created ({error.strerror})") from None
        journal = cls(path, descriptor, 0, 0)
        try:
            _lock(path, descriptor)
            journal.append([{"event": "run", "format": JOURNAL_FORMAT, **header}])
        except BaseException:
            os.close(descriptor)
            raise
        return journal

    @classmethod
    def open(cls, path: Path) -> tuple[Journal, list[dict[str, Any]], str]:
        """Lock and read a journal; return it, its events, and a warning about a torn last write or ``""``."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise JournalError(f"journal '{path}': cannot be opened ({error.strerror})") from None
        try:
            _lock(path, descriptor)
            data = _read_all(descriptor)
            events, good = parse(path, data)
            warning = _set_aside(path, descriptor, data[good:], good) if good < len(data) else ""
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, good, len(events)), events, warning

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Write ``events`` in one piece; where that fails the journal is left as it was and JournalError is raised."""
        lines = b"".join(encode(self._count + i, event) for i, event in enumerate(events))
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
            self._dirty = True
            if sync:
                self._sync_soon()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            reason = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else error.strerror
            raise JournalError(
                f"journal '{self.path}': cannot write ({reason}); what was recorded is safe: make room and resume"
            ) from None
        self._size += len(lines)
        self._count += len(events)

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
        with self._syncing, contextlib.suppress(OSError):
            self._timer = None
            if self._dirty:
                self._fsync()

    def _fsync(self) -> None:
        start = time.perf_counter()
        self._dirty = False  # before, so that what is written meanwhile counts as not yet durable
        os.fsync(self._descriptor)
        self._synced = time.perf_counter()
        self._sync_cost = self._synced - start

    def close(self) -> None:
        """Make everything durable and release the lock."""
        if self._timer is not None:
            self._timer.cancel()
        with self._syncing:
            with contextlib.suppress(OSError):
                if self._dirty:
                    self._fsync()
            self._dirty = False
            os.close(self._descriptor)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Journal, list[dict[str, Any]], str]]:
    """Give what :meth:`Journal.open` returns; the journal stays open unless the block raises."""
    journal, events, warning = Journal.open(path)
    try:
        yield journal, events, warning
    except BaseException:
        journal.close()
        raise


def read(path: Path) -> list[dict[str, Any]]:
    """Return the events of a journal without locking it, for reports; a torn last line is left out."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"journal '{path}': cannot be read ({error.strerror})") from None
    return parse(path, data)[0]


def ends_torn(path: Path) -> bool:
    """Return whether the last line has no newline: it is being written at this moment, or a crash tore it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() not in (b"", b"\n")


def encode(number: int, event: Event) -> bytes:
    """Return the line of event ``number``; what JSON cannot hold raises :class:`JournalError`."""
    try:
        body = json.dumps({"seq": number, **event}, separators=(",", ":"), allow_nan=False)[1:].encode()
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"journal: event '{event.get('event')}' is not plain JSON of finite numbers: {error}"
        ) from None
    return b'{"crc":"%08x",%s\n' % (crc32(body), body)


def parse(path: Path, data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the events in ``data`` and the length of what is whole; a damaged line raises :class:`JournalError`."""
    events: list[dict[str, Any]] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        events.append(_decode(path, len(events), data[start:end]))
        start = end + 1
    if not events:
        raise JournalError(f"journal '{path}': it holds no complete event; the run never started, delete its folder")
    if events[0].get("event") != "run" or events[0].get("format") != JOURNAL_FORMAT:
        raise JournalError(f"journal '{path}': format must be '{JOURNAL_FORMAT}', found {events[0].get('format')!r}")
    return events, start


def _decode(path: Path, number: int, line: bytes) -> dict[str, Any]:
    head, body = line[:18], line[18:]
    if head != b'{"crc":"%08x",' % crc32(body):
        rule = "its CRC-32 does not match; restore a copy, or cut the file before this line to go on from there"
        raise JournalError(f"journal '{path}': line {number + 1} is damaged ({rule})")
    event: dict[str, Any] = json.loads(b"{" + body)
    if event.get("seq") != number:
        raise JournalError(f"journal '{path}': line {number + 1} has number {event.get('seq')}, expected {number}")
    return event


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"journal '{path}': another process is running this search") from None


def _set_aside(path: Path, descriptor: int, torn: bytes, good: int) -> str:
    number = 1
    while (aside := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    try:
        aside.write_bytes(torn)
        os.ftruncate(descriptor, good)
        os.fsync(descriptor)
    except OSError as error:
        raise JournalError(f"journal '{path}': cannot cut a torn last line ({error.strerror})") from None
    return f"journal '{path}': the last write was torn ({len(torn)} bytes); kept in '{aside.name}' and cut off"
