"""Checkpoints of a scheduled search: what a promotion needs is there, what none needs is gone, killed or not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from nas import space_of
from nas.engine.assemble import DEFAULT_TASK
from nas.engine.config import RunOptions
from nas.engine.loop import Ledger, Loop, Settings
from nas.engine.observers import Checkpoints
from nas.engine.run import SearchRun
from nas.executors.inline import InlineExecutor
from nas.schedulers import make_scheduler
from nas.searchers import make_searcher
from nas.testing import Recorder, ShuffledExecutor
from nas.types import Candidate

SPACE = space_of("nb201")
TRIALS, EPOCHS = 45, 9


class Killed(BaseException):
    """The process ends here."""


class Dying(Recorder):
    """Dies at the journal's event ``at``: just before it is written, or just after."""

    def __init__(self, events, at, written):
        super().__init__(events)
        self.at, self.written = at, written

    def append(self, events, sync=True):
        last = len(self.events) >= self.at
        if not last or self.written:
            super().append(events, sync)
        if last:
            raise Killed


def train(job):
    """Count epochs as a training would; its result depends on every epoch that went before."""
    before = [] if job.continue_from is None else Path(job.continue_from, "state").read_text().split()
    assert job.continue_from is None or before
    number = int(job.key[:6], 16) + job.index
    Path(job.checkpoint).mkdir(parents=True, exist_ok=True)
    Path(job.checkpoint, "state").write_text(" ".join([*before, f"{job.index}:{job.epochs}"]))
    if number % 9 == 0:
        raise ValueError("planted failure")
    return (number % 1000) / 1000 + len(before)


def search(name, folder, events=(), journal=None, lag=1, capacity=1):
    ledger = Ledger(lag)
    for event in events:
        ledger.apply(event)
    checkpoints = Checkpoints(folder, EPOCHS)

    def prepare(architecture):
        return Candidate(SPACE.key(architecture))

    def observe(seen):
        checkpoints.sweep(seen)
        assert kept(folder) >= needed(seen)
        # one batch of results shows one by one, so a file may be there before its trial counts as finished
        assert kept(folder) <= needed(seen) | {t.index for t in seen.trials if t.status == "pending"}

    journal = journal or Recorder(events)
    loop = Loop(
        make_scheduler(name, make_searcher("random", SPACE, {}), EPOCHS, {}),
        prepare,
        ShuffledExecutor(train, capacity, 0) if capacity > 1 else InlineExecutor(train),
        journal,
        ledger,
        Settings(DEFAULT_TASK, TRIALS, EPOCHS, 1, checkpoints=folder),
        observe,
    )
    loop.run()
    return [(t.proposal, t.status, t.reward) for t in ledger.trials]


def kept(folder):
    return {int(path.name) for path in folder.iterdir()} if folder.exists() else set()


def needed(ledger):
    """Trials that a promotion may still continue, or one that was asked does."""
    used = {t.proposal.continue_from for t in ledger.trials if t.status in ("done", "failed")}
    return {t.index for t in ledger.trials if t.status == "done" and t.proposal.epochs < EPOCHS} - used


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["asha", "halving", "hyperband"])
def test_killed_before_or_after_any_event_the_search_goes_on_as_if_not(name, step, tmp_path):
    whole = Recorder()
    expected = search(name, tmp_path / "whole", journal=whole)
    assert sum(proposal.continue_from is not None for proposal, _, _ in expected) > 5
    for at in range(0, len(whole.events), step):
        folder, events = tmp_path / str(at), []
        for written in (False, True):
            journal = Dying(events, at, written)
            with pytest.raises(Killed):
                search(name, folder, events, journal)
            events = journal.events
        assert search(name, folder, events) == expected


@pytest.mark.parametrize("name", ["asha", "halving", "hyperband"])
def test_with_results_out_of_order_no_promotion_misses_its_checkpoint(name, tmp_path):
    expected = search(name, tmp_path / "1", lag=4)
    assert search(name, tmp_path / "4", lag=4, capacity=4) == expected
    search(name, tmp_path / "free", lag=None, capacity=4)


@pytest.mark.long
def test_a_run_on_digits_continues_its_trainings_and_leaves_no_checkpoints(tmp_path):
    config = RunOptions(
        dataset="digits",
        space="nasnet",
        space_args={"nodes": 1},
        searcher="random",
        scheduler="asha",
        train_images=64,
        validation_images=32,
        width=4,
        depth=1,
        trials=9,
        final_seeds=0,
    )
    seen = []

    def look(run, progress):
        seen.append(kept(run.folder / "checkpoints"))
        if len(seen) == 6:
            run.stop()

    run = SearchRun.create(tmp_path / "run", config)
    assert run.execute(partial(look, run)) == "interrupted"
    assert kept(run.folder / "checkpoints")
    run = SearchRun.resume(tmp_path / "run")
    assert run.execute() == "finished"
    assert not (run.folder / "checkpoints").exists()
    promoted = [t for t in run.plan.ledger.trials if t.proposal.continue_from is not None]
    assert [t.proposal.epochs for t in promoted] == [3] * len(promoted)
    assert all(t.metrics.values["epochs_trained"] == 2 for t in promoted)
    whole = SearchRun.create(tmp_path / "whole", config)
    whole.execute()
    assert [(t.proposal, t.reward) for t in whole.plan.ledger.trials] == [
        (t.proposal, t.reward) for t in run.plan.ledger.trials
    ]
