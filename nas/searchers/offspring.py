"""What evolutionary searchers share: children that nobody tried, within the limits of the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from nas.errors import Exhausted
from nas.space import Space
from nas.types import Architecture, Context, History, Prepared, Trial

DRAWS = 16
"""How often a child is drawn before all neighbours of its parent are looked through."""
SAMPLES = 100
"""How many random architectures in a row must be known before the space counts as nearly searched through."""
ENUMERATED = 100_000
REPAIRS = 12
"""How many decisions of a network over a limit are changed at most."""
HOPELESS = 10
"""Where so many proposals, and all there were, were refused, limits are taken for impossible and nothing is mended."""
UNMENDED = 3
"""After so many that cannot be brought within the limits, one over them is proposed, which the search refuses."""
BREADTH = 24
"""How many changes are tried for each of them."""


@dataclass
class Seen:
    """What was proposed already: exact decisions, and canonical keys that have or will have a result.

    ``closed`` are the trials whose neighbours are all known, as the proposals' ``info`` tells of those found so.
    """

    architectures: set[Architecture] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)

    def add(self, trial: Trial) -> None:
        """Remember a trial. A refused one does not bar its twins, which may be smaller as built."""
        self.closed.update(trial.proposal.info.get("closed", ()))
        self.architectures.add(trial.architecture)
        if trial.status != "refused":
            self.keys.add(trial.key)


class Offspring:
    """Children that are new: neither their decisions nor their canonical key is known, and no limit is broken."""

    def __init__(self, space: Space, context: Context | None) -> None:
        self._space = space
        self._context = context or Context(lambda architecture: Prepared(space.key(architecture)))
        self._points: list[Architecture] | None = None

    def random(self, seen: Seen, history: History, rng: np.random.Generator) -> Architecture:
        """Return a random new architecture; raise :class:`Exhausted` when every one was proposed.

        Where none is new any more, one whose decisions were never proposed will do: it costs no evaluation.
        """
        is_new, untried = self._judges(seen, history)
        hopeless = len(history.results) >= HOPELESS and all(t.status == "refused" for t in history.results)
        spare: Architecture | None = None
        over = 0
        for _ in range(SAMPLES):
            found = self._space.sample(rng)
            found = found if hopeless else self.repaired(found, rng)
            if is_new(found):
                return found
            if spare is None and untried(found):
                spare = found
            over += self._excess(found) > 0
            if spare is not None and over >= (1 if hopeless else UNMENDED):
                break
        return self._last(untried, rng) if spare is None else spare

    def child(
        self,
        draw: Callable[[], Architecture],
        parents: Iterable[Trial],
        seen: Seen,
        history: History,
        rng: np.random.Generator,
    ) -> tuple[Architecture, list[int]]:
        """Return a new architecture and the trials found to have no new neighbour.

        It is what ``draw`` returns, else a neighbour of the first of the ``parents`` that has a new one, else random.
        """
        is_new, untried = self._judges(seen, history)
        for _ in range(DRAWS):
            found = draw()
            if untried(found):
                found = self.repaired(found, rng)
                if is_new(found):
                    return found, []
        closed: list[int] = []
        for parent in parents:
            if parent.index not in seen.closed:
                for neighbour in self._neighbours(parent.architecture, rng):
                    if is_new(neighbour):
                        return neighbour, closed
                closed.append(parent.index)
        return self.random(seen, history, rng), closed

    def repaired(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return ``architecture`` with as many decisions changed as it takes to keep the limits.

        Each change is the one of up to :data:`BREADTH` that lowers the excess most; what cannot be mended stays over.
        """
        excess = self._excess(architecture)
        for _ in range(REPAIRS):
            if not excess:
                break
            least = (excess, architecture)
            for neighbour in islice(self._neighbours(architecture, rng), BREADTH):
                least = min(least, (self._excess(neighbour), neighbour), key=lambda pair: pair[0])
                if not least[0]:
                    break
            if least[0] == excess:
                break
            excess, architecture = least
        return architecture

    def novelty(self, seen: Seen, history: History) -> Callable[[Architecture], bool]:
        """Return the test whether an architecture is new: unproposed, of an unknown key, and within the limits."""
        return self._judges(seen, history)[0]

    def _judges(
        self, seen: Seen, history: History
    ) -> tuple[Callable[[Architecture], bool], Callable[[Architecture], bool]]:
        asked = {t.architecture for t in history.pending}
        keys = {t.key for t in history.pending}

        def untried(architecture: Architecture) -> bool:
            return architecture not in seen.architectures and architecture not in asked

        def is_new(architecture: Architecture) -> bool:
            if not untried(architecture):
                return False
            prepared = self._context.prepare(architecture)
            return prepared.key not in seen.keys and prepared.key not in keys and not self._excess_of(prepared)

        return is_new, untried

    def _neighbours(self, architecture: Architecture, rng: np.random.Generator) -> Iterable[Architecture]:
        moves = self._space.moves(architecture)
        for i in rng.permutation(len(moves)):
            neighbour = self._space.move(architecture, moves[i], rng)
            if neighbour is not None:
                yield neighbour

    def _excess(self, architecture: Architecture) -> float:
        return self._excess_of(self._context.prepare(architecture))

    def _excess_of(self, prepared: Prepared) -> float:
        """Return by how much a network is over the limits, as shares of them; infinite for what cannot be built."""
        if prepared.problem:
            return float("inf")
        limits = ((prepared.params, self._context.max_params), (prepared.macs, self._context.max_macs))
        known = [(value, most) for value, most in limits if value is not None and most is not None]
        return sum(max(0, value - most) / max(most, 1) for value, most in known)

    def _last(self, untried: Callable[[Architecture], bool], rng: np.random.Generator) -> Architecture:
        """Return one of the few architectures that are left in a space that can be listed."""
        if self._points is None:
            self._points = list(islice(self._space.enumerate(), ENUMERATED))
        left = [point for point in self._points if untried(point)]
        if left:
            return left[int(rng.integers(len(left)))]
        if len(self._points) < ENUMERATED:
            raise Exhausted(f"space '{self._space.name}': all {len(self._points):,} architectures were proposed")
        return self._space.sample(rng)
