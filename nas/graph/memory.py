"""Peak memory of one training step, from the graph alone: plain Python, no torch.

The step is walked as torch's autograd walks it: a forward pass in which every tensor lives until its last use or until
backward has read it, a cross entropy for each output, and a backward pass in reverse order in which gradients of
activations come and go and those of weights stay. What each primitive keeps for backward stands in :data:`KEEPS`. The
figure counts tensors, 4 bytes a number; a device's own workspaces and its allocator's rounding come on top.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from nas.errors import ConfigError, unknown
from nas.graph.cost import shapes_of
from nas.graph.graph import Graph, Node
from nas.graph.operators import Input
from nas.graph.primitive import Shapes
from nas.types import Shape

MOMENTS = {"sgd": 0, "sgd-momentum": 1, "adam": 2}
"""Numbers that an optimiser keeps for every weight."""

Bytes = Callable[[Any, Shapes, Shape], int]


def _nothing(op: Any, ins: Shapes, out: Shape) -> int:
    return 0


class Keeps(NamedTuple):
    """What a primitive keeps for backward, and what it allocates.

    ``inputs`` and ``output``: whether those tensors are kept. ``extra``: further bytes kept for one image, ``fixed``:
    for the whole batch. ``view``: the output has no memory of its own. ``passes``: the gradient of an input is (part
    of) that of the output, with no memory of its own. ``forward`` and ``backward``: bytes for one image that are needed
    for a moment besides.
    """

    inputs: bool = False
    output: bool = False
    extra: Bytes = _nothing
    fixed: Bytes = _nothing
    view: bool = False
    passes: bool = False
    forward: Bytes = _nothing
    backward: Bytes = _nothing


def _statistics(groups: Callable[[Any, Shape], int]) -> Bytes:
    """Mean and reciprocal deviation of each group."""
    return lambda op, ins, out: 8 * groups(op, ins[0])


def _input_bytes(times: int = 1) -> Bytes:
    return lambda op, ins, out: times * 4 * prod(ins[0])


def _output_bytes(times: int = 1) -> Bytes:
    return lambda op, ins, out: times * 4 * prod(out)


def _reflected(op: Any, ins: Shapes, out: Shape) -> int:
    """A convolution that mirrors its borders keeps the padded input too."""
    if op.padding_mode == "zeros":
        return 0
    c, h, w = ins[0]
    padded: int = c * (h + 2 * op.padding[0]) * (w + 2 * op.padding[1])
    return 4 * padded


def _partial_sum(op: Any, ins: Shapes, out: Shape) -> int:
    return 4 * prod(out) if len(ins) > 2 else 0


def _gate(op: Any, ins: Shapes, out: Shape) -> int:
    """The gradient of a gate has the full size before it is summed over the pixels."""
    return 0 if ins[0] == ins[1] else 4 * prod(out)


_WEIGHTED = Keeps(inputs=True)
_FREE = Keeps()
KEEPS: dict[str, Keeps] = {
    "conv": Keeps(inputs=True, extra=_reflected),
    "transposed_conv": _WEIGHTED,
    "linear": _WEIGHTED,
    "max_pool": Keeps(inputs=True, extra=_output_bytes(2)),  # the places of the maxima are 8 bytes each
    "avg_pool": Keeps(inputs=True),
    "adaptive_avg_pool": Keeps(inputs=True),
    "global_avg_pool": _FREE,
    "batch_norm": Keeps(inputs=True, fixed=_statistics(lambda op, shape: shape[0])),
    "layer_norm": Keeps(inputs=True, extra=_statistics(lambda op, shape: 1)),
    "group_norm": Keeps(inputs=True, extra=_statistics(lambda op, shape: op.groups)),
    "instance_norm": Keeps(inputs=True, extra=_statistics(lambda op, shape: shape[0])),
    # the squares padded by channels, the denominator and its base
    "local_response_norm": Keeps(inputs=True, extra=_input_bytes(3), forward=_input_bytes(2), backward=_input_bytes(3)),
    "relu": Keeps(output=True),
    "relu6": Keeps(inputs=True),
    "sigmoid": Keeps(output=True),
    "tanh": Keeps(output=True),
    "swish": Keeps(inputs=True),
    "flatten": Keeps(view=True, passes=True),
    "dropout": Keeps(extra=_input_bytes()),
    "drop_path": Keeps(extra=lambda op, ins, out: 4),
    "identity": Keeps(view=True, passes=True),
    "zero": _FREE,
    "add": Keeps(passes=True, forward=_partial_sum),
    "multiply": Keeps(inputs=True, backward=_gate),
    "scale": _FREE,
    "concat": Keeps(passes=True),
    "channel_shuffle": _FREE,
    "channel_slice": Keeps(view=True),
    "pad": _FREE,
    "crop": Keeps(view=True),
    "input": _FREE,
}
"""By kind of primitive; one that is not here is taken to keep its inputs and its output."""

_UNKNOWN = Keeps(inputs=True, output=True)


def memory_peak(graph: Graph, batch: int = 1, optimiser: str = "sgd-momentum") -> int:
    """Return the greatest number of bytes that a training step on ``batch`` images holds at any time.

    Weights, moments of the ``optimiser`` (one of :data:`MOMENTS`), buffers, the images and their labels are there all
    the time; gradients of weights, activations, their gradients and what backward needs where the step has them. All
    outputs of ``graph`` are trained: prune those that are not. Gradients are freed before the step begins
    (``zero_grad(set_to_none=True)``). Raises :class:`ConfigError` for an unknown optimiser or a batch below one.
    """
    if optimiser not in MOMENTS:
        raise ConfigError(unknown("optimiser", optimiser, MOMENTS))
    if type(batch) is not int or batch < 1:
        raise ConfigError(f"batch must be a whole number of at least 1, found {batch!r}")
    step = _Step(graph, batch)
    step.forward()
    step.backward()
    weights = 4 * sum(step.params.values())
    images = batch * (4 * prod(graph.input_shape) + 8)
    return weights * (1 + MOMENTS[optimiser]) + _buffers(graph, step.shapes) + images + step.memory.peak


def _buffers(graph: Graph, shapes: dict[str, Shape]) -> int:
    """Return the bytes of running means and variances and of their counters."""
    return sum(8 * shapes[node.name][0] + 8 for node in graph.nodes if node.op.kind == "batch_norm")


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
        """Add a holder and return the block."""
        self.holders[block] += 1
        return block

    def drop(self, block: int) -> None:
        """Take a holder away."""
        self.holders[block] -= 1
        if not self.holders[block]:
            self._used -= self._sizes[block]

    def touch(self, size: int) -> None:
        """Need ``size`` bytes for a moment."""
        self.peak = max(self.peak, self._used + size)


class _Step:
    """One training step: the values, what is kept for backward, and the gradients, as blocks of memory."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph = graph
        self.batch = batch
        self.shapes = shapes_of(graph)
        self.memory = _Memory()
        self.ins: dict[str, Shapes] = {n.name: tuple(self.shapes[i] for i in n.inputs) for n in graph.nodes}
        self.params = {n.name: n.op.measure(self.ins[n.name]).params for n in graph.nodes}
        self._differentiable = self._with_gradient()
        self._reached = self._reached_backward()
        self._kept: dict[str, list[int]] = {}
        self._gradients: dict[str, int] = {}

    def _with_gradient(self) -> set[str]:
        """Return the nodes whose output depends on a weight: the others need no backward."""
        found: set[str] = set()
        for node in self.graph.nodes:
            if not node.op.is_zero and (self.params[node.name] or found.intersection(node.inputs)):
                found.add(node.name)
        return found

    def _reached_backward(self) -> set[str]:
        """Return the nodes that a gradient reaches from an output; no other keeps anything."""
        found = {name for _, name in self.graph.outputs} & self._differentiable
        for node in reversed(self.graph.nodes):
            if node.name in found:
                found.update(self._differentiable.intersection(node.inputs))
        return found

    def _bytes(self, numbers: int) -> int:
        return 4 * self.batch * numbers

    def forward(self) -> None:
        """Compute every node, then the losses; a value is dropped after its last use."""
        memory, values = self.memory, dict[str, int]()
        last = {name: node.name for node in self.graph.nodes for name in node.inputs}
        results = {name for _, name in self.graph.outputs}
        for node in self.graph.nodes:
            keeps = KEEPS.get(node.op.kind, _UNKNOWN)
            if isinstance(node.op, Input):
                values[node.name] = memory.take(0)  # the images are there before and after
                continue
            if keeps.view:
                values[node.name] = memory.hold(values[node.inputs[0]])
            else:
                values[node.name] = memory.take(self._bytes(prod(self.shapes[node.name])))
            memory.touch(self.batch * keeps.forward(node.op, self.ins[node.name], self.shapes[node.name]))
            if node.name in self._reached:
                self._keep(node, keeps, values)
            for name in {*node.inputs, node.name}:
                if last.get(name, node.name) == node.name and name not in results:
                    memory.drop(values[name])
        for name in results & self._reached:
            size = self._bytes(prod(self.shapes[name]))
            probabilities = memory.take(size)
            memory.drop(values[name])
            self._gradients[name] = memory.take(size)
            memory.drop(probabilities)

    def _keep(self, node: Node, keeps: Keeps, values: dict[str, int]) -> None:
        inputs = node.inputs if keeps.inputs else ()
        if node.op.kind == "multiply":  # each input is kept for the gradient of the other
            inputs = tuple(a for a, b in (node.inputs, node.inputs[::-1]) if b in self._differentiable)
        kept = [self.memory.hold(values[name]) for name in inputs]
        if keeps.output:
            kept.append(self.memory.hold(values[node.name]))
        ins, out = self.ins[node.name], self.shapes[node.name]
        extra = self.batch * keeps.extra(node.op, ins, out) + keeps.fixed(node.op, ins, out)
        self._kept[node.name] = [*kept, self.memory.take(extra)]

    def backward(self) -> None:
        """Compute the gradients of every node's inputs and weights in reverse; those of weights stay."""
        memory = self.memory
        for node in reversed(self.graph.nodes):
            gradient = self._gradients.pop(node.name, None)
            if gradient is None:
                continue
            keeps = KEEPS.get(node.op.kind, _UNKNOWN)
            memory.take(4 * self.params[node.name])
            wanted = [name for name in node.inputs if name in self._differentiable]
            blocks = [
                memory.hold(gradient) if keeps.passes else memory.take(self._bytes(prod(self.shapes[name])))
                for name in wanted
            ]
            memory.touch(self.batch * keeps.backward(node.op, self.ins[node.name], self.shapes[node.name]))
            for block in self._kept.pop(node.name):
                memory.drop(block)
            memory.drop(gradient)
            for name, block in zip(wanted, blocks, strict=True):
                self._accumulate(name, block)

    def _accumulate(self, name: str, block: int) -> None:
        """Add a gradient to that of ``name``: in place where nothing else holds that one."""
        known = self._gradients.get(name)
        if known is None:
            self._gradients[name] = block
            return
        if self.memory.holders[known] > 1:
            total = self.memory.take(self._bytes(prod(self.shapes[name])))
            self.memory.drop(known)
            self._gradients[name] = total
        self.memory.drop(block)
