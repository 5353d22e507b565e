"""Latency of what does not fit in memory."""

from __future__ import annotations

import pytest
import torch

from nas.graph import Graph
from nas.models import latency
from nas.models.latency import REPEATS, WARM_UP, measure_latency
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


class Clock:
    """Seconds that pass only where images are computed: ``each`` an image."""

    def __init__(self, each: float) -> None:
        self.each, self.now, self.batches = each, 0.0, list[int]()

    def perf_counter(self) -> float:
        return self.now

    def __call__(self, images: torch.Tensor) -> None:
        self.now += self.each * len(images)
        self.batches.append(len(images))


@pytest.mark.parametrize(
    ("seconds", "batch", "passes", "milliseconds"),
    [
        (0.5, 1, WARM_UP + REPEATS[0], 500.0),  # no more than the least number, which take more than two seconds
        (2.5, 1, 4, 2500.0),
        (40.0, 1, 1, 40_000.0),  # the first pass is all that there is
        (0.05, 64, 4 + 4, 3200.0),
    ],
)
def test_a_slow_network_is_measured_by_fewer_passes(
    seconds: float, batch: int, passes: int, milliseconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(seconds)
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(latency, "build_module", lambda graph, outputs: Module(clock))
    found = measure_latency(lenet(), batch, 1, "cpu")
    assert found.milliseconds == pytest.approx(milliseconds)
    assert len(clock.batches) == passes
    assert clock.now <= max(latency.MOST_SECONDS + 4 * seconds, 2 * seconds) + batch * seconds


def test_a_batch_that_would_take_too_long_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.2)
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(latency, "build_module", lambda graph, outputs: Module(clock))
    found = measure_latency(lenet(), 64, 1, "cpu")
    assert (found.milliseconds, found.repeats) == (None, 0)
    assert set(clock.batches) == {1}


class Module(torch.nn.Module):
    """A network that takes the time of a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.forward = clock


def lenet() -> Graph:
    return NETWORKS["lenet5"].build()
