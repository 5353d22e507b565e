"""What evolutionary searchers share: children that nobody tried, within the limits of the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

import numpy as np

from nas.errors import Exhausted
from nas.space import Space
from nas.types import Architecture, Candidate, Context, History, Trial

DRAWS = 16
"""Draws of a child before all neighbours of its parent are looked through."""
SAMPLES = 100
"""How many random architectures in a row must be known before the space counts as nearly searched through."""
ENUMERATED = 100_000
REPAIRS = 12
"""How many decisions of a network over a limit are changed at most."""
HOPELESS = 10
"""Where this many proposals, and all there were, were refused, limits count as impossible and nothing is repaired."""
UNREPAIRABLE = 3
"""Samples that cannot be brought within the limits, after which one over them is proposed, which is refused."""
BREADTH = 24
"""How many changes are tried for each of them."""
Test: TypeAlias = Callable[[Architecture], bool]


@dataclass
class Archive:
    """What was proposed already."""

    architectures: set[Architecture] = field(default_factory=set)
    """Exact decisions."""
    keys: set[str] = field(default_factory=set)
    """Canonical keys that have or will have a result."""
    exhausted_parents: set[int] = field(default_factory=set)
    """Trials whose neighbours are all known, as ``closed`` in a later proposal's ``info`` says."""

    def add(self, trial: Trial) -> None:
        """Remember a trial. A refused one does not bar its twins, which may be smaller as built."""
        self.exhausted_parents.update(trial.proposal.info.get("closed", ()))
        self.architectures.add(trial.architecture)
        if trial.status != "refused":
            self.keys.add(trial.key)


class Offspring:
    """Children that are new: neither their decisions nor their canonical key is known, and no limit is broken."""

    def __init__(self, space: Space, context: Context | None) -> None:
        self._space = space
        self._context = context or Context(lambda architecture: Candidate(space.key(architecture)))
        self.prepare = self._context.prepare
        self._points: list[Architecture] | None = None

    def random(self, archive: Archive, history: History, rng: np.random.Generator) -> Architecture:
        """Return a random new architecture; raise :class:`Exhausted` when every one was proposed.

        Where none is new any more, one whose decisions were never proposed will do: it costs no evaluation.
        """
        is_new, untried = self.novelty(archive, history)
        # where limits cannot be kept at all, a repair of every sample would be wasted time
        hopeless = len(history.results) >= HOPELESS and all(t.status == "refused" for t in history.results)
        spare: Architecture | None = None
        over = 0
        for _ in range(SAMPLES):
            found = self._space.sample(rng)
            found = found if hopeless else self.repair(found, rng)
            if is_new(found):
                return found
            # over a limit, or of a known key: the search refuses or reuses it, so it costs nothing
            if spare is None and untried(found):
                spare = found
            over += self._excess(self.prepare(found)) > 0
            if spare is not None and over >= (1 if hopeless else UNREPAIRABLE):
                break
        if spare is not None:
            return spare
        # one of the few that are left in a space that can be listed; the list is the same for every history, so keeping
        # it is no memory of earlier calls
        if self._points is None:
            self._points = list(islice(self._space.enumerate(), ENUMERATED))
        left = [point for point in self._points if untried(point)]
        if left:
            return left[int(rng.integers(len(left)))]
        if len(self._points) < ENUMERATED:
            raise Exhausted(f"space '{self._space.name}': all {len(self._points):,} architectures were proposed")
        return self._space.sample(rng)

    def child(
        self,
        draw: Callable[[], Architecture],
        parents: Iterable[Trial],
        archive: Archive,
        history: History,
        rng: np.random.Generator,
    ) -> tuple[Architecture, list[int]]:
        """Return a new architecture and the trials found to have no new neighbour.

        It is what ``draw`` returns, else a neighbour of the first of the ``parents`` that has a new one, else random.
        """
        is_new, untried = self.novelty(archive, history)
        # the searcher's own operators first
        for _ in range(DRAWS):
            found = draw()
            if untried(found):
                found = self.repair(found, rng)
                if is_new(found):
                    return found, []
        # then every single change of the parents, best first; those without a new one are not looked through again
        exhausted: list[int] = []
        for parent in parents:
            if parent.index not in archive.exhausted_parents:
                for neighbour in self._neighbours(parent.architecture, rng):
                    if is_new(neighbour):
                        return neighbour, exhausted
                exhausted.append(parent.index)
        return self.random(archive, history, rng), exhausted

    def repair(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return ``architecture`` with as many decisions changed as it takes to keep the limits.

        Each change is the one of up to :data:`BREADTH` that lowers the excess most; what cannot be repaired stays over.
        """
        excess = self._excess(self.prepare(architecture))
        for _ in range(REPAIRS):
            if not excess:
                break
            least = (excess, architecture)
            for neighbour in islice(self._neighbours(architecture, rng), BREADTH):
                least = min(least, (self._excess(self.prepare(neighbour)), neighbour), key=lambda pair: pair[0])
                if not least[0]:
                    break
            # a local optimum of the excess: further changes would only wander
            if least[0] == excess:
                break
            excess, architecture = least
        return architecture

    def novelty(self, archive: Archive, history: History) -> tuple[Test, Test]:
        """Return two tests: is an architecture new (unproposed, of an unknown key, within limits), is it unproposed?"""
        # pending trials are as good as known, so that workers do not train one network twice
        asked = {t.architecture for t in history.pending}
        keys = {t.key for t in history.pending}

        def untried(architecture: Architecture) -> bool:
            return architecture not in archive.architectures and architecture not in asked

        def is_new(architecture: Architecture) -> bool:
            if not untried(architecture):
                return False
            prepared = self.prepare(architecture)
            return prepared.key not in archive.keys and prepared.key not in keys and not self._excess(prepared)

        return is_new, untried

    def allowed(self, architecture: Architecture) -> bool:
        """Return whether an architecture can be evaluated and is within the limits."""
        return not self._excess(self.prepare(architecture))

    def _neighbours(self, architecture: Architecture, rng: np.random.Generator) -> Iterable[Architecture]:
        moves = self._space.moves(architecture)
        for i in rng.permutation(len(moves)):
            neighbour = self._space.move(architecture, moves[i], rng)
            if neighbour is not None:
                yield neighbour

    def _excess(self, prepared: Candidate) -> float:
        """Return by how much a network is over the limits, as shares of them; infinite for what cannot be built."""
        if prepared.problem:
            return float("inf")
        limits = ((prepared.params, self._context.max_params), (prepared.macs, self._context.max_macs))
        known = [(value, most) for value, most in limits if value is not None and most is not None]
        return sum(max(0, value - most) / max(most, 1) for value, most in known)
