"""What a graph costs, computed from the graph alone: plain Python, no torch, microseconds a node.

MACs are the multiply-accumulates of convolutions and linear layers for one image, as in the papers' tables.
Memory is in bytes at 4 bytes a number, see :class:`Cost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nas.errors import GraphError
from nas.graph.graph import Graph
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
        ins = tuple([shapes[i] for i in inputs])
        try:
            out = shapes[name] = op.shape(ins)
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from None
        params += op.params(ins)
        macs += op.macs(ins, out)
        activations += prod(out)
    node = graph.outputs[0][1] if output is None else graph.output(output)
    return Cost(params, macs, activations, shapes[node])


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """Return the output shape of every node by name."""
    shapes: dict[str, Shape] = {}
    for name, op, inputs in graph.nodes:
        try:
            shapes[name] = op.shape(tuple([shapes[i] for i in inputs]))
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
        field = fields[name]
        rows.append(
            LayerCost(name, op.kind, out, op.params(ins), op.macs(ins, out), prod(out), (field.height, field.width))
        )
    return rows


def receptive_field(graph: Graph, output: str | None = None) -> tuple[int, int]:
    """Return (height, width) of the input window that one pixel of the output sees, padding included.

    Follows arXiv:1603.07285, section 2; a global pool or flattening spans all that reaches it.
    """
    node = graph.outputs[0][1] if output is None else graph.output(output)
    field = _receptive_fields(graph, shapes_of(graph))[node]
    return field.height, field.width


@dataclass(frozen=True)
class _Field:
    height: int = 1
    width: int = 1
    step_height: float = 1
    step_width: float = 1


def _receptive_fields(graph: Graph, shapes: dict[str, Shape]) -> dict[str, _Field]:
    fields: dict[str, _Field] = {}
    for name, op, inputs in graph.nodes:
        if not inputs:
            fields[name] = _Field()
            continue
        field = _widest([fields[i] for i in inputs])
        window = op.window(tuple(shapes[i] for i in inputs))
        if window is not None:
            field = _Field(
                round(field.height + (window.height - 1) * field.step_height),
                round(field.width + (window.width - 1) * field.step_width),
                field.step_height * window.stride_height,
                field.step_width * window.stride_width,
            )
        fields[name] = field
    return fields


def _widest(fields: list[_Field]) -> _Field:
    if len(fields) == 1:
        return fields[0]
    return _Field(
        max(f.height for f in fields),
        max(f.width for f in fields),
        max(f.step_height for f in fields),
        max(f.step_width for f in fields),
    )
