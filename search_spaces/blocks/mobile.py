"""Blocks for phones: depthwise separable convolutions, inverted residuals, MBConv."""

from __future__ import annotations

from nas.graph import Add, BatchNorm, GraphBuilder
from search_spaces.blocks.layers import conv_norm_act, drop_path, squeeze_excite


def depthwise_separable(
    b: GraphBuilder,
    x: str,
    out: int,
    stride: int = 1,
    *,
    kernel: int = 3,
    activation: str = "relu",
    norm: BatchNorm | None = BatchNorm(),  # noqa: B008  (frozen)
    se: float = 0.0,
) -> str:
    """Depthwise 3x3 and pointwise 1x1, norm and activation after each: MobileNet v1, arXiv:1704.04861, section 3.1.

    ``se`` gates the depthwise output by ``se`` of its channels.
    """
    depth, bias = b.channels(x), norm is None
    with b.scope("depthwise"):
        y = conv_norm_act(b, x, depth, kernel, stride, groups=depth, activation=activation, norm=norm, bias=bias)
    if se:
        y = squeeze_excite(b, y, int(depth * se), activation=activation)
    with b.scope("pointwise"):
        return conv_norm_act(b, y, out, 1, activation=activation, norm=norm, bias=bias)


def inverted_residual(
    b: GraphBuilder,
    x: str,
    out: int,
    expansion: float = 6,
    stride: int = 1,
    *,
    kernel: int = 3,
    activation: str = "relu6",
    norm: BatchNorm | None = BatchNorm(),  # noqa: B008  (frozen)
    se: float = 0.0,
    drop: float = 0.0,
) -> str:
    """1x1 to ``expansion`` times the input's channels, depthwise, linear 1x1, and the input added if it fits.

    MobileNet v2, arXiv:1801.04381, section 3.3. With swish and ``se`` (a share of the *input's* channels) it is
    EfficientNet's MBConv, arXiv:1905.11946, section 4. ``expansion`` 1 leaves the first 1x1 out.
    """
    channels, bias = b.channels(x), norm is None
    # wide inside and narrow outside, the other way round than a bottleneck: hence "inverted"
    inner = round(channels * expansion)
    y = x
    if inner != channels:
        with b.scope("expand"):
            y = conv_norm_act(b, y, inner, 1, activation=activation, norm=norm, bias=bias)
    with b.scope("depthwise"):
        y = conv_norm_act(b, y, inner, kernel, stride, groups=inner, activation=activation, norm=norm, bias=bias)
    if se:
        y = squeeze_excite(b, y, int(channels * se), activation=activation)
    with b.scope("project"):
        y = conv_norm_act(b, y, out, 1, activation="none", norm=norm, bias=bias)
    return b(Add(), drop_path(b, y, drop), x) if stride == 1 and channels == out else y


def mbconv(b: GraphBuilder, x: str, out: int, expansion: float = 6, stride: int = 1, *, kernel: int = 3) -> str:
    """EfficientNet's block: an inverted residual with swish and squeeze-and-excitation of a quarter of the input."""
    return inverted_residual(b, x, out, expansion, stride, kernel=kernel, activation="swish", se=0.25)
