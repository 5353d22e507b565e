"""Names of a searcher and a scheduler together, such as ``bohb``, and ``auto``."""

from __future__ import annotations

from dataclasses import dataclass

from nas.errors import ConfigError
from nas.schedulers.base import NONE
from nas.searchers.default import AUTO, automatic


@dataclass(frozen=True)
class Shorthand:
    """A well-known pair of a searcher and a scheduler."""

    searcher: str
    scheduler: str
    source: str

    @property
    def summary(self) -> str:
        """What it is short for, and its paper."""
        return f"Short for '{self.searcher}' with the scheduler '{self.scheduler}'. ({self.source})"


SHORTHANDS = {"bohb": Shorthand("optuna:tpe", "hyperband", "arXiv:1807.01774 (Falkner et al., BOHB)")}
"""Names that may be given for a searcher, by what they are short for."""


def spelled_out(searcher: str, scheduler: str, trials: int) -> tuple[str, str]:
    """Return searcher and scheduler with ``auto`` and :data:`SHORTHANDS` replaced by what they are short for."""
    if searcher == AUTO:
        return automatic(trials), scheduler
    if searcher not in SHORTHANDS:
        return searcher, scheduler
    pair = SHORTHANDS[searcher]
    if scheduler not in (NONE, pair.scheduler):
        raise ConfigError(
            f"searcher '{searcher}' has the scheduler '{pair.scheduler}', found '{scheduler}'; "
            f"with another one, name its searcher '{pair.searcher}'"
        )
    return pair.searcher, pair.scheduler
