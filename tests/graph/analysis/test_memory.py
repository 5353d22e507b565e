"""Predicted peaks of training memory against what torch's allocator reaches, and by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from memory_meter import measured_peak
from small_networks import NETWORKS, mobilenet, sampled, vgg

from nas.errors import ConfigError
from nas.graph import PRIMITIVES, Conv, Flatten, Graph, GraphBuilder, Linear, Relu
from nas.graph.analysis.memory import KEEPS, memory_peak

Case = tuple[Callable[[], Graph], int]
QUICK = ("resnet", "densenet", "efficientnet")
CASES: dict[str, Case] = {name: (build, 16) for name, build in NETWORKS.items()}
CASES |= {
    f"{space}-{i}": (lambda s=space, i=i: sampled(s, i, (8, 16, 24)[i % 3], 1 + i % 2), (2, 8, 16, 5)[i % 4])
    for space in ("nasnet", "nb101", "nb201")
    for i in range(8)
}
CASES |= {"vgg-wide": (lambda: vgg(64), 2), "efficientnet-wide": (lambda: mobilenet(32), 3)}


def error(case: Case) -> float:
    build, batch = case
    graph = build()
    measured = measured_peak(graph, batch).tensors
    return memory_peak(graph, batch) / measured - 1


@pytest.mark.parametrize("name", [*QUICK, "nb201-1"])
def test_the_peak_is_what_torch_allocates(name: str) -> None:
    assert abs(error(CASES[name])) < 0.1


@pytest.mark.long
def test_the_peaks_of_all_networks_are_what_torch_allocates() -> None:
    errors = {name: error(case) for name, case in CASES.items()}
    assert len(errors) >= 30
    wrong = {name: f"{e:+.1%}" for name, e in errors.items() if abs(e) > 0.2}
    assert not wrong
    assert statistics.median(map(abs, errors.values())) < 0.02


def test_every_primitive_says_what_it_keeps() -> None:
    assert set(PRIMITIVES) - set(KEEPS) <= {"named"}  # a cell has no shapes and is not trained


def linear_chain() -> Graph:
    b = GraphBuilder((2, 4, 4))
    x = b(Relu(), b(Conv(3, 3, padding=1), b.input))
    return b.build(logits=b(Linear(5), b(Flatten(), x)))


def test_a_chain_by_hand() -> None:
    batch = 7
    weights = 4 * (3 * 2 * 9 + 5 * 48 + 5)
    images = batch * (4 * 2 * 16 + 8)
    hidden, logits = batch * 4 * 48, batch * 4 * 5
    # at the peak the ReLU has its output, the gradient of that, the gradient of its input, and the linear's gradients
    backward = 3 * hidden + 4 * (5 * 48 + 5)
    assert memory_peak(linear_chain(), batch, "sgd") == weights + images + max(backward, hidden + 3 * logits)
    assert memory_peak(linear_chain(), batch) == 2 * weights + images + backward
    assert memory_peak(linear_chain(), batch, "adam") == 3 * weights + images + backward


def test_the_peak_grows_with_the_batch_and_not_with_what_nobody_reads() -> None:
    graph = NETWORKS["inception"]()
    peaks = [memory_peak(graph, batch) for batch in (1, 2, 4, 8)]
    assert peaks == sorted(set(peaks))
    assert memory_peak(graph.pruned(), 8) < peaks[-1]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="optimizer"):
        memory_peak(linear_chain(), 1, "lion")
    with pytest.raises(ConfigError, match="batch must be"):
        memory_peak(linear_chain(), 0)
