"""Peak memory of a training under a recipe: the step of :func:`nas.graph.memory.memory_peak`, and what is around it."""

from __future__ import annotations

from math import prod

from nas.graph import Graph
from nas.graph.cost import cost, shapes_of
from nas.graph.memory import memory_peak
from nas.training.recipe import Recipe

OPTIMISERS = ("sgd", "sgd-momentum", "adam")
"""By the numbers that an optimiser keeps for every weight, as :data:`nas.graph.memory.MOMENTS` counts them."""


def training_memory(graph: Graph, recipe: Recipe, batch: int | None = None) -> int:
    """Return the greatest number of bytes that a training of ``graph`` holds at any time, in float32.

    Weights, buffers, the optimiser's moments, the average of weights, a batch (the recipe's by default) and what a step
    needs; not the image set. Auxiliary heads count where the recipe trains them.
    """
    heads = [name for name, _ in graph.outputs if name.startswith("aux")] if recipe.aux_weight else []
    trained = graph.pruned(["logits", *heads])
    weights = 4 * cost(trained).params
    average = weights + _statistics(trained) if recipe.ema else 0
    size = recipe.batch_size if batch is None else batch
    step = memory_peak(trained, size, OPTIMISERS[moments(recipe)])
    held = weights * (1 + moments(recipe)) + _statistics(trained) + size * (4 * prod(trained.input_shape) + 8)
    # the gradients, and what the multi-tensor kernels make beside them, when the activations are gone
    update = held + weights * (1 + _temporaries(recipe))
    return max(step, update) + average


def reset_peak() -> None:
    """Begin to measure what :func:`peak` tells."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> dict[str, float]:
    """Return ``peak_memory``, the bytes held at most on the GPU since :func:`reset_peak`; without a GPU, nothing."""
    import torch

    return {"peak_memory": float(torch.cuda.max_memory_allocated())} if torch.cuda.is_available() else {}


def moments(recipe: Recipe) -> int:
    """Return the numbers that the recipe's optimiser keeps for every weight."""
    momentum = int(recipe.momentum > 0)
    return {"sgd": momentum, "rmsprop": 1 + momentum, "adamw": 2}[recipe.optimiser]


def _temporaries(recipe: Recipe) -> int:
    # decayed gradients and the roots of the mean squares
    return int(recipe.weight_decay > 0) + 1 if recipe.optimiser == "rmsprop" else 0


def _statistics(graph: Graph) -> int:
    shapes = shapes_of(graph)
    return sum(8 * shapes[node.name][0] for node in graph.nodes if node.op.kind == "batch_norm")
