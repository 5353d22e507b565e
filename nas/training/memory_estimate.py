"""Peak memory of a training under a recipe: a step of :mod:`nas.graph.analysis.memory`, and what is around it."""

from __future__ import annotations

from math import prod

from nas.graph import Graph
from nas.graph.analysis.cost import cost, shapes_of
from nas.graph.analysis.memory import memory_peak
from nas.training.recipe import Recipe

OPTIMIZERS = ("sgd", "sgd-momentum", "adam")
"""By the numbers that an optimizer keeps for every weight, as :data:`nas.graph.analysis.memory.MOMENTS` counts them."""


def training_memory(graph: Graph, recipe: Recipe, batch: int | None = None) -> int:
    """Return the greatest number of bytes that a training of ``graph`` holds at any time, in float32.

    Weights, buffers, the optimizer's moments, the average of weights, a batch (the recipe's by default) and what a step
    needs; not the image set. Auxiliary heads count where the recipe trains them.
    """
    heads = [name for name, _ in graph.outputs if name.startswith("aux")] if recipe.aux_weight else []
    trained = graph.pruned(["logits", *heads])
    weights, shapes = 4 * cost(trained).params, shapes_of(trained)
    statistics = sum(8 * shapes[node.name][0] for node in trained.nodes if node.op.kind == "batch_norm")
    average = weights + statistics if recipe.ema else 0
    size = recipe.batch_size if batch is None else batch
    step = memory_peak(trained, size, OPTIMIZERS[moments(recipe)])
    held = weights * (1 + moments(recipe)) + statistics + size * (4 * prod(trained.input_shape) + 8)
    # the gradients, and what the multi-tensor kernels make beside them, when the activations are gone: decayed
    # gradients and the roots of the mean squares
    temporaries = int(recipe.weight_decay > 0) + 1 if recipe.optimizer == "rmsprop" else 0
    return max(step, held + weights * (1 + temporaries)) + average


def moments(recipe: Recipe) -> int:
    """Return how many numbers the recipe's optimizer keeps for every weight."""
    momentum = int(recipe.momentum > 0)
    return {"sgd": momentum, "rmsprop": 1 + momentum, "adamw": 2}[recipe.optimizer]
