"""The final training of a finalist: on train and validation together, with the test split measured exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.errors import EvaluationError
from nas.evaluators.notes import notes_of
from nas.evaluators.predictions import Predictions
from nas.evaluators.train import TrainSettings
from nas.graph import Graph, cost
from nas.types import Job, Metrics

if TYPE_CHECKING:
    from torch import fx


@dataclass(frozen=True, eq=False)
class FinalResult:
    """A finalist's numbers: accuracy in percent and cross-entropy on the test split, seconds of training, and cost.

    ``params`` and ``macs`` are of the network that is measured, without auxiliary heads; for ``notes`` see
    :func:`nas.evaluators.notes.notes_of`.
    """

    test_accuracy: float
    test_loss: float
    train_seconds: float
    params: int
    macs: int
    module: fx.GraphModule
    notes: Mapping[str, Any] = field(default_factory=dict)


def train_final(
    graph: Graph, settings: Mapping[str, Any], epochs: int, seed: int, keep: Predictions | None = None
) -> FinalResult:
    """Train ``graph`` from scratch on all but the test split, then measure the test split once.

    ``settings`` are a job's (see :class:`nas.evaluators.train.TrainSettings`), ``epochs`` 0 stands for the recipe's.
    Every call reads the test split: the caller writes it in the journal. ``keep`` collects what the network makes of
    its images in that same read. Raises as ``nas.training.engine.train`` does.
    """
    from nas.training.engine import train

    chosen = TrainSettings.from_json(settings)
    splits, recipe = chosen.splits(), chosen.actual_recipe()
    result = train(
        graph,
        splits,
        recipe,
        seed,
        epochs or None,
        train_on=("train", "validation"),
        measure_on="test",
        device=chosen.device,
        threads=chosen.threads,
        deterministic=chosen.deterministic,
        keep_predictions=keep,
    )
    total, notes = cost(graph.pruned(("logits",))), notes_of(result, splits.damaged, graph, recipe)
    return FinalResult(result.accuracy, result.loss, result.seconds, total.params, total.macs, result.module, notes)


class FinalEvaluator:
    """Trains ``job.graph`` by :func:`train_final`; the reward is the accuracy on the test split in percent.

    Values are ``test_loss``, ``params`` and ``macs``; seconds are those of the training alone, notes are all there are.
    The trained network, and its predictions for the test split, come with a job that asks for them.
    """

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics, on the CPU the same for the same job; raises as :func:`train_final` does."""
        if job.graph is None:
            raise EvaluationError(f"the final training of '{job.key}' was given no network")
        from nas.training.weights import weights_of

        kept = Predictions() if job.keep_predictions else None
        result = train_final(job.graph, job.settings, job.epochs, job.seed, kept)
        values = {"test_loss": result.test_loss, "params": result.params, "macs": result.macs}
        weights = weights_of(result.module) if job.keep_weights else b""
        predictions = b"" if kept is None else kept.to_bytes()
        seconds = result.train_seconds
        return Metrics(result.test_accuracy, values, seconds, False, result.notes, weights, predictions)
