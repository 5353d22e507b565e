"""What a trial may change in the process that evaluates it, put back after it: a trial must not decide about the next.

What only other processes or the memory of libraries hold stays as the trial left it: files, seeds of global generators,
attributes of modules, threads.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import gc
import locale
import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

LIMITS = [number for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_")]
SIGNALS = [
    getattr(signal, f"SIG{name}")
    for name in ("INT", "TERM", "HUP", "QUIT", "ALRM", "CHLD", "PIPE", "USR1", "USR2", "XCPU", "XFSZ")
]
"""Those whose handlers matter to whatever goes on."""
HIGH = 200
"""The least number of our copies of the standard descriptors: lower ones are given again to whoever opens a file."""
_standard: dict[int, tuple[int, tuple[int, int]]] = {}
"""By standard descriptor, a copy of it and what it is."""


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Put back what the block changes in this process, in an order in which each step can rely on those before it.

    Not in a fork of it. A state that cannot be put back stays.
    """
    process, depth = os.getpid(), sys.getrecursionlimit()
    # the copies hold what the block cannot reach by name
    own, modules = vars(builtins).copy(), sys.modules.copy()
    undo = _undo()
    try:
        yield
    finally:
        if process == os.getpid():
            sys.setrecursionlimit(depth)
            if vars(builtins) != own:
                vars(builtins).update(own)
            if not modules.keys() <= sys.modules.keys():
                sys.modules.update(modules)
            for step in undo:
                with contextlib.suppress(OSError, ValueError, RuntimeError, locale.Error):
                    step()


def _undo() -> list[Callable[[], object]]:
    """Return what puts back the state that the process is in now."""
    limits = {number: resource.getrlimit(number) for number in LIMITS}
    mask = os.umask(0o077)
    os.umask(mask)
    variables, zone = dict(os.environ), time.tzname
    streams = (sys.stdin, sys.stdout, sys.stderr)
    filters, collects = list(warnings.filters), gc.isenabled()
    language, patience = locale.setlocale(locale.LC_ALL), socket.getdefaulttimeout()
    try:
        folder = os.getcwd()
    except OSError:  # it is removed
        folder = ""

    def environment() -> None:
        if os.environ != variables:
            os.environ.clear()
            os.environ.update(variables)
        if time.tzname != zone:
            time.tzset()

    def ways_out() -> None:
        _restore_descriptors()
        for name, number, stream in zip(("stdin", "stdout", "stderr"), range(3), streams, strict=True):
            setattr(sys, name, _usable(stream, number))

    def limit() -> None:
        for number, (soft, hard) in limits.items():
            now = resource.getrlimit(number)
            if now != (soft, hard):
                try:
                    resource.setrlimit(number, (soft, hard))
                except (OSError, ValueError):  # a hard limit that was lowered stays so
                    resource.setrlimit(number, (now[1], now[1]))

    def rest() -> None:
        os.umask(mask)
        if warnings.filters != filters:
            warnings.filters = filters
        (gc.enable if collects else gc.disable)()
        if locale.setlocale(locale.LC_ALL) != language:
            locale.setlocale(locale.LC_ALL, language)
        socket.setdefaulttimeout(patience)

    _keep_descriptors()
    return [limit, *_signals(), ways_out, environment, lambda: os.chdir(folder), rest, _torch()]


def _keep_descriptors() -> None:
    """Copy the standard descriptors, once for as long as the copies are there."""
    for number in range(3):
        copy, what = _standard.get(number, (-1, (-1, -1)))
        if copy >= 0 and _what(copy) == what == _what(number):
            continue
        with contextlib.suppress(OSError, ValueError):
            _standard[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH), _what(number)
            if copy >= 0 and _what(copy) == what:
                os.close(copy)


def _what(descriptor: int) -> tuple[int, int]:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino


def _restore_descriptors() -> None:
    """Open the standard descriptors again as they were; a file opened later must never get the number of one."""
    for number, (copy, what) in _standard.items():
        if _what(number) == what:
            continue
        if _what(copy) == what:
            os.dup2(copy, number)
        else:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def _usable(stream: TextIO, number: int) -> TextIO:
    """Return ``stream``, or another one on its descriptor where it was closed."""
    if stream is None or not stream.closed:
        return stream
    return open(number, "r" if number == 0 else "w", closefd=False, errors="backslashreplace")


def _signals() -> list[Callable[[], object]]:
    """Return what puts handlers and timers of signals back, which only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return []
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    masked, alarm = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getitimer(signal.ITIMER_REAL)

    def restore() -> None:
        if signal.getitimer(signal.ITIMER_REAL) != alarm == (0.0, 0.0):
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)

    return [restore]


def _torch() -> Callable[[], object]:
    """Return what puts the global settings of torch back; where the block is the first to import it, its own ones."""
    torch = sys.modules.get("torch")
    if torch is None:
        return lambda: None
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    exact, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def restore() -> None:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != exact:
            torch.use_deterministic_algorithms(exact, warn_only=warns)

    return restore
