"""DenseNets: dense blocks with bottlenecks of 4k and transitions that halve the channels (BC)."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM
from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define, define_cifar


def _dense_stages(repeats: tuple[int, ...], growth: int) -> tuple[Stage, ...]:
    return tuple(
        Stage("dense", count, growth, down="transition" if i else "none", expansion=4.0)
        for i, count in enumerate(repeats)
    )


def _imagenet(repeats: tuple[int, ...], growth: int = 32) -> NetworkPlan:
    """arXiv:1608.06993, table 1: the ResNet's stem with 2k channels, four dense blocks."""
    stem = Stem("conv_act", 2 * growth, IMAGENET_STEM.kernel, IMAGENET_STEM.stride, pool=IMAGENET_STEM.pool)
    return NetworkPlan(stem, _dense_stages(repeats, growth), Head("norm_pool_fc"))


def _cifar(layers: int, growth: int) -> NetworkPlan:
    """DenseNet-BC for 32x32 images: arXiv:1608.06993, section 3, a bare 3x3 of 2k channels and three dense blocks."""
    # three blocks of as many layers, each two convolutions; the stem, two transitions and the classifier beside them
    stages = _dense_stages(((layers - 4) // 6,) * 3, growth)
    return NetworkPlan(Stem("conv", 2 * growth, 3, 1), stages, Head("norm_pool_fc"))


_SOURCE = "arXiv:1608.06993"
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "densenet121": (_imagenet((6, 12, 24, 16)), f"{_SOURCE}, table 1"),
    "densenet169": (_imagenet((6, 12, 32, 32)), f"{_SOURCE}, table 1"),
    "densenet201": (_imagenet((6, 12, 48, 32)), f"{_SOURCE}, table 1"),
    "densenet264": (_imagenet((6, 12, 64, 48)), f"{_SOURCE}, table 1"),
    "densenet161": (_imagenet((6, 12, 36, 24), 48), f"{_SOURCE}, the authors' repository (k = 48)"),
}
CIFAR_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "densenet_bc_100_12": (_cifar(100, 12), f"{_SOURCE}, table 2"),
    "densenet_bc_250_24": (_cifar(250, 24), f"{_SOURCE}, table 2"),
    "densenet_bc_190_40": (_cifar(190, 40), f"{_SOURCE}, table 2"),
}
"""The layers and the growth rate are in the name."""

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
for _name, (_plan, _source) in CIFAR_NETWORKS.items():
    define_cifar(_name, _plan, _source)
