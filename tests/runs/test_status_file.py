"""What a search says of itself while it runs: rates by hand, the file, and the onlooker against the ledger."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nas.core.files import read_json
from nas.engine.observers import ProgressTracker
from nas.errors import ConfigError
from nas.runs import progress as module
from nas.runs.progress import Meter, Progress, RunningTrial, Status, StatusWriter, running_trials
from nas.searchers import make_searcher
from nas.testing.searches import ShuffledExecutor, reward, run_search
from nas.testing.spaces import LARGE
from nas.types import WorkerState

WORKER = WorkerState("worker 0", "node", 17, "gpu 0", "busy", trial=4, since=100.0, done=3, busy_seconds=9.0)
IDLE = replace(WORKER, name="worker 1", pid=18, state="idle", trial=None, since=0.0)


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def searched(done, workers=(), phase="search", total=100):
    return Progress(phase, done, total, workers=tuple(workers))


def test_rates_count_what_this_process_has_done(clock):
    meter = Meter(clock)
    first = meter.complete(searched(40))  # what an earlier process did
    assert (first.started, first.per_hour, first.left, first.utilisation) == (100.0, None, None, None)
    clock.now += 30
    later = meter.complete(searched(50))
    assert later.per_hour == pytest.approx(10 / 30 * 3600)
    assert later.left == pytest.approx(50 * 3)


def test_a_phase_has_rates_of_its_own(clock):
    meter = Meter(clock)
    meter.complete(searched(0))
    clock.now += 100
    meter.complete(searched(100))
    assert meter.complete(searched(0, phase="random")).per_hour is None
    clock.now += 10
    assert meter.complete(searched(1, phase="random")).per_hour == pytest.approx(360)


def test_utilisation_is_busy_worker_seconds_of_all(clock):
    meter = Meter(clock)
    meter.complete(searched(0, [IDLE, replace(IDLE, name="other")]))
    clock.now += 10
    # 4 seconds that are done with, and 3 of what runs now, of 2 x 10
    done = replace(IDLE, busy_seconds=IDLE.busy_seconds + 4)
    runs = replace(IDLE, name="other", state="busy", trial=7, since=clock.now - 3)
    assert meter.complete(searched(1, [done, runs])).utilisation == pytest.approx(7 / 20)


def test_the_time_until_a_worker_is_ready_does_not_count(clock):
    meter = Meter(clock)
    meter.complete(searched(0))
    for _ in range(5):
        clock.now += 2
        meter.complete(searched(0, [WorkerState("worker 0", "", 0, "", "starting")]))
    clock.now += 3
    later = meter.complete(searched(1, [replace(IDLE, name="worker 0", busy_seconds=3.0)]))
    assert (later.started, later.utilisation) == (110.0, 1.0)
    assert later.per_hour == pytest.approx(1200)


def test_utilisation_remembers_workers_that_are_gone(clock):
    meter = Meter(clock)
    meter.complete(searched(0, [IDLE]))
    clock.now += 10
    meter.complete(searched(1, [replace(IDLE, busy_seconds=IDLE.busy_seconds + 10)]))
    clock.now += 10
    fresh = WorkerState("worker 9", "node", 99, "gpu 0", "idle", busy_seconds=5)
    assert meter.complete(searched(2, [fresh])).utilisation == pytest.approx(15 / 20)


@pytest.mark.parametrize(
    "progress", [Progress("final", 1, 9), Progress("search", 5, 10, 0.5, 1, 2, 3, (WORKER, IDLE), (), 1.5, 2.5, 0.5, 9)]
)
def test_a_status_is_json_and_comes_back(progress):
    status = Status.of(progress)
    assert Status.from_json(json.loads(json.dumps(status.to_json()))) == status
    assert status.pid > 0
    assert status.host


@pytest.mark.parametrize(
    "data", [None, [], {}, {"format": "nas/status/9"}, {"format": "nas/status/1"}, "workers", "trials", "more"]
)
def test_what_is_no_status_is_refused(data):
    if isinstance(data, str):
        data = {**Status.of(Progress("final", 1, 9)).to_json(), data: [{"name": "one"}]}
    with pytest.raises(ConfigError, match=r"^not a status: "):
        Status.from_json(data)


def test_running_trials_know_their_attempt():
    assert running_trials([WORKER, IDLE], {4: ["lost", "oom"]}) == (RunningTrial(4, 2, "worker 0", 100.0),)


def test_the_file_is_written_every_two_seconds_and_at_the_end(tmp_path, monkeypatch):
    path, now = tmp_path / "status.json", 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    writer = StatusWriter(path)
    shown = []
    for tick in range(8):
        now = tick * 0.7
        writer.update(searched(tick))
        shown.append(read_json(path)["done"] if path.exists() else None)
    assert shown == [0, 0, 0, 3, 3, 3, 6, 6]
    writer.close()
    assert read_json(path)["done"] == 7
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_new_phase_is_written_at_once(tmp_path):
    writer = StatusWriter(tmp_path / "status.json")
    for phase in ("search", "random", "final"):
        writer.update(searched(0, phase=phase))
        assert read_json(tmp_path / "status.json")["phase"] == phase


def test_what_an_earlier_process_left_is_removed(tmp_path):
    for name in ("status.json", ".status.json.17.tmp"):
        (tmp_path / name).write_text("torn")
    StatusWriter(tmp_path / "status.json").close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_ends_no_search(tmp_path):
    writer = StatusWriter(tmp_path / "missing" / "status.json")
    writer.update(searched(1))
    writer.close()


@pytest.mark.parametrize("lag", [8, None])
def test_the_onlooker_sees_what_the_ledger_holds(lag):
    executor = ShuffledExecutor(reward, 8, 1)
    onlooker = ProgressTracker("search", 60, executor.workers)
    seen = []

    def compare(ledger):
        progress, best = onlooker(ledger), ledger.best()
        assert progress.best == (best and best.reward)
        assert progress.done == ledger.queries - len(ledger.pending)
        assert progress.failed == sum(t.status == "failed" for t in ledger.trials)
        seen.append(progress)
        return False

    run_search(
        lambda space, context: make_searcher("random", space, {}, context),
        LARGE,
        60,
        lag=lag,
        executor=executor,
        until=compare,
    )
    assert seen[-1].done == 60
    assert seen[-1].failed > 0
