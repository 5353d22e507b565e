"""Local search: climb to a better neighbour, restart where none is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from nas.searchers.base import Fold, register_searcher, whole
from nas.space import Space
from nas.types import Architecture, History, Proposal, Trial

Move: TypeAlias = tuple[str, int]


@dataclass
class _State:
    """The climb so far: the round counts restarts, ``summit`` is the best trial of this round."""

    round: int = 0
    summit: Trial | None = None
    scored: int = 0
    tried: set[Architecture] = field(default_factory=set)
    moves: set[Move] = field(default_factory=set)
    """What was changed of the summit already; a move may draw decisions again, so its outcome does not tell."""


def _step(state: _State, trial: Trial) -> None:
    state.tried.add(trial.architecture)
    climb = trial.proposal.info.get("round", 0)
    if climb > state.round:
        state.round, state.summit, state.scored, state.moves = climb, None, 0, set()
    if state.summit is not None:
        state.moves.update(_moves_from(state.summit, [trial.proposal]))
    if climb == state.round and trial.reward is not None:
        state.scored += 1
        if state.summit is None or state.summit.reward is None or trial.reward > state.summit.reward:
            state.summit, state.moves = trial, set()


def _moves_from(summit: Trial, proposals: Sequence[Proposal]) -> Iterator[Move]:
    for proposal in proposals:
        if proposal.info.get("parent") == summit.index and "move" in proposal.info:
            name, choice = proposal.info["move"]
            yield name, choice


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
        # a round begins with random architectures, and so does one whose first results are still pending
        if climb > state.round or state.summit is None or state.scored < self._starts:
            return self._random(climb, rng)
        tried = state.tried.union(p.architecture for p in asked) if asked else state.tried
        gone = state.moves.union(_moves_from(state.summit, asked))
        moves = [move for move in self._space.moves(state.summit.architecture) if move not in gone]
        # the first untried neighbour in random order, like a first-improvement climb
        for i in rng.permutation(len(moves)):
            neighbour = self._space.move(state.summit.architecture, moves[i], rng)
            if neighbour is not None and neighbour not in tried:
                info = {"round": climb, "parent": state.summit.index, "move": list(moves[i])}
                return Proposal(neighbour, info=info)
        return self._random(climb + 1, rng)

    def _random(self, climb: int, rng: np.random.Generator) -> Proposal:
        return Proposal(self._space.sample(rng), info={"round": climb})
