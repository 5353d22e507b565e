"""Searchers: pure functions from the history to the next proposal. Importing this registers the built-in ones."""

from nas.searchers.asha import Asha
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
from nas.searchers.halving import Halving, Hyperband
from nas.searchers.local import LocalSearcher
from nas.searchers.nsga2 import Nsga2Searcher
from nas.searchers.optuna_sampler import OptunaSearcher
from nas.searchers.predictor import PredictorSearcher
from nas.searchers.random import RandomSearcher
from nas.searchers.reinforce import ReinforceSearcher
from nas.searchers.schedulers import SCHEDULERS, make_scheduler, register_scheduler

__all__ = [
    "FAMILIES",
    "SCHEDULERS",
    "SEARCHERS",
    "Asha",
    "EvolutionSearcher",
    "Fold",
    "Halving",
    "Hyperband",
    "LocalSearcher",
    "Nsga2Searcher",
    "OptunaSearcher",
    "PredictorSearcher",
    "RandomSearcher",
    "ReinforceSearcher",
    "SearcherInfo",
    "make_scheduler",
    "make_searcher",
    "register_family",
    "register_scheduler",
    "register_searcher",
]
