"""Wide residual networks."""

from __future__ import annotations

from nas.errors import GraphError
from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.stages.named import define, define_cifar
from search_spaces.stages.plan import Head, Plan, Stage, Stem


def wrn(depth: int, k: int) -> Plan:
    """WRN-``depth``-``k`` for 32x32 images: a 3x3 of 16 channels, three groups of 16k, 32k, 64k channels.

    arXiv:1605.07146, table 1; ``depth`` is 6N + 4 with N blocks B(3,3) a group.
    """
    if depth < 10 or (depth - 4) % 6:
        raise GraphError(f"WRN: the depth must be 6N + 4, found {depth}")
    stages = tuple(
        Stage("basic", (depth - 4) // 6, 16 * k * 2**i, down="first" if i else "none", variant="full_preactivation")
        for i in range(3)
    )
    return Plan(Stem("conv", 16, 3, 1), stages, Head("norm_pool_fc"))


def _register() -> None:
    for layers, repeats in ((50, (3, 4, 6, 3)), (101, (3, 4, 23, 3))):
        plan = Plan(IMAGENET_STEM, imagenet_stages("bottleneck", repeats, expansion=0.5))
        define(f"wide_resnet{layers}_2", plan, "arXiv:1605.07146, section 3 (bottleneck WRN)")
    for depth, k in ((16, 4), (16, 8), (22, 8), (28, 10), (28, 12), (40, 1), (40, 2), (40, 4), (40, 8)):
        define_cifar(f"wrn_{depth}_{k}", wrn(depth, k), "arXiv:1605.07146, table 1")


_register()
