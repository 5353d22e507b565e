"""Where and how a training runs: device, threads, random streams and kernels, and what makes its step fast there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace

import torch

from nas.errors import ConfigError, EvaluationError, one_line, unknown
from nas.graph import Conv, Graph, shapes_of


@dataclass(frozen=True)
class BackendOptions:
    """How a training step is computed; on a CPU these change its speed, and but for ``bf16`` little of its bits.

    Attributes:
        channels_last: images and weights in NHWC order
        bf16: forward in bfloat16 where autocast allows
        fused: one kernel of the optimizer for all parameters
        capture: the whole step as one CUDA graph
        compile: torch.compile
    """

    channels_last: bool = True
    bf16: bool = False
    fused: bool = True
    capture: bool = False
    compile: bool = False

    def to_json(self) -> dict[str, bool]:
        """Return the options as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> BackendOptions:
        """Read options; what is not named has its default, anything else raises :class:`ConfigError`."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"switches: they must be an object of flags, found {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        for name, value in data.items():
            if name not in known:
                raise ConfigError(f"switches: {unknown('switch', str(name), known)}")
            if type(value) is not bool:
                raise ConfigError(f"switches: {name} must be true or false, found {value!r}")
        return cls(**data)


ON_CPU = BackendOptions()
"""On a CPU the options are a rule, never a measurement: a training that is resumed or repeated must give the same bits
however busy the machine was. channels_last: 1.3 to 2.3 times the images a second; bfloat16: up to 1.3 times, but other
bits on other processors; torch's fused, multi-tensor and plain optimizers differ by less than the noise."""
PRECISIONS = ("float32", "bf16")
"""What a forward pass may be computed in; None: float32 on a CPU, on CUDA what was measured there."""
NARROW, SMALL = 16, 50
"""Strided 1x1 convolutions with fewer input channels a group are unsafe: on a CPU with AVX-512 on images of more than
this side, on any other CPU on images of any size."""


def safe_on_cpu(
    backend: BackendOptions, graph: Graph, batch: int, threads: int, instructions: str | None = None
) -> BackendOptions:
    """Return ``backend`` without channels_last where torch 2.13's convolutions would then write outside their memory.

    Two gradients of weights do so. In batches that ``threads`` cannot share evenly: a ResNet-14 of width 8 crashes in
    batches of 35, 37, 39, 41 and 127 on two threads, and in none of the even ones. And those of strided 1x1
    convolutions of few input channels (``benchmarks/out_of_bounds.py``): with AVX-512, with 2 to 15 channels about a
    third of random ones on 56 x 56 to 120 x 120 pixels, none on smaller ones; with AVX2, with 2 to 7 channels nearly
    all from 10 x 10 pixels on; none with more channels. ``instructions`` are the CPU's as torch names them.
    """
    unsafe, shapes = batch % threads != 0, shapes_of(graph)
    side = SMALL if (instructions or torch.backends.cpu.get_cpu_capability()) == "AVX512" else 0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Conv) and op.kernel == (1, 1) and op.stride != (1, 1):
            channels, height, width = shapes[node.inputs[0]]
            unsafe = unsafe or (channels // op.groups < NARROW and height * width > side**2)
    return replace(backend, channels_last=False) if unsafe else backend


def grouped(graph: Graph) -> bool:
    """Return whether ``graph`` has convolutions in groups, such as depthwise ones."""
    return any(isinstance(node.op, Conv) and node.op.groups > 1 for node in graph.nodes)


def backend_for(
    device: torch.device,
    graph: Graph,
    batch: int,
    *,
    given: BackendOptions | None = None,
    world: int = 1,
    precision: str | None = None,
) -> BackendOptions:
    """Return the options of a training in batches of ``batch`` that ``world`` processes share.

    They are those ``given``, else the rule on a CPU and on CUDA what was measured there; on a CPU only what is safe.
    ``precision``, where nothing is given, is one of :data:`PRECISIONS`; on a CPU networks with convolutions in groups
    stay in float32, as bfloat16 makes depthwise ones 1.3 to 2 times slower.
    """
    chosen = given
    if chosen is None:
        chosen = ON_CPU
        if device.type == "cuda":
            from nas.training.backend_tuning import choose

            chosen = choose(device)
        if precision is not None:
            chosen = replace(chosen, bf16=precision == "bf16" and not (device.type == "cpu" and grouped(graph)))
    if device.type == "cpu":
        chosen = safe_on_cpu(chosen, graph, batch // world, torch.get_num_threads())
    # a checkpoint may come from a GPU; what processes tell each other is no part of a captured step
    return chosen if device.type == "cuda" and world == 1 else replace(chosen, capture=False)


def find_device(name: str | None) -> torch.device:
    """Return the device ``name``, by default the GPU where there is one; raises :class:`ConfigError`."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda or cuda:N") from None
    usable = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if device.type not in usable:
        raise ConfigError(f"device '{name}' is not available here; use {' or '.join(usable)}")
    return device


def device_name(device: torch.device) -> str:
    """Return what people call ``device``: CPU, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


@contextmanager
def prepared(device: torch.device, threads: int | None, deterministic: bool) -> Iterator[None]:
    """Set threads and kernels, keep random streams apart and give failures their kinds; all is put back afterwards."""
    on_gpu, before = device.type == "cuda", torch.get_num_threads()
    benchmark, repeatable = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    # torch draws weights and dropout from its global generators: they get a stream of their own
    with torch.random.fork_rng(devices=[device] if on_gpu else []), typed_failures():
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            if not on_gpu:
                yield
                return
            # on CUDA try out convolution kernels, or allow only those that repeat themselves
            if deterministic:
                # cuBLAS reads it when it is first used
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.benchmark = not deterministic
            torch.use_deterministic_algorithms(deterministic or repeatable)
            with torch.cuda.device(device):
                yield
        finally:
            torch.set_num_threads(before)
            if on_gpu:
                torch.backends.cudnn.benchmark = benchmark
                torch.use_deterministic_algorithms(repeatable)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed torch's global generators."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def typed_failures() -> Iterator[None]:
    """Raise :class:`EvaluationError` of kind ``oom`` where memory runs out, on CPU or GPU."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no exception of its own for the CPU
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise EvaluationError(f"out of memory: {one_line(error)}", "oom") from None


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory() -> None:
    """Begin to measure what :func:`peak_memory` tells."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int | None:
    """Return the bytes held at most on the GPU since :func:`reset_peak_memory`; None without a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
