"""Ends what a Ray of ours has left when the process that started it is gone: ``python watchdog.py FOLDER``.

Its standard input is a pipe that the driver holds open. When that ends, for whatever reason, every process of the Ray
whose files are in ``FOLDER`` is killed with all that it started, and the folder is removed: those whose environment has
:data:`MARK`, which Ray was started with, and no other that looks into the folder. Some of Ray's own agents outlive a
killed driver. Standard library only, so that it starts at once.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

MARK = "NAS_RAY_FOLDER"
"""The variable in the environment of every process of a Ray of ours: the folder of its files."""
QUIET = 1.0
"""Seconds without anything to kill after which nothing more is expected."""
PATIENCE = 15.0
"""Seconds after which what does not die is left alone."""


def holders(folder: str) -> set[int]:
    """Return the processes of the Ray in ``folder`` and what they started, but for this one and what started it."""
    parents = {int(pid): _parent(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    spared = {os.getpid(), os.getppid()}
    found = {pid for pid in parents.keys() - spared if _belongs(pid, folder)}
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


def _belongs(pid: int, folder: str) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return os.fsencode(f"{MARK}={folder}") in file.read().split(b"\0")
    return False


def clean(folder: str) -> None:
    """Kill until nothing has belonged to ``folder`` for :data:`QUIET` seconds, then remove it."""
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
