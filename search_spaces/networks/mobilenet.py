"""MobileNet v1 and v2 at every width."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define

_STEM = Stem("conv_act", 32, 3, 2, activation="relu6")


def mobilenet_v1(width: float = 1.0, activation: str = "relu6") -> NetworkPlan:
    """arXiv:1704.04861, table 1. The paper has ``relu``; ReLU6 is that of the authors' code and of timm's weights."""
    # units, channels, where the stride is
    table = ((1, 64, "none"), (2, 128, "first"), (2, 256, "first"), (6, 512, "first"), (2, 1024, "first"))
    stages = tuple(Stage("separable", count, out, down=down, activation=activation) for count, out, down in table)
    return NetworkPlan(replace(_STEM, activation=activation), stages, scale_width=width)


def mobilenet_v2(width: float = 1.0) -> NetworkPlan:
    """arXiv:1801.04381, table 2: rows (t, c, n, s)."""
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    stages = tuple(
        Stage("inverted", n, c, down="first" if s > 1 else "none", expansion=float(t), activation="relu6")
        for t, c, n, s in table
    )
    return NetworkPlan(_STEM, stages, Head("conv_pool_fc", 1280, 0.2), scale_width=width)


_V1, _V2 = "arXiv:1704.04861, tables 1 and 6", "arXiv:1801.04381, table 2"
_V1_RELU6 = f"{_V1}, with ReLU6 as in the authors' code and timm"
IMAGENET_NETWORKS: dict[str, tuple[NetworkPlan, str]] = {
    "mobilenetv1_025": (mobilenet_v1(0.25), _V1_RELU6),
    "mobilenetv1_050": (mobilenet_v1(0.5), _V1_RELU6),
    "mobilenetv1_075": (mobilenet_v1(0.75), _V1_RELU6),
    "mobilenetv1_100": (mobilenet_v1(1.0), _V1_RELU6),
    "mobilenetv1_025_relu": (mobilenet_v1(0.25, "relu"), _V1),
    "mobilenetv1_050_relu": (mobilenet_v1(0.5, "relu"), _V1),
    "mobilenetv1_075_relu": (mobilenet_v1(0.75, "relu"), _V1),
    "mobilenetv1_100_relu": (mobilenet_v1(1.0, "relu"), _V1),
    "mobilenetv2_035": (mobilenet_v2(0.35), _V2),
    "mobilenetv2_050": (mobilenet_v2(0.5), _V2),
    "mobilenetv2_075": (mobilenet_v2(0.75), _V2),
    "mobilenet_v2": (mobilenet_v2(1.0), _V2),
    "mobilenetv2_130": (mobilenet_v2(1.3), _V2),
    "mobilenetv2_140": (mobilenet_v2(1.4), _V2),
}

for _name, (_plan, _source) in IMAGENET_NETWORKS.items():
    define(_name, _plan, _source)
