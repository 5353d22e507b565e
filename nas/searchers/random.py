"""Random search: the baseline that every other searcher must beat."""

from __future__ import annotations

import numpy as np

from nas.searchers.base import register_searcher
from nas.space import Space
from nas.types import History, Proposal


@register_searcher("random", source="Bergstra & Bengio 2012; for architectures arXiv:1902.07638")
class RandomSearcher:
    """Draws every decision uniformly, whatever came before."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return a random architecture."""
        return Proposal(self._space.sample(rng))
