"""Compound scaling: a family of networks that grow in width, depth and resolution together (arXiv:1905.11946).

With phi the exponent, depth grows as alpha ** phi, width as beta ** phi and resolution as gamma ** phi, where
alpha * beta**2 * gamma**2 is about 2, so that each step doubles the MACs (section 3.3, equation 3). What is built is
rounded to whole layers, channels and pixels; the family tells the MACs that result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from nas.core.options import Config, option
from nas.core.values import Json
from nas.errors import ConfigError, GraphError
from nas.graph import Dropout, Graph
from nas.graph.analysis.memory import memory_peak
from nas.space.networks import NETWORKS
from nas.space.scalable import ScalableModel, Scaled, macs_of

DIMENSIONS = ("compound", "depth", "width", "resolution")
TOLERANCE = 0.05
RESOLUTION_STEPS = 56
"""Resolutions are whole multiples of a 56th of the base: 4 pixels at 224, as in EfficientNet's table; at least one."""
_UNITS = 1000
"""Coefficients are solved for in thousandths."""
_MOST = 256.0


@dataclass(frozen=True)
class Factors:
    """What depth (``alpha``), width (``beta``) and resolution (``gamma``) are multiplied by for twice the MACs.

    The defaults are those of arXiv:1905.11946, section 4.
    """

    alpha: float = 1.2
    beta: float = 1.1
    gamma: float = 1.15

    @property
    def product(self) -> float:
        """``alpha * beta**2 * gamma**2``: by how much the MACs grow in a step, before rounding."""
        return self.alpha * self.beta**2 * self.gamma**2

    def to_json(self) -> dict[str, float]:
        """Return the factors as JSON data."""
        return asdict(self)

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Refuse factors below one, or whose product is not 2 within ``tolerance`` (a share of it)."""
        for name, value in self.to_json().items():
            if not 1 <= value < math.inf:
                raise ConfigError(f"--{name} must be a number of at least 1, found {value:g}")
        if not self.fits(tolerance):
            rule = f"alpha * beta^2 * gamma^2 must be 2 within {tolerance:.0%} (--tolerance)"
            factors = f"alpha {self.alpha:g}, beta {self.beta:g}, gamma {self.gamma:g}"
            raise ConfigError(f"{rule}, found {self.product:.4g} for {factors}")

    def fits(self, tolerance: float) -> bool:
        """Return whether the product is 2 within ``tolerance``."""
        return abs(self.product / 2 - 1) <= tolerance + 1e-9

    def coefficients(self, phi: float) -> tuple[float, float, float]:
        """Return the multipliers of width, depth and resolution at ``phi``."""
        return self.beta**phi, self.alpha**phi, self.gamma**phi


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledSize:
    """The numbers of one network of a family."""

    name: str
    """Of the base, with how it was scaled."""
    by: str
    """One of :data:`DIMENSIONS`, or ``preset``."""
    phi: float
    """The exponent; the MACs are about 2 ** phi times those of the base."""
    width: float
    """Multiplier of the channels."""
    depth: float
    """Multiplier of the layers."""
    resolution: int
    """Side of the image in pixels."""
    size: str
    """What width and depth came to, in words."""
    params: int
    macs: int
    """Multiply-accumulates for one image."""
    ratio: float
    """MACs over those of the base."""
    memory: int
    """Bytes of a training step at its peak."""
    over: tuple[str, ...] = ()
    """The budgets that it exceeds."""

    def facts(self) -> Json:
        """Return the numbers as JSON data."""
        return {f.name: getattr(self, f.name) for f in fields(ScaledSize)} | {"over": list(self.over)}

    @classmethod
    def from_json(cls, data: Json) -> ScaledSize:
        """Return what :meth:`facts` wrote."""
        return ScaledSize(**{**data, "over": tuple(data["over"])})


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledNetwork(ScaledSize):
    """One network of a family, with its ``graph``."""

    graph: Graph

    @classmethod
    def of(cls, graph: Graph, budget: Budget, base_macs: int | None = None, **size: Any) -> ScaledNetwork:
        """Return ``graph``, whose name and multipliers are in ``size``, with what it costs; None: it is the base."""
        params, macs = macs_of(graph)
        memory = memory_peak(graph.pruned((graph.outputs[0][0],)), budget.batch)
        costs: Json = {"params": params, "macs": macs, "ratio": macs / (base_macs or macs), "memory": memory}
        return cls(graph=graph, over=budget.over(macs, memory), **size, **costs)


@dataclass(frozen=True)
class Budget(Config):
    """What a member may need."""

    macs: int | None = option(None, "the most MACs an image", flag="--max-macs")
    memory: int | None = option(None, "the most bytes of a training step", flag="--max-memory")
    batch: int = option(32, "images of a training step", flag="--batch-size")

    @property
    def text(self) -> str:
        """The flags that set it."""
        pairs = (("--max-macs", self.macs), ("--max-memory", self.memory))
        return " and ".join(f"{flag} {most}" for flag, most in pairs if most is not None)

    def over(self, macs: int, memory: int) -> tuple[str, ...]:
        """Return which budgets are exceeded."""
        pairs = (("MACs", macs, self.macs), ("memory", memory, self.memory))
        return tuple(name for name, needed, most in pairs if most is not None and needed > most)


class Scaler:
    """Builds members of the families of a subject; what was built for the same numbers is built once."""

    def __init__(self, subject: ScalableModel, budget: Budget = Budget()) -> None:
        self.subject, self.budget = subject, budget
        self.base_side = min(subject.task.input_shape[1:])
        self._step = max(1, self.base_side // RESOLUTION_STEPS)
        self._known: dict[tuple[object, ...], int] = {}
        self.base_macs = self._macs(1.0, 1.0, self.base_side)

    @property
    def base(self) -> Graph:
        """The network that is scaled, as it is."""
        return self.subject.scaled(1.0, 1.0, self.base_side).graph

    def side(self, resolution: float) -> int:
        """Return the side in pixels at a multiplier of the resolution."""
        rounded = round(self.base_side * resolution / self._step) * self._step
        return self.base_side if resolution == 1 else max(self._step, rounded)

    def member(self, by: str, phi: float, width: float, depth: float, resolution: float) -> ScaledNetwork:
        """Return the network at three multipliers; one that cannot be built raises :class:`ConfigError`."""
        side = self.side(resolution)
        scaled = self._built(width, depth, side)
        name = f"{self.subject.name}-{by}-{phi:g}"
        size = {"width": width, "depth": depth, "resolution": side, "size": scaled.size}
        return ScaledNetwork.of(scaled.graph, self.budget, self.base_macs, name=name, by=by, phi=phi, **size)

    def _macs(self, width: float, depth: float, side: int) -> int:
        """Return the MACs, counted once for multipliers that come to the same."""
        key = (*self.subject.rounded(width, depth), side)
        if key not in self._known:
            self._known[key] = macs_of(self._built(width, depth, side).graph)[1]
        return self._known[key]

    def _built(self, width: float, depth: float, side: int) -> Scaled:
        try:
            return self.subject.scaled(width, depth, side)
        except GraphError as error:
            at = f"{width:.3g} times the width, {depth:.3g} times the depth and {side} pixels"
            raise ConfigError(f"'{self.subject.name}' at {at}: {error}") from None

    def equal(self, by: str, phi: float, factors: Factors) -> ScaledNetwork:
        """Return the member scaled ``by`` one dimension, or compound, whose MACs are nearest to 2 ** ``phi`` times.

        The coefficient is solved for; what is compound has a broken phi then, and takes more or fewer pixels for what
        the rounding of width and depth leaves. Section 3.2 compares networks so.
        """
        if phi == 0:
            return self.member(by, phi, 1.0, 1.0, 1.0)
        # the coefficient whose MACs come nearest
        along, power = _DIRECTIONS[by]
        target = self.base_macs * 2**phi

        def macs_at(coefficient: float) -> int:
            width, depth, resolution = along(coefficient, factors)
            return self._macs(width, depth, self.side(resolution))

        width, depth, resolution = along(_nearest(macs_at, target, power), factors)
        # whole layers and channels overshoot; a few pixels more or fewer take back what they left
        if by == "compound" and factors.gamma > 1:
            step, side = self._step, self.side(resolution)
            sides = range(max(self.base_side, side - 2 * step), side + 2 * step + 1, step)
            side = min(sides, key=lambda pixels: _off(self._macs(width, depth, pixels), target))
            resolution = side / self.base_side
        return self.member(by, phi, width, depth, resolution)


_DIRECTIONS: dict[str, tuple[Callable[[float, Factors], tuple[float, float, float]], int]] = {
    "compound": (lambda t, factors: factors.coefficients(math.log2(t)), 1),
    "depth": (lambda t, _: (1.0, t, 1.0), 1),
    "width": (lambda t, _: (t, 1.0, 1.0), 2),
    "resolution": (lambda t, _: (1.0, 1.0, t), 2),
}
"""The multipliers of width, depth and resolution at a coefficient, and about which power of it the MACs grow with.

The coefficient of compound scaling is 2 ** phi.
"""


def _nearest(macs: Callable[[float], int], target: float, power: int) -> float:
    """Return the coefficient, in thousandths from 1 on, at which ``macs``, which never falls, is nearest to ``target``.

    The bracket is narrowed by interpolation between the logarithms, every third time by halving.
    """
    # a bracket
    low = _UNITS
    high = max(low + 1, math.ceil(1.05 * low * (target / macs(1.0)) ** (1 / power)))
    while macs(high / _UNITS) < target:
        low, high = high, math.ceil(1.2 * high)
        if high > _MOST * _UNITS:
            raise ConfigError(f"no coefficient up to {_MOST:g} gives {target:,.0f} MACs")
    # MACs are about a power of the coefficient, so that a guess between logarithms comes near in few steps
    turn = 0
    while high - low > 1:
        turn += 1
        below, above = macs(low / _UNITS), macs(high / _UNITS)
        guess = (low + high) // 2
        if turn % 3 and above > below > 0:
            share = math.log(target / below) / math.log(above / below)
            guess = round(low * (high / low) ** share)
        guess = min(max(guess, low + 1), high - 1)
        low, high = (low, guess) if macs(guess / _UNITS) >= target else (guess, high)
    best: int = min((high, low), key=lambda units: _off(macs(units / _UNITS), target))
    return best / _UNITS


def _off(macs: int, target: float) -> float:
    """Return how far MACs are from the target, the same for twice as for half."""
    return abs(math.log(macs / target))


def scale(scaler: Scaler, factors: Factors, phis: Sequence[float], by: Sequence[str]) -> list[ScaledNetwork]:
    """Return the members for ``phis``: of the compound family, and by other dimensions at equal MACs.

    The compound family is that of section 3.3, equation 3. Where ``by`` names several of :data:`DIMENSIONS`, all of
    them, compound too, are solved for 2 ** phi times the MACs.
    """
    if tuple(by) == ("compound",):
        return [scaler.member("compound", phi, *factors.coefficients(phi)) for phi in phis]
    return [scaler.equal(dimension, phi, factors) for phi in phis for dimension in by]


class Printed(NamedTuple):
    """A row as the paper prints it: million parameters, billion MACs."""

    params: float
    macs: float


EFFICIENTNET = {
    "efficientnet_b0": Printed(5.3, 0.39),
    "efficientnet_b1": Printed(7.8, 0.70),
    "efficientnet_b2": Printed(9.2, 1.0),
    "efficientnet_b3": Printed(12, 1.8),
    "efficientnet_b4": Printed(19, 4.2),
    "efficientnet_b5": Printed(30, 9.9),
    "efficientnet_b6": Printed(43, 19),
    "efficientnet_b7": Printed(66, 37),
}
"""arXiv:1905.11946, table 2; its FLOPs are multiply-accumulates."""


@dataclass(frozen=True)
class PresetRow:
    """A published member: ours beside the printed numbers, the differences as shares of the printed ones."""

    member: ScaledNetwork
    dropout: float
    printed: Printed

    @property
    def params_off(self) -> float:
        """How much more parameters than printed, as a share."""
        return self.member.params / (self.printed.params * 1e6) - 1

    @property
    def macs_off(self) -> float:
        """How many more MACs than printed, as a share."""
        return self.member.macs / (self.printed.macs * 1e9) - 1


def efficientnet(budget: Budget | None = None) -> list[PresetRow]:
    """Return EfficientNet-B0 to B7: a table of the authors, no powers of their factors."""
    rows: list[PresetRow] = []
    for phi, name in enumerate(EFFICIENTNET):
        info = NETWORKS[name]
        model, side = info.scalable(), info.input_shape[1]
        graph, (width, depth) = model.build(), model.rounded(1.0, 1.0)
        dropout = next(node.op.rate for node in graph.nodes if isinstance(node.op, Dropout))
        size = {"width": width, "depth": depth, "resolution": side, "size": f"width x {width:g}, depth x {depth:g}"}
        base = rows[0].member.macs if rows else None
        member = ScaledNetwork.of(graph, budget or Budget(), base, name=name, by="preset", phi=phi, **size)
        rows.append(PresetRow(member, dropout, EFFICIENTNET[name]))
    return rows
