"""Searchers: pure functions from the history to the next proposal. Importing this registers the built-in ones."""

from nas.searchers.base import (
    FAMILIES,
    SEARCHERS,
    Fold,
    SearcherInfo,
    make_searcher,
    register_family,
    register_searcher,
)
from nas.searchers.evolution import EvolutionSearcher
from nas.searchers.grid import GridSearcher
from nas.searchers.local_search import LocalSearcher
from nas.searchers.nsga2 import Nsga2Searcher
from nas.searchers.optuna.searcher import OptunaSearcher
from nas.searchers.predictor.searcher import PredictorSearcher
from nas.searchers.random import RandomSearcher
from nas.searchers.rank import RankSearcher
from nas.searchers.reinforce.searcher import ReinforceSearcher

__all__ = [
    "FAMILIES",
    "SEARCHERS",
    "EvolutionSearcher",
    "Fold",
    "GridSearcher",
    "LocalSearcher",
    "Nsga2Searcher",
    "OptunaSearcher",
    "PredictorSearcher",
    "RandomSearcher",
    "RankSearcher",
    "ReinforceSearcher",
    "SearcherInfo",
    "make_searcher",
    "register_family",
    "register_searcher",
]
