"""Scores of gradients: how much the weights, or the pixels, of an untrained network change what it says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nas.zero_cost.registry import register_zero_cost

if TYPE_CHECKING:
    from nas.zero_cost.network import UntrainedNetwork

_JACOV_EPSILON = 1e-5


@register_zero_cost("synflow", source="arXiv:2006.05467, section 6; as a score: arXiv:2101.08134, section 3.2")
def synflow(network: UntrainedNetwork) -> float:
    """Logarithm of what all weights, made positive, contribute to the sum of the logits for an image of ones."""
    import torch

    # the sum over a layer's weights of weight times derivative is the derivative of multiplying all of them by a number
    gain = torch.ones((), requires_grad=True)
    total, factor = network.positive_flow(gain)
    if not total.requires_grad:
        return math.nan
    share = float(torch.autograd.grad(total, gain)[0])
    return math.log(share) + factor if share > 0 else -math.inf


@register_zero_cost("snip", source="arXiv:1810.02340, section 4.1; as a score: arXiv:2101.08134, section 3.2")
def snip(network: UntrainedNetwork) -> float:
    """Sum over the weights of the absolute change of the loss that their removal makes, to first order."""
    import torch

    weights = list(network.weights.values())
    if not network.loss.requires_grad or not weights:
        return math.nan
    found = torch.autograd.grad(network.loss, weights, retain_graph=True, allow_unused=True)
    return sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, found, strict=True) if g is not None)


@register_zero_cost("grasp", source="arXiv:2002.07376, section 4; as a score: arXiv:2101.08134, section 3.2")
def grasp(network: UntrainedNetwork) -> float:
    """Minus the sum over the weights of the change of the gradient's norm that their removal makes, to first order."""
    import torch

    weights = list(network.weights.values())
    if not network.loss.requires_grad or not weights:
        return math.nan
    found = torch.autograd.grad(network.loss, weights, create_graph=True, allow_unused=True)
    norm = sum(((g.detach() * g).sum() for g in found if g is not None and g.requires_grad), torch.zeros(()))
    if not norm.requires_grad:
        return math.nan
    products = torch.autograd.grad(norm, weights, retain_graph=True, allow_unused=True)
    return -sum(float((w.detach() * h).sum()) for w, h in zip(weights, products, strict=True) if h is not None)


@register_zero_cost("jacov", source="arXiv:2006.04647v1, section 3; as a score: arXiv:2101.08134, section 3.2")
def jacov(network: UntrainedNetwork) -> float:
    """How little the Jacobians of the logits' sum for different images correlate, of the correlations' eigenvalues."""
    import torch

    total = network.values[network.output].sum()
    if not total.requires_grad:
        return math.nan
    (found,) = torch.autograd.grad(total, network.images, retain_graph=True, allow_unused=True)
    if found is None:
        return math.nan
    rows = found.flatten(1).double().numpy()
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        return math.nan
    rows /= norms
    values = np.linalg.eigvalsh(rows @ rows.T).clip(0) + _JACOV_EPSILON
    return -float(np.sum(np.log(values) + 1 / values))
