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
    Operation,
    Pad,
    Relu,
    Zero,
)
from nas.space.operations import OPERATIONS


class Style(NamedTuple):
    """What all operations of a network share: the batch norm, and whose rules decide at strides and new channels."""

    norm: BatchNorm = BatchNorm()
    tensorflow: bool = False
    """The rules of NASNet's and PNASNet's authors, as timm has them: strided layers pad as TensorFlow's "same" does
    (the odd pixel at the bottom and right), zeros padded to a strided average count, a strided identity is a 1x1
    convolution, and what changes the channels of a pool is a 1x1 convolution after it."""


PLAIN = Style()
TENSORFLOW = Style(BatchNorm(1e-3), tensorflow=True)
StyledOperation = Callable[[GraphBuilder, str, int, int, Style], str]


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
        raise GraphError(f"a factorized reduction needs at least 2 channels, one for each half, found {channels}")
    # the second convolution begins one pixel further, so that the two see all pixels between them
    x = b(Relu(), x)
    _, height, width = b.shape(x)
    shifted = b(Pad(bottom=height % 2, right=width % 2), x) if height % 2 or width % 2 else x
    shifted = b(Crop(top=1, left=1), shifted)
    first = b(Conv(channels // 2, 1, 2), x)
    second = b(Conv(channels - channels // 2, 1, 2), shifted)
    return b(style.norm, b(Concat(), first, second))


def separable(
    b: GraphBuilder, x: str, channels: int, kernel: int, stride: int, *, dilation: int = 1, style: Style = PLAIN
) -> str:
    """ReLU, depthwise convolution, pointwise convolution, batch norm."""
    x = b(Relu(), x)
    depth = b.channels(x)
    x = _convolve(b, x, Conv(depth, kernel, stride, dilation * (kernel // 2), dilation, groups=depth), style)
    x = b(Conv(channels, 1), x)
    return b(style.norm, x)


def _pool(b: GraphBuilder, x: str, channels: int, pool: MaxPool | AvgPool, style: Style) -> str:
    # DARTS fits the channels before the pool, NASNet's authors project them after it
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
    """The input; with a stride, a factorized reduction (arXiv:1806.09055) or the authors' strided 1x1."""
    if stride == 1:
        return _fit(b, x, channels, style)
    if style.tensorflow:
        return relu_conv_bn(b, x, channels, 1, stride, style)
    return factorized_reduction(b, x, channels, style)


def _none(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
    """All zeros."""
    return b(Zero(stride), _fit(b, x, channels, style))


def _conv(kernel: int) -> StyledOperation:
    return lambda b, x, channels, stride, style: relu_conv_bn(b, x, channels, kernel, stride, style)


def _sep_conv(kernel: int) -> StyledOperation:
    def apply(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
        # applied twice, the stride in the first (arXiv:1707.07012, appendix A.4)
        x = separable(b, x, channels, kernel, stride, style=style)
        return separable(b, x, channels, kernel, 1, style=style)

    return apply


def _dil_conv(kernel: int) -> StyledOperation:
    return lambda b, x, channels, stride, style: separable(b, x, channels, kernel, stride, dilation=2, style=style)


def _rectangles(kernel: int) -> StyledOperation:
    def apply(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
        x = b(Relu(), x)
        x = _convolve(b, x, Conv(channels, (1, kernel), (1, stride), (0, kernel // 2)), style)
        x = _convolve(b, x, Conv(channels, (kernel, 1), (stride, 1), (kernel // 2, 0)), style)
        return b(style.norm, x)

    return apply


def _max_pool(kernel: int) -> StyledOperation:
    return lambda b, x, channels, stride, style: _pool(b, x, channels, MaxPool(kernel, stride, kernel // 2), style)


def _avg_pool(kernel: int) -> StyledOperation:
    def apply(b: GraphBuilder, x: str, channels: int, stride: int, style: Style) -> str:
        return _pool(b, x, channels, AvgPool(kernel, stride, kernel // 2, count_include_pad=False), style)

    return apply


STYLED_OPERATIONS: dict[str, StyledOperation] = {
    "identity": _identity,
    "skip_connect": _identity,
    "none": _none,
    "conv_1x1": _conv(1),
    "conv_3x3": _conv(3),
    "nor_conv_1x1": _conv(1),
    "nor_conv_3x3": _conv(3),
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "sep_conv_7x7": _sep_conv(7),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
    "conv_1x3_3x1": _rectangles(3),
    "conv_1x7_7x1": _rectangles(7),
    "max_pool_3x3": _max_pool(3),
    "max_pool_5x5": _max_pool(5),
    "max_pool_7x7": _max_pool(7),
    "avg_pool_3x3": _avg_pool(3),
}
"""The operations of NASNet, DARTS and NAS-Bench-201, which have a style; registered are those of the plain one."""


def _plain(build: StyledOperation) -> Operation:
    return lambda b, x, channels, stride: build(b, x, channels, stride, PLAIN)


for _name, _build in STYLED_OPERATIONS.items():
    OPERATIONS.add(_name, _plain(_build))


def expand(
    b: GraphBuilder, cell: Graph, inputs: tuple[str, ...], channels: int, style: Style = PLAIN, drop_path: float = 0.0
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
        op, ins = node.op, tuple(value[i] for i in node.inputs)
        if isinstance(op, Input):
            value[node.name] = inputs[op.port]
        elif isinstance(op, Named):
            with b.scope(node.name):
                if style == PLAIN or op.op not in STYLED_OPERATIONS:
                    out = b.apply(OPERATIONS[op.op], ins[0], channels, op.stride)
                else:
                    out = STYLED_OPERATIONS[op.op](b, ins[0], channels, op.stride, style)
                value[node.name] = b(DropPath(drop_path), out) if drop_path and out != ins[0] else out
        else:
            # NASNet's authors project what a cell concatenates of its inputs to the cell's channels
            if style.tensorflow and isinstance(op, Concat):
                found = []
                for i, x in enumerate(ins):
                    with b.scope(f"{node.name}_input{i}"):
                        found.append(_project(b, x, channels, style))
                ins = tuple(found)
            single = len(ins) == 1 and isinstance(op, Add | Concat)
            value[node.name] = ins[0] if single else b(op, *ins, name=node.name)
    return value[cell.outputs[0][1]]
