"""Schedulers: searchers around a searcher that spread epochs over trials. Importing this registers the built-in."""

from nas.schedulers.asha import Asha
from nas.schedulers.base import NONE, SCHEDULERS, make_scheduler, register_scheduler
from nas.schedulers.finalists import Finalists, finalist_of
from nas.schedulers.hyperband import Halving, Hyperband

__all__ = [
    "NONE",
    "SCHEDULERS",
    "Asha",
    "Finalists",
    "Halving",
    "Hyperband",
    "finalist_of",
    "make_scheduler",
    "register_scheduler",
]
