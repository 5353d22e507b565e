"""Primitives with weights, windows or statistics: convolutions, linear layers, pools and normalizations."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, prod
from typing import ClassVar

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.primitives.base import Layer, Pair, Primitive, Shapes, Window, image, primitive, slide


class _Convolution(Primitive):
    out: int
    groups: int
    bias: bool

    def __post_init__(self) -> None:
        self._check_integers(1, out=self.out, groups=self.groups)
        self._check_flag("bias")

    def _image(self, shape: Shape) -> Shape:
        channels = image(self.kind, shape)[0]
        if channels % self.groups or self.out % self.groups:
            found = f"{self.groups} for {channels} -> {self.out}"
            raise GraphError(f"{self.kind}: groups must divide input and output channels, found {found}")
        return shape


@primitive("conv", "LeCun et al. 1998; groups: Krizhevsky et al. 2012; dilation: arXiv:1511.07122")
@dataclass(frozen=True)
class Conv(_Convolution):
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
        super().__post_init__()
        self._check_choice("padding_mode", "zeros", "reflect")
        self._check_pairs(kernel=1, stride=1, padding=0, dilation=1)

    def shape(self, ins: Shapes) -> Shape:
        _, h, w = self._image(ins[0])
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self.kernel, self.stride, self.padding, self.dilation  # type: ignore[misc]
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
        channels = {"in_channels": ins[0][0], "out_channels": self.out, "kernel_size": self.kernel}
        steps = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        mode = {} if self.padding_mode == "zeros" else {"padding_mode": self.padding_mode}
        return Layer("Conv2d", {**channels, **steps, "groups": self.groups, "bias": self.bias, **mode})


@primitive("transposed_conv", "Zeiler et al. 2010; arXiv:1603.07285, section 4")
@dataclass(frozen=True)
class TransposedConv(_Convolution):
    """Transposed convolution: output size ``(H - 1) * stride - 2 * padding + kernel + output_padding``."""

    out: int
    kernel: int | Pair = 2
    stride: int | Pair = 2
    padding: int | Pair = 0
    output_padding: int | Pair = 0
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_pairs(kernel=1, stride=1, padding=0, output_padding=0)
        (sh, sw), (oh, ow) = self.stride, self.output_padding  # type: ignore[misc]
        if oh >= sh or ow >= sw:
            found = f"{(oh, ow)} for {(sh, sw)}"
            raise GraphError(f"{self.kind}: output_padding must be smaller than the stride, found {found}")

    def shape(self, ins: Shapes) -> Shape:
        _, h, w = self._image(ins[0])
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
        return prod(ins[0]) * self.out // self.groups * kh * kw

    def window(self, ins: Shapes) -> Window:
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        y, x = Fraction(1, sh), Fraction(1, sw)
        return Window((kh - 1) * y + 1, (kw - 1) * x + 1, y, x, (ph + 1 - kh) * y, (pw + 1 - kw) * x)

    def layer(self, ins: Shapes) -> Layer:
        channels = {"in_channels": ins[0][0], "out_channels": self.out, "kernel_size": self.kernel}
        steps = {"stride": self.stride, "padding": self.padding, "output_padding": self.output_padding}
        return Layer("ConvTranspose2d", {**channels, **steps, "groups": self.groups, "bias": self.bias})


@primitive("linear", "LeCun et al. 1998")
@dataclass(frozen=True)
class Linear(Primitive):
    """Fully connected layer on a vector: (F,) -> (out,)."""

    out: int
    bias: bool = True

    def __post_init__(self) -> None:
        self._check_integers(1, out=self.out)
        self._check_flag("bias")

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


@dataclass(frozen=True)
class _Pool(Primitive):
    torch_name: ClassVar[str]
    kernel: int | Pair = 2
    stride: int | Pair | None = None
    padding: int | Pair = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        self._check_pairs(kernel=1, padding=0)
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)
        self._check_pairs(stride=1)
        self._check_flag("ceil_mode")
        (kh, kw), (ph, pw) = self.kernel, self.padding  # type: ignore[misc]
        if 2 * ph > kh or 2 * pw > kw:
            raise GraphError(f"{self.kind}: padding must be at most half the kernel, found {(ph, pw)} for {(kh, kw)}")

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        return c, slide(self.kind, h, kh, sh, ph, self.ceil_mode), slide(self.kind, w, kw, sw, pw, self.ceil_mode)

    def window(self, ins: Shapes) -> Window:
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        return Window(kh, kw, sh, sw, -ph, -pw)

    def layer(self, ins: Shapes) -> Layer:
        place = {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding}
        return Layer(self.torch_name, {**place, "ceil_mode": self.ceil_mode})


@primitive("max_pool", "Ranzato et al. 2007; torch.nn.MaxPool2d")
@dataclass(frozen=True)
class MaxPool(_Pool):
    """Maximum over windows; the stride defaults to the kernel."""

    torch_name = "MaxPool2d"


@primitive("avg_pool", "LeCun et al. 1998; torch.nn.AvgPool2d")
@dataclass(frozen=True)
class AvgPool(_Pool):
    """Mean over windows; ``count_include_pad`` says whether padded zeros count."""

    torch_name = "AvgPool2d"
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_flag("count_include_pad")

    def layer(self, ins: Shapes) -> Layer:
        name, arguments = super().layer(ins)
        return Layer(name, {**arguments, "count_include_pad": self.count_include_pad})


@primitive("global_avg_pool", "arXiv:1312.4400, section 3.2")
@dataclass(frozen=True)
class GlobalAvgPool(Primitive):
    """Mean of every channel: (C, H, W) -> (C, 1, 1)."""

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])[0], 1, 1

    def window(self, ins: Shapes) -> Window:
        return Window(ins[0][1], ins[0][2])

    def layer(self, ins: Shapes) -> Layer:
        return Layer("AdaptiveAvgPool2d", {"output_size": 1})


@primitive("adaptive_avg_pool", "arXiv:1406.4729, section 2.2; torch.nn.AdaptiveAvgPool2d")
@dataclass(frozen=True)
class AdaptiveAvgPool(Primitive):
    """Mean over bins so laid that the output has ``size``: bin i of n spans floor(i H / n) to ceil((i + 1) H / n).

    Bins overlap where n does not divide H; an input smaller than ``size`` is repeated.
    """

    size: int | Pair = 1

    def __post_init__(self) -> None:
        self._check_pairs(size=1)

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])[0], *self.size  # type: ignore[misc]

    def window(self, ins: Shapes) -> Window:
        # the widest bin and the mean step of each axis, so that the first to the last bin span all pixels
        spans, steps = [], []
        for extent, out in zip(ins[0][1:], self.size, strict=True):  # type: ignore[arg-type]
            widest = -(-(extent + out - gcd(extent, out)) // out)
            spans.append(widest)
            steps.append(Fraction(extent - widest, out - 1) if out > 1 else Fraction(extent))
        return Window(*spans, *steps)

    def layer(self, ins: Shapes) -> Layer:
        return Layer("AdaptiveAvgPool2d", {"output_size": self.size})


class _Norm(Primitive):
    eps: float
    affine: bool
    """Whether there are a weight and a bias for each channel."""

    def __post_init__(self) -> None:
        self._check_flag("affine")
        self._check_number("eps", 0)

    def params(self, ins: Shapes) -> int:
        return 2 * ins[0][0] if self.affine else 0


@primitive("batch_norm", "arXiv:1502.03167")
@dataclass(frozen=True)
class BatchNorm(_Norm):
    """Batch normalization of an image's channels or a vector's features."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("momentum", 0, 1)

    def layer(self, ins: Shapes) -> Layer:
        name = "BatchNorm2d" if len(ins[0]) == 3 else "BatchNorm1d"
        arguments = {"num_features": ins[0][0], "eps": self.eps, "momentum": self.momentum, "affine": self.affine}
        return Layer(name, arguments)


@primitive("layer_norm", "arXiv:1607.06450")
@dataclass(frozen=True)
class LayerNorm(_Norm):
    """Normalization over all features of one example, with a weight and a bias for each feature."""

    eps: float = 1e-5
    affine: bool = True

    def params(self, ins: Shapes) -> int:
        return 2 * prod(ins[0]) if self.affine else 0

    def layer(self, ins: Shapes) -> Layer:
        return Layer("LayerNorm", {"normalized_shape": ins[0], "eps": self.eps, "elementwise_affine": self.affine})


@primitive("group_norm", "arXiv:1803.08494")
@dataclass(frozen=True)
class GroupNorm(_Norm):
    """Normalization over groups of channels of one example."""

    groups: int = 32
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        self._check_integers(1, groups=self.groups)
        super().__post_init__()

    def shape(self, ins: Shapes) -> Shape:
        if ins[0][0] % self.groups:
            raise GraphError(f"group_norm: groups must divide the channels, found {self.groups} for {ins[0][0]}")
        return ins[0]

    def layer(self, ins: Shapes) -> Layer:
        arguments = {"num_groups": self.groups, "num_channels": ins[0][0], "eps": self.eps, "affine": self.affine}
        return Layer("GroupNorm", arguments)


@primitive("instance_norm", "arXiv:1607.08022")
@dataclass(frozen=True)
class InstanceNorm(_Norm):
    """Normalization of every channel of every example; needs more than one pixel."""

    eps: float = 1e-5
    affine: bool = False

    def shape(self, ins: Shapes) -> Shape:
        _, h, w = image(self.kind, ins[0])
        if h * w < 2:
            raise GraphError("instance_norm: the input must have more than one pixel a channel, found 1x1")
        return ins[0]

    def layer(self, ins: Shapes) -> Layer:
        return Layer("InstanceNorm2d", {"num_features": ins[0][0], "eps": self.eps, "affine": self.affine})


@primitive("local_response_norm", "Krizhevsky et al. 2012, section 3.3")
@dataclass(frozen=True)
class LocalResponseNorm(Primitive):
    """Division by the activity of ``size`` neighboring channels: by (k + alpha / size * sum of squares) ** beta.

    ``alpha`` is torch's and Caffe's; the paper does not divide it, so that its 1e-4 over five channels is 5e-4 here.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        self._check_integers(1, size=self.size)
        for name in ("alpha", "beta", "k"):
            self._check_number(name, 0)

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])

    def layer(self, ins: Shapes) -> Layer:
        return Layer("LocalResponseNorm", {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k})
