"""Searchers: pure functions from the history to the next proposal. Importing this registers the built-in ones."""

from nas.searchers.base import SEARCHERS, Fold, SearcherInfo, make_searcher, register_searcher
from nas.searchers.evolution import EvolutionSearcher
from nas.searchers.local import LocalSearcher
from nas.searchers.random import RandomSearcher

__all__ = [
    "SEARCHERS",
    "EvolutionSearcher",
    "Fold",
    "LocalSearcher",
    "RandomSearcher",
    "SearcherInfo",
    "make_searcher",
    "register_searcher",
]
