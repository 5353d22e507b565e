"""GoogLeNet, which is Inception v1 (arXiv:1409.4842): torchvision's version and the paper's."""

from __future__ import annotations

from typing import NamedTuple

from nas.core.values import Shape
from nas.graph import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    LocalResponseNorm,
    MaxPool,
    Primitive,
)
from nas.space.networks import register_network
from nas.space.skeletons import Support
from search_spaces.blocks.auxiliary import auxiliary_v1
from search_spaces.blocks.inception import NORM, ConvStep, Widths, chain, reduced
from search_spaces.skeletons.small_images import linear_head

MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
"""The filters of the nine modules (table 1); the grid halves before 4a and 5a, heads are on 4a and 4d."""
LRN = LocalResponseNorm(5, 1e-4, 0.75, 1.0)
"""The numbers of Caffe's GoogLeNet, which divides alpha by n as torch does; the paper gives none."""
SHRINK = MaxPool(3, 2, ceil_mode=True)


def _stem(b: GraphBuilder, norm: BatchNorm | None) -> str:
    """7x7/2, pool, 1x1, 3x3, pool; where there is no batch norm, local response norm as in figure 3."""
    with b.scope("stem.conv1"):
        x = b(SHRINK, chain(b, b.input, ConvStep(64, 7, 2), norm=norm))
        x = x if norm else b(LRN, x)
    with b.scope("stem.conv2"):
        x = chain(b, x, ConvStep(64), ConvStep(192, 3), norm=norm)
        return b(SHRINK, x if norm else b(LRN, x))


class Version(NamedTuple):
    """What torchvision's GoogLeNet and the paper's differ in."""

    norm: BatchNorm | None
    """The batch norm behind every convolution; without one local response norm as in figure 3."""
    five: int
    """The kernel of the branches that the paper calls 5x5."""
    last_pool: Primitive
    """The pool before 5a."""
    aux_pool: Primitive
    """The pool of the auxiliary heads."""
    dropout: float


TORCHVISION = Version(NORM, 3, MaxPool(2, 2, ceil_mode=True), AdaptiveAvgPool(4), 0.2)
PAPER = Version(None, 5, SHRINK, AvgPool(5, 3), 0.4)


def _googlenet(input_shape: Shape, classes: int, version: Version, aux: bool) -> Graph:
    b = GraphBuilder(input_shape)

    # the trunk: stem, then nine modules with a pool before 4a and 5a
    x, ends = _stem(b, version.norm), {}
    for name, widths in MODULES.items():
        if name in ("4a", "5a"):
            x = b(SHRINK if name == "4a" else version.last_pool, x, name=f"pool{name[0]}")
        with b.scope(f"inception{name}"):
            ends[name] = x = reduced(b, x, widths, five=version.five, norm=version.norm)

    # the heads: two on the way where they are asked for, and the classifier
    outputs = {}
    if aux:
        for output, module in (("aux", "4a"), ("aux2", "4d")):
            with b.scope(output):
                outputs[output] = auxiliary_v1(b, ends[module], classes, pool=version.aux_pool, norm=version.norm)
    x = b(Flatten(), b(GlobalAvgPool(), x, name="pool"), name="flatten")
    return b.build(logits=linear_head(b, b(Dropout(version.dropout), x, name="dropout"), classes), **outputs)


@register_network("googlenet", "arXiv:1409.4842, as in torchvision", support=Support(aux=True))
def googlenet(input_shape: Shape, classes: int, aux: bool = False) -> Graph:
    """torchvision's GoogLeNet: batch norm everywhere, 3x3 in place of 5x5, and a last pool of 2x2.

    With ``aux`` the outputs ``aux`` and ``aux2`` are the heads on 4a and 4d.
    """
    return _googlenet(input_shape, classes, TORCHVISION, aux)


@register_network("googlenet_paper", "arXiv:1409.4842, table 1 and figure 3", support=Support(aux=True))
def googlenet_paper(input_shape: Shape, classes: int, aux: bool = False) -> Graph:
    """GoogLeNet of the paper: real 5x5 convolutions with biases, local response norm, dropout 0.4."""
    return _googlenet(input_shape, classes, PAPER, aux)
