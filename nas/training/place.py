"""Where a training runs: its device, threads, random streams and kernels, all put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.errors import ConfigError, EvaluationError, one_line


@contextmanager
def prepared(device: torch.device, threads: int | None, deterministic: bool) -> Iterator[None]:
    """Set threads and kernels, keep random streams apart, and give failures their kinds."""
    with _threads(threads), _own_stream(device), typed_failures(), _kernels(device, deterministic):
        yield


def the_device(name: str | None) -> torch.device:
    """Return the device ``name``, by default the GPU where there is one; raises :class:`ConfigError`."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"device '{name}' is not available here; use cpu{' or cuda' if torch.cuda.is_available() else ''}"
        )
    return device


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Give weights and dropout a stream of their own: torch draws both from its global generators."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_all(seed: int, device: torch.device) -> None:
    """Seed torch's global generators."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def _kernels(device: torch.device, deterministic: bool) -> Iterator[None]:
    """On CUDA, try out convolution kernels, or with ``deterministic`` allow only those that repeat themselves."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    if deterministic:
        # cuBLAS reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic or before[1])
    try:
        with torch.cuda.device(device):
            yield
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.use_deterministic_algorithms(before[1])


@contextmanager
def typed_failures() -> Iterator[None]:
    """Raise :class:`EvaluationError` of kind ``oom`` where memory runs out, on CPU or GPU."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise EvaluationError(f"out of memory: {one_line(error)}", "oom") from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        # torch has no exception of its own for the CPU
        raise EvaluationError(f"out of memory: {one_line(error)}", "oom") from None
