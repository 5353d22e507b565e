"""SENet-154, the winner of ILSVRC 2017 (arXiv:1709.01507)."""

from __future__ import annotations

from nas.core.values import Shape
from nas.graph import Add, Dropout, Flatten, GlobalAvgPool, Graph, GraphBuilder, MaxPool, Relu
from nas.space.networks import register_network
from search_spaces.blocks.layers import conv_norm_act, squeeze_excite
from search_spaces.skeletons.small_images import linear_head

STAGES = ((64, 3), (128, 8), (256, 36), (512, 3))
"""Width and number of blocks of the four stages."""


def _unit(b: GraphBuilder, x: str, width: int, stride: int, short_kernel: int) -> str:
    """SENet-154's bottleneck: 1x1 halved, 3x3 in 64 groups that carries the stride, 1x1, squeeze and excitation."""
    # the first 1x1 has half of the 4 * width channels that a ResNeXt of 64 groups has here
    y = conv_norm_act(b, x, 2 * width, 1)
    y = conv_norm_act(b, y, 4 * width, 3, stride, groups=64)
    y = squeeze_excite(b, conv_norm_act(b, y, 4 * width, 1, activation="none"), width // 4)
    if stride != 1 or b.channels(x) != 4 * width:
        with b.scope("short"):
            x = conv_norm_act(b, x, 4 * width, short_kernel, stride, activation="none")
    return b(Relu(), b(Add(), y, x))


def _senet154(input_shape: Shape, classes: int, pool: MaxPool) -> Graph:
    b = GraphBuilder(input_shape)
    x = b.input
    with b.scope("stem"):
        for out, stride in ((64, 2), (64, 1), (128, 1)):
            x = conv_norm_act(b, x, out, 3, stride)
        x = b(pool, x)
    for stage, (width, blocks) in enumerate(STAGES, 1):
        for i in range(blocks):
            with b.scope(f"stage{stage}.block{i + 1}"):
                x = _unit(b, x, width, 2 if stage > 1 and not i else 1, 1 if stage == 1 else 3)
    x = b(Flatten(), b(GlobalAvgPool(), x, name="pool"), name="flatten")
    return b.build(logits=linear_head(b, b(Dropout(0.2), x, name="dropout"), classes))


@register_network("senet154", "arXiv:1709.01507, appendix, as in timm")
def senet154(input_shape: Shape, classes: int) -> Graph:
    """SENet-154: SE-ResNeXt-152 64x4d with a stem of three 3x3, halved 1x1 convolutions and 3x3 projections."""
    return _senet154(input_shape, classes, MaxPool(3, 2, 1))


@register_network("legacy_senet154", "arXiv:1709.01507, appendix, as released by the authors and in timm")
def legacy_senet154(input_shape: Shape, classes: int) -> Graph:
    """SENet-154 as it was trained in Caffe, which rounds the size of the stem's pool up and does not pad it."""
    return _senet154(input_shape, classes, MaxPool(3, 2, ceil_mode=True))
