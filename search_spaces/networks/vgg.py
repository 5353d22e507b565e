"""VGG: nothing but 3x3 convolutions and 2x2 max pools (arXiv:1409.1556, table 1)."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define

_WIDTHS = (64, 128, 256, 512, 512)
_HEAD = Head("fc", 4096, 0.5)


def _vgg(repeats: tuple[int, ...], norm: str = "none") -> NetworkPlan:
    stages = tuple(
        Stage("conv", count, width, down="pool_after", norm=norm) for count, width in zip(repeats, _WIDTHS, strict=True)
    )
    return NetworkPlan(Stem("none"), stages, _HEAD)


def _with_lrn(plan: NetworkPlan) -> NetworkPlan:
    """Local response norm after the first convolution: A-LRN."""
    return replace(plan, stages=(replace(plan.stages[0], norm="lrn"), *plan.stages[1:]))


def _with_1x1(plan: NetworkPlan) -> NetworkPlan:
    """Configuration C: a 1x1 convolution ends the last three stages, so each of them is two records."""
    # the first two stages stay, the pool moves behind the 1x1
    stages = list(plan.stages[:2])
    for stage in plan.stages[2:]:
        stages += [replace(stage, down="none"), replace(stage, repeats=1, kernel=1)]
    return replace(plan, stages=tuple(stages))


_SOURCE = "arXiv:1409.1556, table 1"
_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "vgg11": (_vgg(_A), f"{_SOURCE} (A)"),
    "vgg13": (_vgg(_B), f"{_SOURCE} (B)"),
    "vgg16": (_vgg(_D), f"{_SOURCE} (D)"),
    "vgg19": (_vgg(_E), f"{_SOURCE} (E)"),
    "vgg11_bn": (_vgg(_A, "batch"), f"{_SOURCE} (A) with batch norm"),
    "vgg13_bn": (_vgg(_B, "batch"), f"{_SOURCE} (B) with batch norm"),
    "vgg16_bn": (_vgg(_D, "batch"), f"{_SOURCE} (D) with batch norm"),
    "vgg19_bn": (_vgg(_E, "batch"), f"{_SOURCE} (E) with batch norm"),
    "vgg11_lrn": (_with_lrn(_vgg(_A)), f"{_SOURCE} (A-LRN)"),
    "vgg16_c": (_with_1x1(_vgg(_B)), f"{_SOURCE} (C)"),
}

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
