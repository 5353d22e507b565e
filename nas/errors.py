"""The exceptions of the toolkit: one tree, each message one line that names the thing, the rule and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasError(Exception):
    """Anything a user can cause or mend. The command line prints its message on one line and exits with ``code``."""

    code = 2


class ConfigError(NasError):
    """A flag, a configuration file, a plugin or a data file is wrong."""


class GraphError(NasError):
    """A graph, a primitive or a shape breaks a rule."""


class SpaceError(NasError):
    """A search space or an architecture breaks the contract of choosing."""


class Infeasible(SpaceError):
    """Raised by a search space to reject a combination of choices; the space is then asked again."""


class Exhausted(SpaceError):
    """Raised by a searcher that has nothing left to propose; the search then ends cleanly."""


class JournalError(NasError):
    """The journal of a run cannot be read, written or locked."""


class ClusterError(NasError):
    """The cluster that a search runs on cannot be reached any more; what was recorded is safe."""

    code = 3


class StoppedSearch(NasError):
    """A search was given up, since its evaluations fail one like the other."""


FAILURE_KINDS = ("diverged", "oom", "timeout", "crashed", "lost", "over_limit", "error")
"""``crashed``: the worker's process ended; ``lost``: its machine went away."""


class EvaluationError(NasError):
    """A trial failed; ``kind`` is one of :data:`FAILURE_KINDS`, ``error`` for any other."""

    def __init__(self, message: str, kind: str = "error") -> None:
        super().__init__(message)
        self.kind = kind if kind in FAILURE_KINDS else "error"


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` on one line, never empty."""
    return " ".join(str(error).split()) or type(error).__name__


MOST_LISTED = 40


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown ``name``: the nearest known name, then all unless they are too many."""
    names = sorted(known)
    folded = {known.casefold().lstrip("-"): known for known in names}  # the dashes of flags make all of them alike
    near = difflib.get_close_matches(name.casefold().lstrip("-"), folded, n=1, cutoff=0.5)
    hint = f"; did you mean '{folded[near[0]]}'?" if near else ""
    listed = f"known: {', '.join(names) or 'none'}" if len(names) <= MOST_LISTED else f"{len(names)} are known"
    return f"unknown {what} '{name}'{hint} ({listed})"
