"""Local search: climb to a better neighbour, start anew where none is left."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nas.searchers.base import Fold, register_searcher, whole
from nas.space import Space
from nas.types import Architecture, History, Proposal, Trial


@dataclass
class _State:
    """The climb so far: the round counts restarts, ``summit`` is the best trial of this round."""

    round: int = 0
    summit: Trial | None = None
    scored: int = 0
    tried: set[Architecture] = field(default_factory=set)


def _step(state: _State, trial: Trial) -> None:
    state.tried.add(trial.architecture)
    climb = trial.proposal.info.get("round", 0)
    if climb > state.round:
        state.round, state.summit, state.scored = climb, None, 0
    if climb == state.round and trial.reward is not None:
        state.scored += 1
        if state.summit is None or state.summit.reward is None or trial.reward > state.summit.reward:
            state.summit = trial


@register_searcher("local", source="arXiv:2005.02960 (White et al., local search for NAS)")
class LocalSearcher:
    """Hill climbing: tries the neighbours of the best of this round in random order, moves at the first better one.

    A round starts from the best of ``starts`` random architectures; when every neighbour of its best was tried, the
    next round begins.
    """

    def __init__(self, space: Space, starts: int = 10) -> None:
        self._space = space
        self._starts = whole("local", "starts", starts, 1)
        self._fold = Fold(_State, _step)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return an untried neighbour of this round's best, or a random architecture at the start of a round."""
        state = self._fold(history)
        asked = [t.proposal for t in history.pending]
        climb = max([state.round, *(p.info.get("round", 0) for p in asked)])
        if climb > state.round or state.summit is None or state.scored < self._starts:
            return self._start(climb, rng)
        tried = state.tried.union(p.architecture for p in asked) if asked else state.tried
        moves = self._space.moves(state.summit.architecture)
        for i in rng.permutation(len(moves)):
            neighbour = self._space.move(state.summit.architecture, moves[i], rng)
            if neighbour is not None and neighbour not in tried:
                return Proposal(neighbour, info={"round": climb, "parent": state.summit.index})
        return self._start(climb + 1, rng)

    def _start(self, climb: int, rng: np.random.Generator) -> Proposal:
        return Proposal(self._space.sample(rng), info={"round": climb})
