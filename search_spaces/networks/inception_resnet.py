"""Inception-ResNet-v2 (arXiv:1602.07261)."""

from __future__ import annotations

from nas.core.values import Shape
from nas.graph import Graph, GraphBuilder
from nas.space.networks import register_network
from search_spaces.blocks import inception as blocks
from search_spaces.blocks.inception import POOL_INSIDE, ConvStep, branches, chain
from search_spaces.networks.inception import INCEPTION, head, stem_v3


@register_network("inception_resnet_v2", "arXiv:1602.07261, figure 15, as released and in timm", INCEPTION)
def inception_resnet_v2(input_shape: Shape, classes: int) -> Graph:
    """Inception-ResNet-v2 as released: 10 blocks A, 20 blocks B and 10 blocks C, the last without a ReLU.

    The paper's figures have v4's stem and 5, 10 and 5 blocks; the weights that people use are of this network.
    """
    b = GraphBuilder(input_shape)
    x = stem_v3(b)
    with b.scope("mixed5b"):
        double = ConvStep(64), ConvStep(96, 3), ConvStep(96, 3)
        x = branches(b, x, (ConvStep(96),), (ConvStep(48), ConvStep(64, 5)), double, (POOL_INSIDE, ConvStep(64)))
    for i in range(10):
        with b.scope(f"a{i + 1}"):
            x = blocks.resnet_a(b, x)
    with b.scope("reduction_a"):
        x = blocks.reduction_a(b, x, 256, 256, 384, 384)
    for i in range(20):
        with b.scope(f"b{i + 1}"):
            x = blocks.resnet_b(b, x)
    with b.scope("reduction_b"):
        x = blocks.resnet_reduction_b(b, x)
    for i in range(9):
        with b.scope(f"c{i + 1}"):
            x = blocks.resnet_c(b, x)
    # the last block is neither scaled down nor activated
    with b.scope("c10"):
        x = blocks.resnet_c(b, x, 1.0, "none")
    with b.scope("last"):
        x = chain(b, x, ConvStep(1536))
    return head(b, x, classes, 0.2)
