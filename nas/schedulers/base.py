"""Schedulers: how many epochs which trial is worth. A scheduler wraps a searcher and is one itself.

It proposes either a new architecture of the inner searcher, at the lowest epochs, or a promotion: an architecture that
did well once more, with more epochs, ``continue_from`` the trial that did. What the inner searcher sees is explained at
:class:`nas.schedulers.rungs.SingleFidelityHistory`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from nas.core.registry import Registry, check_named
from nas.core.values import Value
from nas.errors import ConfigError, unknown
from nas.schedulers.ranking import ByPareto, ByReward, Ranking
from nas.schedulers.rungs import Rungs, SingleFidelityHistory
from nas.searchers.pareto import DEFAULT_OBJECTIVES, objective_names
from nas.types import History, Proposal, Searcher, Trial

NONE = "none"
"""The name for no scheduler: every trial is trained for all epochs."""


class Scheduler(Protocol):
    """A searcher that spreads epochs; ``rungs`` are the epochs that its proposals may have, ascending."""

    rungs: tuple[int, ...]

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the next proposal."""


@dataclass(frozen=True)
class SchedulerInfo:
    """A registered scheduler."""

    make: Callable[..., Scheduler]
    """``make(searcher, epochs, **args)``."""
    source: str
    """Its paper."""

    @property
    def summary(self) -> str:
        """The first line of the scheduler's docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]

    @property
    def args(self) -> dict[str, Value]:
        """The scheduler's arguments and their defaults."""
        return {p.name: p.default for p in list(inspect.signature(self.make).parameters.values())[2:]}


SCHEDULERS: Registry[SchedulerInfo] = Registry("scheduler")
M = TypeVar("M", bound=Callable[..., Scheduler])


def register_scheduler(name: str, source: str = "a user's own") -> Callable[[M], M]:
    """Register the decorated class (or function) as scheduler ``name``; called with searcher, epochs and arguments."""
    check_named("scheduler", name)

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


class Promoting:
    """What the schedulers share: their rungs, how they rank trials, and how they ask and promote.

    Of their arguments, ``by`` is ``reward``, or ``pareto``: by non-dominated rank over the reward and the
    ``objectives``, which are minimised (``params``, ``macs`` or any value that the evaluator records).
    """

    def __init__(
        self, name: str, searcher: Searcher, rungs: Rungs, *, by: str, objectives: Value, learn: str, enough: int | None
    ) -> None:
        self._searcher, self._rungs, self.rungs = searcher, rungs, rungs.epochs
        self._inner_history = SingleFidelityHistory(name, rungs, learn, enough)
        if by not in ("reward", "pareto"):
            raise ConfigError(f"scheduler '{name}': by must be reward or pareto, found {by!r}")
        if by == "reward" and objectives != DEFAULT_OBJECTIVES:
            raise ConfigError(f"scheduler '{name}': objectives go with by=pareto")
        # the names are checked once, here, and not when the first trial is ranked
        names = objective_names(objectives)
        self.ranking: Callable[[], Ranking] = partial(ByPareto, names) if by == "pareto" else ByReward

    def _new(self, history: History, rng: np.random.Generator, rung: int, info: Mapping[str, Value]) -> Proposal:
        proposal = self._searcher.ask(self._inner_history(history), rng)
        return Proposal(proposal.architecture, self.rungs[rung], {**proposal.info, **info})

    def _promotion(self, trial: Trial, rung: int) -> Proposal:
        return replace(trial.proposal, epochs=self.rungs[rung], continue_from=trial.index)
