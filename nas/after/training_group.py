"""Training by several processes on Ray: the driver's side.

Ray Core starts the processes, with its own restarts off, and torch.distributed does the rest. The first process sends
events and checkpoints here: this process alone writes to the run's folder, so no file system need be shared. A group
that loses a process is ended and started again from the checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.after.training_member import LOST, Member, read_checkpoint
from nas.after.training_part import Ended, Stop, Tell
from nas.after.training_settings import TrainingSettings
from nas.errors import ClusterError, ConfigError, EvaluationError, StoppedSearch, one_line
from nas.executors.ray_pool import Places, gpus_each, processors, room
from nas.executors.ray_session import connect
from nas.executors.ray_worker import versions
from nas.graph import Graph

if TYPE_CHECKING:
    from nas.training.evaluation import Measured
    from nas.training.pace import Pace

MOST_STARTS = 3
"""Starts in a row without a newer checkpoint after which a training is given up."""
GLANCE = 0.5
"""Seconds between two questions for news."""
ROOM = 300.0
"""Seconds that a group waits for room after it lost a process."""


class GroupLost(Exception):
    """A process of the group is gone."""


class Together:
    """Trains with ``settings.workers`` processes, with its checkpoints in ``folder``."""

    def __init__(self, settings: TrainingSettings, graph: Graph, folder: Path, initial: bytes = b"") -> None:
        from nas.evaluators.train import TrainSettings, shared_images

        self._settings, self._folder = settings, folder
        self._world = settings.workers or 1
        gpus = settings.gpus_per_worker
        cpus = settings.threads or 1
        self._places = Places(settings.ray_address, self._world, cpus, None if gpus is None else float(gpus))
        self._session = connect(settings.ray_address, max(processors(), self._world * cpus))
        import ray  # not before, as it reads its environment when imported

        self._gpus = gpus_each(self._places)
        self._places = replace(self._places, gpus=self._gpus)
        if (found := self._room()) < self._world:
            raise ConfigError(
                f"--workers {self._world}: the cluster has room for {found} workers of {cpus} CPUs and {self._gpus:g} "
                "GPUs each"
            )
        self._job = settings.job
        self._splits = TrainSettings.from_json(self._job).splits()
        self._given = json.dumps(settings.to_json()), json.dumps(graph.to_json())
        self._shared = ray.put(shared_images(self._job)), ray.put(initial)
        self._members: list[Any] = []

    def pace(self) -> Pace:
        """Measure a few steps of all processes together."""
        from nas.training.pace import Pace

        try:
            self._start()
            found = [Pace(**self._checked(answer)) for answer in self._all("pace")]
        except GroupLost as lost:
            raise ClusterError(f"a worker was lost while it was measured: {lost}") from None
        return max(found, key=lambda pace: pace.seconds)

    def fit(self, tell: Tell, stop: Stop) -> Ended:
        """Train; see :class:`nas.after.training_part.Trainer`. A group that loses a process is started again."""
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
                    raise StoppedSearch(f"{what}: {lost}") from None
                self._await_room()

    def measure_test(self) -> Measured:
        """Read the test split here, where it is no stream of files, and let every process measure its share."""
        import ray

        from nas.training.evaluation import Measured
        from nas.training.images import ImageSet

        test = self._splits.test
        arrays = (test.images, test.labels, test.damaged) if isinstance(test, ImageSet) else None
        try:
            return Measured(**self._checked(self._all("measure", ray.put(arrays))[0]))
        except GroupLost as lost:
            raise ClusterError(f"a worker was lost while the test split was measured; resume the run: {lost}") from None

    def close(self) -> None:
        """End the processes."""
        if not self._members:
            return
        import ray

        for member in self._members:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                if not self._session.lost:
                    ray.kill(member, no_restart=True)
        self._members = []

    def _start(self) -> None:
        """Start the processes and bring them together, if they are not."""
        if self._members:
            return
        import ray

        options: Any = ray.remote(Member).options(
            num_cpus=self._places.cpus,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,
        )
        members = self._members = [options.remote(*self._given, *self._shared) for _ in range(self._world)]
        about = [json.loads(text) for text in self._get([member.hello.remote() for member in members])]
        _check_versions(about)
        order = sorted(range(self._world), key=lambda i: (about[i]["node_id"], i))
        self._members = [members[i] for i in order]
        nodes = [str(about[i]["node_id"]) for i in order]
        hosts, local = _addresses(), Counter(nodes)
        (address,) = self._get([self._members[0].open.remote(hosts[nodes[0]])])
        joining = [
            member.join.remote(rank, self._world, address, hosts[node], local[node], self._gpus > 0)
            for rank, (member, node) in enumerate(zip(self._members, nodes, strict=True))
        ]
        for answer in self._get(joining):
            self._checked(answer)

    def _fit(self, tell: Tell, stop: Stop) -> Ended:
        import ray

        numbers, content = read_checkpoint(self._folder)
        given = ray.put(numbers), ray.put(content)
        answers = [member.fit.remote(*given) for member in self._members]
        waiting, told = list(answers), False
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=GLANCE)
            for answer in ready:
                self._checked(self._get([answer])[0][0])
            self._session.check()
            self._take_news(tell)
            if stop() and not told:
                told = True
                self._get([member.stop.remote() for member in self._members])
        self._take_news(tell)
        first, *_ = self._get(answers)
        found = json.loads(first[0])
        return Ended(found["finished"], found["facts"], bytes(first[1]))

    def _take_news(self, tell: Tell) -> None:
        from nas.training import checkpoint as checkpoints

        (news,) = self._get([self._members[0].news.remote()])
        for event in json.loads(news[0]):
            tell(event)
        if len(news) == 3:
            checkpoints.write(bytes(news[1]), bytes(news[2]), self._folder)

    def _all(self, method: str, *arguments: Any) -> list[str]:
        return [str(a) for a in self._get([getattr(m, method).remote(*arguments) for m in self._members])]

    def _get(self, answers: Sequence[Any]) -> list[Any]:
        """Return the answers of processes; one that will not come raises :class:`GroupLost`."""
        import ray

        waiting = list(answers)
        try:
            while waiting:
                ready, waiting = ray.wait(waiting, num_returns=1, timeout=GLANCE)
                for answer in ready:
                    ray.get(answer)
                self._session.check()
            return list(ray.get(list(answers)))
        except ray.exceptions.RayTaskError as error:
            raise EvaluationError(f"a worker failed: {one_line(error)[:1_000]}") from None
        except ray.exceptions.RayError as error:
            raise GroupLost(one_line(error)[:500]) from None

    def _checked(self, answer: str | bytes) -> dict[str, Any]:
        """Return what a process answered; what went wrong there is raised here."""
        found: dict[str, Any] = json.loads(answer)
        if "failure" not in found:
            return found
        kind, message = found["failure"], found["message"]
        if kind == LOST:
            raise GroupLost(message)
        if kind == "config":
            raise ConfigError(message)
        raise EvaluationError(message, kind)

    def _mark(self) -> str:
        """Return what a newer checkpoint has otherwise."""
        return str(json.loads(read_checkpoint(self._folder)[0] or b"{}").get("digest", ""))

    def _room(self) -> int:
        """Return the number of workers that there is room for now."""
        try:
            return room(self._places)
        except ConfigError:  # not even for one
            return 0

    def _await_room(self) -> None:
        """Wait until nodes that went away are there again, or others."""
        end = time.monotonic() + ROOM
        while self._room() < self._world:
            self._session.check()
            if time.monotonic() > end:
                raise ClusterError(
                    f"the cluster has had no room for {self._world} workers for {ROOM:.0f} s; what was recorded is "
                    "safe: resume the run when it has"
                )
            time.sleep(GLANCE)


def _addresses() -> Mapping[str, str]:
    """Return the addresses of the nodes by their ids."""
    import ray

    nodes: Any = ray.nodes  # untyped there
    return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes() if node["Alive"]}


def _check_versions(about: Sequence[Mapping[str, Any]]) -> None:
    here = versions()
    for one in about:
        for name, there in one["versions"].items():
            if there != here.get(name):
                raise ConfigError(
                    f"a worker's node has {name} {there}, this machine {here.get(name)}; they must be equal"
                )
