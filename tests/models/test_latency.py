"""Latency of what does not fit in memory."""

from __future__ import annotations

import pytest

from nas.graph import Graph
from nas.models.latency import measure_latency
from nas.space.networks import NETWORKS


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")])
def test_a_batch_that_does_not_fit_has_no_latency(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> list[float]:
        raise error

    monkeypatch.setattr("nas.models.latency._passes", full)
    found = measure_latency(lenet(), 64, 1, "cpu")
    assert (found.milliseconds, found.repeats) == (None, 0)


def test_another_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[float]:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("nas.models.latency._passes", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        measure_latency(lenet(), 1, 1, "cpu")


def lenet() -> Graph:
    return NETWORKS["lenet5"].build()
