"""The space of handcrafted families, each with the few things that their users vary: the rivals of a search."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from nas.core.values import Task
from nas.errors import ConfigError, unknown
from nas.graph import Graph
from nas.space import Choose, Network, register_space
from search_spaces.stages import PLANS, NetworkPlan, Stage, Stem, build
from search_spaces.stages.builder import round_width, width_unit
from search_spaces.stages.shape import LEAST_SIDE, Shape, build_shape

FAMILIES = ("resnet", "vgg", "wide_resnet", "mobilenet_v2", "efficientnet_b0")
SHAPES = FAMILIES[:3]
"""Those whose depth is a choice; any other is a network that is a table of stages."""
PUBLISHED_WIDTH = 128
"""The ``width`` at which channels are as published; such fine steps let a budget be met closely."""
WIDTHS = (2, 1)
"""The least width that a budget may choose, and the step to the next, in 128ths of the published channels."""
CIFAR_WIDTH = 16
"""The published channels of the first stage for small images: arXiv:1512.03385, section 4.2."""
RESNETS = {10: (1, 1, 1, 1), 14: (2, 2, 2), 8: (1, 1, 1), 18: (2, 2, 2, 2), 20: (3, 3, 3)}
"""Units of each stage by the number of layers: four stages as for ImageNet, three as for CIFAR."""
WIDE_RESNETS = {16: (2, 2, 2), 10: (1, 1, 1), 22: (3, 3, 3)}
"""The same of arXiv:1605.07146, table 1."""
VGGS = {6: (1, 1, 1, 1, 1), 9: (1, 1, 2, 2, 2), 11: (2, 2, 2, 2, 2), 5: (1, 1, 1, 1), 14: (2, 2, 3, 3, 3)}
"""Convolutions of each stage by the number of layers: arXiv:1409.1556, table 1, A, B and D, and thinner than those."""
VGG_WIDTHS = (64, 128, 256, 512, 512)
"""The channels of its stages."""


@register_space("handcrafted", source="arXiv:1512.03385, 1605.07146, 1801.04381, 1905.11946", width=PUBLISHED_WIDTH)
def handcrafted(choose: Choose, families: str | tuple[str, ...] = FAMILIES) -> Network:
    """Handcrafted networks of ``families``, names with commas between; a budget of MACs or parameters sets the width.

    ``resnet`` and ``wide_resnet`` are basic units, original and pre-activated, of 8 to 22 layers with channels that
    double; ``vgg`` is 3x3 convolutions with batch norm, stages that end with a max pool, and one linear layer after
    the mean over what is left; any other name is that of a network that is a table of stages, such as ``mobilenet_v2``.
    All that have a stem have its stride decided, which decides most at a small budget; a stride of 4 is one of 2 and a
    max pool, as published. From 112 pixels on the stem of ``resnet`` and ``wide_resnet`` halves the image once more,
    never by more than 4.
    ``width`` is in 128ths of the published channels (16 in the first stage of a ResNet), ``depth`` multiplies repeats,
    rounded up. So that rivals are trained like what they are compared with, they have no dropout and no dropped paths
    of their own; no stage halves an image of 2 pixels a side. Options come in the order in which they are the more
    likely to be good.
    """
    family = choose("family", _families(families))
    if family == "resnet":
        repeats = RESNETS[choose("resnet.layers", tuple(RESNETS))]
        shape = Shape(repeats, stem_stride=choose("resnet.stem_stride", (2, 1, 4)))
    elif family == "wide_resnet":
        # half of the first stage's channels in the stem: k = 2
        repeats = WIDE_RESNETS[choose("wide_resnet.layers", tuple(WIDE_RESNETS))]
        stride = choose("wide_resnet.stem_stride", (2, 1))
        shape = Shape(repeats, preactivated=True, stem_width=0.5, stem_stride=stride)
    else:
        plan = _vgg(VGGS[choose("vgg.layers", tuple(VGGS))]) if family == "vgg" else _with_stem(choose, family)
        return Network(partial(_build_plan, plan), WIDTHS, between=True)
    return Network(partial(_build_shape, shape), WIDTHS, between=True)


def _families(families: str | tuple[str, ...]) -> tuple[str, ...]:
    names = [name.strip() for name in families.split(",")] if isinstance(families, str) else list(families)
    for name in names:
        if name not in SHAPES and name not in PLANS:
            known = unknown("family", str(name), (*SHAPES, *PLANS))
            raise ConfigError(
                f"space 'handcrafted': {known}: {', '.join(SHAPES)}, or a network that is a table of stages"
            )
    if not names:
        raise ConfigError(f"space 'handcrafted': families must name one or more, such as {','.join(FAMILIES)}")
    return tuple(dict.fromkeys(names))


def _build_shape(shape: Shape, task: Task, width: int, depth: float) -> Graph:
    return build_shape(shape, task, CIFAR_WIDTH * width / PUBLISHED_WIDTH, depth)


def _vgg(repeats: tuple[int, ...]) -> NetworkPlan:
    """Return VGG as it is used for small images: its two hidden layers are for an image of 224 pixels."""
    widths = VGG_WIDTHS[: len(repeats)]
    stages = (Stage("conv", n, width, down="pool_after") for n, width in zip(repeats, widths, strict=True))
    return NetworkPlan(Stem("none"), tuple(stages))


def _with_stem(choose: Choose, name: str) -> NetworkPlan:
    """Return the named table with a stem that reduces by 2, by 1 or as published."""
    plan = PLANS[name]
    if plan.stem.kind == "none":
        return plan
    published = plan.stem.reduction
    stride = choose(f"{name}.stem_stride", (2, 1) if published <= 2 else (2, 1, published))
    if stride == published:
        return plan
    # a larger kernel and a pool are for large images
    return replace(plan, stem=replace(plan.stem, stride=stride, kernel=3, padding="same", pool="none"))


def _build_plan(plan: NetworkPlan, task: Task, width: int, depth: float) -> Graph:
    scale = plan.scale_width * width / PUBLISHED_WIDTH
    stem, head, stages = plan.stem, plan.head, []
    side = math.ceil(min(task.input_shape[1:]) / stem.reduction)
    for stage in plan.stages:
        # the published multiples of 8 are most of a thin network; where there are more channels, even ones are faster
        stage = replace(stage, width=round_width(stage.width * scale, width_unit(stage, _unit(stage.width * scale))))
        if stage.reduction > 1 and side <= LEAST_SIDE:
            stage = replace(stage, stride=1) if stage.down == "transition" else replace(stage, down="none")
        side = math.ceil(side / stage.reduction)
        stages.append(stage)
    stem = replace(stem, width=round_width(stem.width * scale, _unit(stem.width * scale)))
    head = replace(head, width=round_width(head.width * scale, 2), dropout=0.0)
    scaled = replace(plan, stem=stem, stages=tuple(stages), head=head, scale_width=1.0, drop_path=0.0)
    return build(replace(scaled, scale_depth=plan.scale_depth * depth), task)


def _unit(channels: float) -> int:
    return 1 if channels < 16 else 2
