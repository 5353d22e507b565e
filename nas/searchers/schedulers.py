"""Schedulers: how many epochs which trial is worth. A scheduler wraps a searcher and is one itself.

It proposes either a new architecture of the inner searcher, at the lowest epochs, or a promotion: an architecture that
did well once more, with more epochs, ``continue_from`` the trial that did. What the inner searcher sees is explained at
:class:`nas.searchers.fidelity.View`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from nas.errors import ConfigError, unknown
from nas.registry import Registry
from nas.searchers.auto import AUTO, automatic
from nas.searchers.fidelity import Ladder, View
from nas.searchers.pareto import DEFAULT_OBJECTIVES, objective_names
from nas.searchers.ranking import ByPareto, ByReward, Ranking
from nas.types import History, Proposal, Searcher, Trial, Value

NONE = "none"
"""What stands for no scheduler: every trial is trained for all epochs."""


@dataclass(frozen=True)
class Shorthand:
    """A well-known pair of a searcher and a scheduler."""

    searcher: str
    scheduler: str
    source: str

    @property
    def summary(self) -> str:
        """What it stands for, and its paper."""
        return f"Stands for '{self.searcher}' with the scheduler '{self.scheduler}'. ({self.source})"


SHORTHANDS = {"bohb": Shorthand("optuna:tpe", "hyperband", "arXiv:1807.01774 (Falkner et al., BOHB)")}
"""Names that may be given for a searcher, by what they stand for."""


class Scheduler(Protocol):
    """A searcher that spreads epochs; ``rungs`` are the epochs that its proposals may have, ascending."""

    rungs: tuple[int, ...]

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the next proposal."""
        ...


@dataclass(frozen=True)
class SchedulerInfo:
    """A registered scheduler: ``make(searcher, epochs, **args)`` returns it; ``source`` names its paper."""

    make: Callable[..., Scheduler]
    source: str

    @property
    def summary(self) -> str:
        """The first line of the scheduler's docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]

    @property
    def args(self) -> dict[str, Value]:
        """The scheduler's arguments and their defaults."""
        parameters = list(inspect.signature(self.make).parameters.values())[2:]
        return {p.name: p.default for p in parameters}


SCHEDULERS: Registry[SchedulerInfo] = Registry("scheduler")
M = TypeVar("M", bound=Callable[..., Any])


def register_scheduler(name: str, source: str) -> Callable[[M], M]:
    """Register the decorated class (or function) as scheduler ``name``; called with searcher, epochs and arguments."""

    def register(make: M) -> M:
        SCHEDULERS.add(name, SchedulerInfo(make, source))
        return make

    return register


def make_scheduler(name: str, searcher: Searcher, epochs: int, args: Mapping[str, Value]) -> Scheduler:
    """Return scheduler ``name`` over ``searcher`` up to ``epochs``; wrong arguments raise :class:`ConfigError`."""
    if name not in SCHEDULERS:
        raise ConfigError(unknown("scheduler", name, [*SCHEDULERS, NONE]))
    info = SCHEDULERS[name]
    for arg in args:
        if arg not in info.args:
            raise ConfigError(f"scheduler '{name}': {unknown('argument', arg, info.args)}")
    return info.make(searcher, epochs, **args)


def spelled_out(searcher: str, scheduler: str, trials: int) -> tuple[str, str]:
    """Return searcher and scheduler with ``auto`` and :data:`SHORTHANDS` replaced by what they stand for."""
    if searcher == AUTO:
        return automatic(trials), scheduler
    if searcher not in SHORTHANDS:
        return searcher, scheduler
    pair = SHORTHANDS[searcher]
    if scheduler not in (NONE, pair.scheduler):
        raise ConfigError(
            f"searcher '{searcher}' has the scheduler '{pair.scheduler}', found '{scheduler}'; "
            f"with another one, name its searcher '{pair.searcher}'"
        )
    return pair.searcher, pair.scheduler


class Promoting:
    """What the schedulers share: their ladder, how they rank trials, and how they ask and promote.

    ``by`` is ``reward``, or ``pareto``: by non-dominated rank over the reward and the ``objectives``, which are
    minimised (``params``, ``macs`` or any value that the evaluator records).
    """

    def __init__(self, name: str, searcher: Searcher, ladder: Ladder, view: View, by: Any, objectives: Any) -> None:
        self._searcher, self._ladder, self._view = searcher, ladder, view
        self.ranking = _ranking(name, by, objectives)
        self.rungs = ladder.rungs

    def _new(self, history: History, rng: np.random.Generator, rung: int, info: Mapping[str, Value]) -> Proposal:
        proposal = self._searcher.ask(self._view(history), rng)
        return Proposal(proposal.architecture, self.rungs[rung], {**proposal.info, **info})

    def _promotion(self, trial: Trial, rung: int) -> Proposal:
        return replace(trial.proposal, epochs=self.rungs[rung], continue_from=trial.index)


def _ranking(scheduler: str, by: Any, objectives: Any) -> Callable[[], Ranking]:
    if by == "pareto":
        names = objective_names(objectives)
        return lambda: ByPareto(names)
    if by != "reward":
        raise ConfigError(f"scheduler '{scheduler}': by must be reward or pareto, found {by!r}")
    if objectives != DEFAULT_OBJECTIVES:
        raise ConfigError(f"scheduler '{scheduler}': objectives go with by=pareto")
    return ByReward
