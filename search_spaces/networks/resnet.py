"""ResNets: 18 to 152 layers for ImageNet, pre-activated ones, and the CIFAR family with its plain twins.

All but :func:`cifar_resnet`, whose width and depth are free numbers, are tables of the space ``stages``.
"""

from __future__ import annotations

import math
from dataclasses import replace

from nas.core.values import Task
from nas.graph import Graph, GraphBuilder, cost
from nas.space.networks import register_references
from search_spaces.blocks.layers import conv_norm_act
from search_spaces.blocks.residual import VARIANTS, basic
from search_spaces.skeletons.small_images import check_size, classifier
from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define, define_cifar


def cifar_resnet(task: Task, blocks: int, width: int = 16) -> Graph:
    """The ResNet of 6 * ``blocks`` + 2 layers for small images: stages of ``width``, 2 * and 4 * width channels.

    arXiv:1512.03385, section 4.2; where the shape changes the shortcut is a 1x1 convolution (option B).
    """
    check_size(width, blocks)
    b = GraphBuilder(task.input_shape)
    with b.scope("stem"):
        x = conv_norm_act(b, b.input, width)
    for stage in range(3):
        for i in range(blocks):
            with b.scope(f"stage{stage + 1}.block{i + 1}"):
                x = basic(b, x, width * 2**stage, 2 if stage and not i else 1)
    return classifier(b, x, task.classes)


@register_references("cifar_resnet")
def matching_resnet(task: Task, macs: int, most_blocks: int = 3, most_width: int = 256) -> tuple[str, Graph]:
    """Return the name and graph of the CIFAR ResNet whose MACs come closest to ``macs`` (as a ratio)."""
    # MACs grow with the width, so the first width above ends the search at a depth
    best: tuple[float, str, Graph] | None = None
    for blocks in range(1, most_blocks + 1):
        for width in range(2, most_width + 1):
            graph = cifar_resnet(task, blocks, width)
            found = cost(graph).macs
            distance = abs(math.log(found / max(macs, 1)))
            if best is None or distance < best[0]:
                best = distance, f"ResNet-{6 * blocks + 2} of width {width}", graph
            if found > macs:
                break
    assert best is not None
    return best[1], best[2]


def imagenet_stages(
    block: str,
    repeats: tuple[int, int, int, int],
    *,
    expansion: float = 0.25,
    groups: int = 1,
    se: float = 0.0,
    variant: str = "original",
    stride_in: str = "3x3",
) -> tuple[Stage, ...]:
    """The four stages of arXiv:1512.03385, table 1: 64 to 512 channels, or 256 to 2048 in bottlenecks."""
    stages = []
    for i, count in enumerate(repeats):
        down = "first" if i else "none"
        if block == "basic":
            stages.append(Stage("basic", count, 64 * 2**i, down=down, groups=groups, se=se, variant=variant))
        else:
            stage = Stage("bottleneck", count, 256 * 2**i, down=down, expansion=expansion, groups=groups, se=se)
            stages.append(replace(stage, variant=variant, stride_in=stride_in))
    return tuple(stages)


IMAGENET_STEM = Stem(width=64, kernel=7, stride=2, pool="max_padded")
"""7x7 of stride 2 and a 3x3 max pool of stride 2: arXiv:1512.03385, table 1."""
_LAYERS: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
}


def _original(layers: int, stride_in: str = "3x3") -> NetworkPlan:
    block, repeats = _LAYERS[layers]
    return NetworkPlan(IMAGENET_STEM, imagenet_stages(block, repeats, stride_in=stride_in))


def _preactivated(layers: int) -> NetworkPlan:
    """Full pre-activation, arXiv:1603.05027, section 5: the norm and ReLU of the stem move into the first unit.

    They then come after the max pool, which is the same function while the norm's scales are positive.
    """
    block, repeats = _LAYERS[layers]
    stages = imagenet_stages(block, repeats, variant="full_preactivation")
    return NetworkPlan(replace(IMAGENET_STEM, kind="conv"), stages, Head("norm_pool_fc"))


def cifar_plan(layers: int, variant: str = "original", block: str = "basic", drop_path: float = 0.0) -> NetworkPlan:
    """Three stages for 32x32 images: arXiv:1512.03385, section 4.2; bottlenecks as in arXiv:1603.05027, section 4.

    Basic units have parameter-free shortcuts (option A), bottlenecks projections, as in the authors' code.
    """
    # two or three convolutions a unit, three stages, and the stem and the classifier beside them
    repeats = (layers - 2) // (6 if block == "basic" else 9)
    stages = []
    for i, down in enumerate(("none", "first", "first")):
        if block == "basic":
            shortcut = "project" if variant == "plain" else "pad"
            stages.append(Stage("basic", repeats, 16 * 2**i, down=down, variant=variant, shortcut=shortcut))
        else:
            stages.append(Stage("bottleneck", repeats, 64 * 2**i, down=down, expansion=0.25, variant=variant))
    # a pre-activated unit has its activation before it, so the stem may lack one and the head needs one
    kind = "conv" if variant == "full_preactivation" else "conv_act"
    head = {"full_preactivation": "norm_pool_fc", "relu_only_preactivation": "act_pool_fc"}.get(variant, "pool_fc")
    return NetworkPlan(Stem(kind, 16, 3, 1), tuple(stages), Head(head), drop_path=drop_path)


_RESNET, _IDENTITY, _DEPTH = "arXiv:1512.03385", "arXiv:1603.05027", "arXiv:1603.09382"
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "resnet18": (_original(18), f"{_RESNET}, table 1"),
    "resnet34": (_original(34), f"{_RESNET}, table 1"),
    "resnet50": (_original(50), f"{_RESNET}, table 1 (stride in the 3x3, as in torchvision)"),
    "resnet101": (_original(101), f"{_RESNET}, table 1 (stride in the 3x3, as in torchvision)"),
    "resnet152": (_original(152), f"{_RESNET}, table 1 (stride in the 3x3, as in torchvision)"),
    "resnet50_v1": (_original(50, stride_in="1x1"), f"{_RESNET}, table 1 (stride in the first 1x1)"),
    "resnet101_v1": (_original(101, stride_in="1x1"), f"{_RESNET}, table 1 (stride in the first 1x1)"),
    "resnet152_v1": (_original(152, stride_in="1x1"), f"{_RESNET}, table 1 (stride in the first 1x1)"),
    "resnetv2_50": (_preactivated(50), f"{_IDENTITY}, section 5"),
    "resnetv2_101": (_preactivated(101), f"{_IDENTITY}, section 5"),
    "resnetv2_152": (_preactivated(152), f"{_IDENTITY}, section 5"),
    "resnet200": (_original(200), f"{_IDENTITY}, table 5"),
    "preact_resnet200": (_preactivated(200), f"{_IDENTITY}, table 5"),
}
"""The plan and the source of every network for ImageNet, by name."""
_FIGURE_4 = {letter: f"{_IDENTITY}, figure 4({letter}) and table 2" for letter in "abcde"}
_A, _B, _C, _D, _E = VARIANTS[:5]
CIFAR_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "resnet20_cifar": (cifar_plan(20), f"{_RESNET}, section 4.2"),
    "resnet32_cifar": (cifar_plan(32), f"{_RESNET}, section 4.2"),
    "resnet44_cifar": (cifar_plan(44), f"{_RESNET}, section 4.2"),
    "resnet56_cifar": (cifar_plan(56), f"{_RESNET}, section 4.2"),
    "resnet110_cifar": (cifar_plan(110), f"{_RESNET}, section 4.2"),
    "resnet1202_cifar": (cifar_plan(1202), f"{_RESNET}, section 4.2"),
    "plain20_cifar": (cifar_plan(20, "plain"), f"{_RESNET}, section 4.2"),
    "plain32_cifar": (cifar_plan(32, "plain"), f"{_RESNET}, section 4.2"),
    "plain44_cifar": (cifar_plan(44, "plain"), f"{_RESNET}, section 4.2"),
    "plain56_cifar": (cifar_plan(56, "plain"), f"{_RESNET}, section 4.2"),
    "plain110_cifar": (cifar_plan(110, "plain"), f"{_RESNET}, section 4.2"),
    "resnet164_cifar": (cifar_plan(164, block="bottleneck"), f"{_IDENTITY}, section 4"),
    "resnet110_preact_a": (cifar_plan(110, _A), _FIGURE_4["a"]),
    "resnet110_preact_b": (cifar_plan(110, _B), _FIGURE_4["b"]),
    "resnet110_preact_c": (cifar_plan(110, _C), _FIGURE_4["c"]),
    "resnet110_preact_d": (cifar_plan(110, _D), _FIGURE_4["d"]),
    "resnet110_preact_e": (cifar_plan(110, _E), _FIGURE_4["e"]),
    "resnet164_preact_a": (cifar_plan(164, _A, "bottleneck"), _FIGURE_4["a"]),
    "resnet164_preact_b": (cifar_plan(164, _B, "bottleneck"), _FIGURE_4["b"]),
    "resnet164_preact_c": (cifar_plan(164, _C, "bottleneck"), _FIGURE_4["c"]),
    "resnet164_preact_d": (cifar_plan(164, _D, "bottleneck"), _FIGURE_4["d"]),
    "resnet164_preact_e": (cifar_plan(164, _E, "bottleneck"), _FIGURE_4["e"]),
    "resnet110_stochastic_depth": (cifar_plan(110, drop_path=0.5), f"{_DEPTH}, section 4"),
    "resnet1202_stochastic_depth": (cifar_plan(1202, drop_path=0.5), f"{_DEPTH}, section 4"),
}
"""The same for 32x32 images; the variants (a) to (e) are those of the figure."""

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
for _name, (_plan, _source) in CIFAR_NETWORKS.items():
    define_cifar(_name, _plan, _source)
