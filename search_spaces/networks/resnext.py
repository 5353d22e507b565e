"""ResNeXt: ResNets with grouped bottlenecks, form (c) of three equal ones (see blocks/residual.py)."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.stages.plan import NetworkPlan, Stage, Stem
from search_spaces.stages.register import define, define_cifar


def resnext_plan(repeats: tuple[int, int, int, int], cardinality: int, width: int, se: float = 0.0) -> NetworkPlan:
    """``cardinality`` paths of ``width`` channels in the first stage: arXiv:1611.05431, table 1."""
    # the inner width of the first stage over its 256 channels
    expansion = cardinality * width / 256
    return NetworkPlan(
        IMAGENET_STEM, imagenet_stages("bottleneck", repeats, expansion=expansion, groups=cardinality, se=se)
    )


def _cifar(cardinality: int) -> NetworkPlan:
    expansion = cardinality * 64 / 256
    stages = (
        Stage("bottleneck", 3, 256 * 2**i, down="first" if i else "none", expansion=expansion, groups=cardinality)
        for i in range(3)
    )
    return NetworkPlan(Stem("conv_act", 64, 3, 1), tuple(stages))


_SOURCE = "arXiv:1611.05431"
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "resnext50_32x4d": (resnext_plan((3, 4, 6, 3), 32, 4), f"{_SOURCE}, table 1"),
    "resnext101_32x4d": (resnext_plan((3, 4, 23, 3), 32, 4), f"{_SOURCE}, section 5.1"),
    "resnext101_32x8d": (resnext_plan((3, 4, 23, 3), 32, 8), f"{_SOURCE}, section 5.1"),
    "resnext101_64x4d": (resnext_plan((3, 4, 23, 3), 64, 4), f"{_SOURCE}, section 5.1"),
}
CIFAR_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "resnext29_8x64d": (_cifar(8), f"{_SOURCE}, section 5.3"),
    "resnext29_16x64d": (_cifar(16), f"{_SOURCE}, section 5.3"),
}

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
for _name, (_plan, _source) in CIFAR_NETWORKS.items():
    define_cifar(_name, _plan, _source)
