"""The blocks of the lectures as operations of cells: any channels in, ``channels`` out, at stride 1 or 2.

A block without a stride of its own is strided as its network does it: by a pool, or by its 1x1 convolution. Importing
this module registers the operations.
"""

from __future__ import annotations

from nas.graph import AvgPool, BatchNorm, GraphBuilder, MaxPool
from nas.space.operations import OPERATIONS, register_operation
from search_spaces.blocks.classic_stages import conv_stage
from search_spaces.blocks.dense import dense_layer
from search_spaces.blocks.fire import fire
from search_spaces.blocks.inception import scaled
from search_spaces.blocks.layers import conv_norm_act, squeeze_excite
from search_spaces.blocks.mobile import depthwise_separable, inverted_residual, mbconv
from search_spaces.blocks.residual import Style, basic, bottleneck, resnext
from search_spaces.blocks.shuffle import shuffle_v1, shuffle_v2

SE_RATIO = 1 / 16
"""Squeeze-and-excitation's share of the channels (arXiv:1709.01507, section 6.1)."""


def _pooled(b: GraphBuilder, x: str, stride: int) -> str:
    """Stride by the 3x3 max pool that GoogLeNet and SqueezeNet have between their modules."""
    return x if stride == 1 else b(MaxPool(3, stride, 1), x, name="pool")


def _match_channels(b: GraphBuilder, x: str, channels: int, stride: int = 1) -> str:
    """Bring ``x`` to ``channels`` by a 1x1 convolution where it has others, or a stride."""
    if b.channels(x) == channels and stride == 1:
        return x
    with b.scope("fit"):
        return conv_norm_act(b, x, channels, 1, stride)


@register_operation("lenet_conv_5x5")
def lenet_conv(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """A 5x5 convolution as LeNet-5's, normalized, with sigmoid; at a stride a 2x2 average pool (LeCun et al. 1998)."""
    pool = None if stride == 1 else AvgPool(stride, ceil_mode=True)
    return conv_stage(b, x, channels, kernel=5, activation="sigmoid", norm=BatchNorm(), pool=pool)


@register_operation("vgg_conv_3x3")
def vgg_conv(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """VGG's two 3x3 convolutions, normalized; at a stride its 2x2 max pool (arXiv:1409.1556, section 2.1)."""
    pool = None if stride == 1 else MaxPool(stride, ceil_mode=True)
    return conv_stage(b, x, channels, 2, norm=BatchNorm(), pool=pool)


OPERATIONS.add("inception", scaled)


@register_operation("residual_basic")
def residual_basic(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """ResNet's two 3x3 convolutions and a shortcut: arXiv:1512.03385, figure 5 left."""
    return basic(b, x, channels, stride)


@register_operation("residual_preact")
def residual_preact(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """The same with full pre-activation: arXiv:1603.05027, figure 4e."""
    return basic(b, x, channels, stride, style=Style("full_preactivation"))


@register_operation("residual_bottleneck")
def residual_bottleneck(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """ResNet's bottleneck to a quarter of the channels: arXiv:1512.03385, figure 5 right."""
    return bottleneck(b, x, channels, max(1, channels // 4), stride)


@register_operation("resnext")
def resnext_block(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """ResNeXt's grouped bottleneck to half of the channels, four in a group: arXiv:1611.05431, table 1.

    It is a plain bottleneck where four do not divide them.
    """
    inner = max(1, channels // 2)
    return resnext(b, x, channels, inner, inner // 4 if inner % 4 == 0 else 1, stride)


@register_operation("se_residual")
def se_residual(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """A basic residual unit with squeeze-and-excitation: arXiv:1709.01507, figure 3."""
    return basic(b, x, channels, stride, style=Style(se=SE_RATIO))


@register_operation("se_gate")
def se_gate(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """Squeeze-and-excitation alone; a 1x1 convolution first where shapes change: arXiv:1709.01507, section 3."""
    x = _match_channels(b, x, channels, stride)
    return squeeze_excite(b, x, int(channels * SE_RATIO))


@register_operation("dense")
def dense(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """Two dense layers that grow by a quarter of the channels, and a transition: arXiv:1608.06993, section 3."""
    # a layer's bottleneck of four growths is as wide as the block
    growth = max(1, channels // 4)
    for i in (1, 2):
        with b.scope(f"layer{i}"):
            x = dense_layer(b, x, growth, 4 * growth)
    with b.scope("transition"):
        x = conv_norm_act(b, x, channels, 1, order="norm-act-conv")
        return x if stride == 1 else b(AvgPool(stride, ceil_mode=True), x)


@register_operation("fire")
def fire_module(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """SqueezeNet's fire module that squeezes to an eighth of the channels, normalized: arXiv:1602.07360, section 3."""
    return fire(b, _pooled(b, x, stride), channels, max(1, channels // 8), norm=BatchNorm())


@register_operation("depthwise_separable")
def depthwise(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """MobileNet's depthwise and pointwise convolutions: arXiv:1704.04861, section 3.1."""
    return depthwise_separable(b, x, channels, stride)


@register_operation("inverted_residual")
def inverted(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """MobileNet v2's inverted residual of expansion 6: arXiv:1801.04381, section 3.3."""
    return inverted_residual(b, x, channels, 6, stride)


@register_operation("mbconv")
def mobile_bottleneck(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """EfficientNet's MBConv6 of kernel 3: arXiv:1905.11946, section 4."""
    return mbconv(b, x, channels, 6, stride)


@register_operation("shuffle_v1")
def shuffle_unit(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """ShuffleNet's unit of two groups; the strided one doubles half the channels: arXiv:1707.01083, figure 2.

    It has one group where its channels are no multiple of eight.
    """
    x = _match_channels(b, x, channels if stride == 1 else channels // 2)
    return shuffle_v1(b, x, channels, 2 if channels % 8 == 0 else 1, stride)


@register_operation("shuffle_v2")
def shuffle_unit_v2(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """ShuffleNet v2's unit: arXiv:1807.11164, figure 3c and d."""
    return shuffle_v2(b, _match_channels(b, x, channels), channels, stride)


NAMES = (
    "lenet_conv_5x5",
    "vgg_conv_3x3",
    "inception",
    "residual_basic",
    "residual_preact",
    "residual_bottleneck",
    "resnext",
    "se_residual",
    "se_gate",
    "dense",
    "fire",
    "depthwise_separable",
    "inverted_residual",
    "mbconv",
    "shuffle_v1",
    "shuffle_v2",
)
"""All operations of this module."""
