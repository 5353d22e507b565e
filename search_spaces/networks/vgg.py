"""VGG: nothing but 3x3 convolutions and 2x2 max pools (arXiv:1409.1556, table 1)."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.stages.named import define
from search_spaces.stages.plan import Head, Plan, Stage, Stem

_WIDTHS = (64, 128, 256, 512, 512)
_HEAD = Head("fc", 4096, 0.5)


def _vgg(repeats: tuple[int, ...], norm: str = "none") -> Plan:
    stages = tuple(
        Stage("conv", count, width, down="pool_after", norm=norm) for count, width in zip(repeats, _WIDTHS, strict=True)
    )
    return Plan(Stem("none"), stages, _HEAD)


def _with_lrn(plan: Plan) -> Plan:
    """Local response norm after the first convolution: A-LRN."""
    return replace(plan, stages=(replace(plan.stages[0], norm="lrn"), *plan.stages[1:]))


def _with_1x1(plan: Plan) -> Plan:
    """Configuration C: a 1x1 convolution ends the last three stages, so each of them is two records."""
    stages = list(plan.stages[:2])
    for stage in plan.stages[2:]:
        stages += [replace(stage, down="none"), replace(stage, repeats=1, kernel=1)]
    return replace(plan, stages=tuple(stages))


def _register() -> None:
    source = "arXiv:1409.1556, table 1"
    a, b, d, e = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
    for name, letter, repeats in (("vgg11", "A", a), ("vgg13", "B", b), ("vgg16", "D", d), ("vgg19", "E", e)):
        define(name, _vgg(repeats), f"{source} ({letter})")
        define(f"{name}_bn", _vgg(repeats, "batch"), f"{source} ({letter}) with batch norm")
    define("vgg11_lrn", _with_lrn(_vgg(a)), f"{source} (A-LRN)")
    define("vgg16_c", _with_1x1(_vgg(b)), f"{source} (C)")


_register()
