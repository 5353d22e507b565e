"""Whether a network fits in the free memory: asked before anything is allocated."""

from __future__ import annotations

from math import prod

from nas.core.memory import free_memory
from nas.errors import TooLarge
from nas.graph.analysis.cost import measures_of
from nas.graph.analysis.memory import KEEPS, UNKNOWN
from nas.graph.graph import Graph
from nas.graph.primitives.layers import LocalResponseNorm

MOST_LOWERED = 30_000
"""The most nodes of a network that torch computes: its module is made in half a minute."""


def check_fits(graph: Graph, batch: int = 1) -> None:
    """Refuse a network whose weights, or whose forward pass of ``batch`` images, need more than the free memory.

    It is a lower bound: inputs and output of the largest node beside all weights, at 4 bytes a number. Raises
    :class:`TooLarge` with the node that needs most.
    """
    if len(graph.nodes) > MOST_LOWERED:
        raise TooLarge(f"a network that torch computes has at most {MOST_LOWERED:,} nodes, found {len(graph.nodes):,}")
    arrows = sum(len(node.inputs) for node in graph.nodes)
    if arrows > 2 * MOST_LOWERED:
        rule = f"a network that torch computes has at most {2 * MOST_LOWERED:,} inputs of nodes"
        raise TooLarge(f"{rule}, found {arrows:,}")
    measures, free = measures_of(graph), free_memory()
    weights = 4 * sum(measure.params for measure in measures.values())
    if weights > free:
        name, most = max(measures.items(), key=lambda pair: pair[1].params)
        needed = f"{most.params:,} parameters of {weights // 4:,}, which take {in_bytes(weights)}"
        raise TooLarge(f"node '{name}': it has {needed}; {in_bytes(free)} of memory are free")
    for name, op, inputs in graph.nodes:
        ins, out = tuple(measures[i].shape for i in inputs), measures[name].shape
        momentary = KEEPS.get(op.kind, UNKNOWN).forward(op, ins, out)
        if isinstance(op, LocalResponseNorm):  # it pads the channels by half its size on both sides
            momentary += 4 * op.size * prod(out[1:])
        values = batch * (4 * sum(map(prod, (out, *dict.fromkeys(ins)))) + momentary)
        if weights + values > free:
            shape = "x".join(map(str, out))
            needed = f"its output of {shape} and its inputs take {in_bytes(values)} for {batch:,} images"
            raise TooLarge(f"node '{name}': {needed}; {in_bytes(free)} of memory are free")


def in_bytes(size: int) -> str:
    """Return a size in the unit that suits it: ``512 bytes``, ``1.5 GiB``; from 1,024 EiB on a power of ten."""
    for unit, name in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")):
        if size < 1024 ** (unit + 1):
            return f"{size / 1024**unit:,.4g} {name}"
    return f"{size:.1e} bytes"
