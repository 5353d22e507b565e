"""Scores that need no weights: the size of a network, as far as an architecture's rank may follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.graph import Conv, Linear, TransposedConv, cost, layers
from nas.zero_cost.registry import register_zero_cost

if TYPE_CHECKING:
    from nas.zero_cost.network import UntrainedNetwork


@register_zero_cost("params", source="arXiv:2008.03064, as a baseline of scores")
def params(network: UntrainedNetwork) -> float:
    """Trainable parameters."""
    return float(cost(network.graph).params)


@register_zero_cost("macs", source="arXiv:2008.03064, as a baseline of scores")
def macs(network: UntrainedNetwork) -> float:
    """Multiply-accumulates of convolutions and linear layers for one image."""
    return float(cost(network.graph).macs)


@register_zero_cost("depth", source="arXiv:1512.03385, section 1")
def depth(network: UntrainedNetwork) -> float:
    """The most convolutions and linear layers on one way from the image to the logits."""
    longest: dict[str, int] = {}
    for name, op, inputs in network.graph.nodes:
        before = max((longest[i] for i in inputs), default=0)
        longest[name] = before + isinstance(op, Conv | TransposedConv | Linear)
    return float(longest[network.output])


@register_zero_cost("receptive_field", source="arXiv:1603.07285, section 2")
def receptive_field(network: UntrainedNetwork) -> float:
    """Pixels of the image that one pixel of the last feature map sees, as the mean of height and width."""
    row = next(row for row in layers(network.graph) if row.name == network.features)
    return sum(row.receptive_field) / 2
