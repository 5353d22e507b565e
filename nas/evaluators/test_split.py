"""The final training of a finalist: on train and validation together, with the test split measured exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.core.values import Json
from nas.errors import ConfigError, EvaluationError
from nas.evaluators.train import DatasetCache, TrainSettings, curve_of, notes_of
from nas.graph import Graph, cost
from nas.types import Job, Metrics

if TYPE_CHECKING:
    from torch import Tensor, fx

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FinalResult:
    """A finalist's numbers.

    Attributes:
        test_accuracy: in percent on the test split
        test_loss: cross entropy there
        train_seconds: of the training alone
        params: of the network that is measured, without auxiliary heads
        macs: of the same
        module: the trained network
        notes: see :func:`nas.evaluators.train.notes_of`; also the ``normalization`` of pixels, the learning ``curve``,
            and where they were counted the images of the test split ``per_class``, see
            :class:`nas.core.values.ClassCounts`
    """

    test_accuracy: float
    test_loss: float
    train_seconds: float
    params: int
    macs: int
    module: fx.GraphModule
    notes: Json = field(default_factory=dict)


def train_final(
    graph: Graph,
    settings: TrainSettings,
    epochs: int,
    seed: int,
    keep: Predictions | None = None,
    datasets: DatasetCache | None = None,
) -> FinalResult:
    """Train ``graph`` from scratch on all but the test split, then measure the test split once.

    ``epochs`` 0: the recipe's own. ``datasets`` holds images that this worker was given. Every call reads the test
    split, for ``keep`` too: the caller writes it in the journal. Raises as ``nas.training.trainer.train`` does.
    """
    from nas.training.trainer import train

    splits, recipe = (datasets or DatasetCache()).splits(settings), settings.actual_recipe()
    result = train(
        graph,
        splits,
        recipe,
        seed,
        epochs or None,
        train_on=("train", "validation"),
        measure_on="test",
        device=settings.device,
        threads=settings.threads,
        deterministic=settings.deterministic,
        precision=settings.precision,
        keep_predictions=keep,
    )
    total, notes = cost(graph.pruned(("logits",))), notes_of(result, splits, graph, recipe)
    notes["normalization"] = result.normalization.to_json()
    if result.per_class is not None:
        notes["per_class"] = result.per_class.to_json()
    notes["curve"] = curve_of(result.history)
    return FinalResult(result.accuracy, result.loss, result.seconds, total.params, total.macs, result.module, notes)


class FinalEvaluator:
    """Trains ``job.graph`` by :func:`train_final`; the reward is the accuracy on the test split in percent.

    Values are ``test_loss``, ``params`` and ``macs``; seconds are those of the training alone, notes are all there are.
    The trained network, and its predictions for the test split, come with a job that asks for them.
    """

    def __init__(self, datasets: DatasetCache | None = None) -> None:
        self.datasets = datasets or DatasetCache()

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics, on the CPU the same for the same job; raises as :func:`train_final` does."""
        if job.graph is None:
            raise EvaluationError(f"the final training of '{job.key}' was given no network")
        from nas.training.weights import weights_of

        kept = Predictions() if job.keep_predictions else None
        settings = TrainSettings.from_json(job.settings)
        result = train_final(job.graph, settings, job.epochs, job.seed, kept, self.datasets)
        return Metrics(
            reward=result.test_accuracy,
            values={"test_loss": result.test_loss, "params": result.params, "macs": result.macs},
            seconds=result.train_seconds,
            notes=result.notes,
            weights=weights_of(result.module) if job.keep_weights else b"",
            predictions=b"" if kept is None else kept.to_bytes(),
        )


class Predictions:
    """Collects what :func:`nas.training.evaluation.measure` gives to its ``keep``: what ensembles are made of."""

    def __init__(self) -> None:
        self._probabilities: list[Probabilities] = []
        self._labels: list[Labels] = []

    def __call__(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Take a batch: (B, classes) and (B,)."""
        self._probabilities.append(log_probabilities.exp().cpu().numpy())
        self._labels.append(labels.cpu().numpy())

    def to_bytes(self) -> bytes:
        """Return a safetensors file of ``probabilities`` float32 (N, classes) and ``labels`` int64 (N,)."""
        from safetensors.numpy import save

        probabilities, labels = np.concatenate(self._probabilities), np.concatenate(self._labels)
        return save({"probabilities": probabilities.astype(np.float32), "labels": labels.astype(np.int64)})


def read_predictions(data: bytes, where: str) -> tuple[Probabilities, Labels]:
    """Return what :meth:`Predictions.to_bytes` wrote; anything else is a :class:`ConfigError` naming ``where``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(data)
        return found["probabilities"], found["labels"]
    except (SafetensorError, KeyError) as error:
        raise ConfigError(f"predictions '{where}' cannot be read: {error}") from None
