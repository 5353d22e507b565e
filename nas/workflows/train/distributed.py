"""Training by several processes on Ray: the driver, and the worker around one process's part.

Ray Core starts the processes, with its own restarts off, and torch.distributed does the rest. The first process sends
events and checkpoints to the driver, which alone writes to the run's folder, so no file system need be shared. A group
that loses a process is ended and started again from the checkpoint.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nas.core.digests import file_digest
from nas.core.values import ClassCounts, Json
from nas.errors import ClusterError, ConfigError, EvaluationError, NasError, StoppedSearch, one_line
from nas.executors.ray.cluster import connect
from nas.executors.ray.worker import versions
from nas.executors.ray.worker_pool import WorkerResources, available_workers, gpus_each, processors
from nas.graph import Graph
from nas.runs.journal import Event
from nas.workflows.train.process import Stop, Tell, TrainingOutcome, TrainingProcess
from nas.workflows.train.settings import TrainingSettings

if TYPE_CHECKING:
    from nas.data.image_set import Findings, Labels, Pixels
    from nas.training.checkpoint import Checkpoint
    from nas.training.distributed import Group
    from nas.training.evaluation import Measured
    from nas.training.trainer import Throughput

    Arrays = tuple[Pixels, Labels, Findings]

LOST = "lost"
"""The kind of failure that another start may fix: what processes send each other did not arrive."""
Actor: TypeAlias = Any
"""What Ray gives no type: an actor, its methods, and the answers that are on their way."""
MOST_STARTS = 3
"""Starts in a row without a newer checkpoint after which a training is given up."""
POLL = 0.5
"""Seconds between two questions for events and checkpoints."""
WAIT_FOR_CLUSTER = 300.0
"""Seconds that a group waits for room after it lost a process."""


class DistributedWorker:
    """What runs in the actor's process; arguments and answers are JSON, tensors safetensors.

    ``plugins`` are digests by file, ``shared`` holds the images as :func:`nas.evaluators.train.shared_images` returns
    them, ``initial`` the weights that a fine-tuning begins with. Several calls may run at a time: :meth:`news` and
    :meth:`stop` answer while :meth:`fit` trains.
    """

    def __init__(
        self, settings: str, graph: str, plugins: str, shared: Mapping[str, object], initial: bytes = b""
    ) -> None:
        self._settings, self._graph, self._plugins = settings, graph, plugins
        self._shared, self._initial = shared, initial
        self._process: TrainingProcess | None = None
        self._store: object = None
        self._group: AbstractContextManager[Group] | None = None
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._events: deque[Event] = deque()
        self._kept: tuple[bytes, bytes] | None = None

    def hello(self) -> str:
        """Return who this is."""
        import ray

        return json.dumps({"node_id": ray.get_runtime_context().get_node_id(), "versions": versions()})

    def open(self, host: str) -> str:
        """Open the place where the group meets, on this node's address ``host``, and return its address."""
        from nas.training.distributed import open_meeting

        self._store, address = open_meeting(host)
        return address

    def join(self, rank: int, world: int, address: str, host: str, local: int, on_gpu: bool) -> str:
        """Be process ``rank`` of the group; returns nothing, or why not."""
        from nas.core.digests import check_files
        from nas.core.plugins import load_plugins
        from nas.evaluators.train import DatasetCache, TrainSettings
        from nas.training.distributed import joined

        def begin() -> Json:
            settings = TrainingSettings.from_json(json.loads(self._settings))
            check_files(json.loads(self._plugins))
            load_plugins(settings.plugins)
            datasets, job = DatasetCache(), TrainSettings.from_json(settings.job)
            datasets.give(job, dict(self._shared))
            splits = datasets.splits(job)
            device = "cuda" if on_gpu else "cpu"
            self._group = joined(rank, world, address, device, local, host)
            graph = Graph.from_json(json.loads(self._graph))
            self._process = TrainingProcess(settings, graph, splits, device, self._group.__enter__(), self._initial)
            return {}

        return self._answer(begin)

    def throughput(self) -> str:
        """Measure a few steps."""
        return self._answer(lambda: asdict(self._part.throughput()))

    def fit(self, numbers: bytes, content: bytes) -> list[bytes]:
        """Train from a checkpoint (empty: from scratch); return the facts and, of the first, the weights."""
        weights = b""

        def run() -> Json:
            nonlocal weights
            from nas.training.checkpoint import unpack

            found = unpack(numbers, content) if numbers else None
            ended = self._part.train(self._tell, self._stopping.is_set, self._keep, found)
            weights = ended.weights
            return {"finished": ended.finished, "facts": dict(ended.facts)}

        return [self._answer(run).encode(), weights]

    def news(self) -> list[bytes]:
        """Return the events since the last call, and then the newest checkpoint if it is a new one."""
        with self._lock:
            events, kept = [*self._events], self._kept
            self._events.clear()
            self._kept = None
        return [json.dumps(events).encode(), *(kept or ())]

    def stop(self) -> None:
        """Let the training end after its next look."""
        self._stopping.set()

    def measure(self, arrays: Arrays | None) -> str:
        """Measure the test split: its images, labels and findings, or None to read it here."""
        from nas.data.image_set import ImageSet

        return self._answer(lambda: asdict(self._part.measure(None if arrays is None else ImageSet(*arrays))))

    @property
    def _part(self) -> TrainingProcess:
        assert self._process is not None
        return self._process

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)

    def _keep(self, found: Checkpoint) -> None:
        from nas.training.checkpoint import pack

        packed = pack(found)  # before the lock, which others wait for
        with self._lock:
            self._kept = packed

    def _answer(self, run: Callable[[], Json]) -> str:
        try:
            return json.dumps(run())
        except EvaluationError as error:
            return json.dumps({"failure": error.kind, "message": one_line(error)})
        except NasError as error:
            return json.dumps({"failure": "config", "message": one_line(error)})
        except RuntimeError as error:  # what torch raises when a process of the group has gone
            return json.dumps({"failure": LOST, "message": one_line(error)[:500]})


def read_checkpoint(folder: Path) -> tuple[bytes, bytes]:
    """Return the files of the checkpoint in ``folder``, checked; empty where there is none."""
    from nas.training import checkpoint as checkpoints

    try:
        found = checkpoints.read(folder)
        checkpoints.unpack(*found)
    except ConfigError:
        return b"", b""
    return found


class GroupLost(Exception):
    """A process of the group is gone."""


class GroupGivenUp(StoppedSearch):
    """Processes of the group went away too often."""

    kind = "lost"


class DistributedTrainer:
    """Trains with ``settings.workers`` processes, with its checkpoints in ``folder``."""

    def __init__(self, settings: TrainingSettings, graph: Graph, folder: Path, initial: bytes = b"") -> None:
        from nas.evaluators.train import TrainSettings, shared_images

        self._settings, self._folder = settings, folder
        self._world = settings.workers or 1
        gpus = settings.gpus_per_worker
        cpus = settings.threads or 1
        self._places = WorkerResources(settings.ray_address, self._world, cpus, None if gpus is None else float(gpus))
        self._session = connect(settings.ray_address, max(processors(), self._world * cpus))
        import ray  # not before, as it reads its environment when imported

        self._gpus = gpus_each(self._places)
        self._places = replace(self._places, gpus=self._gpus)
        if (found := self._available()) < self._world:
            room = f"the cluster has room for {found} workers of {cpus} CPUs and {self._gpus:g} GPUs each"
            raise ConfigError(f"--workers {self._world}: {room}")
        job = TrainSettings.from_json(settings.job)
        self.splits = job.splits()
        plugins = {plugin: file_digest(plugin) for plugin in settings.plugins}
        self._described = tuple(map(json.dumps, (settings.to_json(), graph.to_json(), plugins)))
        self._shared = ray.put(shared_images(job)), ray.put(initial)
        self._members: list[Actor] = []

    def throughput(self) -> Throughput:
        """Measure a few steps of all processes together."""
        from nas.training.trainer import Throughput

        try:
            self._start()
            found = [Throughput(**self._checked(answer)) for answer in self._all("throughput")]
        except GroupLost as lost:
            raise ClusterError(f"a worker was lost while it was measured: {lost}") from None
        return max(found, key=lambda throughput: throughput.seconds)

    def fit(self, tell: Tell, stop: Stop) -> TrainingOutcome:
        """Train as one process does; a group that loses a process is started again from the checkpoint."""
        starts = 0
        while True:
            before = self._mark()
            try:
                self._start()
                return self._fit(tell, stop)
            except GroupLost as lost:
                self.close()
                self._session.check()
                starts = 1 if self._mark() != before else starts + 1
                tell({"event": "lost", "message": str(lost), "start": starts, "time": time.time()})
                if starts >= MOST_STARTS:
                    what = f"the group was lost {starts} times without a newer checkpoint"
                    raise GroupGivenUp(f"{what}: {lost}") from None
                # until nodes that went away are there again, or others
                end = time.monotonic() + WAIT_FOR_CLUSTER
                while self._available() < self._world:
                    self._session.check()
                    if time.monotonic() > end:
                        room = f"no room for {self._world} workers for {WAIT_FOR_CLUSTER:.0f} s"
                        what = f"the cluster has had {room}; what was recorded is safe: resume the run when it has"
                        raise ClusterError(what) from None
                    time.sleep(POLL)

    def measure_test(self) -> Measured:
        """Read the test split here, where it is no stream of files, and let every process measure its share."""
        import ray

        from nas.data.image_set import ImageSet
        from nas.training.evaluation import Measured

        test = self.splits.test
        arrays = (test.images, test.labels, test.findings) if isinstance(test, ImageSet) else None
        try:
            found = self._checked(self._all("measure", ray.put(arrays))[0])
        except GroupLost as lost:
            raise ClusterError(f"a worker was lost while the test split was measured; resume the run: {lost}") from None
        counts = found.pop("per_class")
        return Measured(**found, per_class=None if counts is None else ClassCounts.from_json(counts))

    def close(self) -> None:
        """End the processes."""
        if not self._members:
            return
        import ray

        for member in self._members:
            with suppress(ray.exceptions.RayError, ValueError):
                if not self._session.lost:
                    ray.kill(member, no_restart=True)
        self._members = []

    def _start(self) -> None:
        """Start the processes and join them to a group, unless they are one already."""
        if self._members:
            return
        import ray

        # the processes, each on its own
        once = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 4}
        options: Actor = ray.remote(DistributedWorker).options(num_cpus=self._places.cpus, num_gpus=self._gpus, **once)
        members = self._members = [options.remote(*self._described, *self._shared) for _ in range(self._world)]
        about = [json.loads(text) for text in self._all("hello")]
        here = versions()
        for name, there in (pair for one in about for pair in one["versions"].items()):
            if there != (own := here.get(name)):
                raise ConfigError(f"a worker's node has {name} {there}, this machine {own}; they must be equal")
        # processes of one node are neighbours, so that a ring of them crosses nodes as seldom as can be
        order = sorted(range(self._world), key=lambda i: (about[i]["node_id"], i))
        self._members = [members[i] for i in order]
        nodes = [str(about[i]["node_id"]) for i in order]
        # they meet at the first one's node
        alive: Actor = ray.nodes
        hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in alive() if node["Alive"]}
        local = Counter(nodes)
        (address,) = self._get([self._members[0].open.remote(hosts[nodes[0]])])
        joining = [
            member.join.remote(rank, self._world, address, hosts[node], local[node], self._gpus > 0)
            for rank, (member, node) in enumerate(zip(self._members, nodes, strict=True))
        ]
        for answer in self._get(joining):
            self._checked(answer)

    def _fit(self, tell: Tell, stop: Stop) -> TrainingOutcome:
        import ray

        numbers, content = read_checkpoint(self._folder)
        given = ray.put(numbers), ray.put(content)
        answers = [member.fit.remote(*given) for member in self._members]
        # meanwhile events and checkpoints come in; a process that failed ends the wait
        waiting, told = list(answers), False
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL)
            for answer in ready:
                self._checked(self._get([answer])[0][0])
            self._session.check()
            self._take_news(tell)
            if stop() and not told:
                told = True
                self._all("stop")
        self._take_news(tell)
        first, *_ = self._get(answers)
        found = json.loads(first[0])
        return TrainingOutcome(found["finished"], found["facts"], bytes(first[1]))

    def _take_news(self, tell: Tell) -> None:
        from nas.training import checkpoint as checkpoints

        (news,) = self._get([self._members[0].news.remote()])
        for event in json.loads(news[0]):
            tell(event)
        if len(news) == 3:
            checkpoints.write(bytes(news[1]), bytes(news[2]), self._folder)

    def _all(self, method: str, *arguments: object) -> list[Actor]:
        return self._get([getattr(member, method).remote(*arguments) for member in self._members])

    def _get(self, answers: Sequence[Actor]) -> list[Actor]:
        """Return the answers of processes; where one is gone :class:`GroupLost` is raised."""
        import ray

        waiting = list(answers)
        try:
            while waiting:
                ready, waiting = ray.wait(waiting, num_returns=1, timeout=POLL)
                for answer in ready:
                    ray.get(answer)
                self._session.check()
            return list(ray.get(list(answers)))
        except ray.exceptions.RayTaskError as error:
            raise EvaluationError(f"a worker failed: {one_line(error)[:1_000]}") from None
        except ray.exceptions.RayError as error:
            raise GroupLost(one_line(error)[:500]) from None

    def _checked(self, answer: str | bytes) -> Json:
        """Return what a process answered; what went wrong there is raised here."""
        found: Json = json.loads(answer)
        if "failure" not in found:
            return found
        kind, message = found["failure"], found["message"]
        if kind == LOST:
            raise GroupLost(message)
        if kind == "config":
            raise ConfigError(message)
        raise EvaluationError(message, kind)

    def _mark(self) -> str:  # which every newer checkpoint has different
        return str(json.loads(read_checkpoint(self._folder)[0] or b"{}").get("digest", ""))

    def _available(self) -> int:
        try:
            return available_workers(self._places)
        except ConfigError:  # not even for one
            return 0
