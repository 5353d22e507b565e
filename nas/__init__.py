"""Neural architecture search for images.

``nas.search(space, evaluator=my_function, trials=50)`` searches with your own function; a space is a plain function
that chooses. ``nas.load`` reads what was found, ``nas.build`` makes its network, ``nas.build_module`` makes it torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import Result, build, build_module, load, search, space_of
    from nas.errors import EvaluationError, Infeasible, NasError
    from nas.evaluators import register_evaluator
    from nas.graph import Graph, GraphBuilder, cost, key
    from nas.searchers import register_searcher
    from nas.space import Cells, Choose, Network, Space, register_space
    from nas.types import Architecture, History, Job, Metrics, Proposal, Task, Trial

_HOMES = {
    "nas.api": ("Result", "build", "build_module", "load", "search", "space_of"),
    "nas.errors": ("EvaluationError", "Infeasible", "NasError"),
    "nas.evaluators": ("register_evaluator",),
    "nas.graph": ("Graph", "GraphBuilder", "cost", "key"),
    "nas.searchers": ("register_searcher",),
    "nas.space": ("Cells", "Choose", "Network", "Space", "register_space"),
    "nas.types": ("Architecture", "History", "Job", "Metrics", "Proposal", "Task", "Trial"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Architecture",
    "Cells",
    "Choose",
    "EvaluationError",
    "Graph",
    "GraphBuilder",
    "History",
    "Infeasible",
    "Job",
    "Metrics",
    "NasError",
    "Network",
    "Proposal",
    "Result",
    "Space",
    "Task",
    "Trial",
    "build",
    "build_module",
    "cost",
    "key",
    "load",
    "register_evaluator",
    "register_searcher",
    "register_space",
    "search",
    "space_of",
]


def __getattr__(name: str) -> Any:
    """Import each name when it is first used, so that ``import nas`` and the command line's help stay quick."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nas' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
