"""What a primitive is: a small frozen value that knows its shape, cost, receptive field and torch layer.

A primitive never holds weights or input sizes: both follow from the shapes that reach it. Shapes are ``(C, H, W)`` for
images and ``(F,)`` for vectors; the batch is left out. A primitive refuses wrong input with a :class:`GraphError` that
states the rule, the value and what is allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from math import prod
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

from nas.core.registry import Registry, check_named
from nas.core.values import Shape, Value, freeze
from nas.errors import ConfigError, GraphError, unknown

Shapes = tuple[Shape, ...]
Pair = tuple[int, int]
Pixels = int | Fraction
LARGEST = 2**63 - 1
"""The largest attribute and the largest side of a tensor, as torch counts with 64 bits."""


class Operand(Protocol):
    """What a primitive computes with: a tensor, a proxy of torch.fx that records, or text that becomes source code."""

    def __add__(self, other: Operand, /) -> Operand: ...
    def __mul__(self, other: Operand | float, /) -> Operand: ...
    def __getitem__(self, index: object, /) -> Operand: ...


class Functions(Protocol):
    """The functions of the module ``torch`` that the primitives here call."""

    def cat(self, xs: Sequence[Operand], /, dim: int) -> Operand: ...
    def ones_like(self, x: Operand, /) -> Operand: ...
    def zeros_like(self, x: Operand, /) -> Operand: ...


LayerCall: TypeAlias = Callable[..., Operand]


class Layer(NamedTuple):
    """The layer of ``torch.nn`` that computes a primitive."""

    name: str
    """Its class in ``torch.nn``."""
    arguments: dict[str, Value]
    """The keyword arguments of its constructor."""


class Window(NamedTuple):
    """What one output pixel sees of its input, in pixels of the input."""

    height: Pixels
    width: Pixels
    stride_height: Pixels = 1
    """Step from one output pixel's window to that of the next one below."""
    stride_width: Pixels = 1
    top: Pixels = 0
    """Where the first window begins, negative where the input is padded."""
    left: Pixels = 0


class Measure(NamedTuple):
    """What a primitive makes of its inputs, for one image."""

    shape: Shape
    """Of the output, without the batch."""
    params: int
    """Trainable parameters."""
    macs: int
    """Multiply-accumulates."""
    activations: int
    """Numbers in the output."""


class _Interned(type):
    """Makes equal primitives the same object: a network repeats few of them hundreds of times."""

    _instances: ClassVar[dict[tuple[type, str, str], object]] = {}

    def __call__(cls, *args: Value, **attributes: Value) -> Any:
        # texts, since 3, 3.0 and True are equal, and a primitive must refuse the wrong one whatever was built before
        try:
            known = (cls, repr(args), repr(attributes))
        except (RecursionError, ValueError):  # nested values, and integers of more digits than Python prints
            raise GraphError(f"{cls.kind}: its attributes must be at most {LARGEST:,} and not nested") from None  # type: ignore[attr-defined]
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
    """Whether all-zero inputs give an all-zero output (biases ignored, see nas.graph.analysis.canonical)."""

    _measures: ClassVar[dict[Shapes, Measure]]

    def measure(self, ins: Shapes) -> Measure:
        """Return :meth:`shape`, :meth:`params` and :meth:`macs` together, computed once for the same shapes."""
        found = self._measures.get(ins)
        if found is None:
            out = self.shape(ins)
            if max(out) > LARGEST:
                raise GraphError(f"{self.kind}: the output {out} is too large; a side is at most {LARGEST:,}")
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

    def apply(self, torch: Functions, layer: LayerCall | None, *xs: Operand) -> Operand:
        """Compute the output from the inputs ``xs`` with ``layer`` (None where :meth:`layer` is) and ``torch``.

        It is traced once by torch.fx, so it must not branch on values.
        """
        if layer is None:
            raise GraphError(f"{self.kind}: a primitive without a layer needs a method 'apply' of its own")
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

    def attributes(self) -> dict[str, Value]:
        """Return the attributes as JSON data."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    # for __post_init__ only: checks of attributes, which they may complete though the primitive is frozen

    def _check_integers(self, least: int, **values: object) -> None:
        """Refuse ``values`` that are no integers of at least ``least``."""
        for name, value in values.items():
            if type(value) is not int or value < least:
                raise GraphError(f"{self.kind}: {name} must be an integer of at least {least}, found {value!r}")
            self._check_size(name, value)

    def _check_size(self, name: str, value: int) -> None:
        if value > LARGEST:  # it may have more digits than Python prints
            raise GraphError(f"{self.kind}: {name} must be at most {LARGEST:,}, found a larger integer")

    def _check_flag(self, name: str) -> None:
        """Refuse the attribute unless it is true or false."""
        if type(getattr(self, name)) is not bool:
            raise GraphError(f"{self.kind}: {name} must be true or false, found {getattr(self, name)!r}")

    def _check_choice(self, name: str, *allowed: str) -> None:
        """Refuse the attribute unless it is one of ``allowed``."""
        if getattr(self, name) not in allowed:
            raise GraphError(f"{self.kind}: {name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")

    def _check_number(self, name: str, least: float, most: float = sys.float_info.max) -> None:
        """Make the attribute a float; refuse it unless it is a finite number within [least, most]."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            limit = f"to {most:g}" if most < sys.float_info.max else "on, and finite"
            raise GraphError(f"{self.kind}: {name} must be a number from {least:g} {limit}, found {value!r}")
        # -0.0 becomes 0.0, so that equal primitives have one label
        object.__setattr__(self, name, float(value) + 0.0)

    def _check_pairs(self, **least: int) -> None:
        """Make integers (height, width) pairs, refuse what is neither; ``least`` gives the limit of each attribute."""
        for name, limit in least.items():
            value = getattr(self, name)
            pair = (value, value) if type(value) is int else value
            if not isinstance(pair, tuple) or len(pair) != 2 or any(type(v) is not int or v < limit for v in pair):
                rule = f"an integer of at least {limit} or a (height, width) pair of them"
                raise GraphError(f"{self.kind}: {name} must be {rule}, found {value!r}")
            for extent in pair:
                self._check_size(name, extent)
            object.__setattr__(self, name, pair)


PRIMITIVES: Registry[type[Primitive]] = Registry("primitive")
P = TypeVar("P", bound=type[Primitive])


def primitive(kind: str, source: str = "a user's own") -> Callable[[P], P]:
    """Register a primitive under ``kind`` with its ``source``; use above a frozen dataclass."""
    check_named("primitive", kind)

    def register(cls: P) -> P:
        if not source:
            raise ConfigError(f"primitive '{kind}': name its paper or definition as source")
        cls.kind, cls.source = kind, source
        PRIMITIVES.add(kind, cls)
        return cls

    return register


def from_json(kind: object, attributes: object) -> Primitive:
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
        rule = f"an input of at least {span - 2 * padding - (stride - 1 if ceil_mode else 0)} is allowed"
        raise GraphError(
            f"{kind}: the window of {span} does not fit an input of {size} padded by {padding} a side; {rule}"
        )
    # torch drops a last window that would start in the right padding
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out
