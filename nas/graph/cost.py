"""What a graph costs, computed from the graph alone: plain Python, no torch, microseconds a node.

MACs are the multiply-accumulates of convolutions and linear layers for one image, as in the papers' tables.
Memory is in bytes at 4 bytes a number, see :class:`Cost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, prod
from typing import NamedTuple

from nas.errors import GraphError
from nas.graph.graph import Graph
from nas.graph.primitive import Pixels, Window
from nas.types import Shape


@dataclass(frozen=True)
class Cost:
    """Totals of a graph for one image.

    ``params`` trainable parameters; ``macs`` multiply-accumulates; ``activations`` numbers in all node outputs, the
    input among them.
    """

    params: int
    macs: int
    activations: int
    output_shape: Shape

    @property
    def memory_forward(self) -> int:
        """Bytes of all activations of one forward image."""
        return 4 * self.activations

    def memory_lecture(self, batch: int = 1) -> int:
        """Bytes of training as the lectures add it up: weights, gradients, momentum, layer outputs, layer errors."""
        return 4 * (3 * self.params + 2 * batch * self.activations)


@dataclass(frozen=True)
class LayerCost:
    """One row of the per-layer table; ``receptive_field`` is (height, width) in input pixels."""

    name: str
    kind: str
    shape: Shape
    params: int
    macs: int
    activations: int
    receptive_field: tuple[int, int]


def cost(graph: Graph, output: str | None = None) -> Cost:
    """Return the totals of ``graph``; ``output`` names the one whose shape is reported (the first by default)."""
    shapes: dict[str, Shape] = {}
    params = macs = activations = 0
    for name, op, inputs in graph.nodes:
        try:
            shapes[name], own_params, own_macs, own_activations = op.measure(tuple([shapes[i] for i in inputs]))
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from None
        params += own_params
        macs += own_macs
        activations += own_activations
    node = graph.outputs[0][1] if output is None else graph.output(output)
    return Cost(params, macs, activations, shapes[node])


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """Return the output shape of every node by name."""
    shapes: dict[str, Shape] = {}
    for name, op, inputs in graph.nodes:
        try:
            shapes[name] = op.measure(tuple([shapes[i] for i in inputs])).shape
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from None
    return shapes


def layers(graph: Graph) -> list[LayerCost]:
    """Return the table of all nodes in order: shape, cost and receptive field of each."""
    shapes = shapes_of(graph)
    fields = _receptive_fields(graph, shapes)
    rows = []
    for name, op, inputs in graph.nodes:
        ins, out = tuple(shapes[i] for i in inputs), shapes[name]
        params, macs = op.params(ins), op.macs(ins, out)
        rows.append(LayerCost(name, op.kind, out, params, macs, prod(out), _extent(fields[name])))
    return rows


def receptive_field(graph: Graph, output: str | None = None) -> tuple[int, int]:
    """Return (height, width) of the input window that one pixel of the output sees, padding included.

    Follows arXiv:1603.07285, section 2; a global pool or flattening spans all that reaches it, branches that meet span
    what each of them sees, and zeros see nothing (0, 0). Statistics of norms are not counted. Behind a transposed
    convolution it is an upper bound, as its pixels do not all see equally much.
    """
    node = graph.outputs[0][1] if output is None else graph.output(output)
    return _extent(_receptive_fields(graph, shapes_of(graph))[node])


class _Field(NamedTuple):
    """The first and last input pixels that the first output pixel sees, and the step to those of the next one."""

    top: Pixels = 0
    bottom: Pixels = 0
    left: Pixels = 0
    right: Pixels = 0
    step_height: Pixels = 1
    step_width: Pixels = 1


def _extent(field: _Field | None) -> tuple[int, int]:
    if field is None:
        return 0, 0
    return floor(field.bottom - field.top) + 1, floor(field.right - field.left) + 1


def _receptive_fields(graph: Graph, shapes: dict[str, Shape]) -> dict[str, _Field | None]:
    fields: dict[str, _Field | None] = {}
    for name, op, inputs in graph.nodes:
        if not inputs:
            fields[name] = _Field()
            continue
        seen = [field for field in (fields[i] for i in inputs) if field is not None]
        if op.is_zero or not seen:
            fields[name] = None
            continue
        field = seen[0] if len(seen) == 1 else _hull(seen)
        window = op.window(tuple(shapes[i] for i in inputs))
        fields[name] = field if window is None else _through(window, field)
    return fields


def _through(window: Window, field: _Field) -> _Field:
    return _Field(
        field.top + window.top * field.step_height,
        field.bottom + (window.top + window.height - 1) * field.step_height,
        field.left + window.left * field.step_width,
        field.right + (window.left + window.width - 1) * field.step_width,
        field.step_height * window.stride_height,
        field.step_width * window.stride_width,
    )


def _hull(fields: list[_Field]) -> _Field:
    tops, bottoms, lefts, rights, heights, widths = zip(*fields, strict=True)
    return _Field(min(tops), max(bottoms), min(lefts), max(rights), max(heights), max(widths))
