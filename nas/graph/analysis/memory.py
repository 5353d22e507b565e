"""Peak memory of one training step, from the graph alone: plain Python, no torch.

The step is walked as torch's autograd walks it: forward, where every tensor lives until its last use or until backward
has read it, a cross entropy for each output, and backward, where gradients of activations come and go and those of
weights stay. Tensors count 4 bytes a number; a device's workspaces and its allocator's rounding come on top.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from nas.core.values import Shape
from nas.errors import ConfigError, unknown
from nas.graph.analysis.cost import shapes_of
from nas.graph.graph import Graph
from nas.graph.primitives.base import Primitive, Shapes
from nas.graph.primitives.layers import Conv
from nas.graph.primitives.structure import Input

MOMENTS = {"sgd": 0, "sgd-momentum": 1, "adam": 2}
"""Numbers that an optimizer keeps for every weight."""

Bytes = Callable[[Primitive, Shapes, Shape], int]
"""Bytes from a primitive, the shapes of its inputs and that of its output."""


def _nothing(op: Primitive, ins: Shapes, out: Shape) -> int:
    return 0


class Keeps(NamedTuple):
    """What a primitive keeps for backward, and what it allocates."""

    inputs: bool = False
    """Whether the inputs are kept for backward."""
    output: bool = False
    """Whether the output is kept for backward."""
    extra: Bytes = _nothing
    """Further bytes kept for each image."""
    fixed: Bytes = _nothing
    """Further bytes kept for the whole batch."""
    view: bool = False
    """Whether the output has no memory of its own."""
    passes: bool = False
    """Whether an input's gradient is (part of) that of the output, with no memory of its own."""
    forward: Bytes = _nothing
    """Bytes for each image that forward needs for a moment besides."""
    backward: Bytes = _nothing
    """Bytes for each image that backward needs for a moment besides."""


def _input_bytes(times: int = 1) -> Bytes:
    return lambda op, ins, out: times * 4 * prod(ins[0])


def _mirrored(op: Primitive, ins: Shapes, out: Shape) -> int:
    """A convolution that mirrors its borders keeps the padded input too."""
    assert isinstance(op, Conv)
    (c, h, w), (top, left) = ins[0], op.padding  # type: ignore[misc]
    return 0 if op.padding_mode == "zeros" else 4 * c * (h + 2 * top) * (w + 2 * left)


_INPUTS = ("transposed_conv", "linear", "avg_pool", "adaptive_avg_pool", "relu6", "swish")
KEEPS: dict[str, Keeps] = {
    **dict.fromkeys(("input", "global_avg_pool", "zero", "scale", "channel_shuffle", "pad"), Keeps()),
    **dict.fromkeys(_INPUTS, Keeps(inputs=True)),
    **dict.fromkeys(("relu", "sigmoid", "tanh"), Keeps(output=True)),
    **dict.fromkeys(("flatten", "identity"), Keeps(view=True, passes=True)),
    **dict.fromkeys(("channel_slice", "crop"), Keeps(view=True)),
    "conv": Keeps(inputs=True, extra=_mirrored),
    # the places of the maxima are 8 bytes each
    "max_pool": Keeps(inputs=True, extra=lambda op, ins, out: 8 * prod(out)),
    # mean and reciprocal deviation of each group of numbers
    "batch_norm": Keeps(inputs=True, fixed=lambda op, ins, out: 8 * ins[0][0]),
    "layer_norm": Keeps(inputs=True, extra=lambda op, ins, out: 8),
    "group_norm": Keeps(inputs=True, extra=lambda op, ins, out: 8 * int(op.attributes()["groups"])),
    "instance_norm": Keeps(inputs=True, extra=lambda op, ins, out: 8 * ins[0][0]),
    # the squares padded by channels, the denominator and its base
    "local_response_norm": Keeps(inputs=True, extra=_input_bytes(3), forward=_input_bytes(2), backward=_input_bytes(3)),
    "dropout": Keeps(extra=_input_bytes()),
    "drop_path": Keeps(extra=lambda op, ins, out: 4),
    # three terms and more have a partial sum; a gate's gradient has the full size before it is summed over pixels
    "add": Keeps(passes=True, forward=lambda op, ins, out: 4 * prod(out) if len(ins) > 2 else 0),
    "multiply": Keeps(inputs=True, backward=lambda op, ins, out: 4 * prod(out) if ins[0] != ins[1] else 0),
    "concat": Keeps(passes=True),
}
"""By kind of primitive; one that is not here is taken to keep its inputs and its output."""

UNKNOWN = Keeps(inputs=True, output=True)


def memory_peak(graph: Graph, batch: int = 1, optimizer: str = "sgd-momentum") -> int:
    """Return the greatest number of bytes that a training step on ``batch`` images holds at any time.

    Weights, moments of the ``optimizer`` (one of :data:`MOMENTS`), buffers, the images and their labels are there all
    the time; gradients of weights, activations, their gradients and what backward needs where the step has them. All
    outputs of ``graph`` are trained: prune those that are not. Gradients are freed before the step begins
    (``zero_grad(set_to_none=True)``). Raises :class:`ConfigError` for an unknown optimizer or a batch below one.
    """
    if optimizer not in MOMENTS:
        raise ConfigError(unknown("optimizer", optimizer, MOMENTS))
    if type(batch) is not int or batch < 1:
        raise ConfigError(f"batch must be an integer of at least 1, found {batch!r}")
    # what comes and goes within the step
    step = _TrainingStep(graph, batch)
    step.forward()
    step.backward()

    # what is there all the time: weights with their moments, images with their labels, and the running means and
    # variances of batch norms with their counters
    weights = 4 * sum(step.params.values()) * (1 + MOMENTS[optimizer])
    images = batch * (4 * prod(graph.input_shape) + 8)
    buffers = sum(8 * step.shapes[node.name][0] + 8 for node in graph.nodes if node.op.kind == "batch_norm")
    return weights + buffers + images + step.memory.peak


class _Memory:
    """Blocks of memory with the number of their holders; a block without one is free."""

    def __init__(self) -> None:
        self.peak = self._used = 0
        self._sizes: list[int] = []
        self.holders: list[int] = []

    def take(self, size: int) -> int:
        """Return a new block that has one holder."""
        self._sizes.append(size)
        self.holders.append(1)
        self._used += size
        self.peak = max(self.peak, self._used)
        return len(self._sizes) - 1

    def hold(self, block: int) -> int:
        self.holders[block] += 1
        return block

    def drop(self, block: int) -> None:
        self.holders[block] -= 1
        if not self.holders[block]:
            self._used -= self._sizes[block]

    def touch(self, size: int) -> None:
        """Need ``size`` bytes for a moment."""
        self.peak = max(self.peak, self._used + size)


class _TrainingStep:
    """One training step: the values, what is kept for backward, and the gradients, as blocks of memory."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph = graph
        self.batch = batch
        self.shapes = shapes_of(graph)
        self._sizes = {name: 4 * batch * prod(shape) for name, shape in self.shapes.items()}
        self.memory = _Memory()
        self.ins: dict[str, Shapes] = {n.name: tuple(self.shapes[i] for i in n.inputs) for n in graph.nodes}
        self.params = {n.name: n.op.measure(self.ins[n.name]).params for n in graph.nodes}
        self._kept: dict[str, list[int]] = {}
        self._gradients: dict[str, int] = {}

        # nodes whose output depends on a weight: the others need no backward
        self._differentiable: set[str] = set()
        for node in graph.nodes:
            if not node.op.is_zero and (self.params[node.name] or self._differentiable.intersection(node.inputs)):
                self._differentiable.add(node.name)
        # nodes that a gradient reaches from an output: no other keeps anything
        self._reached = {name for _, name in graph.outputs} & self._differentiable
        for node in reversed(graph.nodes):
            if node.name in self._reached:
                self._reached.update(self._differentiable.intersection(node.inputs))

    def forward(self) -> None:
        """Compute every node, then the losses; a value is dropped after its last use."""
        memory, values = self.memory, dict[str, int]()
        last = {name: node.name for node in self.graph.nodes for name in node.inputs}
        results = {name for _, name in self.graph.outputs}
        for node in self.graph.nodes:
            keeps = KEEPS.get(node.op.kind, UNKNOWN)
            if isinstance(node.op, Input):
                values[node.name] = memory.take(0)  # the images are there before and after
                continue
            # the output, and what computing it needs for a moment
            if keeps.view:
                values[node.name] = memory.hold(values[node.inputs[0]])
            else:
                values[node.name] = memory.take(self._sizes[node.name])
            memory.touch(self.batch * keeps.forward(node.op, self.ins[node.name], self.shapes[node.name]))
            # what backward will read
            if node.name in self._reached:
                kept = node.inputs if keeps.inputs else ()
                if node.op.kind == "multiply":  # each input is kept for the gradient of the other
                    kept = tuple(a for a, b in (node.inputs, node.inputs[::-1]) if b in self._differentiable)
                kept += (node.name,) if keeps.output else ()
                ins, out = self.ins[node.name], self.shapes[node.name]
                extra = self.batch * keeps.extra(node.op, ins, out) + keeps.fixed(node.op, ins, out)
                self._kept[node.name] = [*(memory.hold(values[name]) for name in kept), memory.take(extra)]
            # this was the last use of some inputs, and of an output that nobody reads
            for name in {*node.inputs, node.name}:
                if last.get(name, node.name) == node.name and name not in results:
                    memory.drop(values[name])
        # a cross entropy keeps its probabilities until the gradient of the output is there
        for name in results & self._reached:
            probabilities = memory.take(self._sizes[name])
            memory.drop(values[name])
            self._gradients[name] = memory.take(self._sizes[name])
            memory.drop(probabilities)

    def backward(self) -> None:
        """Compute the gradients of every node's inputs and weights in reverse; those of weights stay."""
        memory = self.memory
        for node in reversed(self.graph.nodes):
            gradient = self._gradients.pop(node.name, None)
            if gradient is None:
                continue
            keeps = KEEPS.get(node.op.kind, UNKNOWN)
            # gradients of the weights stay, those of the inputs are there before anything kept is freed
            memory.take(4 * self.params[node.name])
            wanted = [name for name in node.inputs if name in self._differentiable]
            blocks = [memory.hold(gradient) if keeps.passes else memory.take(self._sizes[name]) for name in wanted]
            memory.touch(self.batch * keeps.backward(node.op, self.ins[node.name], self.shapes[node.name]))
            for block in self._kept.pop(node.name):
                memory.drop(block)
            memory.drop(gradient)
            # a gradient is added to what is there already: in place where nothing else holds that
            for name, block in zip(wanted, blocks, strict=True):
                known = self._gradients.get(name)
                if known is None:
                    self._gradients[name] = block
                    continue
                if memory.holders[known] > 1:
                    self._gradients[name] = memory.take(self._sizes[name])
                    memory.drop(known)
                memory.drop(block)
