"""What may share a result: networks that are the same where they are evaluated, and no others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from hashlib import blake2b

import pytest

import nas
from nas.core.values import Task
from nas.graph import Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, MaxPool
from nas.space import Cells, Network
from nas.types import History, Metrics, Proposal, Trial
from search_spaces.skeletons.small_images import cifar
from search_spaces.spaces.nasnet import nasnet

TASK = Task("keys", (3, 16, 16), 10)


def deep_only(choose):
    """A kernel that only networks deeper than one layer have."""
    kernel = choose("kernel", [1, 3, 5])

    def build(task, width, depth):
        b = GraphBuilder(task.input_shape)
        x = b.input
        for i in range(depth):
            size = kernel if i else 1
            x = b(Conv(width, size, padding=size // 2), x)
        return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x))))

    return Network(build)


def pooled(choose):
    """Up to seven halvings, more than a small image bears."""
    count = choose("pools", list(range(8)))

    def build(task, width, depth):
        b = GraphBuilder(task.input_shape)
        x = b(Conv(width, 1), b.input)
        for _ in range(count):
            x = b(MaxPool(2), x)
        return b.build(logits=b(Linear(task.classes), b(Flatten(), x)))

    return Network(build)


def stacked(choose):
    """Cells on a skeleton that is chosen, too."""

    def first(name, options):
        return options[0]

    skeleton = partial(cifar, stages=choose("stages", [1, 2, 3]), stem=choose("stem", [1, 3]))
    return Cells(nasnet(first, nodes=1).cells, skeleton)


@pytest.mark.parametrize(("space", "count"), [(deep_only, 3), (stacked, 6)])
def test_networks_that_differ_at_the_size_of_the_search_are_all_evaluated(space, count):
    seen = []
    result = nas.search(space, lambda job: seen.append(job.params) or 1.0, "random", 50, task=TASK, width=4, depth=3)
    assert result.reason == "exhausted"
    assert len(seen) == len(set(seen)) == count


def test_networks_that_cannot_be_built_are_refused_and_the_search_goes_on():
    result = nas.search(pooled, lambda job: float(job.params), "random", 50, task=TASK, width=4, depth=1)
    assert result.queries == 5  # 16 pixels bear none to four halvings
    refused = [t for t in result.trials if t.status == "refused"]
    assert {t.architecture["pools"] for t in refused} == {5, 6, 7}
    assert all("window of 2 does not fit" in t.failure.message for t in refused)


def test_histories_that_differ_in_what_a_searcher_reads_have_different_digests():
    architecture = nas.space_of("nb201").sample(__import__("numpy").random.default_rng(0))
    base = Trial(0, Proposal(architecture, info={"round": 0}), "k", "done", Metrics(1.0, {"a": 1.0}))
    others = [
        Trial(0, Proposal(architecture, info={"round": 1}), "k", "done", Metrics(1.0, {"a": 1.0})),
        Trial(0, Proposal(architecture, info={"round": 0}), "k", "done", Metrics(1.0, {"a": 2.0})),
        Trial(0, Proposal(architecture, info={"round": 0}), "k", "done", Metrics(1.0, {"a": 1.0}), params=3),
    ]
    assert len({History([t]).digest(1) for t in [base, *others]}) == 4


def test_the_key_of_cells_holds_all_of_a_graph_that_the_skeleton_is_bound_to():
    def cells(kernel):
        b = GraphBuilder((4, 8, 8))
        bound = b.build(x=b(Conv(4, kernel, padding=kernel // 2), b.input))
        cell = GraphBuilder(None, inputs=1)
        made = cell.build(cell=cell(MaxPool(3, padding=1), cell.input))
        return Cells({"cell": made}, partial(cifar, bound)), bound

    found, graph = cells(3)
    # as keys were before reprs were short
    text = f"Graph(nodes={graph.nodes!r}, outputs={graph.outputs!r})"
    bare = replace(found, skeleton=cifar).key()
    assert found.key() == blake2b(f"({bare!r}, [{text}])".encode(), digest_size=16).hexdigest()
    assert found.key() != cells(5)[0].key()
