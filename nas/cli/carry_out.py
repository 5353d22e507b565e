"""Carrying a run of any kind out on the command line: a bar meanwhile, signals that end it, and then what came out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from nas.core.signals import ENDING, exit_code, handling
from nas.core.values import Json
from nas.errors import NasError
from nas.runs.run_folder import RunFolder, RunPlan

if TYPE_CHECKING:
    from nas.runs.progress import Progress

GRACE = 30.0
"""Seconds that what runs has to finish after SIGTERM or SIGHUP; after Ctrl-C there is no limit but a second one."""
SOON = 5.0
"""Seconds after which an interrupted run writes its report, though it may still finish more: docker waits ten."""
HIGH = 200
"""The least number of our descriptors: lower ones are given again at once to whoever opens a file."""
P = TypeVar("P", bound=RunPlan)


class RunKind(Generic[P]):
    """What the command line does with the runs of one kind."""

    def resume(self, folder: Path, changes: Json, accept_changes: bool) -> RunFolder[P]:
        """Open the run where it stopped; ``changes`` say where workers and files are found now.

        Other inputs than it began with are an error unless ``accept_changes``.
        """
        raise NotImplementedError

    def announce(self, run: RunFolder[P]) -> Callable[[Progress], str]:
        """Return what is asked, whenever progress is shown, for a line to print; mostly it has none."""
        return lambda progress: ""

    def execute(self, run: RunFolder[P], observe: Callable[[Progress], None]) -> str:
        """Carry the run out while ``observe`` sees its progress; return why it ended."""
        return run.execute(observe)

    def write_outputs(self, folder: Path) -> None:
        """Write what people read, from the journal."""
        raise NotImplementedError

    def show(self, folder: Path) -> int:
        """Print what the outputs say and where they are; return the exit code."""
        raise NotImplementedError

    def status(self, folder: Path) -> Json:
        """Return the status: see :meth:`nas.runs.snapshot.Snapshot.frame`."""
        raise NotImplementedError


def carry_out(run: RunFolder[P], kind: RunKind[P], grace: float | None = None) -> int:
    """Carry ``run`` out to its report; return the exit code.

    ``grace`` is the seconds that what runs has to finish after a signal; None: :data:`GRACE`, and any time after
    Ctrl-C.
    """
    from nas.cli.terminal import ProgressBar, warn

    heard = run.warning
    if heard:
        warn(heard)
    announce = kind.announce(run)
    with ProgressBar() as bar, stopping_in_order(run, bar.warn, grace) as signals:

        def observe(progress: Progress) -> None:
            bar.update(progress)
            if line := announce(progress):
                bar.say(line)

        reason = kind.execute(run, observe)
    if run.warning != heard:  # of the random search below it
        warn(run.warning)
    code = kind.show(run.given)
    return exit_code(signals[0] if signals else signal.SIGINT) if reason == "interrupted" else code


@contextlib.contextmanager
def stopping_in_order(run: RunFolder[RunPlan], warn: Callable[[str], None], grace: float | None) -> Iterator[list[int]]:
    """Let the first signal stop ``run`` when what runs now has finished; give the signals that came.

    The second one, and the end of the ``grace`` time, end the process at once. A thread waits for them, so that they
    are obeyed while the main thread is in a trial that is not written in Python.
    """
    signals: list[int] = []
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # few descriptors are allowed
        low, writer = writer, fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, HIGH)
        os.close(low)

    def watch() -> None:
        """Wait for signals and for the ends of the times that they begin, until the pipe is closed."""
        report = end = float("inf")
        while True:
            left = max(0.0, min(report, end) - time.monotonic())
            ready, _, _ = select.select([reader], [], [], None if left == float("inf") else left)
            if not ready:
                _within(SOON, run.interrupt)
                if time.monotonic() >= end:
                    _end(run, signals[0], "out of time")
                report = float("inf")
                continue
            data = os.read(reader, 1)
            if not data:
                return
            if data[0] not in ENDING:
                continue
            signals.append(data[0])
            if len(signals) > 1:
                _within(1.0, lambda: run.interrupt(outputs=False))
                _end(run, data[0], "interrupted")
            run.stop()
            allowed = grace if grace is not None or data[0] == signal.SIGINT else GRACE
            again = "; press Ctrl-C again to stop at once" if data[0] == signal.SIGINT else ""
            if allowed is not None:
                end = time.monotonic() + allowed
                report = min(end, time.monotonic() + SOON)
                again = f", {allowed:g} s at most" + again
            warn(f"finishing what runs now, then the report{again}")

    # also in the main thread, where it comes before the next trial can begin
    with handling(lambda number, frame: run.stop()) as handled:
        if not handled:
            os.close(reader)
            os.close(writer)
            yield signals
            return
        thread = threading.Thread(target=watch, name="signals", daemon=True)
        thread.start()
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield signals
        finally:
            signal.set_wakeup_fd(before)
            os.close(writer)
            thread.join(SOON)
            os.close(reader)


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do ``work`` in a thread of its own, so that one that hangs keeps nobody longer than ``seconds``."""

    def attempt() -> None:
        with contextlib.suppress(NasError, OSError):  # the process ends with its signal, whatever cannot be written
            work()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)


def _end(run: RunFolder[RunPlan], number: int, why: str) -> None:
    """End the process without unwinding: an exception could be taken for the failure of the trial that runs."""
    from nas.cli.terminal import resume_command

    start = "\n\x1b[?25h" if os.isatty(2) else ""  # the bar has hidden the cursor
    with contextlib.suppress(OSError):
        line = f"{start}{why}: what was recorded is safe; go on with: {resume_command(run.given)}\n"
        os.write(2, line.encode())
    os._exit(exit_code(number))
