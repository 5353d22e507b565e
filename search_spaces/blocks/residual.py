"""Residual units: basic and bottleneck in the five orders of identity mappings, plain twins, wide, and ResNeXt."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from nas.errors import GraphError
from nas.graph import Add, BatchNorm, ChannelSlice, Concat, Conv, GraphBuilder, MaxPool, Zero
from search_spaces.blocks.layers import activate, drop_path, squeeze_excite

VARIANTS = (
    "original",
    "bn_after_addition",
    "relu_before_addition",
    "relu_only_preactivation",
    "full_preactivation",
    "plain",
)
"""(a) to (e) of arXiv:1603.05027, figure 4, and the plain twin without a shortcut of arXiv:1512.03385, section 3.3."""
PREACTIVATED = ("relu_only_preactivation", "full_preactivation")
SHORTCUTS = ("project", "pad")
FORMS = ("grouped", "concatenated", "summed")


class BlockStep(NamedTuple):
    """One convolution of a residual branch."""

    out: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    def conv(self, bias: bool) -> Conv:
        """Return the convolution with "same" padding."""
        return Conv(self.out, self.kernel, self.stride, self.kernel // 2, groups=self.groups, bias=bias)


class Style(NamedTuple):
    """What all residual units of a stage share."""

    variant: str = "original"
    """One of :data:`VARIANTS`."""
    shortcut: str = "project"
    """One of :data:`SHORTCUTS`, for units that change the shape."""
    activation: str = "relu"
    norm: BatchNorm | None = BatchNorm()
    """None leaves normalization out and gives the convolutions biases."""
    se: float = 0.0
    """Squeeze-and-excitation's share of the channels, 0 for none."""
    drop: float = 0.0
    """The rate of stochastic depth."""


def basic(
    b: GraphBuilder,
    x: str,
    out: int,
    stride: int = 1,
    *,
    kernel: int = 3,
    groups: int = 1,
    first: bool = False,
    style: Style = Style(),  # noqa: B008  (frozen)
) -> str:
    """Two 3x3 convolutions and a shortcut: arXiv:1512.03385, figure 5 left."""
    return residual(
        b, x, (BlockStep(out, kernel, stride, groups), BlockStep(out, kernel, 1, groups)), first=first, style=style
    )


def bottleneck(
    b: GraphBuilder,
    x: str,
    out: int,
    inner: int,
    stride: int = 1,
    *,
    kernel: int = 3,
    groups: int = 1,
    stride_in: str = "3x3",
    first: bool = False,
    style: Style = Style(),  # noqa: B008  (frozen)
) -> str:
    """1x1 to ``inner``, 3x3, 1x1 to ``out`` and a shortcut: arXiv:1512.03385, figure 5 right.

    ``stride_in`` "1x1" strides in the first convolution, as in the paper; "3x3" in the middle one, as torchvision does
    and the lecture's SE-ResNeXt-152 too. ``groups`` > 1 makes it ResNeXt's form (c), arXiv:1611.05431, figure 3.
    """
    if stride_in not in ("1x1", "3x3"):
        raise GraphError(f"bottleneck: stride_in must be 1x1 or 3x3, found '{stride_in}'")
    early = stride_in == "1x1"
    steps = (
        BlockStep(inner, 1, stride if early else 1),
        BlockStep(inner, kernel, 1 if early else stride, groups),
        BlockStep(out, 1),
    )
    return residual(b, x, steps, first=first, style=style)


def wide(
    b: GraphBuilder,
    x: str,
    out: int,
    stride: int = 1,
    *,
    first: bool = False,
    style: Style = Style("full_preactivation"),  # noqa: B008  (frozen)
) -> str:
    """The block B(3,3) of wide residual networks: a pre-activated basic unit, arXiv:1605.07146, section 2."""
    return basic(b, x, out, stride, first=first, style=style)


def residual(b: GraphBuilder, x: str, steps: Sequence[BlockStep], *, first: bool = False, style: Style) -> str:
    """A residual unit of the convolutions ``steps`` in the order of ``style.variant``.

    arXiv:1603.05027, figure 4. In a pre-activated unit whose shortcut changes the shape, and in the ``first`` unit of a
    network, the activation comes before the two paths split (ibid., section 4 and appendix).
    """
    variant = style.variant
    if variant not in VARIANTS:
        raise GraphError(f"residual: variant must be one of {', '.join(VARIANTS)}, found '{variant}'")
    stride = prod(step.stride for step in steps)
    changes = stride != 1 or b.channels(x) != steps[-1].out

    # the branch, which begins with the activation that both paths share where there is one
    ready = variant in PREACTIVATED and (changes or first)
    if ready:
        x = _preactivate(b, x, style)
    y = _branch(b, x, steps, style, ready)
    if style.se:
        y = squeeze_excite(b, y, int(b.channels(y) * style.se), activation=style.activation)
    if variant == "plain":
        return y

    # the sum, and what the variant has after it
    short = shortcut(b, x, steps[-1].out, stride, style) if changes else x
    y = b(Add(), drop_path(b, y, style.drop), short)
    if variant == "bn_after_addition":
        y = _norm(b, y, style)
    return activate(b, y, style.activation) if variant in ("original", "bn_after_addition") else y


def shortcut(b: GraphBuilder, x: str, out: int, stride: int, style: Style) -> str:
    """The path beside the branch where the shape changes: arXiv:1512.03385, section 3.3 and 4.1.

    "project" (options B, C) is a 1x1 convolution, with a norm unless the unit is pre-activated; "pad" (option A) takes
    every ``stride``-th pixel and adds channels of zeros: no parameters.
    """
    if style.shortcut not in SHORTCUTS:
        raise GraphError(f"shortcut must be one of {', '.join(SHORTCUTS)}, found '{style.shortcut}'")
    with b.scope("shortcut"):
        if style.shortcut == "pad":
            return _padded(b, x, out, stride)
        x = b(Conv(out, 1, stride, bias=style.norm is None), x)
        return x if style.variant in PREACTIVATED else _norm(b, x, style)


def _padded(b: GraphBuilder, x: str, out: int, stride: int) -> str:
    if stride != 1:
        x = b(MaxPool(1, stride), x, name="subsample")
    # zeros of the input's size are taken as often as channels are missing
    missing = out - b.channels(x)
    if missing < 0:
        raise GraphError(f"a padded shortcut cannot lose channels, found {b.channels(x)} -> {out}")
    parts = [x]
    while missing:
        zeros = b(Zero(), x)
        take = min(missing, b.channels(x))
        parts.append(zeros if take == b.channels(x) else b(ChannelSlice(0, take), zeros))
        missing -= take
    return b(Concat(), *parts) if len(parts) > 1 else x


def _branch(b: GraphBuilder, x: str, steps: Sequence[BlockStep], style: Style, ready: bool) -> str:
    bias = style.norm is None
    last = len(steps) - 1
    for i, step in enumerate(steps):
        if style.variant == "full_preactivation":
            x = x if ready and not i else _preactivate(b, x, style)
            x = b(step.conv(bias), x)
        elif style.variant == "relu_only_preactivation":
            x = x if ready and not i else activate(b, x, style.activation)
            x = _norm(b, b(step.conv(bias), x), style)
        else:
            # the last convolution may lack the norm, and mostly lacks the activation: they come after the sum
            x = b(step.conv(bias), x)
            if i < last or style.variant != "bn_after_addition":
                x = _norm(b, x, style)
            if i < last or style.variant in ("relu_before_addition", "plain"):
                x = activate(b, x, style.activation)
    return x


def _preactivate(b: GraphBuilder, x: str, style: Style) -> str:
    if style.variant == "full_preactivation":
        x = _norm(b, x, style)
    return activate(b, x, style.activation)


def _norm(b: GraphBuilder, x: str, style: Style) -> str:
    return x if style.norm is None else b(style.norm, x)


def resnext(
    b: GraphBuilder,
    x: str,
    out: int,
    inner: int,
    cardinality: int = 32,
    stride: int = 1,
    *,
    form: str = "grouped",
    style: Style = Style(),  # noqa: B008  (frozen)
) -> str:
    """ResNeXt's block in one of its three equal forms (arXiv:1611.05431, figure 3); ``inner`` = C * d channels.

    "summed" (a): C paths 1x1, 3x3, 1x1 whose outputs are added; "concatenated" (b): C paths 1x1, 3x3 are concatenated
    before one 1x1; "grouped" (c): one bottleneck with a grouped 3x3.
    """
    if form not in FORMS:
        raise GraphError(f"resnext: form must be one of {', '.join(FORMS)}, found '{form}'")
    if inner % cardinality:
        raise GraphError(f"resnext: the cardinality must divide the inner channels, found {cardinality} for {inner}")
    if form == "grouped":
        return bottleneck(b, x, out, inner, stride, groups=cardinality, style=style)
    bias = style.norm is None
    # the two forms with a path for each group, of which the sum has one bias
    paths = []
    for path in range(cardinality):
        with b.scope(f"path{path + 1}"):
            y = x
            for step in (BlockStep(inner // cardinality, 1), BlockStep(inner // cardinality, 3, stride)):
                y = activate(b, _norm(b, b(step.conv(bias), y), style), style.activation)
            paths.append(b(Conv(out, bias=bias and not path), y) if form == "summed" else y)
    merged = b(Add(), *paths) if form == "summed" else b(Conv(out, bias=bias), b(Concat(), *paths))
    y = _norm(b, merged, style)
    if style.se:
        y = squeeze_excite(b, y, int(out * style.se), activation=style.activation)
    short = shortcut(b, x, out, stride, style) if stride != 1 or b.channels(x) != out else x
    return activate(b, b(Add(), drop_path(b, y, style.drop), short), style.activation)
