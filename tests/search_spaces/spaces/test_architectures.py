"""Random architectures of every space: the cost is that of the built module, JSON keeps the key, training works."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.core.values import Task
from nas.graph import Graph, cost, key
from nas.graph.lowering.torch_module import build_module
from nas.space import SPACES
from nas.types import Architecture

TASK = Task("tiny", (3, 8, 8), 5)
WIDTHS = {"nasnet": 4, "nb101": 12, "nb201": 4}
BATCH = 2


def check(name: str, seed: int) -> None:
    space = SPACES[name]
    architecture = space.sample(np.random.default_rng(seed))
    graph = space.build(architecture, TASK, WIDTHS[name], 1)
    check_json(name, architecture, graph)
    total = cost(graph)
    torch.manual_seed(seed)
    module = build_module(graph)
    assert sum(p.numel() for p in module.parameters()) == total.params
    assert {n.rpartition(".")[0] for n in module.state_dict()} <= {node.name for node in graph.nodes}
    with FlopCounterMode(display=False) as counter:
        logits = module(torch.randn(BATCH, *TASK.input_shape))
    assert counter.get_total_flops() == 2 * BATCH * total.macs
    assert tuple(logits.shape) == (BATCH, *total.output_shape) == (BATCH, TASK.classes)
    torch.nn.functional.cross_entropy(logits, torch.arange(BATCH)).backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    assert module.get_parameter("classifier.weight").grad is not None


def check_json(name: str, architecture: Architecture, graph: Graph) -> None:
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph
    assert key(again) == key(graph)
    trace = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert trace == architecture
    assert SPACES[name].key(trace) == SPACES[name].key(architecture)


@pytest.mark.long
@pytest.mark.parametrize("name", WIDTHS)
def test_15_random_architectures(name: str) -> None:
    for seed in range(15):
        check(name, seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize("name", WIDTHS)
def test_500_random_architectures(name: str, block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        check(name, seed)
