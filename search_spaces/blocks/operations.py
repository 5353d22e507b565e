"""The operations that cells name: functions ``op(b, x, channels, stride) -> node`` on a graph builder.

Activation, convolution and norm come in the order ReLU-conv-BN, as in NASNet (arXiv:1707.07012, appendix A.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from nas.errors import GraphError
from nas.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Crop,
    DropPath,
    Graph,
    GraphBuilder,
    Input,
    MaxPool,
    Named,
    Node,
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


class Style(NamedTuple):
    """What all operations of a network share: the batch norm, and whose rules decide at strides and new channels.

    ``tensorflow`` stands for the code of NASNet's and PNASNet's authors, as timm has it: strided layers pad as
    TensorFlow's "same" does (the odd pixel at the bottom and right), zeros padded to a strided average count, a strided
    identity is a 1x1 convolution, and what changes the channels of a pool is a 1x1 convolution after it.
    """

    norm: BatchNorm = BatchNorm()
    tensorflow: bool = False


PLAIN = Style()
TENSORFLOW = Style(BatchNorm(1e-3), tensorflow=True)
StyledOperation = Callable[[GraphBuilder, str, int, int, Style], str]
_STYLED: dict[str, StyledOperation] = {}


def _add(name: str, build: StyledOperation) -> None:
    """Register ``build`` as operation ``name``, in the plain style, and remember it for the other styles."""
    _STYLED[name] = build
    OPERATIONS.add(name, lambda b, x, channels, stride: build(b, x, channels, stride, PLAIN))


def _convolve(b: GraphBuilder, x: str, layer: Conv, style: Style) -> str:
    """Convolve with "same" padding: that of ``layer``, or TensorFlow's at a stride."""
    if style.tensorflow and layer.stride != (1, 1):
        x, padding = _pad_same(b, x, layer)
        layer = replace(layer, padding=padding)
    return b(layer, x)


def _pad_same(b: GraphBuilder, x: str, layer: Conv | AvgPool) -> tuple[str, tuple[int, int]]:
    """Return ``x`` with TensorFlow's "same" margins, or as it is where they are the layer's own padding."""
    (top, bottom), (left, right) = _margins(b.shape(x), layer)
    if isinstance(layer, Conv) and (top, left) == (bottom, right):
        return x, (top, left)
    return b(Pad(top=top, bottom=bottom, left=left, right=right), x) if bottom or right else x, (0, 0)


def _margins(shape: tuple[int, ...], layer: Conv | AvgPool | MaxPool) -> list[tuple[int, int]]:
    """Return the margins (before, after) of height and width that give ceil(size / stride) outputs."""
    found = []
    for axis in (0, 1):
        size, kernel, stride = shape[axis + 1], layer.kernel[axis], layer.stride[axis]  # type: ignore[index]
        dilation = layer.dilation[axis] if isinstance(layer, Conv) else 1  # type: ignore[index]
        total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        found.append((total // 2, total - total // 2))
    return found


def relu_conv_bn(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int = 1, style: Style = PLAIN) -> str:
    """ReLU, convolution with "same" padding, batch norm."""
    x = b(Relu(), x)
    x = _convolve(b, x, Conv(channels, kernel, stride, kernel // 2), style)
    return b(style.norm, x)


def factorized_reduction(b: GraphBuilder, x: str, channels: int, style: Style = PLAIN) -> str:
    """Halve the resolution without losing pixels: two 1x1 convolutions of stride 2, the second shifted by one pixel.

    arXiv:1707.07012, appendix A.4. Odd sizes are padded by one, so that both halves have one size.
    """
    if channels < 2:
        raise GraphError(f"a factorised reduction needs at least 2 channels, one for each half, found {channels}")
    x = b(Relu(), x)
    _, height, width = b.shape(x)
    shifted = b(Pad(bottom=height % 2, right=width % 2), x) if height % 2 or width % 2 else x
    shifted = b(Crop(top=1, left=1), shifted)
    first = b(Conv(channels // 2, 1, 2), x)
    second = b(Conv(channels - channels // 2, 1, 2), shifted)
    return b(style.norm, b(Concat(), first, second))


def separable(
    b: GraphBuilder, x: str, channels: int, kernel: int, stride: int, dilation: int = 1, style: Style = PLAIN
) -> str:
    """ReLU, depthwise convolution, pointwise convolution, batch norm."""
    x = b(Relu(), x)
    depth = b.channels(x)
    x = _convolve(b, x, Conv(depth, kernel, stride, dilation * (kernel // 2), dilation, groups=depth), style)
    x = b(Conv(channels, 1), x)
    return b(style.norm, x)


def _rectangles(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int, style: Style) -> str:
    x = b(Relu(), x)
    x = _convolve(b, x, Conv(channels, (1, kernel), (1, stride), (0, kernel // 2)), style)
    x = _convolve(b, x, Conv(channels, (kernel, 1), (stride, 1), (kernel // 2, 0)), style)
    return b(style.norm, x)


def _pool(b: GraphBuilder, x: str, channels: int, pool: MaxPool | AvgPool, style: Style) -> str:
    if not style.tensorflow:
        return b(pool, _fit(b, x, channels, style))
    if pool.stride != (1, 1):
        if isinstance(pool, MaxPool):
            # "ceil" adds the margin at the bottom and right that TensorFlow has and symmetric padding has not
            (top, _), (left, _) = _margins(b.shape(x), pool)
            pool = replace(pool, padding=(top, left), ceil_mode=True)
        else:
            x, padding = _pad_same(b, x, pool)
            pool = replace(pool, padding=padding)
    return _project(b, b(pool, x), channels, style)


def _project(b: GraphBuilder, x: str, channels: int, style: Style) -> str:
    """1x1 convolution and batch norm where the channels are others."""
    return x if b.channels(x) == channels else b(style.norm, b(Conv(channels, 1), x))


def _fit(b: GraphBuilder, x: str, channels: int, style: Style) -> str:
    return x if b.channels(x) == channels else relu_conv_bn(b, x, channels, 1, style=style)


def _identity(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
    """The input; with a stride, a factorised reduction (arXiv:1806.09055) or the authors' strided 1x1."""
    if stride == 1:
        return _fit(b, x, channels, style)
    if style.tensorflow:
        return relu_conv_bn(b, x, channels, 1, stride, style)
    return factorized_reduction(b, x, channels, style)


def _none(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
    """All zeros."""
    return b(Zero(stride), _fit(b, x, channels, style))


def _register_families() -> None:
    def conv(kernel: int) -> StyledOperation:
        return lambda b, x, channels, stride, style: relu_conv_bn(b, x, channels, kernel, stride, style)

    def sep(kernel: int) -> StyledOperation:
        def apply(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
            x = separable(b, x, channels, kernel, stride, style=style)
            return separable(b, x, channels, kernel, 1, style=style)

        return apply

    def dilated(kernel: int) -> StyledOperation:
        return lambda b, x, channels, stride, style: separable(b, x, channels, kernel, stride, 2, style)

    def rectangles(kernel: int) -> StyledOperation:
        return lambda b, x, channels, stride, style: _rectangles(b, x, channels, kernel, stride, style)

    def max_pool(kernel: int) -> StyledOperation:
        return lambda b, x, channels, stride, style: _pool(b, x, channels, MaxPool(kernel, stride, kernel // 2), style)

    def avg_pool(kernel: int) -> StyledOperation:
        def apply(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
            return _pool(b, x, channels, AvgPool(kernel, stride, kernel // 2, count_include_pad=False), style)

        return apply

    for name in ("identity", "skip_connect"):
        _add(name, _identity)
    _add("none", _none)
    for kernel in (1, 3):
        _add(f"conv_{kernel}x{kernel}", conv(kernel))
        _add(f"nor_conv_{kernel}x{kernel}", conv(kernel))
    for kernel in (3, 5, 7):
        _add(f"sep_conv_{kernel}x{kernel}", sep(kernel))
        _add(f"max_pool_{kernel}x{kernel}", max_pool(kernel))
    for kernel in (3, 5):
        _add(f"dil_conv_{kernel}x{kernel}", dilated(kernel))
    for kernel in (3, 7):
        _add(f"conv_1x{kernel}_{kernel}x1", rectangles(kernel))
    _add("avg_pool_3x3", avg_pool(3))


_register_families()


def expand(
    b: GraphBuilder,
    cell: Graph,
    inputs: tuple[str, ...],
    channels: int,
    style: Style = PLAIN,
    drop_path: float = 0.0,
) -> str:
    """Add the ``cell`` of named operations to the network of ``b`` at ``channels`` and return its output node.

    ``inputs`` are the network's nodes for the cell's inputs. A node of the cell becomes a scope of the same name.
    Every operation but the identity is dropped with probability ``drop_path`` (arXiv:1605.07648, section 3). An
    operation that is not of the NASNet set has no style: it is built as it is registered.
    """
    if len(inputs) != len(cell.inputs):
        raise GraphError(f"the cell has {len(cell.inputs)} inputs, {len(inputs)} are given")
    value: dict[str, str] = {}
    for node in cell.nodes:
        ins = tuple(value[i] for i in node.inputs)
        if isinstance(node.op, Input):
            value[node.name] = inputs[node.op.port]
        elif isinstance(node.op, Named):
            with b.scope(node.name):
                value[node.name] = _operate(b, node.op, ins[0], channels, style, drop_path)
        else:
            if style.tensorflow and isinstance(node.op, Concat):
                ins = _aligned(b, node, ins, channels, style)
            single = len(ins) == 1 and isinstance(node.op, Add | Concat)
            value[node.name] = ins[0] if single else b(node.op, *ins, name=node.name)
    return value[cell.outputs[0][1]]


def _operate(b: GraphBuilder, op: Named, x: str, channels: int, style: Style, drop_path: float) -> str:
    if style == PLAIN or op.op not in _STYLED:
        out = b.apply(OPERATIONS[op.op], x, channels, op.stride)
    else:
        out = _STYLED[op.op](b, x, channels, op.stride, style)
    return b(DropPath(drop_path), out) if drop_path and out != x else out


def _aligned(b: GraphBuilder, node: Node, ins: tuple[str, ...], channels: int, style: Style) -> tuple[str, ...]:
    """Project what a cell concatenates of its inputs to the cell's channels, as NASNet's authors do."""
    found = []
    for i, x in enumerate(ins):
        with b.scope(f"{node.name}_input{i}"):
            found.append(_project(b, x, channels, style))
    return tuple(found)
