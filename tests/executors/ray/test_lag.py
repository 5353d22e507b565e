"""One search on any number of workers: with a lag, what is asked and found does not depend on who works how fast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.engine.config import RunOptions
from nas.engine.run import SearchRun
from nas.executors.ray.cluster import disconnect
from nas.runs.journal import read

pytest.importorskip("ray")

PLUGIN = """
import os
import time

from nas.evaluators import register_evaluator


@register_evaluator("delayed")
def delayed(job):
    "Rewards the key, after a delay that no seed decides."
    time.sleep(0.06 * os.urandom(1)[0] / 255)
    number = int(job.key[:8], 16)
    if number % 13 == 0:
        raise ValueError(f"planted failure {number}")
    return number / 0xFFFFFFFF + job.epochs
"""
SEARCHES = {
    "random": {"searcher": "random"},
    "evolution": {"searcher": "evolution", "searcher_args": {"population": 8, "tournament": 4}},
    "random under halving": {
        "searcher": "random",
        "scheduler": "halving",
        "scheduler_args": {"rungs": (3, 9), "eta": 4, "size": 8},
        "epochs": 9,
    },
}
WORKERS = (4, 2, 1)  # the most first, so that one local Ray has room for all


class Workers:
    """The workers of the first search, kept for the others."""

    def __init__(self):
        self.executor = None

    def __getattr__(self, name):
        return getattr(self.executor, name)

    def close(self):
        """Keep them."""

    def search(self, folder, count, plugin, settings):
        """Return what a search on ``count`` workers asked and found, by trial, without times."""
        config = {"space": "nb201", "depth": 1, "trials": 32, "seed": 5, "lag": 8, "baseline": "none", "final_seeds": 0}
        where = {"executor": "ray", "workers": count, "evaluator": "delayed", "plugins": (str(plugin),)}
        run = SearchRun.create(folder, RunOptions(**{**config, **where, **settings}))
        self.executor = self.executor or run.plan.parts.executor
        run.plan.parts = replace(run.plan.parts, executor=self)
        run.execute()
        events = [event for event in read(run.journal.path) if event["event"] not in ("run", "stopped")]
        frame = ("crc", "seq", "wall", "seconds")
        trimmed = [{name: value for name, value in event.items() if name not in frame} for event in events]
        order = [event["index"] for event in events if event["event"] == "done"]
        return sorted(trimmed, key=lambda event: (event["index"], event["event"] != "asked")), order


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The searches by name and number of workers, and the order in which their results came."""
    home = tmp_path_factory.mktemp("lag")
    plugin = home / "delayed.py"
    plugin.write_text(PLUGIN)
    searches = {}
    for count in WORKERS:
        workers = Workers()
        for name, settings in SEARCHES.items():
            folder = home / f"{name.replace(' ', '-')}-{count}"
            searches[name, count] = workers.search(folder, count, plugin, settings)
        workers.executor.close()
    yield searches
    disconnect()


@pytest.mark.long
@pytest.mark.parametrize("name", SEARCHES)
def test_with_a_lag_of_8_any_number_of_workers_does_the_same(found, name):
    stories = [found[name, count][0] for count in WORKERS]
    assert {event["event"] for event in stories[0]} >= {"asked", "done", "failed"}
    assert stories[0] == stories[1] == stories[2]


@pytest.mark.long
def test_results_came_in_another_order_so_that_the_test_above_can_fail(found):
    assert found["evolution", 4][1] != sorted(found["evolution", 4][1])
