"""One law on one space: searches whose every proposal is looked at, and how a law fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np

from nas.core.plugins import naming
from nas.errors import Exhausted, NasError, SpaceError, one_line
from nas.space import Space
from nas.testing.searches import EPOCHS, Make, Search, SearcherUnderTest, course, run_search
from nas.testing.spaces import Case, prepared
from nas.types import Architecture, Context, History, Proposal, Searcher


class BrokenLaw(NasError, AssertionError):
    """A searcher breaks a law; the message is one line: the law, the space, the trial, and what was found."""


@dataclass(frozen=True)
class Watched:
    """A searcher whose every proposal is looked at: ``watch`` asks it, and returns what it proposes or raises."""

    searcher: Searcher
    watch: Callable[[Searcher, History, np.random.Generator], Proposal]

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the searcher's proposal."""
        return self.watch(self.searcher, history, rng)


@dataclass(frozen=True)
class Check:
    """One law on one space: what it tries, and how it fails."""

    law: str
    subject: SearcherUnderTest
    case: Case

    def fail(self, found: str, index: int | None = None) -> NoReturn:
        """Raise :class:`BrokenLaw`."""
        trial = "" if index is None else f", trial {index}"
        raise BrokenLaw(f"law '{self.law}', space '{self.case.name}'{trial}: {found}")

    def make(self, space: Space, context: Context) -> Searcher:
        """Return a new searcher whose every proposal is looked at."""
        with naming(f"law '{self.law}', space '{self.case.name}'"):
            return Watched(self.subject.make(space, context), partial(self._ask, space))

    def _ask(self, space: Space, searcher: Searcher, history: History, rng: np.random.Generator) -> Proposal:
        index = len(history)
        try:
            proposal = searcher.ask(history, rng)
        except Exhausted:
            raise
        except Exception as error:  # the searcher is a stranger's code: report whatever it raises
            self.fail(f"ask raised {type(error).__name__}: {one_line(error)}", index)
        # a wrong type would only fail later, where nobody could name the trial
        if not isinstance(proposal, Proposal) or not isinstance(proposal.architecture, Architecture):
            self.fail(f"ask must return a Proposal of an Architecture, found {type(proposal).__name__}", index)
        try:
            space.describe(proposal.architecture)
        except SpaceError as error:
            self.fail(f"the proposal is no point of the space: {one_line(error)}", index)
        return proposal

    def fresh(self) -> Searcher:
        """Return a searcher as a fresh process has it."""
        space = self.case.space()
        return self.make(space, Context(partial(prepared, space), EPOCHS, self.case.trials))

    def search(self, trials: int | None = None, make: Make | None = None, **options: Any) -> Search:
        """Search the space with a new searcher; see :func:`run_search`."""
        return run_search(make or self.make, self.case, trials, **options)

    def same(self, found: Search, expected: Search, when: str) -> None:
        """Fail at the first trial of ``found`` that is not as in ``expected``; it may have been stopped earlier."""
        for index, (one, other) in enumerate(zip(course(found), course(expected), strict=False)):
            if one != other:
                what = "proposal" if one[0] != other[0] else "result"
                self.fail(f"{when} the {what} is another", index)
        # a search that was interrupted on purpose may be shorter
        short = len(found.trials) < len(expected.trials) and found.reason != "interrupted"
        if short or len(found.trials) > len(expected.trials):
            self.fail(f"{when} the search ends elsewhere, by {found.reason}", len(found.trials))
