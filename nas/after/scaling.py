"""Compound scaling: a family of networks that grow in width, depth and resolution together (arXiv:1905.11946).

With phi the exponent, depth grows as alpha ** phi, width as beta ** phi and resolution as gamma ** phi, where
alpha * beta**2 * gamma**2 is about 2, so that each step doubles the MACs (section 3.3, equation 3). What is built is
rounded to whole layers, channels and pixels; the family tells the MACs that result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.after.scaling_subjects import Scaled, Subject, macs_of
from nas.errors import ConfigError, GraphError
from nas.graph import Graph
from nas.graph.memory import memory_peak
from search_spaces.networks.efficientnet import SCALES
from search_spaces.networks.registry import NETWORKS

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

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Refuse factors below one, or whose product is not 2 within ``tolerance`` (a share of it)."""
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if not 1 <= value < math.inf:
                raise ConfigError(f"--{name} must be a number of at least 1, found {value:g}")
        if not self.fits(tolerance):
            raise ConfigError(
                f"alpha * beta^2 * gamma^2 must be 2 within {tolerance:.0%} (--tolerance), found {self.product:.4g} "
                f"for alpha {self.alpha:g}, beta {self.beta:g}, gamma {self.gamma:g}"
            )

    def fits(self, tolerance: float) -> bool:
        """Return whether the product is 2 within ``tolerance``."""
        return abs(self.product / 2 - 1) <= tolerance + 1e-9

    def coefficients(self, phi: float) -> tuple[float, float, float]:
        """Return the multipliers of width, depth and resolution at ``phi``."""
        return self.beta**phi, self.alpha**phi, self.gamma**phi


@dataclass(frozen=True, eq=False)
class Member:
    """One network of a family.

    ``width`` and ``depth`` are multipliers, ``resolution`` the side of the image in pixels, ``size`` what width and
    depth came to. ``ratio``: MACs over those of the base. ``memory``: bytes of a training step at its peak. ``over``
    names the budgets that it exceeds.
    """

    name: str
    by: str
    phi: float
    width: float
    depth: float
    resolution: int
    size: str
    graph: Graph
    params: int
    macs: int
    ratio: float
    memory: int
    over: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return all but the graph, as JSON data."""
        data = {name: value for name, value in vars(self).items() if name != "graph"}
        return {**data, "over": list(self.over)}


@dataclass(frozen=True)
class Budget:
    """The most MACs an image and bytes of a training step with ``batch`` images that a member may need."""

    macs: int | None = None
    memory: int | None = None
    batch: int = 32

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

    def __init__(self, subject: Subject, budget: Budget = Budget()) -> None:
        self.subject, self.budget = subject, budget
        self.base_side = min(subject.task.input_shape[1:])
        self._known: dict[tuple[Any, ...], tuple[int, int]] = {}
        self.base_macs = self._cost(1.0, 1.0, self.base_side)[1]

    @property
    def _step(self) -> int:
        return max(1, self.base_side // RESOLUTION_STEPS)

    def side(self, resolution: float) -> int:
        """Return the side in pixels at a multiplier of the resolution."""
        step = self._step
        rounded = round(self.base_side * resolution / step) * step
        return self.base_side if resolution == 1 else max(step, rounded)

    def member(self, by: str, phi: float, width: float, depth: float, resolution: float) -> Member:
        """Return the network at three multipliers; one that cannot be built raises :class:`ConfigError`."""
        side = self.side(resolution)
        scaled = self._built(width, depth, side)
        params, macs = macs_of(scaled.graph)
        memory = memory_peak(scaled.graph.pruned((scaled.graph.outputs[0][0],)), self.budget.batch)
        return Member(
            f"{self.subject.name}-{by}-{phi:g}",
            by,
            phi,
            width,
            depth,
            side,
            scaled.size,
            scaled.graph,
            params,
            macs,
            macs / self.base_macs,
            memory,
            self.budget.over(macs, memory),
        )

    def _cost(self, width: float, depth: float, side: int) -> tuple[int, int]:
        """Return parameters and MACs, counted once for multipliers that come to the same."""
        key = (*self.subject.rounded(width, depth), side)
        if key not in self._known:
            self._known[key] = macs_of(self._built(width, depth, side).graph)
        return self._known[key]

    def _built(self, width: float, depth: float, side: int) -> Scaled:
        try:
            return self.subject.scaled(width, depth, side)
        except GraphError as error:
            raise ConfigError(
                f"'{self.subject.name}' at {width:.3g} times the width, {depth:.3g} times the depth and {side} pixels: "
                f"{error}"
            ) from None

    def family(self, factors: Factors, phis: Iterable[float]) -> list[Member]:
        """Return the compound family: section 3.3, equation 3."""
        return [self.member("compound", phi, *factors.coefficients(phi)) for phi in phis]

    def equal(self, by: str, phi: float, factors: Factors) -> Member:
        """Return the member scaled ``by`` one dimension, or compound, whose MACs are nearest to 2 ** ``phi`` times.

        The coefficient is solved for; what is compound has a broken phi then, and takes more or fewer pixels for what
        the rounding of width and depth leaves. Section 3.2 compares networks so.
        """
        if phi == 0:
            return self.member(by, phi, 1.0, 1.0, 1.0)
        along, power = _DIRECTIONS[by]
        target = self.base_macs * 2**phi
        width, depth, resolution = along(_nearest(lambda t: self._macs(along(t, factors)), target, power), factors)
        if by == "compound" and factors.gamma > 1:
            step, side = self._step, self.side(resolution)
            sides = range(max(self.base_side, side - 2 * step), side + 2 * step + 1, step)
            side = min(sides, key=lambda pixels: _off(self._cost(width, depth, pixels)[1], target))
            resolution = side / self.base_side
        return self.member(by, phi, width, depth, resolution)

    def _macs(self, coefficients: tuple[float, float, float]) -> int:
        width, depth, resolution = coefficients
        return self._cost(width, depth, self.side(resolution))[1]


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
    low = _UNITS
    high = max(low + 1, math.ceil(1.05 * low * (target / macs(1.0)) ** (1 / power)))
    while macs(high / _UNITS) < target:
        low, high = high, math.ceil(1.2 * high)
        if high > _MOST * _UNITS:
            raise ConfigError(f"no coefficient up to {_MOST:g} gives {target:,.0f} MACs")
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


def scale(scaler: Scaler, factors: Factors, phis: Sequence[float], by: Sequence[str]) -> list[Member]:
    """Return the members for ``phis``: of the compound family, and by other dimensions at equal MACs.

    Where ``by`` names several of :data:`DIMENSIONS`, all of them, compound too, are solved for 2 ** phi times the MACs.
    """
    if tuple(by) == ("compound",):
        return scaler.family(factors, phis)
    return [scaler.equal(dimension, phi, factors) for phi in phis for dimension in by]


@dataclass(frozen=True)
class Printed:
    """A row as the paper prints it: million parameters, billion MACs."""

    params: float
    macs: float


EFFICIENTNET = {
    "b0": Printed(5.3, 0.39),
    "b1": Printed(7.8, 0.70),
    "b2": Printed(9.2, 1.0),
    "b3": Printed(12, 1.8),
    "b4": Printed(19, 4.2),
    "b5": Printed(30, 9.9),
    "b6": Printed(43, 19),
    "b7": Printed(66, 37),
}
"""arXiv:1905.11946, table 2; its FLOPs are multiply-accumulates."""


@dataclass(frozen=True)
class PresetRow:
    """A published member: ours beside the printed numbers, the differences as shares of the printed ones."""

    member: Member
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
    rows, base = [], 0
    limits = budget or Budget()
    for phi, (name, (width, depth, side, dropout)) in enumerate(SCALES.items()):
        graph = NETWORKS[f"efficientnet_{name}"].build()
        params, macs = macs_of(graph)
        base = base or macs
        memory = memory_peak(graph, limits.batch)
        size = f"width x {width:g}, depth x {depth:g}"
        over = limits.over(macs, memory)
        title = f"efficientnet_{name}"
        member = Member(title, "preset", phi, width, depth, side, size, graph, params, macs, macs / base, memory, over)
        rows.append(PresetRow(member, dropout, EFFICIENTNET[name]))
    return rows
