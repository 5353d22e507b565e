"""Primitives that weigh their inputs: convolutions and linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from nas.errors import GraphError
from nas.graph.primitive import (
    Layer,
    Pair,
    Primitive,
    Shapes,
    Window,
    as_pair,
    assign,
    check_choice,
    check_flag,
    check_whole,
    image,
    primitive,
    slide,
)
from nas.types import Shape


def _check_groups(kind: str, groups: int, channels: int, out: int) -> None:
    if channels % groups or out % groups:
        raise GraphError(
            f"{kind}: groups must divide input and output channels, found {groups} for {channels} -> {out}"
        )


@primitive("conv", "LeCun et al. 1998; groups: Krizhevsky et al. 2012; dilation: arXiv:1511.07122")
@dataclass(frozen=True)
class Conv(Primitive):
    """Convolution to ``out`` channels; kernel, stride, padding and dilation are numbers or (height, width) pairs."""

    out: int
    kernel: int | Pair = 1
    stride: int | Pair = 1
    padding: int | Pair = 0
    dilation: int | Pair = 1
    groups: int = 1
    bias: bool = False
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        k = self.kind
        check_whole(k, "out", self.out, 1)
        check_whole(k, "groups", self.groups, 1)
        check_flag(k, "bias", self.bias)
        check_choice(k, "padding_mode", self.padding_mode, ("zeros", "reflect"))
        assign(
            self,
            kernel=as_pair(k, "kernel", self.kernel, 1),
            stride=as_pair(k, "stride", self.stride, 1),
            padding=as_pair(k, "padding", self.padding, 0),
            dilation=as_pair(k, "dilation", self.dilation, 1),
        )

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self.kernel, self.stride, self.padding, self.dilation  # type: ignore[misc]
        if self.groups != 1:
            _check_groups(self.kind, self.groups, c, self.out)
        if self.padding_mode == "reflect" and (ph >= h or pw >= w):
            raise GraphError(f"conv: reflected padding must be smaller than the input, found {(ph, pw)} for {(h, w)}")
        return self.out, slide("conv", h, dh * (kh - 1) + 1, sh, ph), slide("conv", w, dw * (kw - 1) + 1, sw, pw)

    def params(self, ins: Shapes) -> int:
        kh, kw = self.kernel  # type: ignore[misc]
        return self.out * (ins[0][0] // self.groups * kh * kw + self.bias)

    def macs(self, ins: Shapes, out: Shape) -> int:
        kh, kw = self.kernel  # type: ignore[misc]
        return ins[0][0] // self.groups * kh * kw * out[0] * out[1] * out[2]

    def window(self, ins: Shapes) -> Window:
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self.kernel, self.stride, self.padding, self.dilation  # type: ignore[misc]
        return Window(dh * (kh - 1) + 1, dw * (kw - 1) + 1, sh, sw, -ph, -pw)

    def layer(self, ins: Shapes) -> Layer:
        """Return torch.nn.Conv2d with the input channels that its shape has."""
        mode = {} if self.padding_mode == "zeros" else {"padding_mode": self.padding_mode}
        return Layer(
            "Conv2d",
            {
                "in_channels": ins[0][0],
                "out_channels": self.out,
                "kernel_size": self.kernel,
                "stride": self.stride,
                "padding": self.padding,
                "dilation": self.dilation,
                "groups": self.groups,
                "bias": self.bias,
                **mode,
            },
        )


@primitive("transposed_conv", "Zeiler et al. 2010; arXiv:1603.07285, section 4")
@dataclass(frozen=True)
class TransposedConv(Primitive):
    """Transposed convolution: output size ``(H - 1) * stride - 2 * padding + kernel + output_padding``."""

    out: int
    kernel: int | Pair = 2
    stride: int | Pair = 2
    padding: int | Pair = 0
    output_padding: int | Pair = 0
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        k = self.kind
        check_whole(k, "out", self.out, 1)
        check_whole(k, "groups", self.groups, 1)
        check_flag(k, "bias", self.bias)
        assign(
            self,
            kernel=as_pair(k, "kernel", self.kernel, 1),
            stride=as_pair(k, "stride", self.stride, 1),
            padding=as_pair(k, "padding", self.padding, 0),
            output_padding=as_pair(k, "output_padding", self.output_padding, 0),
        )
        (sh, sw), (oh, ow) = self.stride, self.output_padding  # type: ignore[misc]
        if oh >= sh or ow >= sw:
            raise GraphError(f"{k}: output_padding must be smaller than the stride, found {(oh, ow)} for {(sh, sw)}")

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        _check_groups(self.kind, self.groups, c, self.out)
        (kh, kw), (sh, sw), (ph, pw), (oh, ow) = self.kernel, self.stride, self.padding, self.output_padding  # type: ignore[misc]
        height, width = (h - 1) * sh - 2 * ph + kh + oh, (w - 1) * sw - 2 * pw + kw + ow
        if height < 1 or width < 1:
            raise GraphError(f"{self.kind}: the padding {(ph, pw)} leaves no output for an input of {(h, w)}")
        return self.out, height, width

    def params(self, ins: Shapes) -> int:
        kh, kw = self.kernel  # type: ignore[misc]
        return self.out // self.groups * kh * kw * ins[0][0] + self.bias * self.out

    def macs(self, ins: Shapes, out: Shape) -> int:
        kh, kw = self.kernel  # type: ignore[misc]
        return math.prod(ins[0]) * self.out // self.groups * kh * kw

    def window(self, ins: Shapes) -> Window:
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        y, x = Fraction(1, sh), Fraction(1, sw)
        return Window((kh - 1) * y + 1, (kw - 1) * x + 1, y, x, (ph + 1 - kh) * y, (pw + 1 - kw) * x)

    def layer(self, ins: Shapes) -> Layer:
        """Return torch.nn.ConvTranspose2d with the input channels that its shape has."""
        return Layer(
            "ConvTranspose2d",
            {
                "in_channels": ins[0][0],
                "out_channels": self.out,
                "kernel_size": self.kernel,
                "stride": self.stride,
                "padding": self.padding,
                "output_padding": self.output_padding,
                "groups": self.groups,
                "bias": self.bias,
            },
        )


@primitive("linear", "LeCun et al. 1998")
@dataclass(frozen=True)
class Linear(Primitive):
    """Fully connected layer on a vector: (F,) -> (out,)."""

    out: int
    bias: bool = True

    def __post_init__(self) -> None:
        check_whole(self.kind, "out", self.out, 1)
        check_flag(self.kind, "bias", self.bias)

    def shape(self, ins: Shapes) -> Shape:
        if len(ins[0]) != 1:
            raise GraphError(f"linear: the input must be a vector (F,); flatten the image first, found {ins[0]}")
        return (self.out,)

    def params(self, ins: Shapes) -> int:
        return self.out * (ins[0][0] + self.bias)

    def macs(self, ins: Shapes, out: Shape) -> int:
        return self.out * ins[0][0]

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Linear", {"in_features": ins[0][0], "out_features": self.out, "bias": self.bias})
