"""DenseNets: dense blocks with bottlenecks of 4k and transitions that halve the channels (BC)."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM
from search_spaces.stages.named import define, define_cifar
from search_spaces.stages.plan import Head, Plan, Stage, Stem


def _dense_stages(repeats: tuple[int, ...], growth: int) -> tuple[Stage, ...]:
    return tuple(
        Stage("dense", count, growth, down="transition" if i else "none", expansion=4.0)
        for i, count in enumerate(repeats)
    )


def _imagenet(repeats: tuple[int, ...], growth: int = 32) -> Plan:
    """arXiv:1608.06993, table 1: the ResNet's stem with 2k channels, four dense blocks."""
    stem = Stem("conv_act", 2 * growth, IMAGENET_STEM.kernel, IMAGENET_STEM.stride, pool=IMAGENET_STEM.pool)
    return Plan(stem, _dense_stages(repeats, growth), Head("norm_pool_fc"))


def _cifar(layers: int, growth: int) -> Plan:
    """DenseNet-BC for 32x32 images: arXiv:1608.06993, section 3, a bare 3x3 of 2k channels and three dense blocks."""
    stages = _dense_stages(((layers - 4) // 6,) * 3, growth)
    return Plan(Stem("conv", 2 * growth, 3, 1), stages, Head("norm_pool_fc"))


def _register() -> None:
    source = "arXiv:1608.06993"
    tables = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}
    for layers, repeats in tables.items():
        define(f"densenet{layers}", _imagenet(repeats), f"{source}, table 1")
    define("densenet161", _imagenet((6, 12, 36, 24), 48), f"{source}, the authors' repository (k = 48)")
    for layers, growth in ((100, 12), (250, 24), (190, 40)):
        define_cifar(f"densenet_bc_{layers}_{growth}", _cifar(layers, growth), f"{source}, table 2")


_register()
