"""Networks as shapes: stages of one kind of unit of which all but the width is decided."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.core.values import Task
from nas.graph import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    MaxPool,
)
from search_spaces.blocks.layers import activate, conv_norm_act, squeeze_excite
from search_spaces.blocks.mobile import depthwise_separable, inverted_residual
from search_spaces.blocks.residual import Style, basic, bottleneck
from search_spaces.skeletons.small_images import check_size

FAMILIES = ("basic", "bottleneck", "inverted", "separable", "plain")
RESIDUAL = ("basic", "bottleneck")
"""Families that may be pre-activated."""
POOLS = {"max": MaxPool(2), "max_overlapping": MaxPool(3, 2, ceil_mode=True), "avg": AvgPool(2)}
DOWNS = ("stride", *POOLS)
LARGE = 112
"""Pixels from which on an image is halved once more in the stem, so that a shape found on small images suits it."""
LEAST_SIDE = 2
"""Pixels of a side that no stage halves any more."""
GRIDS = {"pool2_fc": 2, "pool4_fc": 4}
"""Heads whose classifier sees where in the image something is: the means of at most 2x2 or 4x4 parts of it."""
HEADS = ("pool_fc", "conv_pool_fc", *GRIDS)
HEAD_WIDTH = 4
"""The head's convolution over the last stage's channels: 1280 over 320 in arXiv:1801.04381 and arXiv:1905.11946."""


@dataclass(frozen=True)
class Shape:
    """A network but for its width."""

    repeats: tuple[int, ...]
    """Units of each stage at depth 1."""
    family: str = "basic"
    """The unit, one of :data:`FAMILIES`."""
    activation: str = "relu"
    se: float = 0.0
    """The gate's share of the channels, 0 for none: as in :class:`search_spaces.stages.Stage`."""
    preactivated: bool = False
    """Norm and activation before each convolution (basic and bottleneck units)."""
    expansion: float = 1.0
    """Inner over outer channels of a bottleneck, inner over input channels of an inverted residual."""
    kernel: int = 3
    stem_stride: int = 1
    """4 is a stride of 2 and a 3x3 max pool: the stem of arXiv:1512.03385, table 1."""
    stem_width: float = 1.0
    """The stem's channels over the first stage's."""
    growth: float = 2.0
    """The channels of a stage over those of the one before."""
    early: bool = False
    """Whether the first stage halves the image too, as all others do."""
    down: str = "stride"
    """How a stage halves the image, one of :data:`DOWNS`: its first unit strides, or follows a pool."""
    head: str = "pool_fc"
    """``pool_fc``, ``conv_pool_fc`` with a 1x1 convolution before the pool, or one of :data:`GRIDS`."""

    @property
    def reduction(self) -> int:
        """The factor by which stem and stages reduce a small image that has the room."""
        return int(self.stem_stride * 2 ** (len(self.repeats) - 1 + self.early))


def build_shape(shape: Shape, task: Task, width: float, depth: float = 1) -> Graph:
    """Return the network with output ``logits``: ``width`` channels in the first stage, repeats times ``depth``.

    Channels are rounded to whole ones, of each stage by itself, and repeats up: neither width nor depth need be whole.
    """
    check_size(math.ceil(width), math.ceil(depth))
    b = GraphBuilder(task.input_shape)
    x = _stem(b, shape, max(1, round(width * shape.stem_width)))
    for i, repeats in enumerate(shape.repeats):
        halves = (i > 0 or shape.early) and min(b.shape(x)[1:]) > LEAST_SIDE
        for unit in range(math.ceil(repeats * depth)):
            with b.scope(f"stage{i + 1}.block{unit + 1}"):
                stride = 2 if halves and not unit else 1
                if stride == 2 and shape.down in POOLS:
                    x, stride = b(POOLS[shape.down], x), 1
                x = _unit(b, x, shape, max(1, round(width * shape.growth**i)), stride, first=not i and not unit)
    with b.scope("head"):
        # what a pre-activated unit leaves to the next one
        if shape.preactivated:
            x = activate(b, b(BatchNorm(), x), shape.activation)
        if shape.head == "conv_pool_fc":
            x = conv_norm_act(b, x, HEAD_WIDTH * b.channels(x), 1, activation=shape.activation)
        # as many parts as a small image has pixels left
        parts = min(GRIDS.get(shape.head, 1), *b.shape(x)[1:])
        x = b(Flatten(), b(GlobalAvgPool() if parts == 1 else AdaptiveAvgPool(parts), x))
        return b.build(logits=b(Linear(task.classes), x, name="classifier"))


def _stem(b: GraphBuilder, shape: Shape, channels: int) -> str:
    large = min(b.shape(b.input)[1:]) >= LARGE
    stride = 2 if large else min(shape.stem_stride, 2)
    with b.scope("stem"):
        # in pre-activated networks the first unit begins with norm and activation
        if shape.preactivated:
            x = b(Conv(channels, 3, stride, 1), b.input)
        else:
            x = conv_norm_act(b, b.input, channels, 3, stride, activation=shape.activation)
        return b(MaxPool(3, 2, 1), x) if shape.stem_stride > (1 if large else 2) else x


def _unit(b: GraphBuilder, x: str, shape: Shape, out: int, stride: int, first: bool) -> str:
    kernel, activation, se = shape.kernel, shape.activation, shape.se
    if shape.family in RESIDUAL:
        style = Style("full_preactivation" if shape.preactivated else "original", activation=activation, se=se)
        if shape.family == "basic":
            return basic(b, x, out, stride, kernel=kernel, first=first, style=style)
        inner = max(1, round(out * shape.expansion))
        return bottleneck(b, x, out, inner, stride, kernel=kernel, first=first, style=style)
    if shape.family == "inverted":
        return inverted_residual(b, x, out, shape.expansion, stride, kernel=kernel, activation=activation, se=se)
    if shape.family == "separable":
        return depthwise_separable(b, x, out, stride, kernel=kernel, activation=activation, se=se)
    x = conv_norm_act(b, x, out, kernel, stride, activation=activation)
    return squeeze_excite(b, x, int(out * se), activation=activation) if se else x
