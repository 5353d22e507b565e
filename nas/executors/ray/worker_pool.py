"""A pool of warm workers on Ray: started, watched and replaced; each is an actor that Ray itself never restarts.

Jobs are admitted by memory: which worker a job may go to, so that what shares a device fits on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nas.core.values import Json
from nas.errors import ConfigError, StoppedSearch, one_line
from nas.executors.ray.cluster import Session, connect, listens
from nas.executors.ray.worker import Make, Worker, WorkerInfo, versions
from nas.types import Failure, Job, WorkerState

GROWING = 5.0
"""Seconds between two searches for nodes that have joined."""
STILLBORN = 5
"""When this many workers in a row ended before they could work, the search is given up."""
SHARE = 0.9
"""The part of a device's memory that predictions may fill."""
Key: TypeAlias = tuple[str, str]
"""A node and the device there that several workers may share."""
Entry: TypeAlias = tuple[Job, bytes, int | None]
"""A job, its message to a worker, and the bytes that it will need on its device."""


@dataclass
class Device:
    """What runs on a device.

    Attributes:
        total: bytes of its memory, None: unknown
        running: by the index of a job, the bytes that it will need
        lone: whether a job there shares it with no other
    """

    total: int | None
    running: dict[int, int | None] = field(default_factory=dict)
    lone: bool = False


class Devices:
    """The devices of a pool; ``scale`` corrects the predictions: it grows when a job needed more, and never shrinks."""

    MOST = 4.0

    def __init__(self) -> None:
        self._devices: dict[Key, Device] = {}
        self.scale = 1.0

    def add(self, key: Key, total: int | None) -> None:
        """Make a device known."""
        self._devices.setdefault(key, Device(total))

    def admits(self, key: Key, need: int | None, alone: bool) -> bool:
        """Return whether a job may begin on a device; an empty one takes anything."""
        device = self._devices[key]
        if not device.running:
            return True
        if alone or device.lone:
            return False
        if need is None or device.total is None:
            return True
        used = sum(bytes_ or 0 for bytes_ in device.running.values())
        return (used + need) * self.scale <= SHARE * device.total

    def emptiest(self, keys: Iterable[Key]) -> Key:
        """Return the device on which least runs: where a job that fits nowhere waits for the others to end."""
        return min(keys, key=lambda key: (len(self._devices[key].running), key))

    def begin(self, key: Key, index: int, need: int | None, alone: bool) -> None:
        """Note that a job runs on a device."""
        device = self._devices[key]
        device.running[index], device.lone = need, alone

    def end(self, key: Key, index: int) -> None:
        """Note that a job has left its device."""
        device = self._devices[key]
        device.running.pop(index, None)
        device.lone = False

    def learn(self, need: int | None, measured: float | None) -> None:
        """Correct the predictions after a job that needed ``measured`` bytes; None: it ran out of memory."""
        grown = self.scale * 1.5 if measured is None else (measured / need if need else 1.0)
        self.scale = min(self.MOST, max(self.scale, grown))


@dataclass(frozen=True)
class WorkerResources:
    """Where workers run and what each gets.

    Attributes:
        address: Ray's, None: a local Ray
        workers: their number, None: as many as fit
        cpus: of one worker
        gpus: of one worker, fractions are shared; None: one where the cluster has any, if ``wants_gpu``
        wants_gpu: whether workers can use a GPU
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    wants_gpu: bool = True

    def __post_init__(self) -> None:
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus))):
            raise ConfigError(f"--gpus-per-trial must be a part of one GPU or an integer of them, found {self.gpus:g}")


@dataclass(eq=False)
class WorkerHandle:
    """A worker as the driver sees it.

    Attributes:
        name: for people
        actor: the worker's
        answer: the reference to the answer that it owes
        job: that it works on
        since: when the job began, of ``time.monotonic``
        ahead: a job that was sent ahead, and the reference to its answer
        info: what it told of itself; None while it starts
        done: the jobs that it finished
        busy: the seconds that they took
    """

    name: str
    actor: Any
    answer: Any = None
    job: Job | None = None
    since: float = 0.0
    ahead: tuple[Entry, Any] | None = None
    info: WorkerInfo | None = None
    done: int = 0
    busy: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it waits for work."""
        return self.info is not None and self.answer is None

    @property
    def device(self) -> Key:
        """The node and the device there."""
        assert self.info is not None
        return self.info.node_id, f"gpu {','.join(self.info.gpus)}" if self.info.gpus else "cpu"

    def state(self) -> WorkerState:
        """Return what a person sees."""
        if self.info is None:
            return WorkerState(self.name, "", 0, "", "starting")
        return WorkerState(
            name=self.name,
            node=self.info.host,
            pid=self.info.pid,
            device=self.device[1],
            state="idle" if self.idle else "busy",
            trial=None if self.job is None else self.job.index,
            since=0.0 if self.job is None else time.time() - time.monotonic() + self.since,
            done=self.done,
            busy_seconds=self.busy,
        )


class Pool:
    """The workers that ``resources`` asks for.

    Every worker builds its evaluator with ``make`` from the arrays ``shared``; ``logs`` is the folder for what jobs
    print. Raises :class:`ConfigError` where no node has room for a worker, or other software than this one.
    """

    def __init__(self, resources: WorkerResources, make: Make, shared: Json, logs: str | None) -> None:
        self.session: Session = connect(resources.address, max(processors(), (resources.workers or 0) * resources.cpus))
        import ray  # not before, as it reads its environment when imported

        self.resources, self.devices = resources, Devices()
        self.handles: list[WorkerHandle] = []
        self.wanted = 0
        self._gpus = gpus_each(resources)
        self._logs, self._made, self._stillborn, self._searched = logs, 0, 0, 0.0
        try:
            self._make, self._shared = ray.put(make), ray.put(shared)
        except TypeError as error:
            raise ConfigError(f"the evaluator cannot travel to a worker: {one_line(error)[:500]}") from None
        self._actor: Any = ray.remote(Worker).options(
            num_cpus=resources.cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0
        )
        self.grow()

    def grow(self) -> None:
        """Start the workers that are wanted and not there, also on nodes that have joined since."""
        if self.resources.workers is not None:
            self.wanted = self.resources.workers
        elif time.monotonic() - self._searched > GROWING:
            self._searched = time.monotonic()
            self.wanted = max(1, self.session.ask(lambda: _workers_that_fit(self.resources.cpus, self._gpus)))
        while len(self.handles) < self.wanted:
            actor = self.session.ask(lambda: self._actor.remote(self._make, self._shared, self._logs))
            answer, since = actor.hello.remote(), time.monotonic()
            self.handles.append(WorkerHandle(f"worker {self._made}", actor, answer, since=since))
            self._made += 1

    def answers(self, timeout: float) -> list[WorkerHandle]:
        """Wait up to ``timeout`` seconds; return the workers whose answers are there."""
        import ray

        waiting = {handle.answer: handle for handle in self.handles if handle.answer is not None}
        if not waiting:
            time.sleep(timeout)
            return []
        ready, rest = ray.wait(list(waiting), num_returns=1, timeout=timeout)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [waiting[answer] for answer in ready]

    def take(self, handle: WorkerHandle) -> list[bytes] | Failure:
        """Return the answer of ``handle`` (the first, which introduces it, is empty), or why there is none."""
        import ray

        answer, handle.answer = handle.answer, None
        try:
            found = ray.get(answer)
        except ray.exceptions.RayError as error:
            failure = self._fault(error, handle)
            if handle.info is None:
                self._stillborn += failure.kind != "lost"
                if self._stillborn >= STILLBORN:
                    what = f"{STILLBORN} workers in a row ended before they could work"
                    raise StoppedSearch(f"{what}: {failure.message}") from None
            if handle.info is None or not isinstance(error, ray.exceptions.RayTaskError):  # else its process lives on
                self.replace(handle)
            return failure
        if handle.info is not None:
            return list(found)
        # it introduces itself: what differs from this process would make other results
        info, here = WorkerInfo(**json.loads(found)), versions()
        if info.problem:
            raise ConfigError(f"a worker on node '{info.host}' cannot begin: {info.problem}")
        for name, there in info.versions.items():
            if there != here.get(name):
                found = f"{name} {there}, this machine {here.get(name)}"
                raise ConfigError(f"node '{info.host}' has {found}; they must be equal")
        handle.info, self._stillborn = info, 0
        self.devices.add(handle.device, info.memory)
        return []

    def replace(self, handle: WorkerHandle) -> None:
        """End a worker and start another."""
        import ray

        self.handles.remove(handle)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(handle.actor, no_restart=True)
        self.grow()

    def close(self) -> None:
        """End all workers."""
        import ray

        for handle in self.handles:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                if not self.session.lost:
                    ray.kill(handle.actor, no_restart=True)
        self.handles.clear()

    def _fault(self, error: Exception, handle: WorkerHandle) -> Failure:
        """Return what became of a worker that does not answer any more."""
        import ray

        text = one_line(error)[:1_000]
        if isinstance(error, ray.exceptions.RayTaskError):
            return Failure("error", text)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return Failure("oom", f"the worker was ended, as its node had no memory left: {text}")
        # one that cannot be reached at its start was cut off
        unheard = handle.info is None and isinstance(error, ray.exceptions.ActorUnavailableError)
        gone = unheard or isinstance(error, ray.exceptions.NodeDiedError) or "node has died" in text
        if not gone and handle.info is not None:  # Ray may take half a minute to notice that a node is not there
            self.session.check()
            there = [node for node in self.session.ask(_alive_nodes) if node["NodeID"] == handle.info.node_id]
            gone = not any(listens(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in there)
        if gone:
            return Failure("lost", "the node of the worker went away")
        # the part of Ray's message that says how the process ended
        for mark in ("Worker exit detail: ", "The actor is dead because "):
            if mark in text:
                text = text.split(mark, 1)[1].split(" There are some potential root causes")[0]
                break
        return Failure("crashed", f"the worker's process ended: {text}")


def processors() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def available_workers(resources: WorkerResources) -> int:
    """Return the number of workers that there is room for, after connecting to the cluster or starting a local Ray."""
    connect(resources.address, processors())
    return _workers_that_fit(resources.cpus, gpus_each(resources))


def gpus_each(resources: WorkerResources) -> float:
    """Return the GPUs that one worker gets; raises :class:`ConfigError` where no node has room for a worker."""
    nodes = [Counter[str](node["Resources"]) for node in _alive_nodes()]
    gpus = resources.gpus
    if gpus is None:
        gpus = 1.0 if resources.wants_gpu and any(node["GPU"] for node in nodes) else 0.0
    if not any(_fits(node, resources.cpus, gpus) for node in nodes):
        most: Mapping[str, float] = max(nodes, key=lambda node: (node["GPU"], node["CPU"]), default=Counter())
        raise ConfigError(
            f"no node has room for a worker of {resources.cpus} CPUs and {gpus:g} GPUs; the largest has "
            f"{most['CPU']:g} CPUs and {most['GPU']:g} GPUs (--cpus-per-trial, --gpus-per-trial)"
        )
    return gpus


def _workers_that_fit(cpus: int, gpus: float) -> int:
    """Return the number of workers that the nodes of the cluster have room for now."""
    return sum(_fits(Counter(node["Resources"]), cpus, gpus) for node in _alive_nodes())


def _alive_nodes() -> Sequence[Json]:
    import ray

    nodes: Callable[[], list[Json]] = ray.nodes
    return [node for node in nodes() if node["Alive"]]


def _fits(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    on_cpus = int(node["CPU"] // cpus)
    # several workers share a GPU, but none is put together from parts of two
    on_gpus = node["GPU"] * int(1 / gpus + 1e-9) if 0 < gpus < 1 else (node["GPU"] // gpus if gpus else on_cpus)
    return int(min(on_cpus, on_gpus))
