"""Scores of activations: how well an untrained network tells images apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nas.zero_cost.registry import register_zero_cost

if TYPE_CHECKING:
    from nas.zero_cost.network import UntrainedNetwork

_ZEN_STEP = 0.01
"""The weight of the second image in the mixture, arXiv:2102.01063, algorithm 1."""


@register_zero_cost("naswot", source="arXiv:2006.04647, section 3")
def naswot(network: UntrainedNetwork) -> float:
    """Log determinant of how many units are on the same side of zero before an activation, for every two images."""
    import torch

    from nas.zero_cost.network import is_activation

    alike = np.zeros(())
    for node in network.graph.nodes:
        if node.name not in network.layers or not is_activation(network.layers[node.name]):
            continue
        with torch.no_grad():
            on = (network.values[node.inputs[0]] > 0).flatten(1).float()
            both = (on @ on.T).double().numpy()
        # on in both, or in neither
        count = both.diagonal()
        alike = alike + (on.shape[1] - count[:, None] - count[None, :] + 2 * both)
    if not alike.any():
        return math.nan
    sign, logarithm = np.linalg.slogdet(alike)
    return float(logarithm) if sign > 0 else math.nan


@register_zero_cost("zen", source="arXiv:2102.01063, algorithm 1")
def zen(network: UntrainedNetwork) -> float:
    """Logarithm of how far the last feature map moves when an image does, before batch norms scale it down.

    Weights are standard normal; each batch norm's scale, the root of the mean variance of its channels, is multiplied
    in again. Here the image and the moved one share a batch, residual connections stay as they are, and a batch norm of
    zeros does not count.
    """
    import torch

    from nas.zero_cost.network import BATCH, SEED

    half = BATCH // 2
    with torch.no_grad():
        images, moved = network.noise(half), network.noise(half, SEED + 2)
        images = torch.cat([images, images + _ZEN_STEP * moved])
        weights = {name: w * math.sqrt(network.fan_in[name] / 2) for name, w in network.weights.items()}
        values = network.compute(images, weights, last=network.features)
        features = values[network.features].double()
        distance = float((features[:half] - features[half:]).flatten(1).norm(dim=1).mean())
        scales = 0.0
        for name, op, inputs in network.graph.nodes:
            if op.kind == "batch_norm" and name in values:
                x = values[inputs[0]]
                variance = float(x.var(dim=[0, *range(2, x.ndim)], correction=0).double().mean())
                scales += math.log(variance) / 2 if variance > 0 else 0.0
    return math.log(distance) + scales if distance > 0 else -math.inf
