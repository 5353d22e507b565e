"""Searches without training: a reward that is a pure function, an executor that mixes up the order, a recorder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from pathlib import Path

import numpy as np

from nas.core.plugins import load_built_in, load_plugin
from nas.core.values import Value
from nas.engine.loop import Ledger, Loop, Settings
from nas.errors import ConfigError
from nas.executors.inline import InlineExecutor
from nas.runs.journal import Event, MemoryJournal
from nas.searchers import SEARCHERS, make_searcher
from nas.space import Space
from nas.testing.spaces import TASK, Case, prepared
from nas.types import Architecture, Candidate, Context, Evaluator, Job, Outcome, Proposal, Searcher, Trial

EPOCHS = 9
"""The training budget of a trial, so that a searcher may begin with less."""
SEED = 3
Make = Callable[[Space, Context], Searcher]
Answer = tuple[Architecture, int, int | None, str]
"""A proposal's architecture, epochs, origin, and info as JSON."""


def reward(job: Job) -> float:
    """Return a reward in 0 to 1 that depends on the key alone; every 13th key or so fails."""
    number = int(job.key[:8], 16)
    if number % 13 == 0:
        raise ValueError(f"planted failure {number}")
    return number / 0xFFFFFFFF


class ShuffledExecutor(InlineExecutor):
    """Holds up to ``capacity`` jobs and finishes them in an order that ``seed`` decides."""

    def __init__(self, evaluator: Evaluator, capacity: int, seed: int) -> None:
        super().__init__(evaluator)
        self.capacity = capacity
        self._rng = np.random.default_rng(seed)

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Finish one of the jobs at random."""
        # any of the waiting jobs becomes the next one to finish
        self._jobs.rotate(int(self._rng.integers(len(self._jobs))))
        return super().wait()


class Recorder(MemoryJournal):
    """Keeps the events of a search."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.events: list[Event] = list(events)

    def append(self, events: Sequence[Event], sync: bool = True) -> None:
        """Keep ``events``."""
        self.events.extend(events)


@dataclass(frozen=True)
class SearcherUnderTest:
    """The searcher under test: ``make`` returns a new one; ``name`` and ``args`` where it is a registered one."""

    make: Make
    name: str | None = None
    args: Mapping[str, Value] | None = None
    plugin: str | None = None

    @classmethod
    def of(cls, searcher: str | Make, args: Mapping[str, Value] | None, plugin: str | Path | None) -> SearcherUnderTest:
        """Return the subject for a registered name or a function that makes a searcher."""
        load_built_in()
        if plugin is not None:
            load_plugin(plugin)
        if not isinstance(searcher, str):
            if args or not callable(searcher):
                raise ConfigError("a searcher under test is a registered name with its args, or make(space, context)")
            return cls(searcher)
        given = dict(args or {})
        known = SEARCHERS[searcher].args if searcher in SEARCHERS else {}
        for name, default in known.items():
            if default is Parameter.empty and name not in given:
                raise ConfigError(f"searcher '{searcher}': argument '{name}' has no default; give it in args")

        def make(space: Space, context: Context) -> Searcher:
            return make_searcher(searcher, space, given, context)

        return cls(make, searcher, given, None if plugin is None else str(plugin))


@dataclass(frozen=True)
class Search:
    """A search that ended: its trials in order, its journal, and why it ended."""

    trials: tuple[Trial, ...]
    events: tuple[Event, ...]
    reason: str

    @property
    def evaluated_trials(self) -> list[Trial]:
        """The trials that were evaluated, with success or not."""
        return [t for t in self.trials if t.status in ("done", "failed")]


def run_search(
    make: Make,
    case: Case,
    trials: int | None = None,
    *,
    lag: int | None = 1,
    executor: InlineExecutor | None = None,
    events: Sequence[Event] = (),
    max_params: int | None = None,
    seed: int = SEED,
    until: Callable[[Ledger], bool] = lambda ledger: False,
) -> Search:
    """Search ``case`` for ``trials`` evaluations (the case's own by default), going on from ``events``.

    ``until`` is asked after each result whether the search may end. The default executor evaluates :func:`reward`.
    """
    ledger, journal = Ledger(lag), Recorder(events)
    for event in events:
        ledger.apply(event)
    space = case.space()
    prepare: Callable[..., Candidate] = partial(prepared, space)
    budget = case.trials if trials is None else trials
    context = Context(prepare, EPOCHS, budget, max_params)

    def observe(seen: Ledger) -> None:
        if until(seen):
            loop.stop()

    settings = Settings(TASK, budget, EPOCHS, seed, max_params)
    loop = Loop(make(space, context), prepare, executor or InlineExecutor(reward), journal, ledger, settings, observe)
    reason = loop.run()
    return Search(tuple(ledger.trials), tuple(journal.events), reason)


def answer(proposal: Proposal) -> Answer:
    """Return what a proposal says, in a form that compares after JSON too."""
    info = json.dumps(dict(proposal.info), sort_keys=True, default=repr)
    return (proposal.architecture, proposal.epochs, proposal.continue_from, info)


def course(search: Search) -> list[tuple[object, ...]]:
    """Return what defines a search: every proposal, what became of it, and its reward."""
    return [(answer(t.proposal), t.status, t.reward, t.of) for t in search.trials]
