"""Primitives that pool or normalise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.errors import GraphError
from nas.graph.primitive import (
    Layer,
    Pair,
    Primitive,
    Shapes,
    Window,
    as_pair,
    assign,
    check_flag,
    check_number,
    check_whole,
    image,
    primitive,
    slide,
)
from nas.types import Shape


@dataclass(frozen=True)
class _Pool(Primitive):
    kernel: int | Pair = 2
    stride: int | Pair | None = None
    padding: int | Pair = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        k = self.kind
        kernel = as_pair(k, "kernel", self.kernel, 1)
        padding = as_pair(k, "padding", self.padding, 0)
        stride = kernel if self.stride is None else as_pair(k, "stride", self.stride, 1)
        check_flag(k, "ceil_mode", self.ceil_mode)
        if 2 * padding[0] > kernel[0] or 2 * padding[1] > kernel[1]:
            raise GraphError(f"{k}: padding must be at most half the kernel, found {padding} for {kernel}")
        assign(self, kernel=kernel, stride=stride, padding=padding)

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        return c, slide(self.kind, h, kh, sh, ph, self.ceil_mode), slide(self.kind, w, kw, sw, pw, self.ceil_mode)

    def window(self, ins: Shapes) -> Window:
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding  # type: ignore[misc]
        return Window(kh, kw, sh, sw, -ph, -pw)


@primitive("max_pool", "Ranzato et al. 2007; torch.nn.MaxPool2d")
@dataclass(frozen=True)
class MaxPool(_Pool):
    """Maximum over windows; the stride defaults to the kernel."""

    def layer(self, ins: Shapes) -> Layer:
        return Layer(
            "MaxPool2d",
            {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode},
        )


@primitive("avg_pool", "LeCun et al. 1998; torch.nn.AvgPool2d")
@dataclass(frozen=True)
class AvgPool(_Pool):
    """Mean over windows; ``count_include_pad`` says whether padded zeros count."""

    count_include_pad: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(self.kind, "count_include_pad", self.count_include_pad)

    def layer(self, ins: Shapes) -> Layer:
        return Layer(
            "AvgPool2d",
            {
                "kernel_size": self.kernel,
                "stride": self.stride,
                "padding": self.padding,
                "ceil_mode": self.ceil_mode,
                "count_include_pad": self.count_include_pad,
            },
        )


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


@primitive("batch_norm", "arXiv:1502.03167")
@dataclass(frozen=True)
class BatchNorm(Primitive):
    """Batch normalisation of an image's channels or a vector's features."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        check_flag(self.kind, "affine", self.affine)
        assign(
            self,
            eps=check_number(self.kind, "eps", self.eps, 0),
            momentum=check_number(self.kind, "momentum", self.momentum, 0, 1),
        )

    def params(self, ins: Shapes) -> int:
        return 2 * ins[0][0] if self.affine else 0

    def layer(self, ins: Shapes) -> Layer:
        name = "BatchNorm2d" if len(ins[0]) == 3 else "BatchNorm1d"
        arguments = {"num_features": ins[0][0], "eps": self.eps, "momentum": self.momentum, "affine": self.affine}
        return Layer(name, arguments)


@primitive("layer_norm", "arXiv:1607.06450")
@dataclass(frozen=True)
class LayerNorm(Primitive):
    """Normalisation over all features of one example, with a weight and a bias for each feature."""

    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        check_flag(self.kind, "affine", self.affine)
        assign(self, eps=check_number(self.kind, "eps", self.eps, 0))

    def params(self, ins: Shapes) -> int:
        return 2 * math.prod(ins[0]) if self.affine else 0

    def layer(self, ins: Shapes) -> Layer:
        arguments = {"normalized_shape": ins[0], "eps": self.eps, "elementwise_affine": self.affine}
        return Layer("LayerNorm", arguments)


@primitive("group_norm", "arXiv:1803.08494")
@dataclass(frozen=True)
class GroupNorm(Primitive):
    """Normalisation over groups of channels of one example."""

    groups: int = 32
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        check_whole(self.kind, "groups", self.groups, 1)
        check_flag(self.kind, "affine", self.affine)
        assign(self, eps=check_number(self.kind, "eps", self.eps, 0))

    def shape(self, ins: Shapes) -> Shape:
        if ins[0][0] % self.groups:
            raise GraphError(f"group_norm: groups must divide the channels, found {self.groups} for {ins[0][0]}")
        return ins[0]

    def params(self, ins: Shapes) -> int:
        return 2 * ins[0][0] if self.affine else 0

    def layer(self, ins: Shapes) -> Layer:
        arguments = {"num_groups": self.groups, "num_channels": ins[0][0], "eps": self.eps, "affine": self.affine}
        return Layer("GroupNorm", arguments)


@primitive("instance_norm", "arXiv:1607.08022")
@dataclass(frozen=True)
class InstanceNorm(Primitive):
    """Normalisation of every channel of every example; needs more than one pixel."""

    eps: float = 1e-5
    affine: bool = False

    def __post_init__(self) -> None:
        check_flag(self.kind, "affine", self.affine)
        assign(self, eps=check_number(self.kind, "eps", self.eps, 0))

    def shape(self, ins: Shapes) -> Shape:
        _, h, w = image(self.kind, ins[0])
        if h * w < 2:
            raise GraphError("instance_norm: the input must have more than one pixel a channel, found 1x1")
        return ins[0]

    def params(self, ins: Shapes) -> int:
        return 2 * ins[0][0] if self.affine else 0

    def layer(self, ins: Shapes) -> Layer:
        return Layer("InstanceNorm2d", {"num_features": ins[0][0], "eps": self.eps, "affine": self.affine})


@primitive("local_response_norm", "Krizhevsky et al. 2012, section 3.3")
@dataclass(frozen=True)
class LocalResponseNorm(Primitive):
    """Division by the activity of ``size`` neighbouring channels."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        check_whole(self.kind, "size", self.size, 1)
        for name in ("alpha", "beta", "k"):
            assign(self, **{name: check_number(self.kind, name, getattr(self, name), 0)})

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])

    def layer(self, ins: Shapes) -> Layer:
        arguments = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return Layer("LocalResponseNorm", arguments)
