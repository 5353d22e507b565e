"""ResNeXt: ResNets with grouped bottlenecks, form (c) of three equal ones (see blocks/residual.py)."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.stages.named import define, define_cifar
from search_spaces.stages.plan import Plan, Stage, Stem


def resnext_plan(repeats: tuple[int, int, int, int], cardinality: int, width: int, se: float = 0.0) -> Plan:
    """``cardinality`` paths of ``width`` channels in the first stage: arXiv:1611.05431, table 1."""
    expansion = cardinality * width / 256
    return Plan(IMAGENET_STEM, imagenet_stages("bottleneck", repeats, expansion=expansion, groups=cardinality, se=se))


def _cifar(cardinality: int) -> Plan:
    expansion = cardinality * 64 / 256
    stages = (
        Stage("bottleneck", 3, 256 * 2**i, down="first" if i else "none", expansion=expansion, groups=cardinality)
        for i in range(3)
    )
    return Plan(Stem("conv_act", 64, 3, 1), tuple(stages))


def _register() -> None:
    source = "arXiv:1611.05431"
    define("resnext50_32x4d", resnext_plan((3, 4, 6, 3), 32, 4), f"{source}, table 1")
    for cardinality, width in ((32, 4), (32, 8), (64, 4)):
        plan = resnext_plan((3, 4, 23, 3), cardinality, width)
        define(f"resnext101_{cardinality}x{width}d", plan, f"{source}, section 5.1")
    for cardinality in (8, 16):
        define_cifar(f"resnext29_{cardinality}x64d", _cifar(cardinality), f"{source}, section 5.3")


_register()
