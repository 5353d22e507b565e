"""SqueezeNet's fire module with its bypasses."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import Add, BatchNorm, Concat, Conv, GraphBuilder
from search_spaces.blocks.layers import conv_norm_act, drop_path

BYPASSES = ("none", "simple", "complex")


def fire(
    b: GraphBuilder,
    x: str,
    out: int,
    squeeze: int,
    *,
    kernel: int = 3,
    bypass: str = "none",
    activation: str = "relu",
    norm: BatchNorm | None = None,
    drop: float = 0.0,
) -> str:
    """1x1 to ``squeeze`` channels, then half of ``out`` by a 1x1 and half by a 3x3, concatenated.

    arXiv:1602.07360, section 3.1 (convolutions with biases, no norm there). Bypasses, section 6: "simple" adds the
    input where it has ``out`` channels, "complex" also elsewhere, by a 1x1 convolution.
    """
    if bypass not in BYPASSES:
        raise GraphError(f"fire: bypass must be one of {', '.join(BYPASSES)}, found '{bypass}'")
    if out % 2:
        raise GraphError(f"fire: the two halves need an even number of channels, found {out}")
    bias = norm is None
    with b.scope("squeeze"):
        y = conv_norm_act(b, x, squeeze, 1, activation=activation, norm=norm, bias=bias)
    halves = []
    for name, size in (("expand1", 1), ("expand3", kernel)):
        with b.scope(name):
            halves.append(conv_norm_act(b, y, out // 2, size, activation=activation, norm=norm, bias=bias))
    # a bypass is added where the input fits, the complex one makes it fit
    y = b(Concat(), *halves)
    if b.channels(x) == out and bypass != "none":
        return b(Add(), drop_path(b, y, drop), x)
    if bypass == "complex":
        return b(Add(), drop_path(b, y, drop), b(Conv(out, bias=True), x, name="bypass"))
    return y
