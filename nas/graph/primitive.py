"""What a primitive is: a small frozen value that knows its shape, cost, receptive field and torch layer.

A primitive never holds weights or input sizes: both follow from the shapes that reach it. Shapes are ``(C, H, W)`` for
images and ``(F,)`` for vectors; the batch is left out. A primitive refuses wrong input with a :class:`GraphError` that
states the rule, the value and what is allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from math import prod
from typing import Any, ClassVar, NamedTuple, TypeVar

from nas.errors import ConfigError, GraphError, unknown
from nas.registry import Registry
from nas.types import Shape, freeze

Shapes = tuple[Shape, ...]
Pair = tuple[int, int]
Pixels = int | Fraction


class Layer(NamedTuple):
    """The layer of ``torch.nn`` that computes a primitive: its class name and keyword arguments."""

    name: str
    arguments: dict[str, Any]


class Window(NamedTuple):
    """What one output pixel sees of its input, in input pixels: extent, stride, and where the first window begins.

    ``top`` and ``left`` are negative where the input is padded.
    """

    height: Pixels
    width: Pixels
    stride_height: Pixels = 1
    stride_width: Pixels = 1
    top: Pixels = 0
    left: Pixels = 0


class Measure(NamedTuple):
    """What a primitive makes of its inputs: output shape, parameters, MACs and numbers in the output."""

    shape: Shape
    params: int
    macs: int
    activations: int


class _Interned(type):
    """Makes equal primitives the same object: a network repeats few of them hundreds of times."""

    _instances: ClassVar[dict[Any, Any]] = {}

    def __call__(cls, *args: Any, **attributes: Any) -> Any:
        # texts, since 3, 3.0 and True are equal, and a primitive must refuse the wrong one whatever was built before
        known = (cls, repr(args), repr(attributes))
        found = cls._instances.get(known)
        if found is None:
            found = cls._instances[known] = super().__call__(*args, **attributes)
            object.__setattr__(found, "_measures", {})
        return found


@dataclass(frozen=True)
class Primitive(metaclass=_Interned):
    """Base of all primitives; subclasses are frozen dataclasses of plain attributes."""

    kind: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """The paper or definition of the primitive."""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """Least and greatest number of inputs (None: no limit)."""
    keeps_zero: ClassVar[bool] = True
    """Whether all-zero inputs give an all-zero output (biases ignored, see nas.graph.canonical)."""

    _measures: ClassVar[dict[Shapes, Measure]]

    def measure(self, ins: Shapes) -> Measure:
        """Return :meth:`shape`, :meth:`params` and :meth:`macs` together, computed once for the same shapes."""
        found = self._measures.get(ins)
        if found is None:
            out = self.shape(ins)
            found = self._measures[ins] = Measure(out, self.params(ins), self.macs(ins, out), prod(out))
        return found

    def shape(self, ins: Shapes) -> Shape:
        """Return the output shape for the input shapes; raise :class:`GraphError` where they do not fit."""
        return ins[0]

    def params(self, ins: Shapes) -> int:
        """Return the number of trainable parameters."""
        return 0

    def macs(self, ins: Shapes, out: Shape) -> int:
        """Return the multiply-accumulates for one image; only convolutions and linear layers count."""
        return 0

    def window(self, ins: Shapes) -> Window | None:
        """Return the window of one output pixel, None for pointwise primitives."""
        return None

    def layer(self, ins: Shapes) -> Layer | None:
        """Return the ``torch.nn`` layer, None for primitives that are an expression only."""
        return None

    def apply(self, torch: Any, layer: Any, *xs: Any) -> Any:
        """Compute the output from the inputs ``xs`` with ``layer`` (see :meth:`layer`) and the module ``torch``.

        It is traced once by torch.fx, so it must not branch on values.
        """
        return layer(*xs)

    @property
    def unordered(self) -> bool:
        """Whether the order of the inputs does not matter."""
        return False

    @property
    def is_identity(self) -> bool:
        """Whether the output is the input."""
        return False

    @property
    def is_zero(self) -> bool:
        """Whether the output is all zeros."""
        return False

    def label(self) -> str:
        """Return the text that tells this primitive from others in canonical keys: kind and attributes."""
        return f"{self.kind}{tuple(self.attributes().values())}"

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as JSON data."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}


PRIMITIVES: Registry[type[Primitive]] = Registry("primitive")
P = TypeVar("P", bound=type[Primitive])


def primitive(kind: str, source: str) -> Callable[[P], P]:
    """Register a primitive under ``kind`` with its ``source``; use above a frozen dataclass."""

    def register(cls: P) -> P:
        if not source:
            raise ConfigError(f"primitive '{kind}': name its paper or definition as source")
        cls.kind, cls.source = kind, source
        PRIMITIVES.add(kind, cls)
        return cls

    return register


def from_json(kind: Any, attributes: Any) -> Primitive:
    """Build the primitive ``kind`` from JSON attributes, refusing unknown names and wrong types."""
    if not isinstance(kind, str) or kind not in PRIMITIVES:
        raise GraphError(unknown("primitive", str(kind), PRIMITIVES))
    cls = PRIMITIVES[kind]
    if not isinstance(attributes, Mapping):
        raise GraphError(f"{kind}: 'attrs' must be an object, found {type(attributes).__name__}")
    known = {f.name: f for f in fields(cls)}
    for name in attributes:
        if name not in known:
            raise GraphError(f"{kind}: {unknown('attribute', str(name), known)}")
    missing = [n for n, f in known.items() if f.default is MISSING and n not in attributes]
    if missing:
        raise GraphError(f"{kind}: attribute '{missing[0]}' is missing")
    return cls(**{name: freeze(value) for name, value in attributes.items()})


def assign(owner: Primitive, **values: Any) -> None:
    """Set attributes of a frozen primitive to their checked and completed form; for ``__post_init__`` only."""
    for name, value in values.items():
        object.__setattr__(owner, name, value)


def check_whole(kind: str, name: str, value: Any, least: int) -> None:
    """Refuse ``value`` unless it is a whole number of at least ``least``."""
    if type(value) is not int or value < least:
        raise GraphError(f"{kind}: {name} must be a whole number of at least {least}, found {value!r}")


def check_flag(kind: str, name: str, value: Any) -> None:
    """Refuse ``value`` unless it is true or false."""
    if type(value) is not bool:
        raise GraphError(f"{kind}: {name} must be true or false, found {value!r}")


def check_choice(kind: str, name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse ``value`` unless it is one of ``allowed``."""
    if value not in allowed:
        raise GraphError(f"{kind}: {name} must be one of {', '.join(allowed)}, found {value!r}")


def check_number(kind: str, name: str, value: Any, least: float, most: float = sys.float_info.max) -> float:
    """Return ``value`` as a float; refuse it unless it is a finite number within [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        limit = f"to {most:g}" if most < sys.float_info.max else "on, and finite"
        raise GraphError(f"{kind}: {name} must be a number from {least:g} {limit}, found {value!r}")
    return float(value) + 0.0  # -0.0 becomes 0.0, so that equal primitives have one label


def as_pair(kind: str, name: str, value: Any, least: int) -> Pair:
    """Return ``value``, a whole number or a (height, width) pair of them, as a pair."""
    if type(value) is int and value >= least:
        return value, value
    if isinstance(value, tuple) and len(value) == 2 and all(type(v) is int and v >= least for v in value):
        return value
    rule = f"a whole number of at least {least} or a (height, width) pair of them"
    raise GraphError(f"{kind}: {name} must be {rule}, found {value!r}")


def image(kind: str, shape: Shape) -> Shape:
    """Return ``shape`` if it is an image (C, H, W), else raise."""
    if len(shape) != 3:
        raise GraphError(f"{kind}: the input must be an image (C, H, W), found {shape}")
    return shape


def slide(kind: str, size: int, span: int, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """Return the output size of a sliding window: ``W' = (W - F + 2P)/S + 1``, as torch rounds it."""
    free = size + 2 * padding - span
    out = (-(-free // stride) if ceil_mode else free // stride) + 1
    if out < 1:
        least = span - 2 * padding - (stride - 1 if ceil_mode else 0)
        raise GraphError(
            f"{kind}: the window of {span} does not fit an input of {size} padded by {padding} a side; "
            f"an input of at least {least} is allowed"
        )
    # torch drops a last window that would start in the right padding
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out
