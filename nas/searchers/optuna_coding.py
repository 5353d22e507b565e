"""How the decisions of a search space become parameters of Optuna, and what else using that package takes.

Importing this module does not import Optuna.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from nas.errors import ConfigError, one_line
from nas.space.choices import Options
from nas.types import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Parameters = tuple[dict[str, Any], "dict[str, BaseDistribution]"]


def import_optuna() -> ModuleType:
    """Return the package ``optuna``; without it raise :class:`ConfigError` that says how to install it."""
    try:
        return import_module("optuna")
    except ImportError as error:
        if (error.name or "").split(".")[0] != "optuna":
            raise ConfigError(f"Optuna cannot be imported: {one_line(error)}") from None
        raise ConfigError("Optuna is not installed; pip install 'nas-toolkit[optuna]'") from None


def readable(options: Options) -> tuple[Value, ...]:
    """Return ``options`` as Optuna's categories: as they are, but tuples as JSON text."""
    texts = tuple(json.dumps(o) if isinstance(o, tuple) else o for o in options)
    return texts if len(set(texts)) == len(texts) else tuple(json.dumps(o) for o in options)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Optuna's log below errors, and its warnings that a feature is experimental."""
    logger = logging.getLogger("optuna")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", import_module("optuna.exceptions").ExperimentalWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


class Coding(Protocol):
    """How a decision becomes parameters of Optuna."""

    def suggest(self, trial: Trial, name: str, options: Options) -> int:
        """Let ``trial`` choose; return the index of an option."""
        ...

    def encode(self, name: str, options: Options, index: int) -> Parameters:
        """Return parameters and their distributions for option ``index``."""
        ...


class Categorical:
    """One categorical parameter a decision, its categories readable."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Value, ...], dict[str, BaseDistribution]]] = {}

    def suggest(self, trial: Trial, name: str, options: Options) -> int:
        """Return the index of the suggested category."""
        choices, _ = self._of(name, options)
        return choices.index(trial.suggest_categorical(name, choices))

    def encode(self, name: str, options: Options, index: int) -> Parameters:
        """Return the category."""
        choices, made = self._of(name, options)
        return {name: choices[index]}, made

    def _of(self, name: str, options: Options) -> tuple[tuple[Value, ...], dict[str, BaseDistribution]]:
        if name not in self._known:
            choices = readable(options)
            made = import_module("optuna.distributions").CategoricalDistribution(choices)
            self._known[name] = choices, {name: made}
        return self._known[name]


class Ordinal:
    """One whole number a decision, the index of the option: for CMA-ES, which knows numbers alone.

    A number an option, of which the greatest wins, did no better on NAS-Bench-201 and took five times as long.
    """

    def suggest(self, trial: Trial, name: str, options: Options) -> int:
        """Return the suggested number."""
        return trial.suggest_int(name, 0, len(options) - 1)

    def encode(self, name: str, options: Options, index: int) -> Parameters:
        """Return the index."""
        made = import_module("optuna.distributions").IntDistribution(0, len(options) - 1)
        return {name: index}, {name: made}


class Suggest:
    """A chooser that lets a trial of Optuna choose."""

    def __init__(self, trial: Trial, coding: Coding) -> None:
        self._trial, self._coding = trial, coding

    def pick(self, name: str, options: Options) -> int:
        """Return the index of the suggested option."""
        return self._coding.suggest(self._trial, name, options) if len(options) > 1 else 0
