"""SqueezeNet: fire modules and no linear layer (arXiv:1602.07360)."""

from __future__ import annotations

from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define

_HEAD = Head("conv_classes", dropout=0.5)


def _fire(repeats: int, width: int, down: str = "none", bypass: str = "none") -> Stage:
    """Fires whose squeeze layer has an eighth of the output's channels: section 5.1, SR = 0.125."""
    pool = "max_overlapping" if down != "none" else "max"
    return Stage("fire", repeats, width, down=down, pool=pool, expansion=0.125, bypass=bypass, norm="none")


def _stem(width: int, kernel: int) -> Stem:
    return Stem("conv_act", width, kernel, 2, "valid", "max_ceil", norm="none")


def _version0(bypass: str = "none") -> NetworkPlan:
    """Table 1: the pools come after the first convolution, fire 4 and fire 8."""
    # fires 2 and 3, 4, 5, 6 and 7, 8, 9: a pool ends a record
    stages = (
        _fire(2, 128, bypass=bypass),
        _fire(1, 256, "pool_after", bypass),
        _fire(1, 256, bypass=bypass),
        _fire(2, 384, bypass=bypass),
        _fire(1, 512, "pool_after", bypass),
        _fire(1, 512, bypass=bypass),
    )
    return NetworkPlan(_stem(96, 7), stages, _HEAD)


def _version1() -> NetworkPlan:
    """The authors' repository, version 1.1: a smaller first convolution and earlier pools, 2.4 times fewer MACs."""
    stages = (_fire(2, 128), _fire(2, 256, "pool_before"), _fire(2, 384, "pool_before"), _fire(2, 512))
    return NetworkPlan(_stem(64, 3), stages, _HEAD)


_SOURCE = "arXiv:1602.07360"
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "squeezenet1_0": (_version0(), f"{_SOURCE}, table 1"),
    "squeezenet1_1": (_version1(), f"{_SOURCE}, the authors' repository (version 1.1)"),
    "squeezenet1_0_simple_bypass": (_version0("simple"), f"{_SOURCE}, section 6 and figure 2"),
    "squeezenet1_0_complex_bypass": (_version0("complex"), f"{_SOURCE}, section 6 and figure 2"),
}

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
