"""How long a network takes for a batch on this device: measured, not predicted."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from nas.core.activity import doing
from nas.errors import EvaluationError
from nas.graph import Graph
from nas.graph.analysis.limits import check_fits
from nas.graph.lowering.torch_module import build_module
from nas.training.device import device_name, synchronize, typed_failures

BATCHES = (1, 64)
WARM_UP = 3
"""Passes before the first that counts: caches fill, and a GPU's libraries choose their kernels."""
REPEATS = (5, 100)
"""The least and the greatest number of passes whose median counts."""
ENOUGH = 2.0
"""Seconds after which no more passes follow, once the least number is done."""
MOST_SECONDS = 10.0
"""After these no pass follows, not even to the least number: of a network this slow one pass tells."""


@dataclass(frozen=True)
class Latency:
    """How long a batch takes, as torch runs it without compilation: in eval mode, float32, channels last."""

    batch: int
    """Images of the batch."""
    milliseconds: float | None
    """The median of all passes; None where the batch does not fit in the memory of the device, or one image tells that
    a pass would take more than :data:`MOST_SECONDS`."""
    repeats: int
    """How many passes were measured."""
    device: str
    """The name of the GPU, or CPU."""
    threads: int
    """Threads of the CPU."""


@doing("measuring a latency")
def measure_latency(graph: Graph, batch: int, threads: int | None = None, device: str | None = None) -> Latency:
    """Measure the first output of ``graph``; ``device`` is the GPU where there is one, ``threads`` torch's number.

    It takes about :data:`MOST_SECONDS` at most, or two passes of a single image where those take longer.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    # threads are the whole process's: what they were is restored below
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    seconds: list[float] = []
    try:
        with typed_failures(), torch.random.fork_rng(devices=[]), torch.inference_mode():
            module = build_module(graph, (graph.outputs[0][0],)).eval()
            module.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
            check_fits(graph.pruned((graph.outputs[0][0],)), batch)
            images = torch.randn(batch, *graph.input_shape).to(place, memory_format=torch.channels_last)
            # on a GPU the images of a batch are computed side by side
            one = _passes(module, images[:1], place, 1)[0] if batch > 1 and place.type == "cpu" else 0.0
            if batch * one <= MOST_SECONDS:
                seconds = _passes(module, images, place)
    except EvaluationError as error:
        if error.kind != "oom":
            raise
    finally:
        torch.set_num_threads(before)
    median = round(1000 * statistics.median(seconds), 4) if seconds else None
    return Latency(batch, median, len(seconds), device_name(place), threads or before)


def _passes(module: torch.nn.Module, images: torch.Tensor, place: torch.device, most: int = REPEATS[1]) -> list[float]:
    """Return the seconds of passes after some that warm up; of a slow network those of the last one that there was."""
    taken: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    for number in range(WARM_UP + most):
        synchronize(place)
        start = time.perf_counter()
        module(images)
        synchronize(place)
        now = time.perf_counter()
        if number <= WARM_UP:  # what has only warmed up counts where nothing follows
            taken.clear()
        taken.append(now - start)
        if now >= end or (len(taken) >= REPEATS[0] and sum(taken) >= ENOUGH):
            break
    return taken
