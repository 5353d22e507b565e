"""Folding: batch norms of fixed statistics become part of the layers that they follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import GraphError
from nas.graph.graph import Graph, Node, trusted
from nas.graph.primitives.layers import BatchNorm, Conv, Linear, TransposedConv

if TYPE_CHECKING:
    from torch import Tensor

Weighted = Conv | TransposedConv | Linear


def fold_batch_norms(graph: Graph, state: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Return ``graph`` and ``state`` with every batch norm folded into the conv or linear layer before it.

    The two compute in eval mode what they computed before: ``W' = W * gamma / sqrt(var + eps)`` and ``b' = beta + (b -
    mean) * gamma / sqrt(var + eps)`` (arXiv:1502.03167, section 3.1; arXiv:1712.05877, section 3.2). A norm stays where
    its input is another kind of layer, has other users or is an output. Layers keep their names and get a bias.
    ``state`` has the names of :func:`nas.graph.lowering.torch_module.build_module` and is left as it is;
    :class:`GraphError` where it lacks a tensor.
    """
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users.update(node for _, node in graph.outputs)  # an output is one, too
    nodes: dict[str, Node] = {}
    layer_of: dict[str, str] = {}  # of folded norms
    folded = dict(state)

    def take(name: str) -> Tensor:
        if name not in folded:
            raise GraphError(f"the state has no tensor '{name}'; it must be that of this graph with all its outputs")
        return folded.pop(name)

    for name, op, inputs in graph.nodes:
        inputs = tuple(layer_of.get(i, i) for i in inputs)
        before = nodes[inputs[0]] if inputs else None
        if not (before and isinstance(op, BatchNorm) and isinstance(before.op, Weighted) and users[before.name] == 1):
            nodes[name] = Node(name, op, inputs)
            continue
        # the norm is a scale and a shift of every output channel, (out,)
        layer, weighted = before.name, before.op
        mean, variance = take(f"{name}.running_mean"), take(f"{name}.running_var")
        folded.pop(f"{name}.num_batches_tracked", None)
        scale = (variance + op.eps).rsqrt()
        shift = -mean * scale
        weight = take(f"{layer}.weight")
        if op.affine:
            gamma, beta = take(f"{name}.weight"), take(f"{name}.bias")
            scale, shift = scale * gamma, shift * gamma + beta
        if weighted.bias:
            shift = shift + take(f"{layer}.bias") * scale
        # weights are (out, in / groups, height, width) or (out, in); transposed ones (in, out / groups, height, width),
        # whose input channels are those of group 0, then of group 1, ...
        if isinstance(weighted, TransposedConv):
            parts = weight.reshape(weighted.groups, -1, *weight.shape[1:])
            weight = (parts * scale.reshape(weighted.groups, 1, -1, 1, 1)).reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        folded[f"{layer}.weight"], folded[f"{layer}.bias"] = weight, shift
        # the layer does the norm's work under its own name, for all who read the norm
        nodes[layer] = Node(layer, replace(weighted, bias=True), before.inputs)
        layer_of[name] = layer
        users[layer] = users[name]  # a norm of the norm may fold as well
    outputs = tuple((output, layer_of.get(node, node)) for output, node in graph.outputs)
    return trusted(tuple(nodes.values()), outputs), folded
