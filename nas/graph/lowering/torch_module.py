"""Lowering: a graph becomes a ``torch.fx.GraphModule`` of plain ``torch.nn`` layers, with no interpreter in forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import fx, nn

from nas.errors import GraphError
from nas.graph.analysis.cost import shapes_of
from nas.graph.analysis.limits import check_fits
from nas.graph.graph import Graph
from nas.graph.primitives.base import Functions, LayerCall, Operand
from nas.graph.primitives.structure import IMAGE, Input


def build_module(graph: Graph, outputs: Sequence[str] = ("logits",), name: str = "Network") -> fx.GraphModule:
    """Return ``graph`` as a module that maps images (N, C, H, W) to the wanted ``outputs``.

    One output gives a tensor, several a tuple in the order asked for. Layers carry the names of the nodes, so
    ``state_dict`` keys are ``node.weight`` and so on. Torch draws the weights from its global generator.
    """
    graph = graph.pruned(outputs)
    shapes = shapes_of(graph)
    if torch.get_default_device().type != "meta":
        check_fits(graph)
    functions = cast(Functions, torch)
    if not isinstance(graph.nodes[0].op, Input) or len(graph.inputs) != 1:
        raise GraphError("a network has exactly one input and begins with it")
    root: dict[str, nn.Module] = {}
    lowered = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(lowered)
    values: dict[str, Operand] = {}

    def record(target: str, *xs: Operand) -> Operand:
        inputs = tuple(cast(fx.Proxy, x).node for x in xs)
        return cast(Operand, fx.Proxy(lowered.call_module(target, inputs), tracer))

    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = cast(Operand, fx.Proxy(lowered.placeholder(IMAGE), tracer))
            continue
        layer = node.op.layer(tuple(shapes[i] for i in node.inputs))
        call: LayerCall | None = None
        if layer is not None:
            root[node.name] = getattr(nn, layer.name)(**layer.arguments)
            call = partial(record, node.name)
        # the primitive computes with proxies, so what it does is recorded and nothing of it runs again in forward
        values[node.name] = node.op.apply(functions, call, *(values[i] for i in node.inputs))
    results = tuple(cast(fx.Proxy, values[graph.output(output)]).node for output in outputs)
    lowered.output(results[0] if len(results) == 1 else results)
    return fx.GraphModule(root, lowered, class_name=name)
