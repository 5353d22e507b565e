"""Brief trials are sent to workers that are still busy; what one had not begun when it ends runs elsewhere."""

from __future__ import annotations

from collections import Counter

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


@register_evaluator("brief")
def brief(job):
    "Notes that it begins; some first attempts end badly."
    side = os.open({side!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(side, f"{{job.index}} {{job.attempt}}\\n".encode())
    os.close(side)
    time.sleep(0.005)
    if job.attempt == 0 and job.index > 20:
        if job.index % 17 == 3:
            os.abort()
        if job.index % 23 == 5:
            raise MemoryError("planted")
    return int(job.key[:8], 16) / 0xFFFFFFFF
"""


@pytest.fixture
def _session():
    yield
    disconnect()


@pytest.mark.long
@pytest.mark.usefixtures("_session")
def test_what_was_sent_ahead_to_a_worker_that_ended_runs_once_elsewhere(tmp_path):
    side, plugin = tmp_path / "side", tmp_path / "brief.py"
    plugin.write_text(PLUGIN.format(side=str(side)))
    config = {"space": "nb201", "depth": 1, "searcher": "random", "trials": 80, "baseline": "none", "final_seeds": 0}
    where = {"executor": "ray", "workers": 2, "evaluator": "brief", "plugins": (str(plugin),)}
    run = SearchRun.create(tmp_path / "run", RunOptions(**config, **where))
    capacities = set()
    run.execute(lambda progress: capacities.add(run.plan.parts.executor.capacity))
    events = read(run.journal.path)
    assert 2 * 2 in capacities  # jobs were sent ahead
    begun = side.read_text().splitlines()
    assert len(begun) == len(set(begun))
    counts = Counter(event["event"] for event in events)
    ended = [(event["index"], event["kind"]) for event in events if event["event"] == "retried"]
    assert {kind for _, kind in ended} == {"crashed", "oom"}
    assert sorted(ended) == sorted(set(ended))
    assert counts["done"] == 80
    assert sorted(begun) == sorted(
        [f"{event['index']} 0" for event in events if event["event"] == "done"] + [f"{index} 1" for index, _ in ended]
    )
