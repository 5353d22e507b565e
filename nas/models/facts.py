"""What ``inspect`` tells of a network."""

from __future__ import annotations

from nas.core.values import Json
from nas.graph import Graph, cost, receptive_field
from nas.graph.analysis.memory import memory_peak


def facts_of(graph: Graph, key: str) -> Json:
    """Return what ``inspect`` tells of a graph; memory is in bytes for a batch of one image."""
    total = cost(graph)
    weights, layers = 4 * total.params, total.memory_forward
    return {
        "params": total.params,
        "macs": total.macs,
        "activations": total.activations,
        "memory_forward": total.memory_forward,
        "memory_lecture": total.memory_lecture(),
        "memory_lecture_parts": {
            # float32: four bytes a number
            "weights": weights,
            "gradients": weights,
            "momentum": weights,
            "layer_outputs": layers,
            "layer_errors": layers,
        },
        "memory_peak": memory_peak(graph),
        "input_shape": list(graph.input_shape),
        "output_shape": list(total.output_shape),
        "receptive_field": list(receptive_field(graph)),
        "nodes": len(graph.nodes),
        "key": key,
    }
