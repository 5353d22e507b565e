"""Inception blocks: v1 naive and with reductions, the factorized ones of v3 and v4, and Inception-ResNet-v2.

Every block takes a builder and a node and returns a node. A block is branches that are concatenated, a branch is a
chain of convolutions, each followed by norm and ReLU.
"""

from __future__ import annotations

from typing import NamedTuple

from nas.errors import GraphError
from nas.graph import Add, AvgPool, BatchNorm, Concat, Conv, GraphBuilder, MaxPool, Primitive, Scale
from search_spaces.blocks.layers import activate, conv_norm_act

NORM = BatchNorm(eps=1e-3)
"""The batch norm of Google's Inception networks."""
POOL = AvgPool(3, 1, 1)
"""The pool of v3's pool branches; v4 leaves the padded zeros out of the mean, see :data:`POOL_INSIDE`."""
POOL_INSIDE = AvgPool(3, 1, 1, count_include_pad=False)
SHRINK = MaxPool(3, 2)


class ConvStep(NamedTuple):
    """A convolution of a branch; ``padding`` None keeps the size at stride 1."""

    out: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | None = None


class Fork(NamedTuple):
    """1x3 and 3x1 side by side, a wider rather than deeper factorization of 3x3 (arXiv:1512.00567, figure 7)."""

    width: int


Piece = ConvStep | Fork | Primitive


def half(out: int) -> ConvStep:
    """Return the 3x3 convolution of stride 2 without padding that halves a grid."""
    return ConvStep(out, 3, 2, 0)


def chain(b: GraphBuilder, x: str, *pieces: Piece, norm: BatchNorm | None = NORM) -> str:
    """Apply pieces one after another; a convolution has norm and ReLU behind it, without a norm it has biases."""
    for piece in pieces:
        if isinstance(piece, ConvStep):
            p, bias = piece, norm is None
            x = conv_norm_act(b, x, p.out, p.kernel, p.stride, padding=p.padding, norm=norm, bias=bias)
        elif isinstance(piece, Fork):
            with b.scope("wide"):
                wide = chain(b, x, ConvStep(piece.width, (1, 3)), norm=norm)
            with b.scope("tall"):
                tall = chain(b, x, ConvStep(piece.width, (3, 1)), norm=norm)
            x = b(Concat(), wide, tall)
        else:
            x = b(piece, x)
    return x


def branches(b: GraphBuilder, x: str, *parts: tuple[Piece, ...], norm: BatchNorm | None = NORM) -> str:
    """Concatenate branches of ``x``, each a chain."""
    ends = []
    for i, part in enumerate(parts, 1):
        with b.scope(f"branch{i}"):
            ends.append(chain(b, x, *part, norm=norm))
    return b(Concat(), *ends)


def naive(b: GraphBuilder, x: str, one: int, three: int, five: int, norm: BatchNorm | None = None) -> str:
    """The naive Inception module: 1x1, 3x3, 5x5 and a 3x3 max pool side by side (arXiv:1409.4842, figure 2a)."""
    parts = (ConvStep(one),), (ConvStep(three, 3),), (ConvStep(five, 5),), (MaxPool(3, 1, 1),)
    return branches(b, x, *parts, norm=norm)


class Widths(NamedTuple):
    """The filters of one Inception v1 module, in the order of the columns of arXiv:1409.4842, table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


def reduced(b: GraphBuilder, x: str, widths: Widths, *, five: int = 5, norm: BatchNorm | None = None) -> str:
    """The Inception module with 1x1 reductions before 3x3 and 5x5 and behind the pool (arXiv:1409.4842, figure 2b).

    ``five`` is the kernel of the 5x5 branch: torchvision's GoogLeNet has 3 there.
    """
    w = widths
    parts = (
        (ConvStep(w.one),),
        (ConvStep(w.three_reduce), ConvStep(w.three, 3)),
        (ConvStep(w.five_reduce), ConvStep(w.five, five)),
        (MaxPool(3, 1, 1), ConvStep(w.pool)),
    )
    return branches(b, x, *parts, norm=norm)


def scaled(b: GraphBuilder, x: str, channels: int, stride: int = 1) -> str:
    """The Inception module with reductions at any width and stride, as an operation of cells (arXiv:1409.4842).

    The shares are those of module 3a: a quarter 1x1, half 3x3, an eighth each 5x5 and pool; batch norm as in v2
    (arXiv:1502.03167, section 4.2.1).
    """
    if channels < 8:
        raise GraphError(f"an Inception module needs at least 8 channels, found {channels}")
    # the 3x3 takes what rounding leaves, so that all channels are there
    eighth = channels // 8
    parts = (
        (ConvStep(2 * eighth, 1, stride),),
        (ConvStep(3 * eighth), ConvStep(channels - 4 * eighth, 3, stride)),
        (ConvStep(max(1, eighth // 2)), ConvStep(eighth, 5, stride)),
        (MaxPool(3, stride, 1), ConvStep(eighth)),
    )
    return branches(b, x, *parts)


def v3_a(b: GraphBuilder, x: str, pool: int) -> str:
    """v3 on the 35x35 grid: the 5x5 of v1 beside its factorization in two 3x3 (arXiv:1512.00567, figure 5)."""
    double = ConvStep(64), ConvStep(96, 3), ConvStep(96, 3)
    return branches(b, x, (ConvStep(64),), (ConvStep(48), ConvStep(64, 5)), double, (POOL, ConvStep(pool)))


def v3_b(b: GraphBuilder, x: str) -> str:
    """v3's reduction from the 35x35 to the 17x17 grid (arXiv:1512.00567, figure 10)."""
    return branches(b, x, (half(384),), (ConvStep(64), ConvStep(96, 3), half(96)), (SHRINK,))


def v3_c(b: GraphBuilder, x: str, width: int) -> str:
    """v3 on the 17x17 grid: 7x7 factorized in 1x7 and 7x1, once and twice (arXiv:1512.00567, figure 6)."""
    once = ConvStep(width), ConvStep(width, (1, 7)), ConvStep(192, (7, 1))
    twice = (
        ConvStep(width),
        ConvStep(width, (7, 1)),
        ConvStep(width, (1, 7)),
        ConvStep(width, (7, 1)),
        ConvStep(192, (1, 7)),
    )
    return branches(b, x, (ConvStep(192),), once, twice, (POOL, ConvStep(192)))


def v3_d(b: GraphBuilder, x: str) -> str:
    """v3's reduction from the 17x17 to the 8x8 grid (arXiv:1512.00567, figure 10)."""
    seven = ConvStep(192), ConvStep(192, (1, 7)), ConvStep(192, (7, 1)), half(192)
    return branches(b, x, (ConvStep(192), half(320)), seven, (SHRINK,))


def v3_e(b: GraphBuilder, x: str) -> str:
    """v3 on the 8x8 grid: branches that fork in 1x3 and 3x1 at their end (arXiv:1512.00567, figure 7)."""
    double = ConvStep(448), ConvStep(384, 3), Fork(384)
    return branches(b, x, (ConvStep(320),), (ConvStep(384), Fork(384)), double, (POOL, ConvStep(192)))


def v4_stem(b: GraphBuilder, x: str) -> str:
    """v4's stem: pool and convolution side by side where the grid shrinks (arXiv:1602.07261, figure 3)."""
    with b.scope("conv"):
        x = chain(b, x, half(32), ConvStep(32, 3, 1, 0), ConvStep(64, 3))
    with b.scope("mixed3a"):
        x = branches(b, x, (SHRINK,), (half(96),))
    with b.scope("mixed4a"):
        seven = ConvStep(64), ConvStep(64, (1, 7)), ConvStep(64, (7, 1)), ConvStep(96, 3, 1, 0)
        x = branches(b, x, (ConvStep(64), ConvStep(96, 3, 1, 0)), seven)
    with b.scope("mixed5a"):
        return branches(b, x, (half(192),), (SHRINK,))


def v4_a(b: GraphBuilder, x: str) -> str:
    """v4 on the 35x35 grid (arXiv:1602.07261, figure 4)."""
    double = ConvStep(64), ConvStep(96, 3), ConvStep(96, 3)
    return branches(b, x, (ConvStep(96),), (ConvStep(64), ConvStep(96, 3)), double, (POOL_INSIDE, ConvStep(96)))


def v4_b(b: GraphBuilder, x: str) -> str:
    """v4 on the 17x17 grid (arXiv:1602.07261, figure 5)."""
    once = ConvStep(192), ConvStep(224, (1, 7)), ConvStep(256, (7, 1))
    twice = (ConvStep(192), ConvStep(192, (7, 1)), ConvStep(224, (1, 7)), ConvStep(224, (7, 1)), ConvStep(256, (1, 7)))
    return branches(b, x, (ConvStep(384),), once, twice, (POOL_INSIDE, ConvStep(128)))


def v4_c(b: GraphBuilder, x: str) -> str:
    """v4 on the 8x8 grid (arXiv:1602.07261, figure 6)."""
    double = ConvStep(384), ConvStep(448, (3, 1)), ConvStep(512, (1, 3)), Fork(256)
    return branches(b, x, (ConvStep(256),), (ConvStep(384), Fork(256)), double, (POOL_INSIDE, ConvStep(256)))


def reduction_a(b: GraphBuilder, x: str, k: int, l: int, m: int, n: int) -> str:  # noqa: E741  (the paper's names)
    """The reduction from 35x35 to 17x17 of v4 and Inception-ResNet (arXiv:1602.07261, figure 7 and table 1)."""
    return branches(b, x, (half(n),), (ConvStep(k), ConvStep(l, 3), half(m)), (SHRINK,))


def v4_reduction_b(b: GraphBuilder, x: str) -> str:
    """v4's reduction from 17x17 to 8x8 (arXiv:1602.07261, figure 8)."""
    seven = ConvStep(256), ConvStep(256, (1, 7)), ConvStep(320, (7, 1)), half(320)
    return branches(b, x, (ConvStep(192), half(192)), seven, (SHRINK,))


def resnet_reduction_b(b: GraphBuilder, x: str) -> str:
    """Inception-ResNet-v2's reduction from 17x17 to 8x8 (arXiv:1602.07261, figure 18, with the released widths)."""
    parts = (
        (ConvStep(256), half(384)),
        (ConvStep(256), half(288)),
        (ConvStep(256), ConvStep(288, 3), half(320)),
        (SHRINK,),
    )
    return branches(b, x, *parts)


def residual(b: GraphBuilder, x: str, scale: float, *parts: tuple[Piece, ...], activation: str = "relu") -> str:
    """Inception as a scaled residual: branches, a linear 1x1 back to x's width, times ``scale``, plus x, activation.

    arXiv:1602.07261, sections 3.2 and 3.3: beyond 1000 filters training dies unless residuals are scaled down.
    """
    # the 1x1 is linear: norm and activation would bound the residual
    y = b(Conv(b.channels(x), bias=True), branches(b, x, *parts))
    return activate(b, b(Add(), b(Scale(scale), y), x), activation)


def resnet_a(b: GraphBuilder, x: str, scale: float = 0.17) -> str:
    """Inception-ResNet-v2 on the 35x35 grid, the released "block35" (arXiv:1602.07261, figure 16)."""
    return residual(
        b, x, scale, (ConvStep(32),), (ConvStep(32), ConvStep(32, 3)), (ConvStep(32), ConvStep(48, 3), ConvStep(64, 3))
    )


def resnet_b(b: GraphBuilder, x: str, scale: float = 0.1) -> str:
    """Inception-ResNet-v2 on the 17x17 grid, the released "block17" (arXiv:1602.07261, figure 17)."""
    return residual(b, x, scale, (ConvStep(192),), (ConvStep(128), ConvStep(160, (1, 7)), ConvStep(192, (7, 1))))


def resnet_c(b: GraphBuilder, x: str, scale: float = 0.2, activation: str = "relu") -> str:
    """Inception-ResNet-v2 on the 8x8 grid, the released "block8" (arXiv:1602.07261, figure 19)."""
    return residual(
        b,
        x,
        scale,
        (ConvStep(192),),
        (ConvStep(192), ConvStep(224, (1, 3)), ConvStep(256, (3, 1))),
        activation=activation,
    )
