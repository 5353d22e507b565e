"""A line for who waits where nothing was printed for a while: what goes on, and how long it will take."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from nas.core.activity import current_activity
from nas.core.text import clock, printable

OFTEN = 5.0
"""Seconds of silence before a line."""
SELDOM = 30.0
"""The same, after :data:`MANY` such lines with nothing else between them: a log of hours is to be read, too."""
MANY = 12
EVERY = 0.5
"""Seconds between two looks."""
SILENCE_TOLD = True
"""Whether anything is printed at all."""


class SilenceMonitor:
    """Knows when something was printed last, and what to print when that is long ago.

    Attributes:
        status: returns the line of a phase that is under way; empty where a terminal shows all that anyway
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._clock = now
        self._last, self._lines = now(), 0
        self.status: Callable[[], str] | None = None
        self._command, self._began = "", now()

    def begin(self, command: str) -> None:
        """Begin to wait, for ``command`` as a whole."""
        self._command, self._began = command, self._clock()
        self.printed()

    def printed(self) -> None:
        """Begin to wait again, since something was printed."""
        self._last, self._lines = self._clock(), 0

    def line(self) -> str:
        """Return what to print now, mostly nothing."""
        now = self._clock()
        silent, (doing, since) = now - self._last, current_activity(now)
        phase = "" if self.status is None else self.status()
        unknown = not phase and not doing
        if unknown:
            doing = f"busy with '{self._command}', {clock(now - self._began)} so far"
        # what has just begun may be over at once, and of a phase of many short activities it is told alone
        told = "; ".join(filter(None, (phase, doing if unknown or now - since >= OFTEN / 2 else "")))
        on_a_terminal = self.status is not None and not phase
        # a look too late would be a silence too long
        wait = (SELDOM if unknown or self._lines >= MANY else OFTEN) - EVERY
        if not told or on_a_terminal or silent < wait:
            return ""
        self._last, self._lines = now, self._lines + 1
        return told


MONITOR = SilenceMonitor()
"""That of this process, which carries out one command."""


@contextlib.contextmanager
def told_of_waits(command: str) -> Iterator[None]:
    """Within the block print a line to standard error whenever nothing was printed for a while, about what goes on.

    Where nobody says what that is, it is ``command``, and told seldom.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            if SILENCE_TOLD and (line := MONITOR.line()):
                with contextlib.suppress(OSError, ValueError):  # a stream that is closed or full ends no work
                    sys.stderr.write(f"{printable(line)}\n")
                    sys.stderr.flush()

    MONITOR.begin(command)
    thread = threading.Thread(target=watch, name="waits", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(EVERY)
