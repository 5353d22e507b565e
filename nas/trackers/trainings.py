"""Telling callbacks of the training of one network: every epoch, and the test split at its end."""

from __future__ import annotations

from collections.abc import Sequence

from nas.core.values import Json
from nas.runs.journal import Event
from nas.runs.progress import Observer, Progress
from nas.runs.run_folder import RunFolder, RunPlan
from nas.trackers.base import Callback, Epoch, FinalTraining, TrackedRun
from nas.trackers.tracking import Following, Listener, run_on_disk


class TrainingTracking(Following):
    """Tells ``listeners`` of one training, whose journal's ``events`` grow while it goes on."""

    def __init__(self, listeners: Sequence[Listener], run: TrackedRun, events: Sequence[Event], network: str) -> None:
        super().__init__(listeners, run)
        self._events, self._network, self._next = events, network, 0
        self._seconds = 0.0

    def update(self) -> None:
        """Tell what the events hold that came since the last call; an epoch that was trained twice is told once."""
        while self._next < len(self._events):
            event = self._events[self._next]
            self._next += 1
            if event["event"] == "epoch":
                self._seconds += event["seconds"]
                measured = {n: float(v) for n, v in event.get("validation", {}).items() if v is not None}
                epoch = Epoch(event["number"], event["loss"], event["seconds"], measured)
                self._tell(f"epoch {epoch.number}", lambda c, e=epoch: c.on_epoch(e))  # type: ignore[misc]
            elif event["event"] == "trained":
                done = FinalTraining("test", self._network, 0, event["top1"], self._seconds, ())
                self._tell("training 0", lambda c, d=done: c.on_training(d))  # type: ignore[misc]


def execute_training(
    run: RunFolder[RunPlan],
    settings: Json,
    events: Sequence[Event],
    network: str,
    callbacks: Sequence[Callback],
    observe: Observer,
) -> str:
    """Carry the training ``run`` of a ``network`` out while ``callbacks`` are told of it; return why it ended."""
    if not callbacks:
        return run.execute(observe)
    tracking = TrainingTracking([Listener(c) for c in callbacks], run_on_disk(run.folder, settings), events, network)

    def told(progress: Progress) -> None:
        observe(progress)
        tracking.update()

    return tracking.follow(lambda: run.execute(told))
