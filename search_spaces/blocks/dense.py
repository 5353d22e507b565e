"""Dense layers and transitions."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import AvgPool, BatchNorm, Concat, GraphBuilder
from search_spaces.blocks.layers import conv_norm_act, drop_path, squeeze_excite


def dense_layer(
    b: GraphBuilder,
    x: str,
    growth: int,
    inner: int,
    *,
    kernel: int = 3,
    activation: str = "relu",
    norm: BatchNorm | None = BatchNorm(),  # noqa: B008  (frozen)
    se: float = 0.0,
    drop: float = 0.0,
) -> str:
    """``growth`` new channels from all earlier ones, concatenated to them: arXiv:1608.06993, section 3.

    BN-ReLU-1x1(``inner``)-BN-ReLU-3x3; ``inner`` is 4 * growth in DenseNet-B, 0 leaves the 1x1 out.
    """
    # a norm makes the bias of the convolution before it useless
    bias = norm is None
    y = x
    if inner:
        y = conv_norm_act(b, y, inner, 1, activation=activation, norm=norm, bias=bias, order="norm-act-conv")
    y = conv_norm_act(b, y, growth, kernel, activation=activation, norm=norm, bias=bias, order="norm-act-conv")
    if se:
        y = squeeze_excite(b, y, int(growth * se), activation=activation)
    return b(Concat(), x, drop_path(b, y, drop))


def transition(
    b: GraphBuilder,
    x: str,
    *,
    compression: float = 0.5,
    stride: int = 2,
    activation: str = "relu",
    norm: BatchNorm | None = BatchNorm(),  # noqa: B008  (frozen)
) -> str:
    """BN-ReLU-1x1 to ``compression`` of the channels, average pool: arXiv:1608.06993, section 3 and table 1."""
    if not 0 < compression <= 1:
        raise GraphError(f"transition: compression must be in (0, 1], found {compression}")
    out = max(1, int(b.channels(x) * compression))
    y = conv_norm_act(b, x, out, 1, activation=activation, norm=norm, bias=norm is None, order="norm-act-conv")
    return b(AvgPool(stride), y) if stride != 1 else y
