"""What a graph costs, computed from the graph alone: plain Python, no torch, microseconds a node.

MACs are the multiply-accumulates of convolutions and linear layers for one image, as in the papers' tables.
Memory is in bytes at 4 bytes a number, see :class:`Cost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import NamedTuple

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.graph import Graph
from nas.graph.primitives.base import LARGEST, Measure, Pixels


@dataclass(frozen=True)
class Cost:
    """Totals of a graph for one image."""

    params: int
    """Trainable parameters."""
    macs: int
    """Multiply-accumulates of convolutions and linear layers."""
    activations: int
    """Numbers in the outputs of all nodes, the input among them."""
    output_shape: Shape
    """Without the batch."""

    @property
    def memory_forward(self) -> int:
        """Bytes of all activations of one forward image."""
        return 4 * self.activations

    def memory_lecture(self, batch: int = 1) -> int:
        """Bytes of training as the lectures add it up: weights, gradients, momentum, layer outputs, layer errors."""
        return 4 * (3 * self.params + 2 * batch * self.activations)


@dataclass(frozen=True)
class LayerCost:
    """One row of the per-layer table, for one image."""

    name: str
    kind: str
    """The kind of the primitive, such as ``conv``."""
    shape: Shape
    """Of the output, without the batch."""
    params: int
    macs: int
    activations: int
    """Numbers in the output."""
    receptive_field: tuple[int, int]
    """(height, width) in pixels of the image."""


def cost(graph: Graph, output: str | None = None) -> Cost:
    """Return the totals of ``graph``; ``output`` names the one whose shape is reported (the first by default)."""
    found = measures_of(graph)
    node = graph.outputs[0][1] if output is None else graph.output(output)
    _, params, macs, activations = zip(*found.values(), strict=True)
    return Cost(sum(params), sum(macs), sum(activations), found[node].shape)


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """Return the output shape of every node by name."""
    return {name: measure.shape for name, measure in measures_of(graph).items()}


def measures_of(graph: Graph) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for name, op, inputs in graph.nodes:
        try:
            found[name] = op.measure(tuple([found[i].shape for i in inputs]))
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from None
    return found


def layers(graph: Graph) -> list[LayerCost]:
    """Return the table of all nodes in order: shape, cost and receptive field of each."""
    measures, fields = measures_of(graph), _receptive_fields(graph)
    rows = []
    for name, op, _ in graph.nodes:
        own = measures[name]
        rows.append(LayerCost(name, op.kind, own.shape, own.params, own.macs, own.activations, _extent(fields[name])))
    return rows


def receptive_field(graph: Graph, output: str | None = None) -> tuple[int, int]:
    """Return (height, width) of the input window that one pixel of the output sees, padding included.

    Follows arXiv:1603.07285, section 2; a global pool or flattening spans all that reaches it, branches that meet span
    what each of them sees, and zeros see nothing (0, 0). Statistics of norms are not counted. Behind a transposed
    convolution it is an upper bound, as its pixels do not all see equally much.
    """
    node = graph.outputs[0][1] if output is None else graph.output(output)
    return _extent(_receptive_fields(graph)[node])


class _Field(NamedTuple):
    """The first and last input pixels that the first output pixel sees, and the step to those of the next one."""

    top: Pixels = 0
    bottom: Pixels = 0
    left: Pixels = 0
    right: Pixels = 0
    step_height: Pixels = 1
    step_width: Pixels = 1


def _receptive_fields(graph: Graph) -> dict[str, _Field | None]:
    """Return what the first pixel of every node sees and the step to the next one, None where it sees nothing."""
    shapes = shapes_of(graph)
    fields: dict[str, _Field | None] = {}
    for name, op, inputs in graph.nodes:
        if not inputs:
            fields[name] = _Field()
            continue
        seen = [field for field in (fields[i] for i in inputs) if field is not None]
        if op.is_zero or not seen:
            fields[name] = None
            continue

        # branches that meet see together what spans what each of them sees
        top, bottom, left, right, step_height, step_width = seen[0]
        for field in seen[1:]:
            top, bottom = min(top, field.top), max(bottom, field.bottom)
            left, right = min(left, field.left), max(right, field.right)
            step_height, step_width = max(step_height, field.step_height), max(step_width, field.step_width)

        # a window counts pixels of its input, each a step of the image apart
        window = op.window(tuple(shapes[i] for i in inputs))
        if window is not None:
            bottom += (window.top + window.height - 1) * step_height
            top += window.top * step_height
            right += (window.left + window.width - 1) * step_width
            left += window.left * step_width
            step_height *= window.stride_height
            step_width *= window.stride_width
        if max(bottom - top, right - left) > LARGEST:
            raise GraphError(f"node '{name}': its receptive field is more than {LARGEST:,} pixels wide")
        fields[name] = _Field(top, bottom, left, right, step_height, step_width)
    return fields


def _extent(field: _Field | None) -> tuple[int, int]:
    if field is None:
        return 0, 0
    return floor(field.bottom - field.top) + 1, floor(field.right - field.left) + 1
