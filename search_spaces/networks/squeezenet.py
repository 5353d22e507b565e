"""SqueezeNet: fire modules and no linear layer (arXiv:1602.07360)."""

from __future__ import annotations

from search_spaces.stages.named import define
from search_spaces.stages.plan import Head, Plan, Stage, Stem

_HEAD = Head("conv_classes", dropout=0.5)


def _fire(repeats: int, width: int, down: str = "none", bypass: str = "none") -> Stage:
    """Fires whose squeeze layer has an eighth of the output's channels: section 5.1, SR = 0.125."""
    pool = "max_overlapping" if down != "none" else "max"
    return Stage("fire", repeats, width, down=down, pool=pool, expansion=0.125, bypass=bypass, norm="none")


def _stem(width: int, kernel: int) -> Stem:
    return Stem("conv_act", width, kernel, 2, "valid", "max_ceil", norm="none")


def _version0(bypass: str = "none") -> Plan:
    """Table 1: the pools come after the first convolution, fire 4 and fire 8."""
    table = ((2, 128, "none"), (1, 256, "pool_after"), (1, 256, "none"), (2, 384, "none"), (1, 512, "pool_after"))
    stages = tuple(_fire(*row, bypass=bypass) for row in (*table, (1, 512, "none")))
    return Plan(_stem(96, 7), stages, _HEAD)


def _version1() -> Plan:
    """The authors' repository, version 1.1: a smaller first convolution and earlier pools, 2.4 times fewer MACs."""
    stages = (_fire(2, 128), _fire(2, 256, "pool_before"), _fire(2, 384, "pool_before"), _fire(2, 512))
    return Plan(_stem(64, 3), stages, _HEAD)


def _register() -> None:
    source = "arXiv:1602.07360"
    define("squeezenet1_0", _version0(), f"{source}, table 1")
    define("squeezenet1_1", _version1(), f"{source}, the authors' repository (version 1.1)")
    for bypass in ("simple", "complex"):
        define(f"squeezenet1_0_{bypass}_bypass", _version0(bypass), f"{source}, section 6 and figure 2")


_register()
