"""AlexNet (Krizhevsky et al. 2012) and its tuned successor ZFNet (arXiv:1311.2901)."""

from __future__ import annotations

from typing import NamedTuple

from nas.core.values import Shape
from nas.graph import AdaptiveAvgPool, Dropout, Flatten, Graph, GraphBuilder, MaxPool, Primitive
from nas.space.networks import register_network
from search_spaces.blocks.classic_stages import KRIZHEVSKY_LRN as LRN
from search_spaces.blocks.classic_stages import conv_stage, linear_stage
from search_spaces.skeletons.small_images import linear_head

POOL = MaxPool(3, 2)


class Stage(NamedTuple):
    """One convolution with ReLU and what follows it."""

    out: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    groups: int = 1
    then: tuple[Primitive, ...] = ()


def _stages(b: GraphBuilder, *stages: Stage) -> str:
    x = b.input
    for i, s in enumerate(stages, 1):
        with b.scope(f"stage{i}"):
            x = conv_stage(b, x, s.out, kernel=s.kernel, stride=s.stride, padding=s.padding, groups=s.groups)
            for op in s.then:
                x = b(op, x)
    return x


def _head(b: GraphBuilder, x: str, classes: int) -> Graph:
    """FC 4096 with dropout, twice, and the classifier."""
    x = b(Flatten(), x, name="flatten")
    for i in (1, 2):
        with b.scope(f"hidden{i}"):
            x = linear_stage(b, x, 4096)
    return b.build(logits=linear_head(b, x, classes))


@register_network("alexnet", "arXiv:1404.5997, as in torchvision")
def alexnet(input_shape: Shape, classes: int) -> Graph:
    """torchvision's AlexNet: the single tower of "one weird trick", with 64, 192, 384, 256 and 256 filters.

    Dropout comes before the hidden layers. The adaptive pool to 6x6 is there only where the features are not 6x6
    already, as they are at 224 pixels.
    """
    b = GraphBuilder(input_shape)
    first = Stage(64, 11, 4, 2, then=(POOL,)), Stage(192, 5, then=(POOL,))
    x = _stages(b, *first, Stage(384), Stage(256), Stage(256, then=(POOL,)))
    # an adaptive pool that changes nothing would only cost a node
    if b.shape(x)[1:] != (6, 6):
        x = b(AdaptiveAvgPool(6), x, name="pool")
    x = b(Flatten(), x, name="flatten")
    for i in (1, 2):
        with b.scope(f"hidden{i}"):
            x = linear_stage(b, b(Dropout(0.5), x), 4096, dropout=0)
    return b.build(logits=linear_head(b, x, classes))


def _alexnet(input_shape: Shape, classes: int, groups: int, then: tuple[Primitive, ...]) -> Graph:
    b = GraphBuilder(input_shape)
    first = Stage(96, 11, 4, 0, then=then), Stage(256, 5, groups=groups, then=then)
    last = Stage(384, groups=groups), Stage(256, groups=groups, then=(POOL,))
    return _head(b, _stages(b, *first, Stage(384), *last), classes)


@register_network("alexnet_lecture", "Krizhevsky et al. 2012, as one tower", (3, 227, 227))
def alexnet_lecture(input_shape: Shape, classes: int) -> Graph:
    """AlexNet as the lecture lists it: 227 pixels, one tower, local response norm behind the first two pools."""
    return _alexnet(input_shape, classes, 1, (POOL, LRN))


@register_network("alexnet_two_gpus", "Krizhevsky et al. 2012, section 3.5", (3, 227, 227))
def alexnet_two_gpus(input_shape: Shape, classes: int) -> Graph:
    """AlexNet as it was trained: CONV2, 4 and 5 see only the maps of their own GPU, so they are grouped by two.

    Local response norm comes before the first two pools, where the lecture has it behind them.
    """
    return _alexnet(input_shape, classes, 2, (LRN, POOL))


@register_network("zfnet", "arXiv:1311.2901, figure 3 and table 2")
def zfnet(input_shape: Shape, classes: int) -> Graph:
    """ZFNet: AlexNet with CONV1 7x7/2 and CONV3, 4, 5 of 512, 1024, 512 filters (the best row of table 2).

    CONV2 is 5x5/2 as in figure 3, so that the maps are 110, 55, 26, 13 and 6 pixels wide.
    """
    b = GraphBuilder(input_shape)
    pool = MaxPool(3, 2, ceil_mode=True)
    first = Stage(96, 7, 2, 1, then=(pool, LRN)), Stage(256, 5, 2, 0, then=(pool, LRN))
    return _head(b, _stages(b, *first, Stage(512), Stage(1024), Stage(512, then=(POOL,))), classes)
