"""Primitives without weights: inputs, activations, merges, reshapes, regularisers and named operations of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from nas.errors import GraphError
from nas.graph.primitive import (
    Layer,
    Primitive,
    Shapes,
    Window,
    check_choice,
    check_flag,
    check_number,
    check_whole,
    image,
    primitive,
)
from nas.types import Shape


@primitive("input", "definition")
@dataclass(frozen=True)
class Input(Primitive):
    """An input of the graph: the image of a network (``size`` is its shape), or input number ``port`` of a cell."""

    size: Shape = ()
    port: int = 0
    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    keeps_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole(self.kind, "port", self.port, 0)
        if not isinstance(self.size, tuple) or len(self.size) not in (0, 1, 3):
            raise GraphError(f"input: size must be (C, H, W), (F,) or empty, found {self.size!r}")
        for extent in self.size:
            check_whole(self.kind, "size", extent, 1)

    def shape(self, ins: Shapes) -> Shape:
        if not self.size:
            raise GraphError("input: a cell's input has no size; build a network from the cell first")
        return self.size

    def label(self) -> str:
        return f"input{self.port}"


class _Activation(Primitive):
    torch_name: ClassVar[str]

    def layer(self, ins: Shapes) -> Layer:
        return Layer(self.torch_name, {})


@primitive("relu", "Nair & Hinton 2010")
@dataclass(frozen=True)
class Relu(_Activation):
    """max(x, 0)."""

    torch_name = "ReLU"


@primitive("relu6", "arXiv:1801.04381, section 3")
@dataclass(frozen=True)
class Relu6(_Activation):
    """min(max(x, 0), 6)."""

    torch_name = "ReLU6"


@primitive("sigmoid", "LeCun et al. 1998")
@dataclass(frozen=True)
class Sigmoid(_Activation):
    """1 / (1 + exp(-x))."""

    torch_name = "Sigmoid"
    keeps_zero: ClassVar[bool] = False


@primitive("tanh", "LeCun et al. 1998")
@dataclass(frozen=True)
class Tanh(_Activation):
    """Hyperbolic tangent."""

    torch_name = "Tanh"


@primitive("swish", "arXiv:1710.05941")
@dataclass(frozen=True)
class Swish(_Activation):
    """x * sigmoid(x)."""

    torch_name = "SiLU"


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


@primitive("dropout", "Srivastava et al. 2014")
@dataclass(frozen=True)
class Dropout(Primitive):
    """Zeroes each number with probability ``rate`` in training, and scales the rest by 1 / (1 - rate)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_number(self.kind, "rate", self.rate, 0, 1))

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Dropout", {"p": self.rate})


@primitive("drop_path", "arXiv:1603.09382; per example: arXiv:1605.07648")
@dataclass(frozen=True)
class DropPath(Primitive):
    """Zeroes whole examples with probability ``rate`` in training, and scales the rest by 1 / (1 - rate)."""

    rate: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_number(self.kind, "rate", self.rate, 0, 1))

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Dropout", {"p": self.rate})

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        return xs[0] * layer(torch.ones_like(xs[0][:, :1, :1, :1]))


@primitive("identity", "definition")
@dataclass(frozen=True)
class Identity(Primitive):
    """The input itself."""

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Identity", {})

    @property
    def is_identity(self) -> bool:
        return True


@primitive("zero", "arXiv:1806.09055, section 2.1")
@dataclass(frozen=True)
class Zero(Primitive):
    """All zeros, of the input's shape or subsampled by ``stride``; no gradient passes."""

    stride: int = 1

    def __post_init__(self) -> None:
        check_whole(self.kind, "stride", self.stride, 1)

    def shape(self, ins: Shapes) -> Shape:
        c, h, w = image(self.kind, ins[0])
        return c, -(-h // self.stride), -(-w // self.stride)

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        s = self.stride
        return torch.zeros_like(xs[0] if s == 1 else xs[0][:, :, ::s, ::s])

    @property
    def is_zero(self) -> bool:
        return True


@primitive("add", "arXiv:1512.03385, equation 1")
@dataclass(frozen=True)
class Add(Primitive):
    """Sum of inputs of one shape; the order does not matter."""

    arity: ClassVar[tuple[int, int | None]] = (1, None)

    def shape(self, ins: Shapes) -> Shape:
        first = ins[0]
        for shape in ins:
            if shape != first:
                raise GraphError(f"add: all inputs must have one shape, found {', '.join(map(str, ins))}")
        return first

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total

    @property
    def unordered(self) -> bool:
        return True


@primitive("multiply", "arXiv:1709.01507, equation 4")
@dataclass(frozen=True)
class Multiply(Primitive):
    """Product of two inputs; one may be a gate (C, 1, 1) that is broadcast over the other's pixels."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)

    def shape(self, ins: Shapes) -> Shape:
        a, b = ins
        if a == b or (len(a) == len(b) == 3 and a[0] == b[0] and b[1:] == (1, 1)):
            return a
        if len(a) == len(b) == 3 and a[0] == b[0] and a[1:] == (1, 1):
            return b
        raise GraphError(f"multiply: the inputs must have one shape, or one of them (C, 1, 1), found {a} and {b}")

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        return xs[0] * xs[1]

    @property
    def unordered(self) -> bool:
        return True


@primitive("concat", "arXiv:1409.4842, section 4")
@dataclass(frozen=True)
class Concat(Primitive):
    """Concatenation along the channels.

    ``any_order`` says that the order of inputs is of no consequence, as at the end of a cell; it is for canonical keys
    only. Inside a network the order counts: channel shuffle, slices and grouped convolutions see it.
    """

    any_order: bool = False
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    def __post_init__(self) -> None:
        check_flag(self.kind, "any_order", self.any_order)

    def shape(self, ins: Shapes) -> Shape:
        rest = ins[0][1:]
        for shape in ins:
            if shape[1:] != rest or len(shape) != len(ins[0]):
                found = ", ".join(map(str, ins))
                raise GraphError(f"concat: all inputs must have one height and width, found {found}")
        return sum(shape[0] for shape in ins), *rest

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        return torch.cat(xs, dim=1) if len(xs) > 1 else xs[0]

    @property
    def unordered(self) -> bool:
        return self.any_order


@primitive("channel_shuffle", "arXiv:1707.01083, section 3.1")
@dataclass(frozen=True)
class ChannelShuffle(Primitive):
    """Interleaves ``groups`` groups of channels."""

    groups: int = 2

    def __post_init__(self) -> None:
        check_whole(self.kind, "groups", self.groups, 1)

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
        check_whole(self.kind, "start", self.start, 0)
        check_whole(self.kind, "stop", self.stop, self.start + 1)

    def shape(self, ins: Shapes) -> Shape:
        if self.stop > ins[0][0]:
            raise GraphError(f"channel_slice: stop must be at most the channels {ins[0][0]}, found {self.stop}")
        return self.stop - self.start, *ins[0][1:]

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        return xs[0][:, self.start : self.stop]


@dataclass(frozen=True)
class _Margins(Primitive):
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __post_init__(self) -> None:
        for name in ("top", "bottom", "left", "right"):
            check_whole(self.kind, name, getattr(self, name), 0)


@primitive("pad", "definition; reflect: torch.nn.ReflectionPad2d")
@dataclass(frozen=True)
class Pad(_Margins):
    """Adds rows and columns of zeros or mirrored pixels."""

    mode: str = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.kind, "mode", self.mode, ("zeros", "reflect"))

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

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        bottom, right = (-self.bottom or None), (-self.right or None)
        return xs[0][:, :, self.top : bottom, self.left : right]


@primitive("named", "an operation of a cell, by its name in search_spaces.blocks")
@dataclass(frozen=True)
class Named(Primitive):
    """A named operation of a cell: a placeholder that a skeleton expands at the cell's width, with ``stride``."""

    op: str
    stride: int = 1

    def __post_init__(self) -> None:
        check_whole(self.kind, "stride", self.stride, 1)
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
