"""ShuffleNet units: grouped or split 1x1 convolutions, and a channel shuffle that lets the groups talk."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import Add, AvgPool, ChannelShuffle, ChannelSlice, Concat, GraphBuilder, Relu
from search_spaces.blocks.layers import conv_norm_act


def shuffle_v1(b: GraphBuilder, x: str, out: int, groups: int, stride: int = 1, first_groups: int | None = None) -> str:
    """ShuffleNet's unit: grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, and a shortcut (arXiv:1707.01083, figure 2).

    The bottleneck has a quarter of the ``out`` channels. At stride 1 the input is added; at stride 2 its 3x3 average
    pool is concatenated, so that the last 1x1 makes ``out`` less the input's channels. ``first_groups`` is for the
    first unit of a network, whose input is too thin to be grouped.
    """
    if stride not in (1, 2):
        raise GraphError(f"a ShuffleNet unit has stride 1 or 2, found {stride}")
    if stride == 1 and b.channels(x) != out:
        raise GraphError(f"a ShuffleNet unit of stride 1 keeps the channels, found {b.channels(x)} -> {out}")
    narrow, grow = out // 4, out if stride == 1 else out - b.channels(x)
    if grow < 1:
        raise GraphError(f"a ShuffleNet unit of stride 2 must widen its input, found {b.channels(x)} -> {out}")
    # without the shuffle the groups would never see each other's channels
    y = conv_norm_act(b, x, narrow, 1, groups=groups if first_groups is None else first_groups)
    if groups > 1:
        y = b(ChannelShuffle(groups), y)
    y = conv_norm_act(b, y, narrow, 3, stride, groups=narrow, activation="none")
    y = conv_norm_act(b, y, grow, 1, groups=groups, activation="none")
    y = b(Add(), x, y) if stride == 1 else b(Concat(), b(AvgPool(3, 2, 1), x), y)
    return b(Relu(), y)


def shuffle_v2(b: GraphBuilder, x: str, out: int, stride: int = 1) -> str:
    """ShuffleNet v2's unit (arXiv:1807.11164, figure 3c and d): half of the channels pass by, then all are shuffled.

    At stride 1 the channels are split and kept; at stride 2 both halves of the output are convolved from all of them.
    """
    if out % 2:
        raise GraphError(f"a ShuffleNet v2 unit has an even number of channels, found {out}")
    # the first half is passed on as it is, or convolved by its own branch where the size changes
    half, channels = out // 2, b.channels(x)
    if stride == 1:
        if channels != out:
            raise GraphError(f"a ShuffleNet v2 unit of stride 1 keeps the channels, found {channels} -> {out}")
        first, second = b(ChannelSlice(0, half), x), b(ChannelSlice(half, out), x)
    else:
        with b.scope("branch1"):
            first = conv_norm_act(b, x, channels, 3, stride, groups=channels, activation="none")
            first = conv_norm_act(b, first, half, 1)
        second = x
    with b.scope("branch2"):
        second = conv_norm_act(b, second, half, 1)
        second = conv_norm_act(b, second, half, 3, stride, groups=half, activation="none")
        second = conv_norm_act(b, second, half, 1)
    return b(ChannelShuffle(2), b(Concat(), first, second))
