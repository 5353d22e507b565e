"""From a plan to the graph of a network."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from nas.core.values import Task
from nas.errors import GraphError, Infeasible
from nas.graph import (
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    MaxPool,
    Primitive,
)
from search_spaces.blocks.classic_stages import KRIZHEVSKY_LRN, conv_stage, linear_stage
from search_spaces.blocks.dense import dense_layer, transition
from search_spaces.blocks.fire import fire
from search_spaces.blocks.layers import activate, conv_norm_act, squeeze_excite, survival
from search_spaces.blocks.mobile import depthwise_separable, inverted_residual
from search_spaces.blocks.residual import Style, basic, bottleneck
from search_spaces.skeletons.small_images import check_size
from search_spaces.stages.plan import NetworkPlan, Stage, Stem

BASE_WIDTH = 16
"""The ``width`` of a task's network at which a plan is built as it is written; others scale all channels."""
MOST_REDUCTION = 32
_NORMS = {"batch": BatchNorm(), "batch_tf": BatchNorm(1e-3, 0.01), "none": None, "lrn": None}
_PROBE = Task("probe", (3, 32, 32), 10)


def round_width(channels: float, unit: int = 8) -> int:
    """Round to a multiple of 8, losing at most a tenth: MobileNet v2's and EfficientNet's rule for scaled widths.

    Grouped convolutions need a larger ``unit``.
    """
    rounded = max(unit, int(channels + unit // 2) // unit * unit)
    return rounded + unit if rounded < 0.9 * channels else rounded


def width_unit(stage: Stage, unit: int = 8) -> int:
    """Return what scaled widths are multiples of: of ``unit``, and so that the groups divide the inner width."""
    share = Fraction(stage.expansion).limit_denominator(64) if stage.block == "bottleneck" else Fraction(1)
    return math.lcm(unit, (stage.groups / share).numerator) if stage.groups > 1 and share else unit


def build(plan: NetworkPlan, task: Task, width: int = BASE_WIDTH, depth: int = 1) -> Graph:
    """Return the network of ``plan`` for ``task`` with output ``logits``.

    ``width`` 16 and ``depth`` 1 give the plan as written; others multiply all channels by width / 16 (rounded to
    multiples of 8) and all repeats by ``depth``.
    """
    check_size(width, depth)
    return _Build(plan, task, plan.scale_width * width / BASE_WIDTH, plan.scale_depth * depth).network()


def check_plan(plan: NetworkPlan) -> None:
    """Raise :class:`Infeasible` where the plan shrinks images too much or cannot be built for 32x32 images."""
    reduction = plan.stem.reduction * math.prod(stage.reduction for stage in plan.stages)
    if reduction > MOST_REDUCTION:
        raise Infeasible(f"stages: the resolution may fall by at most {MOST_REDUCTION}, found {reduction}")
    # units of one stage repeat their shapes from the second on; only dense layers grow
    short = tuple(s if s.block == "dense" else replace(s, repeats=min(s.repeats, 2)) for s in plan.stages)
    depth = plan.scale_depth if any(s.block == "dense" for s in plan.stages) else 1.0
    try:
        build(replace(plan, stages=short, scale_depth=depth), _PROBE)
    except GraphError as error:
        raise Infeasible(f"stages: {error}") from None


class _Build:
    """One network under construction."""

    def __init__(self, plan: NetworkPlan, task: Task, width: float, depth: float) -> None:
        self._plan, self._task, self._width, self._depth = plan, task, width, depth
        self._b = GraphBuilder(task.input_shape)
        self._unit = 0
        self._units = sum(self._repeats(stage) for stage in plan.stages)

    def network(self) -> Graph:
        x = self._stem(self._b.input, self._plan.stem)
        for i, stage in enumerate(self._plan.stages, 1):
            with self._b.scope(f"stage{i}"):
                x = self._stage(x, stage)
        return self._b.build(logits=self._head(x))

    def _channels(self, channels: int, unit: int = 8) -> int:
        return channels if self._width == 1 else round_width(channels * self._width, unit)

    def _repeats(self, stage: Stage) -> int:
        return math.ceil(stage.repeats * self._depth)

    def _stem(self, x: str, stem: Stem) -> str:
        if stem.kind == "none":
            return x
        b, out, padding = self._b, self._channels(stem.width), stem.kernel // 2 if stem.padding == "same" else 0
        with b.scope("stem"):
            if stem.kind == "conv":
                x = b(Conv(out, stem.kernel, stem.stride, padding), x)
            else:
                norm = _NORMS[stem.norm]
                act, bias = stem.activation, norm is None
                x = conv_norm_act(
                    b, x, out, stem.kernel, stem.stride, padding=padding, activation=act, norm=norm, bias=bias
                )
            if stem.pool != "none":
                x = b(MaxPool(3, 2, 1) if stem.pool == "max_padded" else MaxPool(3, 2, ceil_mode=True), x)
        return x

    def _stage(self, x: str, stage: Stage) -> str:
        b = self._b
        if stage.norm == "lrn" and stage.block != "conv":
            raise GraphError(f"local response norm is for convolutional stages, found block '{stage.block}'")
        if stage.down == "transition":
            with b.scope("transition"):
                x = transition(b, x, stride=stage.stride, activation=stage.activation, norm=_NORMS[stage.norm])
        if stage.down == "pool_before":
            x = b(_pool(stage), x)
        for i in range(self._repeats(stage)):
            self._unit += 1
            with b.scope(f"block{i + 1}"):
                x = self._block(x, stage, stage.stride if stage.down == "first" and not i else 1)
        return b(_pool(stage), x) if stage.down == "pool_after" else x

    def _block(self, x: str, stage: Stage, stride: int) -> str:
        b, norm, act, kernel, groups = self._b, _NORMS[stage.norm], stage.activation, stage.kernel, stage.groups
        if stage.block in ("basic", "bottleneck"):
            out, first, inside = self._channels(stage.width, width_unit(stage)), self._unit == 1, stage.stride_in
            style = Style(stage.variant, stage.shortcut, act, norm, stage.se, self._drop())
            if stage.block == "basic":
                return basic(b, x, out, stride, kernel=kernel, groups=groups, first=first, style=style)
            inner = max(1, int(out * stage.expansion))
            return bottleneck(
                b, x, out, inner, stride, kernel=kernel, groups=groups, stride_in=inside, first=first, style=style
            )
        out = self._channels(stage.width)
        if stage.block == "inverted":
            if not stage.expansion:
                raise GraphError("inverted residual: the expansion must be above 0")
            drop = self._drop()
            return inverted_residual(
                b, x, out, stage.expansion, stride, kernel=kernel, activation=act, norm=norm, se=stage.se, drop=drop
            )
        if stage.block == "separable":
            return depthwise_separable(b, x, out, stride, kernel=kernel, activation=act, norm=norm, se=stage.se)
        if stage.block == "conv":
            lrn = KRIZHEVSKY_LRN if stage.norm == "lrn" else None
            x = conv_stage(b, x, out, kernel=kernel, stride=stride, groups=groups, activation=act, norm=norm, lrn=lrn)
            return self._gated(x, stage)
        if stride != 1:
            raise GraphError(f"block '{stage.block}' has no stride: a stage of it downsamples by a pool or transition")
        if stage.block == "fire":
            squeeze, drop = max(1, int(out * stage.expansion)), self._drop()
            x = fire(b, x, out, squeeze, kernel=kernel, bypass=stage.bypass, activation=act, norm=norm, drop=drop)
            return self._gated(x, stage)
        inner = int(out * stage.expansion)
        return dense_layer(b, x, out, inner, kernel=kernel, activation=act, norm=norm, se=stage.se, drop=self._drop())

    def _drop(self) -> float:
        rate = self._plan.drop_path
        return 1 - survival(self._unit, self._units, 1 - rate) if rate else 0.0

    def _gated(self, x: str, stage: Stage) -> str:
        if not stage.se:
            return x
        return squeeze_excite(self._b, x, int(self._b.channels(x) * stage.se), activation=stage.activation)

    def _head(self, x: str) -> str:
        b, head, last = self._b, self._plan.head, self._plan.stages[-1]
        act, norm = last.activation, _NORMS[last.norm]
        with b.scope("head"):
            if head.kind == "fc":
                x = linear_stage(b, x, head.width, head.dropout, act)
                x = linear_stage(b, x, head.width, head.dropout, act)
                return b(Linear(self._task.classes), x, name="classifier")
            if head.kind == "conv_classes":
                x = b(Dropout(head.dropout), x) if head.dropout else x
                x = activate(b, b(Conv(self._task.classes, 1, bias=True), x, name="classifier"), act)
                return b(Flatten(), b(GlobalAvgPool(), x))
            if head.kind == "norm_pool_fc" and norm is not None:
                x = b(norm, x)
            if head.kind in ("act_pool_fc", "norm_pool_fc"):
                x = activate(b, x, act)
            if head.kind == "conv_pool_fc":
                # the last convolution grows with the network but never shrinks: arXiv:1801.04381, section 4
                out = round_width(head.width * self._width) if self._width > 1 else head.width
                x = conv_norm_act(b, x, out, 1, activation=act, norm=norm, bias=norm is None)
            x = b(Flatten(), b(GlobalAvgPool(), x))
            x = b(Dropout(head.dropout), x) if head.dropout else x
            return b(Linear(self._task.classes), x, name="classifier")


def _pool(stage: Stage) -> Primitive:
    if stage.pool == "avg":
        return AvgPool(stage.stride)
    overlapping = stage.pool == "max_overlapping"
    return MaxPool(stage.stride + overlapping, stage.stride, ceil_mode=overlapping)
