"""What this process is busy with, for whoever waits: a trial, a reading, a measurement, and how far it is.

It is the process's own and is written nowhere; in a process that nobody looks at it costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nas.core.text import clock


@dataclass(eq=False)
class Activity:
    """One thing that goes on, perhaps inside another one."""

    what: str
    """What people read."""
    since: float
    """When it began, on the monotonic clock."""
    first: tuple[float, float] | None = None
    """When it was first told how far it is, and the share that was done by then."""
    share: float = 0.0
    """The share that is done, 0 to 1."""


_going_on: list[Activity] = []
"""Outermost first."""


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Let ``what`` be what goes on within the block."""
    own = Activity(what, time.monotonic())
    _going_on.append(own)
    try:
        yield
    finally:
        _going_on.remove(own)


def advance(what: str, done: float, total: float) -> None:
    """Tell how far the innermost activity is, in words, and as ``done`` of ``total``; without any it is nothing."""
    if _going_on:
        own = _going_on[-1]
        own.what, own.share = what, done / max(total, 1e-9)
        if own.first is None:
            own.first = time.monotonic(), own.share


def current_activity(now: float | None = None) -> tuple[str, float]:
    """Return the innermost of what goes on, and since when on the monotonic clock; nothing and infinity without any.

    It has the time that it will take as it has gone so far, else the time that it has taken.
    """
    now = time.monotonic() if now is None else now
    found = list(_going_on)  # another thread may be at work on it
    if not found:
        return "", float("inf")
    own = found[-1]
    told = f"{clock(now - own.since)} so far"
    if own.first is not None and own.share > own.first[1]:
        begun, before = own.first
        told = f"{clock((now - begun) * (1 - own.share) / (own.share - before))} left"
    return f"{own.what}, {told}", own.since
