"""Primitives without arithmetic: inputs, reshapes, slices, margins, zeros and the named operations of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.primitives.base import Functions, Layer, LayerCall, Operand, Primitive, Shapes, Window, image, primitive

IMAGE = "image"
"""What every lowered network calls its input: torch modules, sources and the files that are exported of them."""


@primitive("input", "definition")
@dataclass(frozen=True)
class Input(Primitive):
    """An input of the graph: the image of a network (``size`` is its shape), or input number ``port`` of a cell."""

    size: Shape = ()
    port: int = 0
    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    keeps_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check_integers(0, port=self.port)
        if not isinstance(self.size, tuple) or len(self.size) not in (0, 1, 3):
            raise GraphError(f"input: size must be (C, H, W), (F,) or empty, found {self.size!r}")
        for extent in self.size:
            self._check_integers(1, size=extent)

    def shape(self, ins: Shapes) -> Shape:
        if not self.size:
            raise GraphError("input: a cell's input has no size; build a network from the cell first")
        return self.size

    def label(self) -> str:
        return f"input{self.port}"


@primitive("flatten", "definition")
@dataclass(frozen=True)
class Flatten(Primitive):
    """(C, H, W) -> (C * H * W,)."""

    def shape(self, ins: Shapes) -> Shape:
        return (math.prod(ins[0]),)

    def window(self, ins: Shapes) -> Window | None:
        return Window(ins[0][1], ins[0][2]) if len(ins[0]) == 3 else None

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Flatten", {"start_dim": 1})


@primitive("identity", "definition")
@dataclass(frozen=True)
class Identity(Primitive):
    """The input itself."""

    is_identity = True

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Identity", {})


@primitive("zero", "arXiv:1806.09055, section 2.1")
@dataclass(frozen=True)
class Zero(Primitive):
    """All zeros, of the input's shape or subsampled by ``stride``; no gradient passes."""

    stride: int = 1
    is_zero = True

    def __post_init__(self) -> None:
        self._check_integers(1, stride=self.stride)

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        return c, -(-h // self.stride), -(-w // self.stride)

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        s = self.stride
        return torch.zeros_like(xs[0] if s == 1 else xs[0][:, :, ::s, ::s])


@primitive("channel_shuffle", "arXiv:1707.01083, section 3.1")
@dataclass(frozen=True)
class ChannelShuffle(Primitive):
    """Interleaves ``groups`` groups of channels."""

    groups: int = 2

    def __post_init__(self) -> None:
        self._check_integers(1, groups=self.groups)

    def shape(self, ins: Shapes) -> Shape:
        if image(self.kind, ins[0])[0] % self.groups:
            raise GraphError(f"channel_shuffle: groups must divide the channels, found {self.groups} for {ins[0][0]}")
        return ins[0]

    def layer(self, ins: Shapes) -> Layer:
        return Layer("ChannelShuffle", {"groups": self.groups})


@primitive("channel_slice", "arXiv:1807.11164, section 3 (channel split)")
@dataclass(frozen=True)
class ChannelSlice(Primitive):
    """Channels ``start`` (included) to ``stop`` (excluded)."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        self._check_integers(0, start=self.start)
        self._check_integers(self.start + 1, stop=self.stop)

    def shape(self, ins: Shapes) -> Shape:
        if self.stop > ins[0][0]:
            raise GraphError(f"channel_slice: stop must be at most the channels {ins[0][0]}, found {self.stop}")
        return self.stop - self.start, *ins[0][1:]

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        return xs[0][:, self.start : self.stop]


@dataclass(frozen=True)
class _Margins(Primitive):
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __post_init__(self) -> None:
        self._check_integers(0, top=self.top, bottom=self.bottom, left=self.left, right=self.right)


@primitive("pad", "definition; reflect: torch.nn.ReflectionPad2d")
@dataclass(frozen=True)
class Pad(_Margins):
    """Adds rows and columns of zeros or mirrored pixels."""

    mode: str = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("mode", "zeros", "reflect")

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        if self.mode == "reflect" and (max(self.top, self.bottom) >= h or max(self.left, self.right) >= w):
            raise GraphError(f"pad: reflected padding must be smaller than the input {(h, w)}, found {self}")
        return c, h + self.top + self.bottom, w + self.left + self.right

    def window(self, ins: Shapes) -> Window:
        return Window(1, 1, top=-self.top, left=-self.left)

    def layer(self, ins: Shapes) -> Layer:
        name = "ZeroPad2d" if self.mode == "zeros" else "ReflectionPad2d"
        return Layer(name, {"padding": (self.left, self.right, self.top, self.bottom)})


@primitive("crop", "definition")
@dataclass(frozen=True)
class Crop(_Margins):
    """Removes rows and columns."""

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        out = (c, h - self.top - self.bottom, w - self.left - self.right)
        if out[1] < 1 or out[2] < 1:
            raise GraphError(f"crop: nothing of the input {(h, w)} is left by {self}")
        return out

    def window(self, ins: Shapes) -> Window:
        return Window(1, 1, top=self.top, left=self.left)

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        bottom, right = (-self.bottom or None), (-self.right or None)
        return xs[0][:, :, self.top : bottom, self.left : right]


@primitive("named", "an operation of a cell, by its name in search_spaces.blocks")
@dataclass(frozen=True)
class Named(Primitive):
    """A named operation of a cell: a placeholder that a skeleton expands at the cell's width, with ``stride``."""

    op: str
    stride: int = 1

    def __post_init__(self) -> None:
        self._check_integers(1, stride=self.stride)
        if not isinstance(self.op, str) or not self.op:
            raise GraphError(f"named: op must be the name of an operation, found {self.op!r}")

    def shape(self, ins: Shapes) -> Shape:
        raise GraphError(
            f"named: '{self.op}' is an operation of a cell; a cell has shapes once a network is built of it"
        )

    def label(self) -> str:
        return f"{self.op}/{self.stride}"

    @property
    def is_identity(self) -> bool:
        return self.stride == 1 and self.op in ("identity", "skip_connect")

    @property
    def is_zero(self) -> bool:
        return self.op in ("none", "zero")
