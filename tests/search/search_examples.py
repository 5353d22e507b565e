"""Searches without training: a space with networks, a pure reward, and an executor that mixes up the order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nas.api import space_of
from nas.executors.inline import InlineExecutor
from nas.run.journal import MemoryJournal
from nas.run.ledger import Ledger
from nas.run.loop import Loop, Prepared, Settings
from nas.searchers import make_searcher
from nas.types import Job, Outcome, Task, Trial

TASK = Task("test", (3, 8, 8), 10)
SEARCHERS = ("random", "local", "evolution")


def reward(job: Job) -> float:
    """Return a reward that depends on the architecture alone and fails now and then."""
    number = int(job.key[:8], 16)
    if number % 13 == 0:
        raise ValueError(f"planted failure {number}")
    return number / 0xFFFFFFFF


class ShuffledExecutor(InlineExecutor):
    """Holds up to ``capacity`` jobs and finishes them in random order."""

    def __init__(self, evaluator: Callable[[Job], float], capacity: int, seed: int) -> None:
        super().__init__(evaluator)
        self.capacity = capacity
        self._rng = np.random.default_rng(seed)

    def wait(self) -> Sequence[Outcome]:
        """Finish one of the jobs at random."""
        self._jobs.rotate(int(self._rng.integers(len(self._jobs))))
        return super().wait()


class Recorder(MemoryJournal):
    """Keeps the events of a search."""

    def __init__(self) -> None:
        self.events: list[dict] = []

    def append(self, events, sync=True) -> None:
        self.events.extend(events)


def run_search(
    searcher: str,
    trials: int = 40,
    lag: int | None = 1,
    executor: InlineExecutor | None = None,
    events: Sequence[dict] = (),
    seed: int = 3,
) -> tuple[list[Trial], list[dict]]:
    """Search nb201 without networks and return its trials and events, going on from ``events``."""
    space = space_of("nb201")
    ledger, journal = Ledger(lag), Recorder()
    for event in events:
        ledger.apply(event)
        journal.events.append(event)
    loop = Loop(
        make_searcher(searcher, space, {"population": 8, "tournament": 4} if searcher == "evolution" else {}),
        lambda architecture: Prepared(space.key(architecture)),
        executor or InlineExecutor(reward),
        journal,
        ledger,
        Settings(TASK, trials, 1, seed),
    )
    loop.run()
    return ledger.trials, journal.events
