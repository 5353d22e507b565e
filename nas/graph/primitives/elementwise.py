"""Primitives of single numbers and of several inputs: activations, a factor, dropped numbers and paths, merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.primitives.base import Functions, Layer, LayerCall, Operand, Primitive, Shapes, image, primitive


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


@primitive("scale", "arXiv:1602.07261, section 3.3")
@dataclass(frozen=True)
class Scale(Primitive):
    """The input times the constant ``factor``, as residuals are scaled down in Inception-ResNet."""

    factor: float = 1.0

    def __post_init__(self) -> None:
        self._check_number("factor", 0)

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        return xs[0] * self.factor

    @property
    def is_identity(self) -> bool:
        return self.factor == 1

    @property
    def is_zero(self) -> bool:
        return self.factor == 0


@primitive("dropout", "Srivastava et al. 2014")
@dataclass(frozen=True)
class Dropout(Primitive):
    """Zeroes each number with probability ``rate`` in training, and scales the rest by 1 / (1 - rate)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        self._check_number("rate", 0, 1)

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Dropout", {"p": self.rate})


@primitive("drop_path", "arXiv:1603.09382; per example: arXiv:1605.07648")
@dataclass(frozen=True)
class DropPath(Primitive):
    """Zeroes whole examples with probability ``rate`` in training, and scales the rest by 1 / (1 - rate)."""

    rate: float = 0.0

    def __post_init__(self) -> None:
        self._check_number("rate", 0, 1)

    def shape(self, ins: Shapes) -> Shape:
        return image(self.kind, ins[0])

    def layer(self, ins: Shapes) -> Layer:
        return Layer("Dropout", {"p": self.rate})

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        assert layer is not None
        # one number an example is dropped or kept, and with it all that it is multiplied by
        return xs[0] * layer(torch.ones_like(xs[0][:, :1, :1, :1]))


@primitive("add", "arXiv:1512.03385, equation 1")
@dataclass(frozen=True)
class Add(Primitive):
    """Sum of inputs of one shape; the order does not matter."""

    arity: ClassVar[tuple[int, int | None]] = (1, None)
    unordered = True

    def shape(self, ins: Shapes) -> Shape:
        if any(shape != ins[0] for shape in ins):
            raise GraphError(f"add: all inputs must have one shape, found {', '.join(map(str, ins))}")
        return ins[0]

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total


@primitive("multiply", "arXiv:1709.01507, equation 4")
@dataclass(frozen=True)
class Multiply(Primitive):
    """Product of two inputs; one may be a gate (C, 1, 1) that is broadcast over the other's pixels."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    unordered = True

    def shape(self, ins: Shapes) -> Shape:
        a, b = ins
        if a == b or (len(a) == len(b) == 3 and a[0] == b[0] and b[1:] == (1, 1)):
            return a
        if len(a) == len(b) == 3 and a[0] == b[0] and a[1:] == (1, 1):
            return b
        raise GraphError(f"multiply: the inputs must have one shape, or one of them (C, 1, 1), found {a} and {b}")

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        return xs[0] * xs[1]


@primitive("concat", "arXiv:1409.4842, section 4")
@dataclass(frozen=True)
class Concat(Primitive):
    """Concatenation along the channels."""

    any_order: bool = False
    """Whether canonical keys ignore the order, as at a cell's end; shuffles, slices and grouped convolutions see it."""
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    def __post_init__(self) -> None:
        self._check_flag("any_order")

    def shape(self, ins: Shapes) -> Shape:
        rest = ins[0][1:]
        for shape in ins:
            if shape[1:] != rest or len(shape) != len(ins[0]):
                raise GraphError(f"concat: all inputs must have one height and width, found {', '.join(map(str, ins))}")
        return sum(shape[0] for shape in ins), *rest

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        return torch.cat(xs, dim=1) if len(xs) > 1 else xs[0]

    @property
    def unordered(self) -> bool:
        return self.any_order
