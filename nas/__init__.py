"""Neural architecture search for images.

A :class:`Study` searches a space, which is a plain function that chooses, with the built-in training, with published
tables or with a function of your own; :func:`search` is the same in one line. :func:`create_model` makes what was
found, and every named network, a torch module; :func:`compare`, :func:`train`, :func:`finetune`, :func:`scale` and
:func:`export` are what follows. Everything is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api.commands import compare, export, finetune, load_comparison, scale, train
    from nas.api.evaluators import TableEvaluator, TrainEvaluator
    from nas.api.study import (
        Ray,
        Result,
        Study,
        build,
        build_module,
        get_space,
        list_spaces,
        load_study,
        search,
    )
    from nas.api.study import get_space as space_of
    from nas.core.values import Budget, Task
    from nas.data.user_data import Data, register_dataset
    from nas.engine.config import Constraints
    from nas.errors import EvaluationError, Infeasible, NasError
    from nas.evaluators import register_evaluator
    from nas.graph import Graph, GraphBuilder, cost, key
    from nas.models.create import create_graph, create_model, list_models
    from nas.models.load import load
    from nas.schedulers import register_scheduler
    from nas.searchers import register_searcher
    from nas.space import Cells, Choose, Network, Space, register_space
    from nas.trackers import Callback, register_tracker
    from nas.types import Architecture, History, Job, Metrics, Proposal, Trial

_HOMES = {
    "nas.api.commands": ("compare", "export", "finetune", "load_comparison", "scale", "train"),
    "nas.api.evaluators": ("TableEvaluator", "TrainEvaluator"),
    "nas.api.study": (
        "Ray",
        "Result",
        "Study",
        "build",
        "build_module",
        "get_space",
        "list_spaces",
        "load_study",
        "search",
    ),
    "nas.core.values": ("Budget", "Task"),
    "nas.data.user_data": ("Data", "register_dataset"),
    "nas.engine.config": ("Constraints",),
    "nas.errors": ("EvaluationError", "Infeasible", "NasError"),
    "nas.evaluators": ("register_evaluator",),
    "nas.graph": ("Graph", "GraphBuilder", "cost", "key"),
    "nas.models.create": ("create_graph", "create_model", "list_models"),
    "nas.models.load": ("load",),
    "nas.schedulers": ("register_scheduler",),
    "nas.searchers": ("register_searcher",),
    "nas.space": ("Cells", "Choose", "Network", "Space", "register_space"),
    "nas.trackers": ("Callback", "register_tracker"),
    "nas.types": ("Architecture", "History", "Job", "Metrics", "Proposal", "Trial"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_ALIASES = {"space_of": "get_space"}
"""Earlier names, which keep working."""

__all__ = [
    "Architecture",
    "Budget",
    "Callback",
    "Cells",
    "Choose",
    "Constraints",
    "Data",
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
    "Ray",
    "Result",
    "Space",
    "Study",
    "TableEvaluator",
    "Task",
    "TrainEvaluator",
    "Trial",
    "build",
    "build_module",
    "compare",
    "cost",
    "create_graph",
    "create_model",
    "export",
    "finetune",
    "get_space",
    "key",
    "list_models",
    "list_spaces",
    "load",
    "load_comparison",
    "load_study",
    "register_dataset",
    "register_evaluator",
    "register_scheduler",
    "register_searcher",
    "register_space",
    "register_tracker",
    "scale",
    "search",
    "space_of",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import each name when it is first used, so that ``import nas`` and the command line's help stay quick."""
    name = _ALIASES.get(name, name)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nas' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
