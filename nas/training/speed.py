"""The switches of a training step: what makes it fast on a device, chosen by measurement where that changes no bits.

On a CPU the switches are a rule, never a measurement: a training that is resumed, or repeated on another day, must give
the same bits however busy the machine was. On CUDA they are measured once a device and remembered; the switches that a
training used are recorded with its result, and a resumed training takes them from its checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from nas.errors import ConfigError, EvaluationError, unknown
from nas.files import write_json
from nas.graph import Conv, Graph, shapes_of

CACHE = Path("~/.cache/nas-toolkit/speed.json")
LEAST_GAIN = 1.05
"""A switch is kept when it makes a step this much faster: below that, noise decides."""


@dataclass(frozen=True)
class Switches:
    """``channels_last``: images and weights in NHWC order; ``bf16``: forward in bfloat16 where autocast allows;
    ``fused``: one optimiser kernel; ``capture``: the whole step as one CUDA graph; ``compile``: torch.compile.
    """

    channels_last: bool = True
    bf16: bool = False
    fused: bool = True
    capture: bool = False
    compile: bool = False

    def to_json(self) -> dict[str, bool]:
        """Return the switches as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Switches:
        """Read switches; what is not named has its default, anything else raises :class:`ConfigError`."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"switches: they must be an object of flags, found {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        for name, value in data.items():
            if name not in known:
                raise ConfigError(f"switches: {unknown('switch', str(name), known)}")
            if type(value) is not bool:
                raise ConfigError(f"switches: {name} must be true or false, found {value!r}")
        return cls(**data)


ON_CPU = Switches()
"""channels_last: 1.3 to 2.3 times the images a second; bfloat16 is faster where the processor has it (1.3 times), but
gives other bits on other processors; torch's fused, multi-tensor and plain optimisers differ by less than the noise."""


NARROW, SMALL = 16, 50
"""Strided 1x1 convolutions with fewer input channels a group, on more than this side squared pixels, are unsafe."""


def safe_on_cpu(switches: Switches, graph: Graph, batch: int, threads: int) -> Switches:
    """Return ``switches`` without channels_last where torch 2.13's convolutions would then write outside their memory.

    Two gradients of weights do so (oneDNN on AVX-512). In batches that ``threads`` cannot share evenly: a ResNet-14 of
    width 8 crashes in batches of 35, 37, 39, 41 and 127 on two threads, and in none of the even ones. And those of
    strided 1x1 convolutions of few input channels on larger images: with 2 to 15 channels about a third of random ones
    on 56 x 56 to 120 x 120 pixels, none on smaller ones and none with more channels (``benchmarks/out_of_bounds.py``).
    """
    unsafe = batch % threads != 0 or _has_narrow_strided_conv(graph)
    return replace(switches, channels_last=False) if unsafe else switches


def _has_narrow_strided_conv(graph: Graph) -> bool:
    shapes = shapes_of(graph)
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Conv) and op.kernel == (1, 1) and op.stride != (1, 1):
            channels, height, width = shapes[node.inputs[0]]
            if channels // op.groups < NARROW and height * width > SMALL**2:
                return True
    return False


Measure = Callable[[Switches, torch.device], float]


def choose(device: torch.device, cache: Path | None = CACHE, measure: Measure | None = None) -> Switches:
    """Return the switches for ``device``: the rule on a CPU, on CUDA those measured, remembered in the file ``cache``.

    ``measure`` returns the seconds of one step (:func:`step_seconds` by default). A cache that is missing, damaged or
    not writable is as good as none.
    """
    if device.type != "cuda" and measure is None:
        return ON_CPU
    path, name = None if cache is None else cache.expanduser(), _name(device)
    known = _read(path)
    with contextlib.suppress(ConfigError):
        if name in known:
            return Switches.from_json(known[name])
    found = _measured(device, measure or step_seconds)
    if path is not None:
        with contextlib.suppress(ConfigError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**known, name: found.to_json()})
    return found


def _name(device: torch.device) -> str:
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{kind}, torch {torch.__version__}"


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _measured(device: torch.device, measure: Measure) -> Switches:
    """Try the switches one after another, each beside those that have already proved faster."""
    best = Switches(channels_last=False)
    seconds = measure(best, device)
    trials = ["capture", "channels_last"]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        trials.append("bf16")
    for switch in trials:
        tried = replace(best, **{switch: True})
        with contextlib.suppress(EvaluationError, torch.OutOfMemoryError):
            taken = measure(tried, device)
            if taken * LEAST_GAIN < seconds:
                best, seconds = tried, taken
    return best


def step_seconds(switches: Switches, device: torch.device, batch: int = 256, steps: int = 20) -> float:
    """Return the median seconds of a training step of a small network of convolutions on 32 x 32 images."""
    from nas.graph import Add, BatchNorm, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu
    from nas.training.recipe import Recipe
    from nas.training.step import Trainee

    b = GraphBuilder((3, 32, 32))
    x = b(BatchNorm(), b(Conv(16, 3, padding=1), b.input))
    for width in (16, 32, 64):
        x = b(BatchNorm(), b(Conv(width, 3, 1 if width == 16 else 2, 1), x))
        for _ in range(5):
            x = b(Add(), x, b(BatchNorm(), b(Conv(width, 3, padding=1), b(Relu(), x))))
    graph = b.build(logits=b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x))))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainee = Trainee(graph, Recipe(batch_size=batch), device, switches)
        images = torch.randn(batch, 3, 32, 32).to(device, memory_format=torch.channels_last)
        labels = torch.randint(10, (batch,)).to(device)
        taken = []
        for _ in range(steps):
            start = time.perf_counter()
            trainee.step(images, labels)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[steps // 2 :])
