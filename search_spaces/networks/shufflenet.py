"""ShuffleNet v1 (arXiv:1707.01083) and v2 (arXiv:1807.11164)."""

from __future__ import annotations

from collections.abc import Iterable

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph import Flatten, GlobalAvgPool, Graph, GraphBuilder, MaxPool
from nas.space.networks import BuildNetwork, register_network
from search_spaces.blocks.layers import conv_norm_act
from search_spaces.blocks.shuffle import shuffle_v1, shuffle_v2
from search_spaces.skeletons.small_images import linear_head

REPEATS = (4, 8, 4)
V1_WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Channels of stage 2 by groups, at width 1 (arXiv:1707.01083, table 1); they double in each stage."""
V1_STEMS = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
"""Channels of the stem by width, as in the authors' release."""
V2_WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Channels of stages 2 to 4 and of the last convolution by width (arXiv:1807.11164, table 5)."""


def _check(what: str, value: float, allowed: Iterable[float]) -> None:
    if value not in allowed:
        raise GraphError(f"{what} must be one of {', '.join(map(str, allowed))}, found {value}")


def _stem(b: GraphBuilder, width: int) -> str:
    with b.scope("stem"):
        return b(MaxPool(3, 2, 1), conv_norm_act(b, b.input, width, 3, 2))


def _head(b: GraphBuilder, x: str, classes: int) -> Graph:
    x = b(Flatten(), b(GlobalAvgPool(), x, name="pool"), name="flatten")
    return b.build(logits=linear_head(b, x, classes))


def shufflenet_v1(input_shape: Shape, classes: int, width: float = 1.0, groups: int = 3) -> Graph:
    """ShuffleNet v1 at ``width`` 0.5, 1, 1.5 or 2 with 1, 2, 3, 4 or 8 ``groups``."""
    _check("ShuffleNet's width", width, V1_STEMS)
    _check("ShuffleNet's groups", groups, V1_WIDTHS)
    b = GraphBuilder(input_shape)
    x = _stem(b, V1_STEMS[width])
    for stage, repeats in enumerate(REPEATS):
        out = int(V1_WIDTHS[groups] * width) * 2**stage
        for i in range(repeats):
            with b.scope(f"stage{stage + 2}.unit{i + 1}"):
                # the stem's channels are too few to be grouped (section 3.2)
                first = 1 if stage == i == 0 else None
                x = shuffle_v1(b, x, out, groups, 1 if i else 2, first)
    return _head(b, x, classes)


def shufflenet_v2(input_shape: Shape, classes: int, width: float = 1.0) -> Graph:
    """ShuffleNet v2 at ``width`` 0.5, 1, 1.5 or 2."""
    _check("ShuffleNet v2's width", width, V2_WIDTHS)
    # the last entry is the 1x1 convolution before the pool
    *stages, last = V2_WIDTHS[width]
    b = GraphBuilder(input_shape)
    x = _stem(b, 24)
    for stage, (out, repeats) in enumerate(zip(stages, REPEATS, strict=True), 2):
        for i in range(repeats):
            with b.scope(f"stage{stage}.unit{i + 1}"):
                x = shuffle_v2(b, x, out, 1 if i else 2)
    with b.scope("last"):
        x = conv_norm_act(b, x, last, 1)
    return _head(b, x, classes)


def _v1(width: float) -> BuildNetwork:
    return lambda input_shape, classes: shufflenet_v1(input_shape, classes, width)


def _v2(width: float) -> BuildNetwork:
    return lambda input_shape, classes: shufflenet_v2(input_shape, classes, width)


_V1, _V2 = "arXiv:1707.01083, table 1, three groups", "arXiv:1807.11164, table 5, as in torchvision"
IMAGENET_NETWORKS: dict[str, tuple[BuildNetwork, str]] = {
    "shufflenet_v1_x0_5": (_v1(0.5), _V1),
    "shufflenet_v1_x1_0": (_v1(1.0), _V1),
    "shufflenet_v1_x1_5": (_v1(1.5), _V1),
    "shufflenet_v1_x2_0": (_v1(2.0), _V1),
    "shufflenet_v2_x0_5": (_v2(0.5), _V2),
    "shufflenet_v2_x1_0": (_v2(1.0), _V2),
    "shufflenet_v2_x1_5": (_v2(1.5), _V2),
    "shufflenet_v2_x2_0": (_v2(2.0), _V2),
}

for _name, (_build, _source) in IMAGENET_NETWORKS.items():
    register_network(_name, _source)(_build)
