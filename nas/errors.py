"""The exceptions of the toolkit: one tree, each message one line that names the thing, the rule and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasError(Exception):
    """Anything a user can cause or fix. The command line prints its message on one line and exits with ``code``."""

    code = 2


class ConfigError(NasError):
    """A flag, a configuration file, a plugin or a data file is wrong."""


class GraphError(NasError):
    """A graph, a primitive or a shape breaks a rule."""


class TooLarge(GraphError, MemoryError):
    """A network does not fit in the free memory; known before anything is allocated."""


class SpaceError(NasError):
    """A search space or an architecture breaks the contract of choosing."""


class Infeasible(SpaceError):
    """Raised by a search space to reject a combination of choices; the space is then asked again."""


class Exhausted(SpaceError):
    """Raised by a searcher that has nothing left to propose; the search then ends cleanly."""


class NeedsResults(NasError):
    """Raised by a searcher that can propose only when no trial is pending; it is then asked with every result."""


class JournalError(NasError):
    """The journal of a run cannot be read, written or locked."""


class ClusterError(NasError):
    """The cluster that a search runs on cannot be reached any more; what was recorded is safe."""

    code = 3


class StoppedSearch(NasError):
    """A search was given up, since its evaluations fail one like the other."""


TOO_SLOW = "too_slow"
"""A trial was not evaluated, since it would take more seconds than allowed: it is refused and costs no trial."""
FAILURE_KINDS = ("diverged", "oom", "timeout", "crashed", "lost", "over_limit", TOO_SLOW, "error")
"""``crashed``: the worker's process ended; ``lost``: its machine went away; ``over_limit``: more parameters or
multiply-accumulates than allowed."""


class EvaluationError(NasError):
    """A trial failed; ``kind`` is one of :data:`FAILURE_KINDS`, ``error`` for any other."""

    def __init__(self, message: str, kind: str = "error") -> None:
        super().__init__(message)
        self.kind = kind if kind in FAILURE_KINDS else "error"


MESSAGE_LIMIT = 2_000
"""Characters of a message that is kept."""
LINE_LIMIT = 300
"""Characters of a message in the terminal."""
JOINERS = "\u200c\u200d"
"""Invisible, and part of words in some scripts and of emoji."""


def printable(text: str, limit: int | None = None) -> str:
    """Return text from outside as it may be stored and shown anywhere: one line that UTF-8 can hold.

    White space becomes spaces. What else is no printable character becomes an escape: controls, marks that change the
    direction of writing, lone surrogates, and as ``\\x80`` the bytes of file names that are not UTF-8. Longer text is
    cut in its middle to ``limit`` characters and says how many it had; what is printable stays as it is.
    """
    if text.isprintable() and (limit is None or len(text) <= limit):
        return text
    if limit is None or len(text) <= limit:
        shown = "".join(map(_shown, text))
        if limit is None or len(shown) <= limit:
            return shown
    # what is kept of both ends, escaped: a cut must not fall into an escape
    gap = f" ... {len(text):,} characters ... "
    room = max(0, limit - len(gap))
    head = _fitting(text[:room], (room + 1) // 2)
    tail = _fitting(text[-room:][::-1] if room else "", room // 2)
    return ("".join(head) + gap + "".join(reversed(tail)))[:limit]


def _fitting(text: str, room: int) -> list[str]:
    """Return the first characters as they are shown, in no more than ``room``."""
    shown: list[str] = []
    for part in map(_shown, text):
        room -= len(part)
        if room < 0:
            break
        shown.append(part)
    return shown


def _shown(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    if character.isspace():
        return " "
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that Python could not decode
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else ascii(character)[1:-1]


def one_line(error: BaseException, limit: int = MESSAGE_LIMIT - 100) -> str:
    """Return the message of ``error`` on one :func:`printable` line, never empty, with room for what is put before."""
    return " ".join(printable(str(error), limit).split()) or type(error).__name__


def described(error: BaseException, limit: int = MESSAGE_LIMIT) -> str:
    """Return the type and the message of what a stranger's code has raised, whatever its methods do."""
    try:
        name = printable(str(type(error).__name__), 100)
    except BaseException:
        name = "an exception"
    try:
        message = one_line(error, limit - len(name) - 2)
        if isinstance(error, BaseExceptionGroup) and error.exceptions:
            message += f"; the first: {described(error.exceptions[0], limit)}"
    except BaseException as broken:
        message = f"its message cannot be read: {type(broken).__name__}"
    return printable(f"{name}: {message}", limit)


MOST_LISTED = 40
NAME_SHOWN = 60
"""Characters of an unknown name."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown ``name``: the nearest known name, then all unless they are too many."""
    names = sorted(known)
    folded = {known.casefold().lstrip("-"): known for known in names}  # the dashes of flags make all of them alike
    near = difflib.get_close_matches(name.casefold().lstrip("-"), folded, n=1, cutoff=0.5)
    hint = f"; did you mean '{printable(folded[near[0]], NAME_SHOWN)}'?" if near and folded[near[0]] != name else ""
    # letters of other alphabets look alike
    alike = f", which is {printable(name, NAME_SHOWN)!a}" if hint and not name.isascii() else ""
    told = f"unknown {what} '{printable(name, NAME_SHOWN)}'{alike}{hint}"
    message = f"{told} (known: {', '.join(map(printable, names)) or 'none'})"
    return message if len(names) <= MOST_LISTED and len(message) <= LINE_LIMIT else f"{told} ({len(names)} are known)"
