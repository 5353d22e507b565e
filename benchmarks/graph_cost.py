"""How long the graph language takes: costs of ResNet-50 against torch's FLOP counter, building and keying.

Run ``python benchmarks/graph_cost.py``; it prints one table. Every figure is the median of its repeats in this run.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from common import show
from torch.utils.flop_counter import FlopCounterMode

from nas.graph import (
    Add,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    MaxPool,
    Relu,
    cost,
    key,
    layers,
)
from nas.graph.lowering.torch_module import build_module

MOST_MILLISECONDS = 0.5
LEAST_RATIO = 200


def resnet50() -> Graph:
    """Return ResNet-50 (arXiv:1512.03385, table 1): 175 layers and the input."""
    b = GraphBuilder((3, 224, 224))

    def conv(x: str, width: int, kernel: int = 1, stride: int = 1) -> str:
        return b(BatchNorm(), b(Conv(width, kernel, stride, kernel // 2), x))

    x = b(MaxPool(3, 2, 1), b(Relu(), conv(b.input, 64, 7, 2)))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = b(Relu(), conv(b(Relu(), conv(x, width)), width, 3, stride))
            short = x if block else conv(x, 4 * width, 1, stride)
            x = b(Relu(), b(Add(), conv(y, 4 * width), short))
    return b.build(logits=b(Linear(1000), b(Flatten(), b(GlobalAvgPool(), x))))


def milliseconds(action: Callable[[], object], repeats: int) -> tuple[float, float, int]:
    """Return median and least milliseconds of ``action``, and the repeats; the first call is left out."""
    action()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken), min(taken), repeats


def count_flops(module: torch.nn.Module, image: torch.Tensor) -> int:
    """Return the FLOPs of one image as torch's own counter finds them."""
    with FlopCounterMode(display=False) as counter:
        module(image)
    return counter.get_total_flops()


def cold_cost(graph: Graph) -> None:
    """Measure ``graph`` with nothing remembered of its primitives."""
    for node in graph.nodes:
        node.op._measures.clear()
    cost(graph)


def lower(graph: Graph) -> torch.nn.Module:
    """Return the module of ``graph`` without storage for its weights."""
    with torch.device("meta"):
        return build_module(graph)


def main() -> int:
    """Print the table; return 1 where the bar is missed."""
    graph = resnet50()
    data = graph.to_json()
    module, image = lower(graph), torch.empty(1, 3, 224, 224, device="meta")
    total = cost(graph)
    assert count_flops(module, image) == 2 * total.macs
    rows = {
        "cost: shapes, parameters, MACs, activations": milliseconds(lambda: cost(graph), 2000),
        "torch.utils.flop_counter on the meta device": milliseconds(lambda: count_flops(module, image), 30),
        "cost with nothing remembered of any primitive": milliseconds(lambda: cold_cost(graph), 500),
        "table of layers with receptive fields": milliseconds(lambda: layers(graph), 300),
        "building the graph": milliseconds(resnet50, 200),
        "key": milliseconds(lambda: key(graph), 200),
        "writing JSON": milliseconds(graph.to_json, 200),
        "reading JSON": milliseconds(lambda: Graph.from_json(data), 200),
        "lowering to torch on the meta device": milliseconds(lambda: lower(graph), 20),
    }
    (ours, *_), (theirs, *_), (cold, *_) = list(rows.values())[:3]
    title = f"ResNet-50: {len(graph.nodes)} nodes, {total.params:,} parameters, {total.macs:,} MACs"
    table = [(name, f"{median:.3f}", f"{least:.3f}", repeats) for name, (median, least, repeats) in rows.items()]
    show(title, ("what", "median ms", "least ms", "repeats"), table)
    passed = ours <= MOST_MILLISECONDS and theirs / ours >= LEAST_RATIO
    bar = f"bar: at most {MOST_MILLISECONDS} ms and at least {LEAST_RATIO} times"
    print(f"cost is {theirs / ours:,.0f} times as fast as torch's counter, {theirs / cold:,.0f} times the first time")
    print(f"{bar}: {'met' if passed else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
