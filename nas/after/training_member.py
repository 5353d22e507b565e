"""A worker of a group that trains together: an actor of Ray, around one process's part of the training."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.after.training_part import Part
from nas.after.training_settings import TrainingSettings
from nas.errors import EvaluationError, NasError, one_line
from nas.executors.ray_worker import versions
from nas.graph import Graph

if TYPE_CHECKING:
    from nas.training.checkpoint import Checkpoint

LOST = "lost"
"""The kind of failure that another start may mend: what processes tell each other did not arrive."""


class Member:
    """What runs in the actor's process; arguments and answers are JSON, tensors safetensors.

    ``shared`` holds the images as :func:`nas.evaluators.train.shared_images` returns them, ``initial`` the weights that
    a fine-tuning begins with. Several calls may run at a time: :meth:`news` and :meth:`stop` answer while :meth:`fit`
    trains.
    """

    def __init__(self, settings: str, graph: str, shared: Mapping[str, Any], initial: bytes = b"") -> None:
        self._given, self._initial = (settings, graph, shared), initial
        self._part: Part | None = None
        self._store: Any = None
        self._group: AbstractContextManager[Any] | None = None
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._events: deque[Mapping[str, Any]] = deque()
        self._kept: tuple[bytes, bytes] | None = None

    def hello(self) -> str:
        """Return who this is."""
        import ray

        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        about = {"pid": os.getpid(), "node_id": context.get_node_id(), "gpus": gpus, "versions": versions()}
        return json.dumps(about)

    def open(self, host: str) -> str:
        """Open the place where the group meets, on this node's address ``host``, and return its address."""
        from nas.training.parallel import open_meeting

        self._store, address = open_meeting(host)
        return address

    def join(self, rank: int, world: int, address: str, host: str, local: int, on_gpu: bool) -> str:
        """Be process ``rank`` of the group; returns nothing, or why not."""
        from nas.evaluators.train import TrainSettings, adopt
        from nas.plugins import load_built_in, load_plugin
        from nas.training.parallel import joined

        def begin() -> dict[str, Any]:
            load_built_in()
            settings = TrainingSettings.from_json(json.loads(self._given[0]))
            for plugin in settings.plugins:
                load_plugin(plugin)
            adopt(settings.job, self._given[2])
            splits = TrainSettings.from_json(settings.job).splits()
            device = "cuda" if on_gpu else "cpu"
            self._group = joined(rank, world, address, device, local, host)
            graph = Graph.from_json(json.loads(self._given[1]))
            self._part = Part(settings, graph, splits, device, self._group.__enter__(), self._initial)
            return {}

        return self._answer(begin)

    def pace(self) -> str:
        """Measure a few steps."""
        assert self._part is not None
        part = self._part
        return self._answer(lambda: asdict(part.pace()))

    def fit(self, numbers: bytes, content: bytes) -> list[bytes]:
        """Train from a checkpoint (empty: from scratch); return the facts and, of the first, the weights."""
        assert self._part is not None
        part = self._part
        weights = b""

        def run() -> dict[str, Any]:
            nonlocal weights
            from nas.training.checkpoint import unpack

            found = unpack(numbers, content) if numbers else None
            ended = part.fit(self._tell, self._stopping.is_set, self._keep, found)
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

    def measure(self, arrays: Any) -> str:
        """Measure the test split: its images, labels and damaged files, or None to read it here."""
        assert self._part is not None
        part = self._part

        def run() -> dict[str, Any]:
            from nas.training.images import ImageSet

            return asdict(part.measure(None if arrays is None else ImageSet(*arrays)))

        return self._answer(run)

    def _tell(self, event: Mapping[str, Any]) -> None:
        with self._lock:
            self._events.append(event)

    def _keep(self, found: Checkpoint) -> None:
        from nas.training.checkpoint import pack

        packed = pack(found)
        with self._lock:
            self._kept = packed

    def _answer(self, run: Any) -> str:
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
    from nas.errors import ConfigError
    from nas.training import checkpoint as checkpoints

    try:
        found = checkpoints.read(folder)
        checkpoints.unpack(*found)
    except ConfigError:
        return b"", b""
    return found
