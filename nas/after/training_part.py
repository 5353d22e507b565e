"""One process's part of a training: the engine between a training's settings and what it tells of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from nas.after.training_settings import TrainingSettings
from nas.evaluators.notes import SHOWN
from nas.graph import Graph

if TYPE_CHECKING:
    from nas.training.checkpoint import Checkpoint
    from nas.training.data import Images, Splits
    from nas.training.engine import Fitted, Keep, Measured
    from nas.training.pace import Pace
    from nas.training.parallel import Group
    from nas.training.start import Start

Tell = Callable[[Mapping[str, Any]], None]
"""Takes an event of the journal."""
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Ended:
    """How a training ended: whether it came to its end, facts about it as JSON, and the weights as safetensors.

    Facts: ``epochs_trained``, ``images_per_second``, ``seconds`` of this process, ``device``, ``switches``, and where
    files were damaged ``damaged``.
    """

    finished: bool
    facts: Mapping[str, Any]
    weights: bytes = b""


class Trainer(Protocol):
    """Carries a training out, in this process or in others."""

    def pace(self) -> Pace:
        """Measure a few steps."""

    def fit(self, tell: Tell, stop: Stop) -> Ended:
        """Train from the checkpoint that is there to the end, or until ``stop()`` becomes true."""

    def measure_test(self) -> Measured:
        """Read the test split and measure the network that :meth:`fit` trained."""

    def close(self) -> None:
        """Let go of all that is held."""


class Part:
    """The part of one process, the only one or one of a ``group``; ``initial``: see :func:`start_of`."""

    def __init__(
        self,
        settings: TrainingSettings,
        graph: Graph,
        splits: Splits,
        device: str | None = None,
        group: Group | None = None,
        initial: bytes = b"",
    ) -> None:
        self.settings, self.graph, self.splits = settings, graph, splits
        self.device, self.group, self.start = device, group, start_of(settings, initial)
        self._fitted: Fitted | None = None
        self._begun = 0.0

    def pace(self) -> Pace:
        """Measure a few steps."""
        from nas.training.pace import pace

        s = self.settings
        place = self.device, s.threads, self.group
        return pace(self.graph, self.splits, s.actual_recipe, s.train_on, *place, initial=self.start)

    def fit(self, tell: Tell, stop: Stop, keep: Keep, resume: Checkpoint | None) -> Ended:
        """Train from ``resume`` on; ``keep`` gets the checkpoints."""
        from nas.training.engine import fit
        from nas.training.weights import weights_of

        s = self.settings
        self._begun = time.monotonic() - (0.0 if resume is None else resume.seconds)

        def timed(found: Checkpoint) -> None:
            keep(replace(found, seconds=time.monotonic() - self._begun if found.step else 0.0))

        def after_epoch(epoch: int, loss: float, measure: Callable[[Images], Measured]) -> None:
            due = s.validate and (epoch % s.validate == 0 or epoch == s.epochs)
            found = measure(self.splits.validation) if due else None
            now = time.monotonic()
            event = {"event": "epoch", "number": epoch, "loss": loss, "seconds": now - self._begun}
            tell(event if found is None else {**event, "validation": asdict(found)})
            self._begun = now

        found = self._fitted = fit(
            self.graph,
            self.splits,
            s.actual_recipe,
            s.seed,
            s.epochs,
            s.train_on,
            self.device,
            s.threads,
            before_save=after_epoch,
            checkpoint=timed,
            resume=resume,
            stop=stop,
            group=self.group,
            initial=self.start,
        )
        first = self.group is None or self.group.rank == 0
        weights = weights_of(found.module) if found.finished and first else b""
        return Ended(found.finished, self._facts(found), weights)

    def measure(self, images: Images | None = None) -> Measured:
        """Measure the trained network on ``images``, by default the test split, which is read for it."""
        assert self._fitted is not None
        return self._fitted.measure(self.splits.test if images is None else images)

    def _facts(self, found: Fitted) -> dict[str, Any]:
        damaged = self.splits.damaged
        facts: dict[str, Any] = {
            "epochs_trained": found.epochs_trained,
            "images_per_second": round(found.images_per_second, 1),
            "seconds": found.seconds,
            "device": found.device,
            "switches": [name for name, on in found.switches.to_json().items() if on],
        }
        return facts | ({"damaged": {"count": len(damaged), "first": sorted(damaged)[:SHOWN]}} if damaged else {})


class Here:
    """Trains in this process, with its checkpoints in ``folder``."""

    def __init__(self, settings: TrainingSettings, graph: Graph, folder: Any, initial: bytes = b"") -> None:
        from nas.evaluators.train import TrainSettings

        self._folder = folder
        self._part = Part(settings, graph, TrainSettings.from_json(settings.job).splits(), initial=initial)

    def pace(self) -> Pace:
        """Measure a few steps."""
        return self._part.pace()

    def fit(self, tell: Tell, stop: Stop) -> Ended:
        """Train; see :meth:`Trainer.fit`."""
        from nas.training import checkpoint as checkpoints

        return self._part.fit(tell, stop, lambda found: checkpoints.save(found, self._folder), latest(self._folder))

    def measure_test(self) -> Measured:
        """Read the test split and measure it."""
        return self._part.measure()

    def close(self) -> None:
        """Do nothing."""


def start_of(settings: TrainingSettings, initial: bytes) -> Start | None:
    """Return what a fine-tuning begins with: the tensors of the safetensors file ``initial``, and what is frozen."""
    if settings.start is None:
        return None
    from safetensors.torch import load

    from nas.training.start import Start

    return Start(load(initial) if initial else {}, tuple(settings.start["frozen"]), settings.start["factor"])


def latest(folder: Any) -> Checkpoint | None:
    """Return the checkpoint in ``folder``; one that is missing or damaged is none."""
    from nas.errors import ConfigError
    from nas.training import checkpoint as checkpoints

    try:
        return checkpoints.load(folder)
    except ConfigError:
        return None
