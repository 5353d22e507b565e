"""One process's part of a training: the engine between a training's settings and what it tells of itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.values import Json
from nas.errors import ConfigError
from nas.evaluators.train import data_notes, plateau_of
from nas.graph import Graph
from nas.runs.journal import Event
from nas.workflows.train.settings import TrainingSettings

if TYPE_CHECKING:
    from nas.data.splits import Images, Splits
    from nas.training.checkpoint import Checkpoint
    from nas.training.distributed import Group
    from nas.training.evaluation import Measured
    from nas.training.trainer import Fitted, Keep, Throughput

Tell = Callable[[Event], None]
"""Takes an event of the journal."""
Stop = Callable[[], bool]


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended."""

    finished: bool
    """Whether it came to its end."""
    facts: Event
    """``epochs_trained``, ``images_per_second``, ``seconds`` of this process, ``device``, ``switches``, the pixels'
    ``normalization``, of a plateau schedule ``plateau_of``, and what :func:`nas.evaluators.train.data_notes` holds."""
    weights: bytes = b""
    """As safetensors; empty where it did not come to its end."""


class TrainingProcess:
    """The part of one process, the only one or one of a ``group``.

    ``initial`` is the safetensors file of the weights that a fine-tuning begins with.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        graph: Graph,
        splits: Splits,
        device: str | None = None,
        group: Group | None = None,
        initial: bytes = b"",
    ) -> None:
        self.settings, self.graph, self.splits, self.group = settings, graph, splits, group
        start = None
        if settings.start is not None:
            from safetensors.torch import load

            from nas.training.initial_weights import Start

            tensors = load(initial) if initial else {}
            start = Start(tensors, tuple(settings.start["frozen"]), settings.start["factor"])
        # how it is trained, for a measurement as for the training
        self._how: Json = {"train_on": settings.train_on, "threads": settings.threads, "device": device}
        self._how |= {"group": group, "initial": start}
        self._fitted: Fitted | None = None
        self._epoch_start = 0.0

    def throughput(self) -> Throughput:
        """Measure a few steps."""
        from nas.training.trainer import throughput

        return throughput(self.graph, self.splits, self.settings.actual_recipe, **self._how)

    def train(self, tell: Tell, stop: Stop, keep: Keep, resume: Checkpoint | None) -> TrainingOutcome:
        """Train from ``resume`` on; ``keep`` gets the checkpoints."""
        from nas.training.trainer import fit
        from nas.training.weights import weights_of

        s = self.settings
        plateau = s.actual_recipe.schedule == "plateau"
        # the time of a resumed epoch begins where its checkpoint says
        self._epoch_start = time.monotonic() - (0.0 if resume is None else resume.seconds)

        def timed(found: Checkpoint) -> None:
            keep(replace(found, seconds=time.monotonic() - self._epoch_start if found.step else 0.0))

        def after_epoch(epoch: int, loss: float, measure: Callable[[Images], Measured]) -> None:
            # the time of a measurement counts in the epoch that it follows; what the schedule has measured is told too
            due = s.validate and (epoch % s.validate == 0 or epoch == s.epochs or plateau)
            found = measure(self.splits.validation) if due else None
            now = time.monotonic()
            event: Json = {"event": "epoch", "number": epoch, "loss": loss, "seconds": now - self._epoch_start}
            if found is not None:
                event["validation"] = {name: getattr(found, name) for name in ("accuracy", "loss", "top5")}
            tell(event)
            self._epoch_start = now

        found = self._fitted = fit(
            self.graph,
            self.splits,
            s.actual_recipe,
            s.seed,
            s.epochs,
            before_save=after_epoch,
            checkpoint=timed,
            resume=resume,
            stop=stop,
            **self._how,
        )
        # in a group all have the same weights
        first = self.group is None or self.group.rank == 0
        weights = weights_of(found.module) if found.finished and first else b""
        facts: Json = {
            "epochs_trained": found.epochs_trained,
            "images_per_second": round(found.images_per_second, 1),
            "seconds": found.seconds,
            "device": found.device,
            "switches": [name for name, on in found.backend.to_json().items() if on],
            "normalization": found.normalization.to_json(),
        }
        if plateau:
            facts["plateau_of"] = plateau_of(found.errors)
        return TrainingOutcome(found.finished, {**facts, **data_notes(self.splits)}, weights)

    def measure(self, images: Images | None = None) -> Measured:
        """Measure the trained network on ``images``, by default the test split, which is read for it."""
        assert self._fitted is not None
        return self._fitted.measure(self.splits.test if images is None else images, None)


class LocalTrainer(TrainingProcess):
    """Trains in this process, with its checkpoints in ``folder``."""

    def __init__(self, settings: TrainingSettings, graph: Graph, folder: Path, initial: bytes = b"") -> None:
        super().__init__(settings, graph, settings.splits, initial=initial)
        self._folder = folder

    def fit(self, tell: Tell, stop: Stop) -> TrainingOutcome:
        """Train from the checkpoint that is there to the end, or until ``stop()`` becomes true."""
        from nas.training import checkpoint as checkpoints

        latest = None
        with suppress(ConfigError):  # a checkpoint that is missing or damaged is none
            latest = checkpoints.load(self._folder)
        return self.train(tell, stop, lambda found: checkpoints.save(found, self._folder), latest)

    def measure_test(self) -> Measured:
        """Read the test split and measure it."""
        return self.measure()

    def close(self) -> None:
        """Do nothing: nothing is held."""
