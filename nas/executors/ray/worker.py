"""The worker's side: an object in an actor's process that keeps evaluator, data and device ready for job after job."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TypeAlias

from nas.core.environment import version_of
from nas.core.memory import free_memory
from nas.core.values import Json
from nas.errors import one_line
from nas.executors.inline import run_evaluator
from nas.executors.serialization import job_from_bytes, result_to_bytes
from nas.types import Evaluator

Make: TypeAlias = Callable[[Json], Evaluator]
"""Builds the evaluator on the worker, from the arrays that all workers share."""

PARENT_DEATH_SIGNAL = 1
"""The option PR_SET_PDEATHSIG of prctl(2)."""
COMPARED = ("nas-toolkit", "torch", "numpy")


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker tells of itself when it has started.

    Attributes:
        pid: of its process
        node_id: of its machine, as Ray names it
        host: its machine's name
        gpus: those that Ray has given to it
        memory: bytes of its GPU, or that processes of its machine can still get; None: unknown
        versions: of what must be the same in all processes of a search
        problem: why it cannot work, or nothing
    """

    pid: int
    node_id: str
    host: str
    gpus: list[str]
    memory: int | None
    versions: dict[str, str]
    problem: str


class Worker:
    """Builds its evaluator once, then evaluates. What a job prints goes to ``logs/INDEX.log`` where that folder is."""

    def __init__(self, make: Make, shared: Json, logs: str | None) -> None:
        self._logs = logs
        self._evaluator: Evaluator | None = None
        self._problem = ""
        if not _gpus():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all GPUs in sight of a worker that was given none
        try:
            self._evaluator = make(shared)
        except (Exception, SystemExit) as error:  # whatever a user's code raises is told by hello
            self._problem = one_line(error)

    def hello(self) -> bytes:
        """Return a :class:`WorkerInfo` as JSON."""
        import ray

        # the kernel ends this process with the one that started it, whatever it computes or hangs in: a worker of a
        # node that was cut off and given up would else live on and keep its GPU. SIGTERM ends it, too: Ray makes it a
        # SystemExit, which would count as the job's own
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # what is pressed in the driver's terminal is the driver's affair, and KeyboardInterrupt a job's own
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        node_id, host, gpus = ray.get_runtime_context().get_node_id(), platform.node(), _gpus()
        info = WorkerInfo(os.getpid(), node_id, host, gpus, _free_memory(bool(gpus)), versions(), self._problem)
        return json.dumps(asdict(info)).encode()

    def evaluate(self, message: bytes) -> list[bytes]:
        """Evaluate a job; see :mod:`nas.executors.serialization`."""
        assert self._evaluator is not None
        job = job_from_bytes(message)
        with _printing_to(self._logs, job.index):
            return result_to_bytes(*run_evaluator(self._evaluator, job))


def _gpus() -> list[str]:
    """Return the GPUs that Ray has given to this worker."""
    import ray

    return list(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))


def versions() -> dict[str, str]:
    """Return the versions that must be the same in all processes of a search."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python, **{name: version_of(name) or "none" for name in COMPARED}}


def _free_memory(gpu: bool) -> int | None:
    """Return the bytes of the GPU, or those that processes of this machine can still get."""
    if gpu:
        import torch

        return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else None
    return free_memory()


@contextmanager
def _printing_to(folder: str | None, index: int) -> Iterator[None]:
    """Send standard output and error, also of C code, to the job's own file; a log that fails fails no job."""
    path = os.path.join(folder or "", f"{index}.log")
    log = None
    if folder is not None and os.path.isdir(folder):
        with suppress(OSError):
            log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a full disk; a stream that the job has closed
            stream.flush()
