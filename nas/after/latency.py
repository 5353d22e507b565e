"""How long a network takes for a batch on this device: measured, not predicted."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from nas.errors import EvaluationError
from nas.graph import Graph
from nas.graph.module import build_module
from nas.training.place import typed_failures

BATCHES = (1, 64)
WARM_UP = 3
"""Passes before the first that counts: caches fill, and a GPU's libraries choose their kernels."""
REPEATS = (5, 100)
"""The least and the greatest number of passes whose median counts."""
ENOUGH = 2.0
"""Seconds after which no more passes follow, once the least number is done."""


@dataclass(frozen=True)
class Latency:
    """The median ``milliseconds`` of ``repeats`` passes of ``batch`` images, on ``device`` with ``threads`` of a CPU.

    They are None where so many images do not fit in the memory of the device.
    The network is as torch runs it without compilation: in eval mode, float32, channels last, with its batch norms.
    """

    batch: int
    milliseconds: float | None
    repeats: int
    device: str
    threads: int


def measure_latency(graph: Graph, batch: int, threads: int | None = None, device: str | None = None) -> Latency:
    """Measure the first output of ``graph``; ``device`` is the GPU where there is one, ``threads`` torch's number."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    seconds: list[float] = []
    try:
        with typed_failures(), torch.random.fork_rng(devices=[]), torch.inference_mode():
            module = build_module(graph, (graph.outputs[0][0],)).eval()
            module.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = torch.randn(batch, *graph.input_shape).to(place, memory_format=torch.channels_last)
            seconds = _passes(module, images, place)
    except EvaluationError as error:
        if error.kind != "oom":
            raise
    finally:
        torch.set_num_threads(before)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    median = round(1000 * statistics.median(seconds), 4) if seconds else None
    return Latency(batch, median, len(seconds), name, threads or before)


def _passes(module: torch.nn.Module, images: torch.Tensor, place: torch.device) -> list[float]:
    for _ in range(WARM_UP):
        module(images)
    taken: list[float] = []
    least, most = REPEATS
    while len(taken) < least or (len(taken) < most and sum(taken) < ENOUGH):
        _wait(place)
        start = time.perf_counter()
        module(images)
        _wait(place)
        taken.append(time.perf_counter() - start)
    return taken


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)
