"""ResNets and ResNeXts with squeeze-and-excitation in every unit, reduction 16."""

from __future__ import annotations

from search_spaces.networks.resnet import IMAGENET_STEM, imagenet_stages
from search_spaces.networks.resnext import resnext_plan
from search_spaces.stages.plan import NetworkPlan
from search_spaces.stages.register import define

_SE = 1 / 16
_SOURCE = "arXiv:1709.01507"


def _se_resnet(repeats: tuple[int, int, int, int]) -> NetworkPlan:
    return NetworkPlan(IMAGENET_STEM, imagenet_stages("bottleneck", repeats, se=_SE))


IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "seresnet50": (_se_resnet((3, 4, 6, 3)), f"{_SOURCE}, table 1"),
    "seresnet101": (_se_resnet((3, 4, 23, 3)), f"{_SOURCE}, table 1"),
    "seresnet152": (_se_resnet((3, 8, 36, 3)), f"{_SOURCE}, table 1"),
    "seresnext50_32x4d": (resnext_plan((3, 4, 6, 3), 32, 4, _SE), f"{_SOURCE}, table 1"),
    "seresnext101_32x4d": (resnext_plan((3, 4, 23, 3), 32, 4, _SE), f"{_SOURCE}, table 2"),
    "seresnext101_32x8d": (resnext_plan((3, 4, 23, 3), 32, 8, _SE), f"{_SOURCE}, table 2"),
}

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
