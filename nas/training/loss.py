"""The training loss: smoothed cross entropy of the logits, of mixed labels, and of auxiliary heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from nas.graph import Graph
from nas.training.augment import Mixed, Targets
from nas.training.recipe import Recipe


def trained_outputs(graph: Graph, recipe: Recipe) -> tuple[str, ...]:
    """Return the outputs of ``graph`` that are trained: ``logits``, and its heads ``aux*`` where they have a weight."""
    heads = (name for name, _ in graph.outputs if name.startswith("aux")) if recipe.aux_weight else ()
    return "logits", *heads


def training_loss(outputs: Tensor | Sequence[Tensor], targets: Targets, recipe: Recipe) -> Tensor:
    """Return the loss of ``outputs``, the logits (B, K) first, then auxiliary heads at ``recipe.aux_weight`` each."""
    if isinstance(outputs, Tensor):
        return _one(outputs, targets, recipe.label_smoothing)
    logits, *heads = outputs
    loss = _one(logits, targets, recipe.label_smoothing)
    for head in heads:
        loss = loss + recipe.aux_weight * _one(head, targets, recipe.label_smoothing)
    return loss


def _one(logits: Tensor, targets: Targets, smoothing: float) -> Tensor:
    logits = logits.float()
    if isinstance(targets, Mixed):
        first = F.cross_entropy(logits, targets.first, label_smoothing=smoothing, reduction="none")
        second = F.cross_entropy(logits, targets.second, label_smoothing=smoothing, reduction="none")
        return (targets.shares * first + (1 - targets.shares) * second).mean()
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)
