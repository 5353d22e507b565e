"""Ends what a Ray of ours has left when the process that started it is gone: ``python guardian.py FOLDER``.

Its standard input is a pipe that the driver holds open. When that ends, for whatever reason, every process that has a
file of ``FOLDER`` open or names it on its command line is killed with all that it started, and the folder is removed.
Ray's own processes watch their parents too, but some of its agents outlive a killed driver. Standard library only, so
that it starts at once.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

QUIET = 1.0
"""Seconds without anything to kill after which nothing more is expected."""
PATIENCE = 15.0
"""Seconds after which what does not die is left alone."""


def holders(folder: str) -> set[int]:
    """Return the processes that use ``folder`` and what they started, but for this one and a driver that lives on."""
    parents = {int(pid): _parent(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    spared = {os.getpid(), os.getppid()}  # a driver that only disconnects still has Ray's logs open
    found = {pid for pid in parents.keys() - spared if _uses(pid, folder)}
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in found} - found - spared
        found |= below
        grown = bool(below)
    return found


def _parent(pid: str) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0


def _uses(pid: int, folder: str) -> bool:
    inside = os.path.join(folder, "")
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
        if os.fsencode(inside) in line or os.fsencode(folder) + b"\0" in line:  # a guardian names it without a slash
            return True
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith(inside):
                    return True
    return False


def clean(folder: str) -> None:
    """Kill until nothing has used ``folder`` for :data:`QUIET` seconds, then remove it."""
    last = start = time.monotonic()
    while last + QUIET > time.monotonic() < start + PATIENCE:
        for pid in holders(folder):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                last = time.monotonic()
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    os.read(0, 1)  # a word from the driver, or its end
    clean(sys.argv[1])
