"""Starting from what is known: the first proposals are given architectures, a searcher goes on from their results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.types import Architecture, History, Proposal, Searcher


class StartFrom:
    """Proposes ``architectures`` one by one, then whatever ``searcher`` asks with their results in the history."""

    def __init__(self, searcher: Searcher, architectures: Sequence[Architecture]) -> None:
        self._searcher = searcher
        self._architectures = tuple(architectures)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the next given architecture, or the searcher's proposal."""
        index = len(history)
        if index < len(self._architectures):
            return Proposal(self._architectures[index], info={"start": index})
        return self._searcher.ask(history, rng)
