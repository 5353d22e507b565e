"""Primitives of published networks that plain layers do not cover: a constant factor and pooling to a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

from nas.graph.primitive import (
    Layer,
    Pair,
    Primitive,
    Shapes,
    Window,
    as_pair,
    assign,
    check_number,
    image,
    primitive,
)
from nas.types import Shape


@primitive("scale", "arXiv:1602.07261, section 3.3")
@dataclass(frozen=True)
class Scale(Primitive):
    """The input times the constant ``factor``, as residuals are scaled down in Inception-ResNet."""

    factor: float = 1.0

    def __post_init__(self) -> None:
        assign(self, factor=check_number(self.kind, "factor", self.factor, 0))

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        return xs[0] * self.factor

    @property
    def is_identity(self) -> bool:
        return self.factor == 1

    @property
    def is_zero(self) -> bool:
        return self.factor == 0


@primitive("adaptive_avg_pool", "arXiv:1406.4729, section 2.2; torch.nn.AdaptiveAvgPool2d")
@dataclass(frozen=True)
class AdaptiveAvgPool(Primitive):
    """Mean over bins so laid that the output has ``size``: bin i of n spans floor(i H / n) to ceil((i + 1) H / n).

    Bins overlap where n does not divide H; an input smaller than ``size`` is repeated.
    """

    size: int | Pair = 1

    def __post_init__(self) -> None:
        assign(self, size=as_pair(self.kind, "size", self.size, 1))

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])[0], *self.size  # type: ignore[misc]

    def window(self, ins: Shapes) -> Window:
        (height, step_height), (width, step_width) = (
            _bins(extent, out)
            for extent, out in zip(ins[0][1:], self.size, strict=True)  # type: ignore[arg-type]
        )
        return Window(height, width, step_height, step_width)

    def layer(self, ins: Shapes) -> Layer:
        return Layer("AdaptiveAvgPool2d", {"output_size": self.size})


def _bins(extent: int, out: int) -> tuple[int, Fraction]:
    """Return the span of the widest bin and the mean step, so that the first to the last bin span all pixels."""
    widest = -(-(extent + out - gcd(extent, out)) // out)
    return widest, Fraction(extent - widest, out - 1) if out > 1 else Fraction(extent)
