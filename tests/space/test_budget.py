"""The widest network within a budget: against every width built, for toys of all kinds and for the spaces' networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.core.plugins import load_built_in
from nas.core.values import Budget, Task
from nas.errors import GraphError
from nas.graph import Conv, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear
from nas.space import SPACES
from nas.space.budget import LEAST_SHARE, Fitted, fit
from nas.space.scalable import macs_of

TASK = Task("small", (3, 16, 16), 10)
WIDTHS = 48
Build = Callable[[int], Graph]


@cache
def toy(width: int, unit: int = 1, halves: bool = False, squeeze: int = 0, least: int = 1) -> Graph:
    """Three convolutions whose channels are rounded up to multiples of ``unit``, one of them squeezed."""
    if width < least or (halves and width % 2):
        raise GraphError(f"no network of width {width}")
    channels = -(-width // unit) * unit
    b = GraphBuilder(TASK.input_shape)
    x = b(Conv(2 * channels, 3, 2, 1), b(Conv(channels, 3, 1, 1), b.input))
    if squeeze:
        x = b(Conv(channels), b(Conv(max(1, channels // squeeze)), x))
    return b.build(logits=b(Linear(10), b(Flatten(), b(GlobalAvgPool(), x))))


def by_trying(costs: dict[int, tuple[int, int]], budget: Budget) -> int | None:
    """Return the widest width within the budget of all that can be built, None where none is or it uses too little."""
    within = {width: budget.share(*cost) for width, cost in costs.items() if budget.share(*cost) <= 1}
    widest = max(within, default=None)
    return None if widest is None or within[widest] < LEAST_SHARE else widest


def every(build: Build, widths: tuple[int, int], most: int = WIDTHS) -> dict[int, tuple[int, int]]:
    """Return the cost of every width that can be built."""
    found = {}
    for width in range(widths[0], most + 1, widths[1]):
        try:
            found[width] = macs_of(build(width))
        except GraphError:
            continue
    return found


def by_fit(build: Build, budget: Budget, widths: tuple[int, int], start: int) -> tuple[Fitted | None, int]:
    """Return what is fitted, None where nothing is, and the number of builds."""
    count = 0

    def counted(width: int) -> Graph:
        nonlocal count
        count += 1
        return build(width)

    try:
        return fit(counted, budget, widths, start), count
    except GraphError:
        return None, count


budgets = st.one_of(
    st.builds(lambda macs: Budget(macs=macs), st.integers(30_000, 1_500_000)),
    st.builds(lambda params: Budget(params=params), st.integers(300, 30_000)),
    st.builds(Budget, st.integers(30_000, 1_500_000), st.integers(300, 30_000)),
)


@given(
    budgets,
    st.sampled_from((1, 2, 4, 8)),
    st.booleans(),
    st.sampled_from((0, 3, 16)),
    st.integers(1, 9),
    st.sampled_from(((1, 1), (2, 2), (8, 8), (3, 2))),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_toys_are_as_wide_as_trying_every_width_finds(
    budget: Budget, unit: int, halves: bool, squeeze: int, least: int, widths: tuple[int, int], start: int
) -> None:
    """Also with plateaus, holes at odd widths, networks that cannot be narrow, and from any start."""
    build = partial(toy, unit=unit, halves=halves and widths[0] % 2 == 0, squeeze=squeeze, least=least)
    costs = every(build, widths)
    wanted = by_trying(costs, budget)
    # else wider ones than those tried might fit
    assume(not costs or budget.share(*costs[max(costs)]) > 1)
    found, _ = by_fit(build, budget, widths, start)
    assert (found and found.width) == wanted
    if found:
        assert (found.params, found.macs) == macs_of(found.graph) == costs[found.width]
        assert LEAST_SHARE <= budget.share(found.params, found.macs) <= 1


@cache
def costs_of(space: str, seed: int, widths: tuple[int, int]) -> tuple[Build, dict[int, tuple[int, int]]]:
    """Return a sampled network's build and the cost of all its widths."""
    load_built_in()
    found = SPACES[space]
    described = found.describe(found.sample(np.random.default_rng(seed)))
    build = cache(lambda width: described.network(TASK, width, 1))
    return build, every(build, widths, 24)


@pytest.mark.parametrize("space", ["nasnet", "darts", "nb201", "lecture", "stages"])
@pytest.mark.parametrize("widths", [(1, 1), (2, 2)])
def test_networks_of_spaces_are_as_wide_as_trying_every_width_finds(space: str, widths: tuple[int, int]) -> None:
    builds = []
    for seed in range(2):
        build, costs = costs_of(space, seed, widths)
        for width, (params, macs) in costs.items():
            if width + widths[1] > 24:
                continue
            # just enough, just too little, and something between
            for budget in (Budget(macs=macs), Budget(macs=macs - 1), Budget(int(macs * 1.05), int(params * 1.1))):
                found, count = by_fit(build, budget, widths, 16)
                assert (found and found.width) == by_trying(costs, budget)
                builds.append(count)
    # networks whose channels are rounded follow the law less closely
    assert np.mean(builds) < (4 if space in ("nasnet", "darts", "nb201") else 8)


@pytest.mark.parametrize("multiple", [4, 12, 24, 32])
def test_widths_that_can_be_built_may_lie_far_apart(multiple: int) -> None:
    """As those of grouped convolutions do, whose space gives no widths."""

    def build(width: int) -> Graph:
        if width % multiple:
            raise GraphError(f"groups of {multiple} must divide {width}")
        return toy(width)

    costs = every(build, (1, 1), 200)
    for macs in range(300_000, 4_000_000, 370_000):
        found, _ = by_fit(build, Budget(macs=macs), (1, 1), 16)
        assert (found and found.width) == by_trying(costs, Budget(macs=macs))


def test_what_no_width_meets_says_why_in_a_line() -> None:
    for budget, rule in (
        (Budget(macs=1_000), r"the narrowest network, of width 1, has 8,\d+ of 1,000 MACs: it is over the budget"),
        (
            Budget(params=170),
            r"the widest network, of width 1, has 75 of 170 parameters: .* 82% of it must be used",
        ),
    ):
        with pytest.raises(GraphError, match=rule):
            fit(toy, budget, (1, 1), 16)
    with pytest.raises(GraphError, match="no network of width 16"):
        fit(partial(toy, least=5_000), Budget(macs=10**6), (1, 1), 16)
    with pytest.raises(GraphError, match="of width 4096, has"):
        fit(toy, Budget(params=10**12), (1, 1), 16)
