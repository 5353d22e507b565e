"""What only informs: it may fail, is told of once, and never ends the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import LINE_LIMIT, NasError, one_line

TOLERATED = (OSError, ValueError, ArithmeticError, NasError)
"""A full disk, a closed pipe, a vanished terminal; text without an encoding, numbers that cannot be drawn."""
_told: set[str] = set()


class Attempt:
    """What became of something that only informs; ``problem`` says why it failed, empty where it did not."""

    problem = ""


@contextmanager
def informing(what: str) -> Iterator[Attempt]:
    """Carry out what only informs, such as a status file, a log, a figure or a cache: a failure is not raised.

    The first failure of ``what`` in this process is a warning of the logger ``nas``, which Python writes to standard
    error where nothing else is set up and where it can.
    """
    attempt = Attempt()
    try:
        yield attempt
    except TOLERATED as error:
        attempt.problem = one_line(error, LINE_LIMIT)
        if what not in _told:
            import logging  # rarely needed, and the help shall answer at once

            _told.add(what)
            logging.getLogger("nas").warning("warning: %s: %s; the work goes on without it", what, attempt.problem)
