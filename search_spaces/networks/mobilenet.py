"""MobileNet v1 and v2 at every width."""

from __future__ import annotations

from search_spaces.stages.named import define
from search_spaces.stages.plan import Head, Plan, Stage, Stem

WIDTHS_V1 = (0.25, 0.5, 0.75, 1.0)
WIDTHS_V2 = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_STEM = Stem("conv_act", 32, 3, 2, activation="relu6")


def mobilenet_v1(width: float = 1.0) -> Plan:
    """arXiv:1704.04861, table 1. ReLU6 instead of the paper's ReLU, as in the authors' code and timm."""
    table = ((1, 64, "none"), (2, 128, "first"), (2, 256, "first"), (6, 512, "first"), (2, 1024, "first"))
    stages = tuple(Stage("separable", count, out, down=down, activation="relu6") for count, out, down in table)
    return Plan(_STEM, stages, scale_width=width)


def mobilenet_v2(width: float = 1.0) -> Plan:
    """arXiv:1801.04381, table 2: rows (t, c, n, s)."""
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    stages = tuple(
        Stage("inverted", n, c, down="first" if s > 1 else "none", expansion=float(t), activation="relu6")
        for t, c, n, s in table
    )
    return Plan(_STEM, stages, Head("conv_pool_fc", 1280, 0.2), scale_width=width)


def _register() -> None:
    for width in WIDTHS_V1:
        define(f"mobilenetv1_{round(width * 100):03d}", mobilenet_v1(width), "arXiv:1704.04861, tables 1 and 6")
    for width in WIDTHS_V2:
        name = "mobilenet_v2" if width == 1 else f"mobilenetv2_{round(width * 100):03d}"
        define(name, mobilenet_v2(width), "arXiv:1801.04381, table 2")


_register()
