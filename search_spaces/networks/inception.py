"""Inception v3 (arXiv:1512.00567) and v4 (arXiv:1602.07261)."""

from __future__ import annotations

from nas.core.values import Shape
from nas.graph import Dropout, Flatten, GlobalAvgPool, Graph, GraphBuilder
from nas.space.networks import register_network
from nas.space.skeletons import Support
from search_spaces.blocks import inception as blocks
from search_spaces.blocks.auxiliary import auxiliary_v3
from search_spaces.blocks.inception import SHRINK, ConvStep, chain, half
from search_spaces.skeletons.small_images import linear_head

INCEPTION: Shape = (3, 299, 299)


def stem_v3(b: GraphBuilder) -> str:
    """The stem of v3 and of Inception-ResNet-v2: 299 pixels become a grid of 35x35 with 192 channels."""
    with b.scope("stem"):
        x = chain(b, b.input, half(32), ConvStep(32, 3, 1, 0), ConvStep(64, 3), SHRINK)
        return chain(b, x, ConvStep(80), ConvStep(192, 3, 1, 0), SHRINK)


def head(b: GraphBuilder, x: str, classes: int, dropout: float, **outputs: str) -> Graph:
    """Global average pool, dropout where there is any, and the classifier."""
    x = b(Flatten(), b(GlobalAvgPool(), x, name="pool"), name="flatten")
    x = b(Dropout(dropout), x, name="dropout") if dropout else x
    return b.build(logits=linear_head(b, x, classes), **outputs)


@register_network("inception_v3", "arXiv:1512.00567, as in torchvision", INCEPTION, support=Support(aux=True))
def inception_v3(input_shape: Shape, classes: int, aux: bool = False) -> Graph:
    """Inception v3: three modules A, reduction B, four modules C, reduction D, two modules E."""
    # 35x35 pixels, then 17x17, then 8x8; names as in torchvision
    b = GraphBuilder(input_shape)
    x = stem_v3(b)
    for name, pool in (("5b", 32), ("5c", 64), ("5d", 64)):
        with b.scope(f"mixed{name}"):
            x = blocks.v3_a(b, x, pool)
    with b.scope("mixed6a"):
        x = blocks.v3_b(b, x)
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        with b.scope(f"mixed{name}"):
            x = blocks.v3_c(b, x, width)
    outputs = {}
    if aux:
        with b.scope("aux"):
            outputs["aux"] = auxiliary_v3(b, x, classes)
    with b.scope("mixed7a"):
        x = blocks.v3_d(b, x)
    for name in ("7b", "7c"):
        with b.scope(f"mixed{name}"):
            x = blocks.v3_e(b, x)
    return head(b, x, classes, 0.5, **outputs)


@register_network("inception_v4", "arXiv:1602.07261, figure 9", INCEPTION)
def inception_v4(input_shape: Shape, classes: int) -> Graph:
    """Inception v4: stem, four modules A, reduction, seven modules B, reduction, three modules C."""
    b = GraphBuilder(input_shape)
    with b.scope("stem"):
        x = blocks.v4_stem(b, b.input)
    for i in range(4):
        with b.scope(f"a{i + 1}"):
            x = blocks.v4_a(b, x)
    with b.scope("reduction_a"):
        x = blocks.reduction_a(b, x, 192, 224, 256, 384)
    for i in range(7):
        with b.scope(f"b{i + 1}"):
            x = blocks.v4_b(b, x)
    with b.scope("reduction_b"):
        x = blocks.v4_reduction_b(b, x)
    for i in range(3):
        with b.scope(f"c{i + 1}"):
            x = blocks.v4_c(b, x)
    return head(b, x, classes, 0.2)
