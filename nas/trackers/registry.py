"""The registry of trackers, and how a user names one: ``NAME`` or ``NAME=PLACE``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from nas.core.files import real_path
from nas.core.plugins import naming
from nas.core.registry import Registry, check_named
from nas.engine.config import NONE
from nas.errors import ConfigError, one_line
from nas.trackers.base import Callback


@dataclass(frozen=True)
class TrackerInfo:
    """A registered tracker."""

    make: Callable[[str], Callback]
    """``make(place)`` returns it; the place is empty where the user names none."""
    summary: str
    folder: bool = False
    """Whether its place is a folder, which is then found from wherever the run is resumed."""


SQLITE = "sqlite:///"
"""The beginning of a place that is a database in a file."""
TRACKERS: Registry[TrackerInfo] = Registry("tracker")
M = TypeVar("M", bound=Callable[[str], Callback])


def register_tracker(name: str, folder: bool = False) -> Callable[[M], M]:
    """Register the decorated :class:`nas.trackers.Callback` as tracker ``name``; it is made with its place, a text.

    With ``folder`` the place is a folder.
    """
    check_named("tracker", name)

    def register(make: M) -> M:
        TRACKERS.add(name, TrackerInfo(make, (inspect.getdoc(make) or "").split("\n")[0], folder))
        return make

    return register


def _tensorboard(place: str) -> Callback:
    from nas.trackers.tensorboard_events import TensorBoard

    return TensorBoard(place)


def _mlflow(place: str) -> Callback:
    from nas.trackers.mlflow_store import MLflow

    return MLflow(place)


def _wandb(place: str) -> Callback:
    from nas.trackers.wandb_run import WeightsAndBiases

    return WeightsAndBiases(place)


TRACKERS.add(
    "tensorboard", TrackerInfo(_tensorboard, "TensorBoard's event files; PLACE: a folder, default the run's own", True)
)
TRACKERS.add("mlflow", TrackerInfo(_mlflow, "MLflow; PLACE: a tracking URI, default MLFLOW_TRACKING_URI or MLflow's"))
TRACKERS.add("wandb", TrackerInfo(_wandb, "Weights & Biases; PLACE: PROJECT or ENTITY/PROJECT, default nas"))


def placed(texts: Sequence[str]) -> tuple[str, ...]:
    """Return trackers with absolute folders; an unknown one, or the same one twice, raises :class:`ConfigError`."""
    found: dict[str, str] = {}
    for text in texts if tuple(texts) != (NONE,) else ():
        name, equals, place = text.partition("=")
        info = TRACKERS[name]
        if equals and not place:
            raise ConfigError(f"--track {text}: there is no place after '='; leave both out for the default")
        if name in found:
            raise ConfigError(f"--track: '{name}' is given twice")
        # the run may be resumed from elsewhere
        if place.startswith(SQLITE):
            place = SQLITE + real_path(place.removeprefix(SQLITE))
        elif place and info.folder:
            place = real_path(place)
        found[name] = f"{name}={place}" if place else name
    return tuple(found.values())


def make_trackers(texts: Sequence[str]) -> tuple[Callback, ...]:
    """Return the trackers that ``texts`` name; one whose package is missing raises :class:`ConfigError`."""
    made = []
    for text in placed(texts):
        name, _, place = text.partition("=")
        with naming(f"tracker '{name}'"):
            callback = TRACKERS[name].make(place)
        if not isinstance(callback, Callback):
            raise ConfigError(f"tracker '{name}' must be a nas.Callback, found {type(callback).__name__}")
        callback.name = name
        made.append(callback)
    return tuple(made)


def package(module: str, tracker: str) -> ModuleType:
    """Return a ``module`` that ``tracker`` needs; without it raise :class:`ConfigError` that says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise ConfigError(f"tracker '{tracker}': {module} cannot be imported: {one_line(error)}") from None
        install = f"python -m pip install 'nas-toolkit[{tracker}]'"
        raise ConfigError(f"tracker '{tracker}' needs the package {module.split('.')[0]}: {install}") from None
