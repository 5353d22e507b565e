"""Folding: batch norms of fixed statistics become part of the layers that they follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.errors import GraphError
from nas.graph.convolutions import Conv, Linear, TransposedConv
from nas.graph.graph import Graph, Node, trusted
from nas.graph.pooling import BatchNorm

Weighing = Conv | TransposedConv | Linear


def fold_batch_norms(graph: Graph, state: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """Return ``graph`` and ``state`` with every batch norm folded into the conv or linear layer before it.

    The two compute in eval mode what they computed before: ``W' = W * gamma / sqrt(var + eps)`` and
    ``b' = beta + (b - mean) * gamma / sqrt(var + eps)`` (arXiv:1502.03167, section 3.1; arXiv:1712.05877, section 3.2).
    A norm stays where its input is another kind of layer, has other users or is an output. Layers keep their names and
    get a bias; users and outputs of a norm get its layer instead. ``state`` holds torch tensors by the names that
    :func:`nas.graph.module.build_module` gives them and is left as it is; :class:`GraphError` where it lacks one.
    """
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users.update(node for _, node in graph.outputs)  # an output is one, too
    nodes: dict[str, Node] = {}
    layer_of: dict[str, str] = {}  # of folded norms
    folded = dict(state)
    for name, op, inputs in graph.nodes:
        inputs = tuple(layer_of.get(i, i) for i in inputs)
        before = nodes[inputs[0]] if inputs else None
        if not (before and isinstance(op, BatchNorm) and isinstance(before.op, Weighing) and users[before.name] == 1):
            nodes[name] = Node(name, op, inputs)
            continue
        _fold(folded, before.name, before.op, name, op)
        nodes[before.name] = Node(before.name, replace(before.op, bias=True), before.inputs)
        layer_of[name] = before.name
        users[before.name] = users[name]  # a norm of the norm may fold as well
    outputs = tuple((output, layer_of.get(node, node)) for output, node in graph.outputs)
    return trusted(tuple(nodes.values()), outputs), folded


def _fold(state: dict[str, Any], layer: str, op: Weighing, name: str, norm: BatchNorm) -> None:
    """Replace the tensors of ``layer`` and of the norm ``name`` after it by those of the layer that does both."""
    mean, variance = _take(state, f"{name}.running_mean"), _take(state, f"{name}.running_var")
    state.pop(f"{name}.num_batches_tracked", None)
    scale = (variance + norm.eps).rsqrt()
    shift = -mean * scale
    weight = _take(state, f"{layer}.weight")
    if norm.affine:
        gamma, beta = _take(state, f"{name}.weight"), _take(state, f"{name}.bias")
        scale, shift = scale * gamma, shift * gamma + beta
    if op.bias:
        shift = shift + _take(state, f"{layer}.bias") * scale
    state[f"{layer}.weight"] = _scaled(weight, scale, op)
    state[f"{layer}.bias"] = shift


def _take(state: dict[str, Any], name: str) -> Any:
    if name not in state:
        raise GraphError(f"the state has no tensor '{name}'; it must be that of this graph with all its outputs")
    return state.pop(name)


def _scaled(weight: Any, scale: Any, op: Any) -> Any:
    """Return ``weight`` with every output channel times its number in ``scale`` (out,)."""
    if not isinstance(op, TransposedConv):  # (out, in / groups, height, width) or (out, in)
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    # (in, out / groups, height, width): the input channels are those of group 0, then of group 1, ...
    parts = weight.reshape(op.groups, -1, *weight.shape[1:]) * scale.reshape(op.groups, 1, -1, 1, 1)
    return parts.reshape(weight.shape)
