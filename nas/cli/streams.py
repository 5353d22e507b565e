"""Standard output and error that never end the work: closed, broken, full, or without an encoding for the text."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from nas.core.informing import informing


class QuietStream:
    """A text stream that drops what cannot be written; ``problem`` is then the first error, else None."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self.problem: Exception | None = None

    def write(self, text: str) -> int:
        """Write ``text`` if it can be written; return its length."""
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered if it can be written."""
        with self._dropping():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if self.problem is not None:
                return
            self.problem = error
            # the interpreter flushes the rest at its end, which must not fail again
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            # whoever closes a pipe has seen enough
            if isinstance(error, OSError) and error.errno != errno.EPIPE:
                with informing(self._name):
                    raise


@contextlib.contextmanager
def quiet_streams() -> Iterator[QuietStream]:
    """Let standard output and error be quiet within the block; give the output."""
    # a file opened later must not get the number of a stream that was closed at the start
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    streams = []
    for number, name, stream in ((1, "standard output", sys.stdout), (2, "standard error", sys.stderr)):
        stream = stream or open(number, "w", closefd=False)  # noqa: SIM115
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        streams.append(QuietStream(stream, name))
    output, errors = streams
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        yield output
