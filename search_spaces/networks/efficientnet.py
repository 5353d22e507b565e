"""EfficientNet-B0 to B7: one table, scaled in width, depth and resolution."""

from __future__ import annotations

from search_spaces.stages.plan import Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import define

_TABLE = ((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2))
"""Rows (expansion, kernel, channels, repeats, stride) of arXiv:1905.11946, table 1; the last row ends it below."""
SCALES = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
    "efficientnet_b3": (1.2, 1.4, 300, 0.3),
    "efficientnet_b4": (1.4, 1.8, 380, 0.4),
    "efficientnet_b5": (1.6, 2.2, 456, 0.4),
    "efficientnet_b6": (1.8, 2.6, 528, 0.5),
    "efficientnet_b7": (2.0, 3.1, 600, 0.5),
}
"""(width, depth, resolution, dropout), the authors' repository; not powers of the paper's factors (B1's depth: 1.1)."""


def efficientnet(width: float, depth: float, dropout: float, norm: str = "batch") -> NetworkPlan:
    """arXiv:1905.11946, section 4: MBConv with swish, gates of a quarter of the input, stochastic depth 0.2."""
    stages = tuple(
        Stage(
            "inverted",
            repeats,
            channels,
            kernel,
            "first" if stride > 1 else "none",
            expansion=float(expansion),
            se=0.25,
            activation="swish",
            norm=norm,
        )
        for expansion, kernel, channels, repeats, stride in (*_TABLE, (6, 3, 320, 1, 1))
    )
    stem = Stem("conv_act", 32, 3, 2, activation="swish", norm=norm)
    return NetworkPlan(stem, stages, Head("conv_pool_fc", 1280, dropout), width, depth, drop_path=0.2)


for _name, (_width, _depth, _resolution, _dropout) in SCALES.items():
    # torchvision's B5 to B7, from 456 pixels on, were converted from TensorFlow and keep its batch norm's numbers
    _norm = "batch_tf" if _resolution >= 456 else "batch"
    _plan = efficientnet(_width, _depth, _dropout, _norm)
    define(_name, _plan, "arXiv:1905.11946, tables 1 and 2", (3, _resolution, _resolution))
