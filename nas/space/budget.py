"""Budgets as the size of a network: the widest network of a shape within a budget, found by a few builds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf, sqrt

from nas.core.values import Budget
from nas.errors import GraphError, Infeasible, NasError
from nas.graph import Graph
from nas.space.scalable import macs_of

LEAST_SHARE = 0.82
"""What a network must use of its budget, for a search to compare shapes and not sizes."""
WIDEST = 4_096
"""The greatest width that is tried."""
GROWTH = 1.75
"""Of a single network it is taken that its cost grows with this power of the width: between 1 and 2."""
FARTHEST = 8.0
"""How many times as wide, or as narrow, as what is built already the next one may be."""
GUESSES = 6
"""Builds that follow the law of growth; further ones halve what is left, for networks that follow no law."""
UNBUILDABLE = 64
"""After this number of widths that cannot be built, and none that can, the reason of the first is told."""
EXACT = 1e-6
"""What is as near to its forecast, relative to it, shows that the cost follows the law exactly."""
SURE = 1.1
"""By an exact law a width of more than this share is over the budget, also where channels are rounded."""


@dataclass(frozen=True)
class Fitted:
    """The widest network within a budget."""

    graph: Graph
    width: int
    """What it was built at: channels of the first stage, sixteenths of a table's, or what else its space counts in."""
    params: int
    """Without auxiliary heads, as the MACs."""
    macs: int
    """Multiply-accumulates for one image."""


def fit(
    build: Callable[[int], Graph],
    budget: Budget,
    widths: tuple[int, int],
    start: int,
    least_share: float = LEAST_SHARE,
) -> Fitted:
    """Return the widest network within ``budget``, its width one of ``least``, ``least + step``, ...: ``widths``.

    Cost must not fall as the width grows. It grows about like ``a * width + b * width ** 2``, so that following this
    law from the width ``start`` takes three to five builds. Widths at which ``build`` raises :class:`GraphError` or
    :class:`Infeasible`, such as odd ones where channels are halved, are passed over. Raises :class:`GraphError` where
    the narrowest network is over the budget or the widest within it uses less than ``least_share`` of it, and what
    ``build`` raised where no width can be built.
    """
    least, step = widths
    built: dict[int, Fitted] = {}
    unbuildable: dict[int, NasError] = {}
    # places in the row of widths: the widest that fits and the narrowest that does not, as far as is known
    low, high = -1, (WIDEST - least) // step + 1
    guess = round((start - least) / step)
    while (place := _nearest(guess, low, high, unbuildable)) is not None:
        width = least + place * step
        try:
            graph = build(width)
            params, macs = macs_of(graph)
        except (GraphError, Infeasible) as error:
            unbuildable[place] = error
            if not built and len(unbuildable) == UNBUILDABLE:
                break
            continue
        expected = _share(built.values(), budget, width) if len(built) > 1 else None
        built[place] = Fitted(graph, width, params, macs)
        share = budget.share(params, macs)
        low, high = (place, high) if share <= 1 else (low, place)
        # where the law is exact, the next width need not be built to know that it is over
        exact = expected is not None and abs(expected - share) <= EXACT * share
        if exact and share <= 1 and _share(built.values(), budget, width + step) > SURE:
            break
        edge = _edge(built.values(), budget)
        guess = int((edge - least) / step + EXACT) if len(built) <= GUESSES else (low + high) // 2

    if not built:
        raise next(iter(unbuildable.values()))
    if low not in built:
        narrowest = built[min(built)]
        raise GraphError(f"{_told('narrowest', narrowest, budget)}: it is over the budget")
    found = built[low]
    if budget.share(found.params, found.macs) < least_share:
        rule = f"a wider one is over the budget, and {least_share:.0%} of it must be used"
        raise GraphError(f"{_told('widest', found, budget)}: {rule}")
    return found


def _nearest(guess: int, low: int, high: int, unbuildable: Collection[int]) -> int | None:
    """Return the place next to ``guess`` between ``low`` and ``high`` that may be built, None where none is left."""
    guess = min(max(guess, low + 1), high - 1)
    for distance in range(high - low):
        # rather the wider of two: narrow ones may all be too narrow
        for place in (guess + distance, guess - distance):
            if low < place < high and place not in unbuildable:
                return place
    return None


def _laws(built: Collection[Fitted], budget: Budget) -> list[tuple[float, float]]:
    """Return a and b of ``share = a * width + b * width ** 2``, for each number of the budget.

    They follow from the two networks on both sides of the budget's edge, else from the two that are nearest to it.
    """
    ordered = sorted(built, key=lambda one: one.width)
    fitting = sum(budget.share(one.params, one.macs) <= 1 for one in ordered)
    first = min(max(fitting - 1, 0), len(ordered) - 2)
    one, two = ordered[first : first + 2]
    found = []
    for most, low, high in ((budget.params, one.params, two.params), (budget.macs, one.macs, two.macs)):
        if most is not None:
            b = (high / two.width - low / one.width) / (two.width - one.width) / most
            found.append((low / one.width / most - b * one.width, b))
    return found


def _share(built: Collection[Fitted], budget: Budget, width: int) -> float:
    """Return the share of the budget that the law gives for ``width``."""
    return max(a * width + b * width**2 for a, b in _laws(built, budget))


def _edge(built: Collection[Fitted], budget: Budget) -> float:
    """Return the width at which the budget is just used up, by the law."""
    nearest = min(built, key=lambda one: abs(budget.share(one.params, one.macs) - 1))
    if len(built) == 1:
        edge: float = nearest.width * pow(max(budget.share(nearest.params, nearest.macs), 1e-9), -1 / GROWTH)
    else:
        # the root of a * width + b * width ** 2 = 1, in the form that also takes b = 0
        halves = [a + sqrt(max(a * a + 4 * b, 0.0)) for a, b in _laws(built, budget)]
        edge = min(2 / half if half > 0 else inf for half in halves)
    return min(max(edge, nearest.width / FARTHEST), nearest.width * FARTHEST)


def _told(which: str, found: Fitted, budget: Budget) -> str:
    """Return what a network of this width has, beside what the budget gives."""
    numbers = (("parameters", found.params, budget.params), ("MACs", found.macs, budget.macs))
    costs = " and ".join(f"{value:,} of {most:,} {name}" for name, value, most in numbers if most is not None)
    return f"the {which} network, of width {found.width}, has {costs}"
