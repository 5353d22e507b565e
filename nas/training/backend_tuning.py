"""The options of a training step on CUDA: measured once a device, cached, and recorded with every result."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from nas.core.files import read_json, write_json
from nas.core.informing import informing
from nas.errors import ConfigError, EvaluationError
from nas.graph import Conv
from nas.training.device import ON_CPU, BackendOptions, prepared, synchronize

CACHE = Path("~/.cache/nas-toolkit/speed.json")
LEAST_GAIN = 1.05
"""An option is kept when it makes a step this much faster: below that, noise decides."""

BF16_GAIN = 1.1
"""bfloat16 is taken on a CPU where it makes a step this much faster, as it changes the bits."""

HOPELESS = 0.5
"""A speedup that no further measurement makes a gain."""

Measure = Callable[[BackendOptions, torch.device], float]
MeasureSteps = Callable[[BackendOptions, torch.device, int, int], float]
"""Of options, device, images a batch and steps: the seconds of a step."""


def choose(device: torch.device, cache: Path | None = CACHE, measure: Measure | None = None) -> BackendOptions:
    """Return the options for ``device``: the rule on a CPU, on CUDA those measured, kept in the file ``cache``.

    ``measure`` returns the seconds of one step (:func:`step_seconds` by default). A cache that fails counts as none.
    """
    if device.type != "cuda" and measure is None:
        return ON_CPU
    path, known = None if cache is None else cache.expanduser(), {}
    with contextlib.suppress(ConfigError):
        read = {} if path is None else read_json(path)
        known = read if isinstance(read, dict) else {}
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    name = f"{kind}, torch {torch.__version__}"
    with contextlib.suppress(ConfigError):
        if name in known:
            return BackendOptions.from_json(known[name])

    # try the options one after another, each beside those that have already proved faster
    measure = measure or step_seconds
    best = BackendOptions(channels_last=False)
    seconds = measure(best, device)
    trials = ["capture", "channels_last"]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        trials.append("bf16")
    for option in trials:
        tried = replace(best, **{option: True})
        with contextlib.suppress(EvaluationError, torch.OutOfMemoryError):
            taken = measure(tried, device)
            if taken * LEAST_GAIN < seconds:
                best, seconds = tried, taken
    if path is not None:
        with informing(f"cache '{path}'"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**known, name: best.to_json()})
    return best


def bf16_speedup(threads: int | None, measure: MeasureSteps | None = None) -> float:
    """Return how many times faster a CPU trains a small dense network in bfloat16 than in float32.

    A processor without bfloat16 takes ten times as long: one step on few images tells, and no more are taken.
    ``measure`` is by default :func:`step_seconds`.
    """
    device, measure = torch.device("cpu"), measure or step_seconds
    with prepared(device, threads, False):
        for batch, steps in ((2, 2), (32, 6)):
            seconds = measure(ON_CPU, device, batch, steps)
            speedup = seconds / measure(replace(ON_CPU, bf16=True), device, batch, steps)
            if speedup < HOPELESS:
                break
    return speedup


def step_seconds(backend: BackendOptions, device: torch.device, batch: int = 256, steps: int = 20) -> float:
    """Return the median seconds of a training step of a small network of convolutions on 32 x 32 images."""
    from nas.graph import Add, BatchNorm, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu
    from nas.training.recipe import Recipe
    from nas.training.train_step import TrainStep

    b = GraphBuilder((3, 32, 32))
    x = b(BatchNorm(), b(Conv(16, 3, padding=1), b.input))
    for width in (16, 32, 64):
        x = b(BatchNorm(), b(Conv(width, 3, 1 if width == 16 else 2, 1), x))
        for _ in range(5):
            x = b(Add(), x, b(BatchNorm(), b(Conv(width, 3, padding=1), b(Relu(), x))))
    graph = b.build(logits=b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x))))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        train_step = TrainStep(graph, Recipe(batch_size=batch), device, backend)
        images = torch.randn(batch, 3, 32, 32).to(device, memory_format=torch.channels_last)
        labels = torch.randint(10, (batch,)).to(device)
        taken = []
        for _ in range(steps):
            start = time.perf_counter()
            train_step.step(images, labels)
            synchronize(device)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[steps // 2 :])
