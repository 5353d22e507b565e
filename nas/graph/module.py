"""Lowering: a graph becomes a ``torch.fx.GraphModule`` of plain ``torch.nn`` layers, with no interpreter in forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from nas.errors import GraphError
from nas.graph.cost import shapes_of
from nas.graph.graph import Graph
from nas.graph.operators import Input


def build_module(graph: Graph, outputs: Sequence[str] = ("logits",), name: str = "Network") -> fx.GraphModule:
    """Return ``graph`` as a module that maps images (N, C, H, W) to the wanted ``outputs``.

    One output gives a tensor, several give a tuple in the order asked for; what they do not need is left out. The
    layers carry the names of the nodes, so ``state_dict`` keys are ``node.weight`` and so on. Weights are drawn by
    torch's own initialisation from its global generator: seed or replace them afterwards.
    """
    graph = graph.pruned(outputs)
    shapes = shapes_of(graph)
    if not isinstance(graph.nodes[0].op, Input) or len(graph.inputs) != 1:
        raise GraphError("a network has exactly one input and begins with it")
    root: dict[str, nn.Module] = {}
    lowered = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(lowered)
    values: dict[str, fx.Proxy] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = fx.Proxy(lowered.placeholder("image"), tracer)
            continue
        layer = node.op.layer(tuple(shapes[i] for i in node.inputs))
        call: Any = None
        if layer is not None:
            root[node.name] = getattr(nn, layer.name)(**layer.arguments)
            call = _Call(lowered, tracer, node.name)
        values[node.name] = node.op.apply(torch, call, *(values[i] for i in node.inputs))
    results = tuple(values[graph.output(output)].node for output in outputs)
    lowered.output(results[0] if len(results) == 1 else results)
    return fx.GraphModule(root, lowered, class_name=name)


class _Call:
    """Records a call of the layer ``target`` in the fx graph."""

    def __init__(self, graph: fx.Graph, tracer: Any, target: str) -> None:
        self._graph, self._tracer, self._target = graph, tracer, target

    def __call__(self, *xs: fx.Proxy) -> fx.Proxy:
        return fx.Proxy(self._graph.call_module(self._target, tuple(x.node for x in xs)), self._tracer)
