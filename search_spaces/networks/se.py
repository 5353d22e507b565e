"""ResNets and ResNeXts with squeeze-and-excitation in every unit, reduction 16."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.networks.resnext import resnext_plan
from search_spaces.stages.named import define
from search_spaces.stages.plan import Plan

_SE = 1 / 16
_REPEATS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _register() -> None:
    source = "arXiv:1709.01507"
    for layers, repeats in _REPEATS.items():
        plan = Plan(IMAGENET_STEM, imagenet_stages("bottleneck", repeats, se=_SE))
        define(f"seresnet{layers}", plan, f"{source}, table 1")
    define("seresnext50_32x4d", resnext_plan(_REPEATS[50], 32, 4, _SE), f"{source}, table 1")
    for width in (4, 8):
        define(f"seresnext101_32x{width}d", resnext_plan(_REPEATS[101], 32, width, _SE), f"{source}, table 2")


_register()
