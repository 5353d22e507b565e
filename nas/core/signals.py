"""Signals that ask a process to end: Ctrl-C, ``kill`` and its like, a closed terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""From the keyboard; from docker, Kubernetes, systemd or SLURM; from a terminal that is closed."""
Handler = Callable[[int, FrameType | None], object]
_handled: dict[signal.Signals, object] = {}
"""The signals that have a handler of ours, and what was there before."""


class Interrupted(KeyboardInterrupt):
    """A signal ends what this process does; no code but a handler of ours raises it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = exit_code(number)


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal has ended, as shells have it: 130, 143, 129."""
    return 128 + number


def is_interrupt(error: BaseException) -> bool:
    """Return whether ``error`` is the user's wish to end, and nothing that a stranger's code has raised.

    Without handlers of ours, Ctrl-C is a plain ``KeyboardInterrupt`` in the main thread and is taken for the user's.
    """
    if type(error) is Interrupted:
        return True
    main = threading.current_thread() is threading.main_thread()
    return type(error) is KeyboardInterrupt and main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[bool]:
    """Let ``handler`` take the signals of :data:`ENDING` within the block; give whether it does.

    Only a process's main thread can; what ``nohup`` has made to be ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = {}
    for number in ENDING:
        # a shell makes its jobs in the background ignore Ctrl-C, yet scripts stop them with kill -INT
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    outer = dict(_handled)
    _handled.update({number: outer.get(number, found) for number, found in before.items()})
    try:
        yield True
    finally:
        for number, found in before.items():
            signal.signal(number, found)
        _handled.clear()
        _handled.update(outer)


def _reset_in_child() -> None:
    """Give a forked child back the signal that ends it; Ctrl-C and a closed terminal are its parent's affair."""
    # or multiprocessing could not terminate what a trial has started, and its end would count as ours
    if _handled:
        signal.set_wakeup_fd(-1)
    for number, before in _handled.items():
        signal.signal(number, before if number == signal.SIGTERM else signal.SIG_IGN)  # type: ignore[arg-type]
    _handled.clear()


os.register_at_fork(after_in_child=_reset_in_child)


@contextlib.contextmanager
def interruptible() -> Iterator[list[Interrupted]]:
    """Let the first signal raise :class:`Interrupted` within the block, and the second end the process at once.

    The list that it gives holds the interruption once there is one: some libraries make another exception of it.
    """
    heard: list[Interrupted] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if heard:
            os._exit(exit_code(number))
        heard.append(Interrupted(number))
        raise heard[0]

    with handling(interrupt):
        yield heard
