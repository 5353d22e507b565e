"""Grid search: every architecture of a small space, in an order that treats the options of each decision alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nas.errors import Exhausted
from nas.searchers.base import Fold, register_searcher
from nas.space import Space
from nas.space.choices import Path
from nas.types import Architecture, History, Proposal, Trial


@dataclass
class _State:
    asked: set[Architecture] = field(default_factory=set)
    passed: int = 0
    """Points of the order before which all have a result."""


@register_searcher("grid", source="every point of the space; nothing is learned")
class GridSearcher:
    """Proposes every architecture once, in a fixed order that takes turns over the options of each decision.

    So with fewer trials than points each option of the first decision, such as a family, has as many of them, and
    within it each of the second, as far as its points go; earlier options come first, unless they are ``mixed``.
    """

    def __init__(self, space: Space, mixed: bool = False) -> None:
        self._order, self._points = in_turns(space, mixed), list[Architecture]()
        self._fold = Fold(_State, _step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the first point of the order that was not asked; after the last raise :class:`Exhausted`."""
        state, pending = self._fold(history), {t.architecture for t in history.pending}
        place = state.passed
        while (point := self._point(place)) is not None:
            if point not in state.asked:
                if point not in pending:
                    return Proposal(point)
            elif place == state.passed:
                state.passed += 1
            place += 1
        raise Exhausted("every architecture of the space was proposed")

    def _point(self, place: int) -> Architecture | None:
        while place >= len(self._points):
            found = next(self._order, None)
            if found is None:
                return None
            self._points.append(found)
        return self._points[place]


def _step(state: _State, trial: Trial) -> None:
    state.asked.add(trial.architecture)


def in_turns(space: Space, mixed: bool = False, before: tuple[int, ...] = ()) -> Iterator[Architecture]:
    """Yield every feasible architecture once, those whose first choices are ``before``: each next option in turn.

    ``mixed`` options are in an order of its own for each place, so that the first points differ in every decision.
    """
    chooser = Path(before)
    first = space.attempt(chooser)
    if len(chooser.indices) <= len(before):
        if first is not None:
            yield first
        return
    options = range(chooser.counts[len(before)])
    if mixed:
        options = np.random.Generator(np.random.PCG64(before)).permutation(len(options)).tolist()
    waiting = deque(in_turns(space, mixed, (*before, option)) for option in options)
    while waiting:
        turn = waiting.popleft()
        found = next(turn, None)
        if found is not None:
            yield found
            waiting.append(turn)
