"""ResNets: 18 to 152 layers for ImageNet, pre-activated ones, and the CIFAR family with its plain twins.

All but :func:`cifar_resnet`, whose width and depth are free numbers, are tables of the space ``stages``.
"""

from __future__ import annotations

import math
from dataclasses import replace

from nas.graph import Graph, GraphBuilder, cost
from nas.types import Task
from search_spaces.blocks.convs import conv_norm_act
from search_spaces.blocks.residual import VARIANTS, basic
from search_spaces.skeleton import check_size, classifier
from search_spaces.stages.named import define, define_cifar
from search_spaces.stages.plan import Head, Plan, Stage, Stem


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


def matching_resnet(task: Task, macs: int, most_blocks: int = 3, most_width: int = 256) -> tuple[str, Graph]:
    """Return the name and graph of the CIFAR ResNet whose MACs come closest to ``macs`` (as a ratio)."""
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


def _original(layers: int, stride_in: str = "3x3") -> Plan:
    block, repeats = _LAYERS[layers]
    return Plan(IMAGENET_STEM, imagenet_stages(block, repeats, stride_in=stride_in))


def _preactivated(layers: int) -> Plan:
    """Full pre-activation, arXiv:1603.05027, section 5: the norm and ReLU of the stem move into the first unit.

    They then come after the max pool, which is the same function while the norm's scales are positive.
    """
    block, repeats = _LAYERS[layers]
    stages = imagenet_stages(block, repeats, variant="full_preactivation")
    return Plan(replace(IMAGENET_STEM, kind="conv"), stages, Head("norm_pool_fc"))


def cifar_plan(layers: int, variant: str = "original", block: str = "basic", drop_path: float = 0.0) -> Plan:
    """Three stages for 32x32 images: arXiv:1512.03385, section 4.2; bottlenecks as in arXiv:1603.05027, section 4.

    Basic units have parameter-free shortcuts (option A), bottlenecks projections, as in the authors' code.
    """
    repeats = (layers - 2) // (6 if block == "basic" else 9)
    stages = []
    for i, down in enumerate(("none", "first", "first")):
        if block == "basic":
            shortcut = "project" if variant == "plain" else "pad"
            stages.append(Stage("basic", repeats, 16 * 2**i, down=down, variant=variant, shortcut=shortcut))
        else:
            stages.append(Stage("bottleneck", repeats, 64 * 2**i, down=down, expansion=0.25, variant=variant))
    kind = "conv" if variant == "full_preactivation" else "conv_act"
    head = {"full_preactivation": "norm_pool_fc", "relu_only_preactivation": "act_pool_fc"}.get(variant, "pool_fc")
    return Plan(Stem(kind, 16, 3, 1), tuple(stages), Head(head), drop_path=drop_path)


def _register() -> None:
    resnet, identity, depth = "arXiv:1512.03385", "arXiv:1603.05027", "arXiv:1603.09382"
    for layers in (18, 34, 50, 101, 152):
        define(f"resnet{layers}", _original(layers), f"{resnet}, table 1")
    for layers in (50, 101, 152):
        source = f"{resnet}, table 1 (stride in the first 1x1)"
        define(f"resnet{layers}_v1", _original(layers, stride_in="1x1"), source)
    for layers in (50, 101, 152):
        define(f"resnetv2_{layers}", _preactivated(layers), f"{identity}, section 5")
    define("resnet200", _original(200), f"{identity}, table 5")
    define("preact_resnet200", _preactivated(200), f"{identity}, table 5")
    for layers in (20, 32, 44, 56, 110, 1202):
        define_cifar(f"resnet{layers}_cifar", cifar_plan(layers), f"{resnet}, section 4.2")
    for layers in (20, 32, 44, 56, 110):
        define_cifar(f"plain{layers}_cifar", cifar_plan(layers, "plain"), f"{resnet}, section 4.2")
    define_cifar("resnet164_cifar", cifar_plan(164, block="bottleneck"), f"{identity}, section 4")
    for letter, variant in zip("abcde", VARIANTS, strict=False):
        source = f"{identity}, figure 4({letter}) and table 2"
        define_cifar(f"resnet110_preact_{letter}", cifar_plan(110, variant), source)
        define_cifar(f"resnet164_preact_{letter}", cifar_plan(164, variant, "bottleneck"), source)
    for layers in (110, 1202):
        define_cifar(f"resnet{layers}_stochastic_depth", cifar_plan(layers, drop_path=0.5), f"{depth}, section 4")


_register()
