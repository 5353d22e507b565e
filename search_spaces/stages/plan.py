"""The record of a network of stages: what is decided, and what may be chosen for each decision.

Names of decisions are ``stages``, ``stem.FIELD``, ``stageN.FIELD``, ``head.FIELD``, ``scale_width``, ``scale_depth``
and ``drop_path``; the values are the attributes below. A field that a block does not have is not chosen and keeps its
default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from nas.core.values import Value
from nas.space import Choose
from search_spaces.blocks.fire import BYPASSES
from search_spaces.blocks.residual import SHORTCUTS, VARIANTS

MOST_STAGES = 9
NORMS = ("batch", "batch_tf", "none")
"""``batch_tf`` is batch norm with TensorFlow's numbers: eps 1e-3, momentum 0.01."""
ACTIVATIONS = ("relu", "relu6", "swish", "tanh", "sigmoid")
WIDTHS = (
    *(8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 384, 448, 512),
    *(640, 768, 1024, 1280, 1536, 2048),
)
REPEATS = (*range(1, 13), 16, 18, 23, 24, 31, 32, 36, 41, 48, 64, 200)

STEM_OPTIONS: dict[str, tuple[Value, ...]] = {
    "kind": ("none", "conv", "conv_act"),
    "width": WIDTHS,
    "kernel": (3, 5, 7, 11),
    "stride": (1, 2, 4),
    "padding": ("same", "valid"),
    "pool": ("none", "max_padded", "max_ceil"),
    "activation": ACTIVATIONS,
    "norm": NORMS,
}
STAGE_OPTIONS: dict[str, tuple[Value, ...]] = {
    "block": ("conv", "basic", "bottleneck", "dense", "fire", "separable", "inverted"),
    "repeats": REPEATS,
    "width": WIDTHS,
    "kernel": (1, 3, 5, 7),
    "down": ("none", "first", "pool_before", "pool_after", "transition"),
    "stride": (2, 4),
    "pool": ("max", "max_overlapping", "avg"),
    "expansion": (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0),
    "groups": (1, 2, 4, 8, 16, 32, 64),
    "se": (0.0, 0.0625, 0.125, 0.25),
    "variant": VARIANTS,
    "shortcut": SHORTCUTS,
    "stride_in": ("3x3", "1x1"),
    "bypass": BYPASSES,
    "activation": ACTIVATIONS,
    "norm": (*NORMS, "lrn"),  # local response norm, behind the activation of a convolution
}
HEAD_OPTIONS: dict[str, tuple[Value, ...]] = {
    "kind": ("pool_fc", "act_pool_fc", "norm_pool_fc", "conv_pool_fc", "fc", "conv_classes"),
    "width": (256, 512, 1024, 1280, 2048, 4096),
    "dropout": (0.0, 0.2, 0.3, 0.4, 0.5),
}
SCALE_WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0)
SCALE_DEPTHS = (1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1)
DROP_PATHS = (0.0, 0.1, 0.2, 0.3, 0.5)

_OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "conv": ("groups",),
    "basic": ("groups", "variant", "shortcut"),
    "bottleneck": ("expansion", "groups", "variant", "shortcut", "stride_in"),
    "dense": ("expansion",),
    "fire": ("expansion", "bypass"),
    "separable": (),
    "inverted": ("expansion",),
}


@dataclass(frozen=True)
class Stem:
    """The first convolution: ``conv`` is bare, ``conv_act`` has norm and activation, ``none`` leaves it out.

    ``padding`` "same" is half the kernel, "valid" none. ``pool`` is a 3x3 max pool of stride 2, padded by one
    (ResNet) or rounding up (SqueezeNet).
    """

    kind: str = "conv_act"
    width: int = 64
    kernel: int = 7
    stride: int = 2
    padding: str = "same"
    pool: str = "none"
    activation: str = "relu"
    norm: str = "batch"

    def uses(self, field: str) -> bool:
        """Return whether a decision is made on ``field``."""
        if self.kind == "none":
            return field == "kind"
        return self.kind == "conv_act" or field not in ("activation", "norm")

    @property
    def reduction(self) -> int:
        """The factor by which the resolution falls."""
        if self.kind == "none":
            return 1
        return self.stride * (1 if self.pool == "none" else 2)


@dataclass(frozen=True)
class Stage:
    """``repeats`` units of one ``block`` to ``width`` channels.

    ``width`` is the growth rate of a dense block. ``expansion`` is the inner width over the outer one in a bottleneck,
    over the growth in a dense block (0: no 1x1), over the input in an inverted residual, and the squeeze over the
    output in a fire module. ``down`` says where the resolution falls by ``stride``: not at all, in the first unit, in a
    ``pool`` before or after the units, or in a DenseNet transition before them (which halves the channels). ``se`` is
    the gate's share of the channels, 0 for none: of the unit's output, in an inverted residual of its input, in a
    separable unit of the depthwise output.
    """

    block: str
    repeats: int
    width: int
    kernel: int = 3
    down: str = "none"
    stride: int = 2
    pool: str = "max"
    expansion: float = 1.0
    groups: int = 1
    se: float = 0.0
    variant: str = "original"
    shortcut: str = "project"
    stride_in: str = "3x3"
    bypass: str = "none"
    activation: str = "relu"
    norm: str = "batch"

    def uses(self, field: str) -> bool:
        """Return whether a decision is made on ``field``."""
        return _stage_uses(field, self.block, self.down)

    @property
    def reduction(self) -> int:
        """The factor by which the resolution falls."""
        return 1 if self.down == "none" else self.stride


def _stage_uses(field: str, block: str, down: str) -> bool:
    if field == "stride":
        return down != "none"
    if field == "pool":
        return down in ("pool_before", "pool_after")
    if field in ("expansion", "groups", "variant", "shortcut", "stride_in", "bypass"):
        return field in _OWN_FIELDS[block]
    return True


@dataclass(frozen=True)
class Head:
    """From the last stage to the logits; norm and activation are those of the last stage.

    ``pool_fc``: global average pool and one linear layer; ``act_pool_fc`` and ``norm_pool_fc`` begin with the
    activation, or norm and activation (pre-activated nets, DenseNet); ``conv_pool_fc`` with a 1x1 convolution to
    ``width`` (MobileNet v2, EfficientNet); ``fc``: two hidden linear layers of ``width`` (VGG); ``conv_classes``: a 1x1
    convolution to the classes, activation, pool (SqueezeNet). ``dropout`` comes before the last layer (``fc``: layers).
    """

    kind: str = "pool_fc"
    width: int = 1280
    dropout: float = 0.0

    def uses(self, field: str) -> bool:
        """Return whether a decision is made on ``field``."""
        return field != "width" or self.kind in ("conv_pool_fc", "fc")


@dataclass(frozen=True)
class NetworkPlan:
    """A network of stages. ``scale_width`` and ``scale_depth`` are the multipliers of MobileNet and EfficientNet.

    ``drop_path`` is the rate 1 - p_L of stochastic depth in the last unit; it grows linearly from the first.
    """

    stem: Stem
    stages: tuple[Stage, ...]
    head: Head = Head()
    scale_width: float = 1.0
    scale_depth: float = 1.0
    drop_path: float = 0.0

    def __call__(self, name: str, options: Sequence[Any]) -> Any:
        """Look a decision up in this plan, so that a plan can make the choices that describe it."""
        if name == "stages":
            return len(self.stages)
        part, _, field = name.partition(".")
        if not field:
            return getattr(self, name)
        return getattr(self.stages[int(part[5:]) - 1] if part.startswith("stage") else getattr(self, part), field)


def choose_plan(choose: Choose) -> NetworkPlan:
    """Make every decision of a plan, in order."""
    count = choose("stages", tuple(range(1, MOST_STAGES + 1)))

    # after the kind of a stem or head, the fields that it uses
    def part(name: str, kind: type[Stem] | type[Head], options: dict[str, tuple[Value, ...]]) -> Any:
        chosen = kind(choose(f"{name}.kind", options["kind"]))
        used = [f.name for f in fields(kind)[1:] if chosen.uses(f.name)]
        return replace(chosen, **{field: choose(f"{name}.{field}", options[field]) for field in used})

    stem = part("stem", Stem, STEM_OPTIONS)
    stages = []
    for i in range(1, count + 1):
        chosen: dict[str, Any] = {}
        for name, options in STAGE_OPTIONS.items():
            if _stage_uses(name, chosen.get("block", "conv"), chosen.get("down", "none")):
                chosen[name] = choose(f"stage{i}.{name}", options)
        stages.append(Stage(**chosen))
    head = part("head", Head, HEAD_OPTIONS)
    width, depth = choose("scale_width", SCALE_WIDTHS), choose("scale_depth", SCALE_DEPTHS)
    return NetworkPlan(stem, tuple(stages), head, width, depth, choose("drop_path", DROP_PATHS))
