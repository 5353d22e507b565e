"""The operations that cells name: functions ``op(b, x, channels, stride) -> node`` on a graph builder.

Activation, convolution and norm come in the order ReLU-conv-BN, as in NASNet (arXiv:1707.07012, appendix A.4).
"""

from __future__ import annotations

from collections.abc import Callable

from nas.errors import GraphError
from nas.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Crop,
    Graph,
    GraphBuilder,
    Input,
    MaxPool,
    Named,
    Pad,
    Relu,
    Zero,
)
from nas.registry import Registry

Operation = Callable[[GraphBuilder, str, int, int], str]
OPERATIONS: Registry[Operation] = Registry("operation")


def operation(name: str) -> Callable[[Operation], Operation]:
    """Register the decorated function as the operation ``name`` of cells."""

    def register(function: Operation) -> Operation:
        return OPERATIONS.add(name, function)

    return register


def relu_conv_bn(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int = 1) -> str:
    """ReLU, convolution with "same" padding, batch norm."""
    x = b(Relu(), x)
    x = b(Conv(channels, kernel, stride, kernel // 2), x)
    return b(BatchNorm(), x)


def factorized_reduction(b: GraphBuilder, x: str, channels: int) -> str:
    """Halve the resolution without losing pixels: two 1x1 convolutions of stride 2, the second shifted by one pixel.

    arXiv:1707.07012, appendix A.4. Odd sizes are padded by one, so that both halves have one size.
    """
    x = b(Relu(), x)
    _, height, width = b.shape(x)
    shifted = b(Pad(bottom=height % 2, right=width % 2), x) if height % 2 or width % 2 else x
    shifted = b(Crop(top=1, left=1), shifted)
    first = b(Conv(channels // 2, 1, 2), x)
    second = b(Conv(channels - channels // 2, 1, 2), shifted)
    return b(BatchNorm(), b(Concat(), first, second))


def separable(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int, dilation: int = 1) -> str:
    """ReLU, depthwise convolution, pointwise convolution, batch norm."""
    x = b(Relu(), x)
    depth = b.channels(x)
    x = b(Conv(depth, kernel, stride, dilation * (kernel // 2), dilation, groups=depth), x)
    x = b(Conv(channels, 1), x)
    return b(BatchNorm(), x)


def _rectangles(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int) -> str:
    x = b(Relu(), x)
    x = b(Conv(channels, (1, kernel), (1, stride), (0, kernel // 2)), x)
    x = b(Conv(channels, (kernel, 1), (stride, 1), (kernel // 2, 0)), x)
    return b(BatchNorm(), x)


def _fit(b: GraphBuilder, x: str, channels: int) -> str:
    return x if b.channels(x) == channels else relu_conv_bn(b, x, channels, 1)


@operation("identity")
def identity(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """The input; with a stride, a factorised reduction."""
    if stride == 1:
        return _fit(b, x, channels)
    return factorized_reduction(b, x, channels)


OPERATIONS.add("skip_connect", identity)


@operation("none")
def none(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """All zeros."""
    return b(Zero(stride), _fit(b, x, channels))


def _register_families() -> None:
    def conv(kernel: int) -> Operation:
        return lambda b, x, channels, stride: relu_conv_bn(b, x, channels, kernel, stride)

    def sep(kernel: int) -> Operation:
        def apply(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
            return separable(b, separable(b, x, channels, kernel, stride), channels, kernel, 1)

        return apply

    def dilated(kernel: int) -> Operation:
        return lambda b, x, channels, stride: separable(b, x, channels, kernel, stride, dilation=2)

    def rectangles(kernel: int) -> Operation:
        return lambda b, x, channels, stride: _rectangles(b, x, channels, kernel, stride)

    def max_pool(kernel: int) -> Operation:
        return lambda b, x, channels, stride: b(MaxPool(kernel, stride, kernel // 2), _fit(b, x, channels))

    def avg_pool(kernel: int) -> Operation:
        return lambda b, x, channels, stride: b(
            AvgPool(kernel, stride, kernel // 2, count_include_pad=False), _fit(b, x, channels)
        )

    for kernel in (1, 3):
        OPERATIONS.add(f"conv_{kernel}x{kernel}", conv(kernel))
        OPERATIONS.add(f"nor_conv_{kernel}x{kernel}", conv(kernel))
    for kernel in (3, 5, 7):
        OPERATIONS.add(f"sep_conv_{kernel}x{kernel}", sep(kernel))
        OPERATIONS.add(f"max_pool_{kernel}x{kernel}", max_pool(kernel))
    for kernel in (3, 5):
        OPERATIONS.add(f"dil_conv_{kernel}x{kernel}", dilated(kernel))
    for kernel in (3, 7):
        OPERATIONS.add(f"conv_1x{kernel}_{kernel}x1", rectangles(kernel))
    OPERATIONS.add("avg_pool_3x3", avg_pool(3))


_register_families()


def expand(b: GraphBuilder, cell: Graph, inputs: tuple[str, ...], channels: int) -> str:
    """Add the ``cell`` of named operations to the network of ``b`` at ``channels`` and return its output node.

    ``inputs`` are the network's nodes for the cell's inputs. A node of the cell becomes a scope of the same name.
    """
    if len(inputs) != len(cell.inputs):
        raise GraphError(f"the cell has {len(cell.inputs)} inputs, {len(inputs)} are given")
    value: dict[str, str] = {}
    for node in cell.nodes:
        if isinstance(node.op, Input):
            value[node.name] = inputs[node.op.port]
        elif isinstance(node.op, Named):
            with b.scope(node.name):
                operation = OPERATIONS[node.op.op]
                value[node.name] = b.apply(operation, value[node.inputs[0]], channels, node.op.stride)
        else:
            ins = tuple(value[i] for i in node.inputs)
            single = len(ins) == 1 and isinstance(node.op, Add | Concat)
            value[node.name] = ins[0] if single else b(node.op, *ins, name=node.name)
    return value[cell.outputs[0][1]]
