"""A pool of warm workers on Ray: started, watched and replaced; each is an actor that Ray itself never restarts."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nas.errors import ConfigError, StoppedSearch, one_line
from nas.executors.devices import Devices, Key
from nas.executors.ray_session import Session, connect, listens
from nas.executors.ray_worker import Make, Worker, versions
from nas.types import Failure, Job, WorkerState

GROWING = 5.0
"""Seconds between two looks for nodes that have joined."""
STILLBORN = 5
"""After so many workers in a row that ended before they could work, the search is given up."""


Entry: TypeAlias = tuple[Job, bytes, int | None]
"""A job, its message to a worker, and the bytes that it will need on its device."""


@dataclass(frozen=True)
class Places:
    """Where workers run: Ray's ``address`` (None: a local Ray), their number (None: as many as fit) and their share.

    ``cpus`` and ``gpus`` are what one worker gets; fractions of a GPU are shared. ``gpus`` None stands for one where
    the cluster has any, if ``wants_gpu``.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    wants_gpu: bool = True

    def __post_init__(self) -> None:
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus))):
            rule = "a part of one GPU or a whole number of them"
            raise ConfigError(f"--gpus-per-trial must be {rule}, found {self.gpus:g}")


@dataclass(eq=False)
class Slot:
    """A worker: its actor, the answer that it owes, the job that it works on, and one sent ahead with its answer."""

    name: str
    actor: Any
    answer: Any = None
    job: Job | None = None
    since: float = 0.0
    ahead: tuple[Entry, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0
    busy: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it waits for work."""
        return bool(self.about) and self.answer is None

    @property
    def device(self) -> Key:
        """The node and the device there."""
        return self.about["node_id"], f"gpu {','.join(self.about['gpus'])}" if self.about["gpus"] else "cpu"

    def state(self) -> WorkerState:
        """Return what an onlooker sees."""
        if not self.about:
            return WorkerState(self.name, "", 0, "", "starting")
        trial, since = (
            (None, 0.0) if self.job is None else (self.job.index, time.time() - time.monotonic() + self.since)
        )
        state, at = ("idle" if self.idle else "busy"), self.device[1]
        about = self.about
        return WorkerState(self.name, about["host"], about["pid"], at, state, trial, since, self.done, self.busy)


class Pool:
    """The workers that ``places`` asks for. Every worker builds its evaluator with ``make`` from the arrays ``shared``.

    ``logs`` is the folder for what jobs print. Raises :class:`ConfigError` where no node of the cluster has room for a
    worker, and when a node's software differs from this one's.
    """

    def __init__(self, places: Places, make: Make, shared: Mapping[str, Any], logs: str | None) -> None:
        self.session: Session = connect(places.address, max(processors(), (places.workers or 0) * places.cpus))
        import ray  # not before, as it reads its environment when imported

        self.places, self.devices = places, Devices()
        self.slots: list[Slot] = []
        self.wanted = 0
        self._gpus = gpus_each(places)
        self._logs, self._made, self._stillborn, self._looked = logs, 0, 0, 0.0
        try:
            self._make, self._shared = ray.put(make), ray.put(dict(shared))
        except TypeError as error:
            raise ConfigError(f"the evaluator cannot travel to a worker: {one_line(error)[:500]}") from None
        self._actor: Any = ray.remote(Worker).options(
            num_cpus=places.cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0
        )
        self.grow()

    def grow(self) -> None:
        """Start the workers that are wanted and not there, also on nodes that have joined since."""
        if self.places.workers is not None:
            self.wanted = self.places.workers
        elif time.monotonic() - self._looked > GROWING:
            self._looked = time.monotonic()
            self.wanted = max(1, self.session.ask(lambda: _rooms(self.places.cpus, self._gpus)))
        while len(self.slots) < self.wanted:
            actor = self.session.ask(lambda: self._actor.remote(self._make, self._shared, self._logs))
            self.slots.append(Slot(f"worker {self._made}", actor, actor.hello.remote(), since=time.monotonic()))
            self._made += 1

    def answers(self, timeout: float) -> list[Slot]:
        """Wait up to ``timeout`` seconds; return the workers whose answers are there."""
        import ray

        waiting = {slot.answer: slot for slot in self.slots if slot.answer is not None}
        if not waiting:
            time.sleep(timeout)
            return []
        ready, rest = ray.wait(list(waiting), num_returns=1, timeout=timeout)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [waiting[answer] for answer in ready]

    def take(self, slot: Slot) -> list[bytes] | Failure:
        """Return the answer of ``slot``, which is idle then, or why there is none, when a new worker is on its way.

        A worker's first answer introduces it: an empty list.
        """
        import ray

        answer, slot.answer = slot.answer, None
        try:
            found = ray.get(answer)
        except ray.exceptions.RayError as error:
            failure = self._fault(error, slot)
            if not slot.about:
                self._never_began(failure)
            if not slot.about or not isinstance(error, ray.exceptions.RayTaskError):  # else its process lives on
                self.replace(slot)
            return failure
        if slot.about:
            return list(found)
        self._welcome(slot, json.loads(found))
        return []

    def replace(self, slot: Slot) -> None:
        """End a worker and start another."""
        import ray

        self.slots.remove(slot)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(slot.actor, no_restart=True)
        self.grow()

    def close(self) -> None:
        """End all workers."""
        import ray

        for slot in self.slots:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                if not self.session.lost:
                    ray.kill(slot.actor, no_restart=True)
        self.slots.clear()

    def _welcome(self, slot: Slot, about: Mapping[str, Any]) -> None:
        if about["problem"]:
            raise ConfigError(f"a worker on node '{about['host']}' cannot begin: {about['problem']}")
        here = versions()
        for name, there in about["versions"].items():
            if there != here.get(name):
                raise ConfigError(
                    f"node '{about['host']}' has {name} {there}, this machine {here.get(name)}; they must be equal"
                )
        slot.about, self._stillborn = about, 0
        self.devices.add(slot.device, about["memory"])

    def _never_began(self, failure: Failure) -> None:
        self._stillborn += failure.kind != "lost"
        if self._stillborn >= STILLBORN:
            raise StoppedSearch(f"{STILLBORN} workers in a row ended before they could work: {failure.message}")

    def _fault(self, error: Exception, slot: Slot) -> Failure:
        """Return what became of a worker that does not answer any more."""
        import ray

        text = one_line(error)[:1_000]
        if isinstance(error, ray.exceptions.RayTaskError):
            return Failure("error", text)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return Failure("oom", f"the worker was ended, as its node had no memory left: {text}")
        unheard = not slot.about and isinstance(error, ray.exceptions.ActorUnavailableError)  # cut off at its start
        died = isinstance(error, ray.exceptions.NodeDiedError) or "node has died" in text
        if unheard or died or not self._alive(slot):
            return Failure("lost", "the node of the worker went away")
        return Failure("crashed", f"the worker's process ended: {_cause(text)}")

    def _alive(self, slot: Slot) -> bool:
        """Return whether the node of a worker is there: Ray may take half a minute to notice that it is not."""
        if not slot.about:
            return True
        self.session.check()
        there = [node for node in self.session.ask(_alive_nodes) if node["NodeID"] == slot.about["node_id"]]
        return any(listens(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in there)


def _cause(text: str) -> str:
    """Return the part of Ray's message that says how a process ended."""
    for mark in ("Worker exit detail: ", "The actor is dead because "):
        if mark in text:
            return text.split(mark, 1)[1].split(" There are some potential root causes")[0]
    return text


def processors() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def room(places: Places) -> int:
    """Return the number of workers that there is room for, after connecting to the cluster or starting a local Ray."""
    connect(places.address, processors())
    return _rooms(places.cpus, gpus_each(places))


def gpus_each(places: Places) -> float:
    """Return the GPUs that one worker gets; raises :class:`ConfigError` where no node has room for a worker."""
    nodes = _nodes()
    gpus = places.gpus
    if gpus is None:
        gpus = 1.0 if places.wants_gpu and any(node["GPU"] for node in nodes) else 0.0
    if not any(_fits(node, places.cpus, gpus) for node in nodes):
        most: Mapping[str, float] = max(nodes, key=lambda node: (node["GPU"], node["CPU"]), default=Counter())
        raise ConfigError(
            f"no node has room for a worker of {places.cpus} CPUs and {gpus:g} GPUs; the largest has {most['CPU']:g} "
            f"CPUs and {most['GPU']:g} GPUs (--cpus-per-trial, --gpus-per-trial)"
        )
    return gpus


def _rooms(cpus: int, gpus: float) -> int:
    """Return the number of workers that the nodes of the cluster have room for now."""
    return sum(_fits(node, cpus, gpus) for node in _nodes())


def _nodes() -> Sequence[Mapping[str, float]]:
    return [Counter(node["Resources"]) for node in _alive_nodes()]


def _alive_nodes() -> Sequence[Mapping[str, Any]]:
    import ray

    nodes: Any = ray.nodes  # untyped there
    return [node for node in nodes() if node["Alive"]]


def _fits(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    rooms = int(node["CPU"] // cpus)
    # several workers share a GPU, but none is put together from parts of two
    on_gpus = node["GPU"] * int(1 / gpus + 1e-9) if 0 < gpus < 1 else (node["GPU"] // gpus if gpus else rooms)
    return int(min(rooms, on_gpus))
