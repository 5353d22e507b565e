"""The worker's side: an object in an actor's process that keeps evaluator, data and device ready for job after job."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from nas.errors import one_line
from nas.executors.boundary import evaluated
from nas.executors.messages import job_from_bytes, result_to_bytes
from nas.types import Evaluator

Make: TypeAlias = Callable[[Mapping[str, Any]], Evaluator]
"""Builds the evaluator on the worker, from the arrays that all workers share."""

PARENT_DEATH_SIGNAL = 1
"""The option PR_SET_PDEATHSIG of prctl(2)."""
COMPARED = ("nas-toolkit", "torch", "numpy")


class Worker:
    """Builds its evaluator once, then evaluates. What a job prints goes to ``logs/INDEX.log`` where that folder is."""

    def __init__(self, make: Make, shared: Mapping[str, Any], logs: str | None) -> None:
        self._logs = logs
        self._evaluator: Evaluator | None = None
        self._problem = ""
        if not _gpus():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all GPUs in sight of a worker that was given none
        try:
            self._evaluator = make(shared)
        except (Exception, SystemExit) as error:  # the worker's boundary: what is wrong is told by hello
            self._problem = one_line(error)

    def hello(self) -> bytes:
        """Return who this is, as JSON; ``problem`` says why it cannot work."""
        import ray

        _end_with_raylet()
        context, gpus = ray.get_runtime_context(), _gpus()
        about = {
            "pid": os.getpid(),
            "node_id": context.get_node_id(),
            "host": platform.node(),
            "gpus": gpus,
            "memory": _gpu_memory() if gpus else _free_memory(),
            "versions": versions(),
            "problem": self._problem,
        }
        return json.dumps(about).encode()

    def evaluate(self, message: bytes) -> list[bytes]:
        """Evaluate a job; see :mod:`nas.executors.messages`."""
        assert self._evaluator is not None
        job = job_from_bytes(message)
        with _printing_to(self._logs, job.index):
            return result_to_bytes(*evaluated(self._evaluator, job))


def _end_with_raylet() -> None:
    """Let the kernel end this process with the one that started it, whatever it computes or hangs in.

    A worker of a node that was cut off and given up would else live on and keep its GPU. SIGTERM ends it, too: Ray
    makes it a SystemExit, which would count as the job's own.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _gpus() -> list[str]:
    """Return the GPUs that Ray has given to this worker."""
    import ray

    return list(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))


def versions() -> dict[str, str]:
    """Return the versions that must be the same in all processes of a search."""
    return {"python": ".".join(map(str, sys.version_info[:2])), **{name: _version(name) for name in COMPARED}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _gpu_memory() -> int | None:
    import torch

    return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else None


def _free_memory() -> int | None:
    """Return the bytes that processes of this machine can still get."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


@contextmanager
def _printing_to(folder: str | None, index: int) -> Iterator[None]:
    """Send standard output and error, also of C code, to the job's own file; a log that fails fails no job."""
    path = os.path.join(folder or "", f"{index}.log")
    log = None if folder is None or not os.path.isdir(folder) else _opened(path)
    if log is None:
        yield
        return
    _flush()
    before = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        _flush()
        for descriptor, old in zip((1, 2), before, strict=True):
            os.dup2(old, descriptor)
            os.close(old)
        empty = os.fstat(log).st_size == 0
        os.close(log)
        if empty:
            with suppress(OSError):  # an attempt that was given up may write the same file on a machine that is cut off
                os.unlink(path)


def _opened(path: str) -> int | None:
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    return None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a full disk; a stream that the job has closed
            stream.flush()
