"""Jobs and what became of them cross as JSON and arrive as they were sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.core.values import Task
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunOptions
from nas.errors import FAILURE_KINDS
from nas.executors.serialization import job_from_bytes, job_to_bytes, result_from_bytes, result_to_bytes
from nas.graph import key
from nas.types import Architecture, Failure, Job, Metrics

TEXT = st.text(max_size=20)
WHOLE = st.integers(-(2**62), 2**62)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.one_of(st.none(), st.booleans(), WHOLE, NUMBERS, TEXT)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ARCHITECTURES = st.builds(
    Architecture,
    TEXT,
    st.dictionaries(TEXT, VALUES, max_size=4).map(lambda d: tuple(d.items())),
    st.dictionaries(TEXT, VALUES, max_size=2).map(lambda d: tuple(d.items())),
)
JOBS = st.builds(
    Job,
    index=st.integers(0),
    attempt=st.integers(0, 21),
    architecture=ARCHITECTURES,
    key=TEXT,
    epochs=st.integers(1),
    seed=st.integers(0, 2**64 - 1),
    task=st.builds(Task, TEXT, st.lists(st.integers(1, 512), max_size=3).map(tuple), st.integers(1, 1_000)),
    settings=st.dictionaries(TEXT, JSON, max_size=3),
    params=st.none() | st.integers(0),
    macs=st.none() | st.integers(0),
    checkpoint=st.none() | TEXT,
    continue_from=st.none() | TEXT,
    alone=st.booleans(),
    keep_weights=st.booleans(),
)
METRICS = st.builds(
    Metrics,
    reward=NUMBERS,
    values=st.dictionaries(TEXT.filter(bool), NUMBERS, max_size=3),
    seconds=NUMBERS.map(abs),
    simulated=st.booleans(),
    notes=st.dictionaries(TEXT, JSON, max_size=3),
    weights=st.binary(max_size=50),
)
FAILURES = st.builds(Failure, st.sampled_from(FAILURE_KINDS), TEXT)


@given(JOBS)
def test_jobs_arrive_as_they_were_sent(job):
    message = job_to_bytes(job)
    json.loads(message)
    assert job_from_bytes(message) == job


@pytest.mark.parametrize("space", ["nb201", "nasnet", "darts"])
def test_networks_arrive_as_they_were_sent(space):
    study = build_search(with_defaults(RunOptions(space=space, depth=1, width=8, final_seeds=0)))
    architecture = study.space.sample(np.random.default_rng(1))
    graph = study.prepare(architecture).graph
    assert graph is not None
    job = Job(3, 1, architecture, "key", 2, 7, study.settings.task, graph, dict(study.settings.job))
    found = job_from_bytes(job_to_bytes(job)).graph
    assert found == graph
    assert found.to_json() == graph.to_json()
    assert key(found) == key(graph)


@given(METRICS | FAILURES, NUMBERS)
def test_results_arrive_as_they_were_sent(result, seconds):
    assert result_from_bytes(result_to_bytes(result, seconds)) == (result, seconds)
