"""Wide residual networks."""

from __future__ import annotations

from nas.errors import GraphError
from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define, define_cifar


def wrn(depth: int, k: int) -> NetworkPlan:
    """WRN-``depth``-``k`` for 32x32 images: a 3x3 of 16 channels, three groups of 16k, 32k, 64k channels.

    arXiv:1605.07146, table 1; ``depth`` is 6N + 4 with N blocks B(3,3) a group.
    """
    if depth < 10 or (depth - 4) % 6:
        raise GraphError(f"WRN: the depth must be 6N + 4, found {depth}")
    stages = tuple(
        Stage("basic", (depth - 4) // 6, 16 * k * 2**i, down="first" if i else "none", variant="full_preactivation")
        for i in range(3)
    )
    return NetworkPlan(Stem("conv", 16, 3, 1), stages, Head("norm_pool_fc"))


def _wide_resnet(repeats: tuple[int, int, int, int]) -> NetworkPlan:
    return NetworkPlan(IMAGENET_STEM, imagenet_stages("bottleneck", repeats, expansion=0.5))


IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "wide_resnet50_2": (_wide_resnet((3, 4, 6, 3)), "arXiv:1605.07146, section 3 (bottleneck WRN)"),
    "wide_resnet101_2": (_wide_resnet((3, 4, 23, 3)), "arXiv:1605.07146, section 3 (bottleneck WRN)"),
}
CIFAR_NETWORKS: dict[str, NetworkPlan] = {
    "wrn_16_4": wrn(16, 4),
    "wrn_16_8": wrn(16, 8),
    "wrn_22_8": wrn(22, 8),
    "wrn_28_10": wrn(28, 10),
    "wrn_28_12": wrn(28, 12),
    "wrn_40_1": wrn(40, 1),
    "wrn_40_2": wrn(40, 2),
    "wrn_40_4": wrn(40, 4),
    "wrn_40_8": wrn(40, 8),
}
"""All of them: arXiv:1605.07146, table 1."""

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
for _name, _plan in CIFAR_NETWORKS.items():
    define_cifar(_name, _plan, "arXiv:1605.07146, table 1")
