"""The final training of a finalist: on train and validation together, with the test split measured exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.evaluators.notes import notes_of
from nas.evaluators.train import TrainSettings
from nas.graph import Graph, cost

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


def train_final(graph: Graph, settings: Mapping[str, Any], epochs: int, seed: int) -> FinalResult:
    """Train ``graph`` from scratch on all but the test split, then measure the test split once.

    ``settings`` are a job's (see :class:`nas.evaluators.train.TrainSettings`), ``epochs`` 0 stands for the recipe's.
    Every call reads the test split: the caller writes it in the journal. Raises as ``nas.training.engine.train`` does.
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
    )
    total, notes = cost(graph.pruned(("logits",))), notes_of(result, splits.damaged, graph, recipe)
    return FinalResult(result.accuracy, result.loss, result.seconds, total.params, total.macs, result.module, notes)
