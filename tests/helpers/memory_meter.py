"""The peak of torch's own allocations in a training step: what predictions of memory are held against."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch._C._profiler import _EventType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from nas.graph import Graph
from nas.graph.lowering.torch_module import build_module


class Peak(NamedTuple):
    """Bytes at the peak of a step, without and with the workspaces that convolution kernels take within one call."""

    tensors: int
    with_workspaces: int


def measured_peak(graph: Graph, batch: int, classes: int = 10) -> Peak:
    """Return the peak of allocated bytes in the second training step, with what was there before it.

    Every allocation of torch's CPU allocator counts; memory that is there before the step (weights, buffers, momentum,
    images, labels) is counted from the tensors themselves. Convolutions of oneDNN lay images out in blocks of channels
    and free those copies before they return: they depend on the processor and not on the network.
    """
    torch.manual_seed(0)
    module = build_module(graph, [name for name, _ in graph.outputs]).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(batch, *graph.input_shape), torch.randint(classes, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = module(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = sum(F.cross_entropy(output, labels) for output in outputs)
        del outputs
        loss.backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    momentum = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    before = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers(), *momentum))
    before += images.numel() * 4 + labels.numel() * 8
    tensors, everything = _peaks(step)
    return Peak(before + tensors, before + everything)


def _peaks(step: Callable[[], None]) -> tuple[int, int]:
    gc.collect()  # what earlier tests left must not be released meanwhile: it would count as a gain
    gc.disable()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            step()
    finally:
        gc.enable()
    events = sorted(_allocations(record.profiler.kineto_results.experimental_event_tree()), key=lambda e: e[0])
    peaks = []
    skipped = _workspaces(events)
    for leave_out in (skipped, set()):
        used = peak = 0
        for i, (_, size, _, _) in enumerate(events):
            used += 0 if i in leave_out else size
            peak = max(peak, used)
        peaks.append(peak)
    return peaks[0], peaks[1]


def _allocations(roots: list[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (time, bytes, address, number of the convolution's call or 0) of every allocation and release."""
    stack = [(root, 0) for root in roots]
    while stack:
        event, call = stack.pop()
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            yield event.start_time_ns, fields.alloc_size, fields.ptr, call
        inner = call or (id(event) if "convolution" in event.name else 0)
        stack += [(child, inner) for child in event.children]


def _workspaces(events: list[tuple[int, int, int, int]]) -> set[int]:
    """Return the places of allocations that the same call of a convolution releases, and of those releases."""
    found: set[int] = set()
    opened: dict[int, tuple[int, int]] = {}
    for i, (_, size, address, call) in enumerate(events):
        if size > 0:
            opened[address] = i, call
        elif address in opened:
            first, taker = opened.pop(address)
            if call and call == taker:
                found |= {first, i}
    return found
