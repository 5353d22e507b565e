"""A stranger's code may fork: its child must not come back as a second run of the same files, locks and workers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def ending_forks() -> Iterator[None]:
    """End a child that the block has forked when it comes back out of it, with the exit code that it asked for.

    It ends at once: what is registered for the end of the process, and what the callers would clean up, belongs to its
    parent.
    """
    process, code = os.getpid(), 0
    try:
        yield
    except BaseException as error:
        if os.getpid() == process:
            raise
        code = 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
    if os.getpid() != process:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or not there at all
                stream.flush()
        os._exit(code & 0xFF)
