"""A graph as a module to train: its layers, their initial weights, and the recipe's dropout rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, fx, nn

from nas.graph import Graph
from nas.graph.module import build_module
from nas.training.recipe import Recipe

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class ScheduledDrop(nn.Module):
    """Dropout whose rate is ``rate`` times ``progress`` (), a tensor, so that a captured step sees it change."""

    def __init__(self, rate: float, progress: Tensor) -> None:
        super().__init__()
        self.rate, self.progress = rate, progress

    def forward(self, x: Tensor) -> Tensor:
        """Zero numbers of ``x`` at random and scale the rest, in training alone."""
        if not self.training:
            return x
        keep = 1 - self.rate * self.progress
        return x * (torch.rand_like(x) < keep) / keep

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


def new_network(graph: Graph, recipe: Recipe, outputs: Sequence[str], progress: Tensor) -> fx.GraphModule:
    """Return ``graph`` as a module on the CPU with the recipe's initial weights and dropout.

    ``progress`` (), from 0 to 1, scales the rates of drop path where the recipe lets them rise.
    """
    module = build_module(graph, outputs)
    initialise(module, recipe)
    _set_dropout(module, graph.pruned(outputs), recipe, progress)
    return module


def initialise(module: nn.Module, recipe: Recipe | None = None) -> None:
    """Draw the weights as ``recipe.initialisation`` says, by default ``he_fan_out``.

    ``he_fan_out``: convolutions as He et al. draw them (arXiv:1502.01852, section 2.2), of variance 2 / fan-out, where
    a grouped convolution's fan-out counts its group's channels alone; linear layers keep torch's own distribution.
    ``he_fan_in``: convolutions and linear layers, variance 2 / fan-in. ``xavier``: uniform with variance
    2 / (fan-in + fan-out) (Glorot and Bengio 2010). ``truncated_normal``: deviation ``recipe.init_deviation``, cut at
    two of them. ``torch``: as torch draws them. Biases are zero where weights are drawn here.
    """
    how = "he_fan_out" if recipe is None else recipe.initialisation
    deviation = 0.0 if recipe is None else recipe.init_deviation
    layers = WEIGHTED[:2] if how == "he_fan_out" else WEIGHTED
    for layer in module.modules():
        if how != "torch" and isinstance(layer, layers):
            _draw(layer, how, deviation)


def _draw(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, how: str, deviation: float) -> None:
    if how == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    elif how == "truncated_normal":
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    else:
        nn.init.normal_(layer.weight, std=math.sqrt(2 / _fan(layer, how)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _fan(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, how: str) -> int:
    if isinstance(layer, nn.Linear):
        return layer.in_features if how == "he_fan_in" else layer.out_features
    channels = layer.in_channels if how == "he_fan_in" else layer.out_channels
    return channels // layer.groups * math.prod(layer.kernel_size)


def _set_dropout(module: nn.Module, graph: Graph, recipe: Recipe, progress: Tensor) -> None:
    paths = [node for node in graph.nodes if node.op.kind == "drop_path"]
    for depth, node in enumerate(paths, 1):
        rate: float = node.op.rate if recipe.drop_path is None else recipe.drop_path  # type: ignore[attr-defined]
        if recipe.drop_path_by_depth:
            rate = rate * depth / len(paths)
        if recipe.drop_path_ramp:
            _replace(module, node.name, ScheduledDrop(rate, progress))
        else:
            cast(nn.Dropout, module.get_submodule(node.name)).p = rate
    for node in graph.nodes:
        if node.op.kind == "dropout" and recipe.dropout is not None:
            cast(nn.Dropout, module.get_submodule(node.name)).p = recipe.dropout


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, layer)
