"""Commands on file systems that behave otherwise: their Python has system calls replaced when it starts."""

from __future__ import annotations

import os
from pathlib import Path

from command import SOURCE

NO_LOCKS = """
import errno, fcntl
def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""
LOCAL_LOCKS = """
import fcntl
fcntl.flock = lambda descriptor, operation: None
"""
"""As of a network file system whose locks are each machine's own: everybody gets every lock."""
FAILING_FSYNC = """
import errno, os, time
left, real = [1], os.fsync
def fsync(descriptor):
    if os.readlink(f"/proc/self/fd/{descriptor}").endswith("journal.jsonl"):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EIO, "Input/output error")
        time.sleep(1.0)
    real(descriptor)
os.fsync = fsync
"""
"""Of a journal, from the second call on; the first is so slow that the others are put off to the end."""
SLOW_CREATION = """
import time, tomli_w
real = tomli_w.dumps
def dumps(*given, **named):
    time.sleep(1.5)
    return real(*given, **named)
tomli_w.dumps = dumps
"""


def with_calls(folder: Path, code: str) -> dict[str, str]:
    """Return the variables of a command whose Python runs ``code`` before anything else."""
    place = folder / "site"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{SOURCE}{os.pathsep}{place}"}
