"""Squeeze-and-excitation: a gate on the channels of any block."""

from __future__ import annotations

from nas.graph import Conv, GlobalAvgPool, GraphBuilder, Multiply
from search_spaces.blocks.convs import activate


def squeeze_excite(
    b: GraphBuilder, x: str, squeezed: int, *, activation: str = "relu", gate: str = "sigmoid", name: str = "se"
) -> str:
    """Scale the channels of ``x`` by a gate: global pool, ``squeezed`` features, ``activation``, C features, ``gate``.

    arXiv:1709.01507, section 3, equations 2 to 4 (``squeezed`` is C / r, r = 16 there). The two linear layers are 1x1
    convolutions with biases on the (C, 1, 1) average, which is the same and needs no flattening.
    """
    channels = b.channels(x)
    with b.scope(name):
        y = b(GlobalAvgPool(), x, name="squeeze")
        y = b(Conv(max(1, squeezed), bias=True), y, name="reduce")
        y = activate(b, y, activation)
        y = b(Conv(channels, bias=True), y, name="expand")
        return b(Multiply(), x, activate(b, y, gate), name="scale")
