"""From an architecture to what is evaluated: its key, its network, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from nas.core.values import Budget, Task
from nas.errors import GraphError, Infeasible
from nas.evaluators.table import Known
from nas.graph import cost
from nas.graph import key as graph_key
from nas.space import Cells, Network, Space
from nas.space.budget import Fitted, fit
from nas.space.skeletons import support_of
from nas.space.space import decisions_key, sized_key
from nas.training.recipe import Recipe
from nas.types import Architecture, Candidate

REMEMBERED = 16_384
PREPARED = 64
"""How many architectures are remembered as prepared: the loop asks again for what a searcher has just looked at."""

Prepare = Callable[[Architecture], Candidate]


def make_prepare(
    space: Space,
    task: Task,
    width: int | None,
    depth: int | None,
    known: Known | None = None,
    recipe: Recipe | None = None,
    budget: Budget | None = None,
) -> Prepare:
    """Return the function that turns an architecture into its key, network and cost for ``task``.

    What the table of ``known`` lacks cannot be evaluated: its problem says so, and no network is built for it. With a
    ``recipe`` the network is the one that it trains: with an auxiliary head and dropped paths where the recipe asks for
    them and the cells' skeleton supports ``aux`` or ``drop_path``. Key, parameters and MACs are the plain network's.

    With a ``budget`` each network has the width at which it just meets it, solved for from the space's own width; one
    that no width lets meet it, or that has none to choose, has that as its problem. The key of cells then has the width
    in it.
    """
    wide = space.width if width is None else width
    deep = space.depth if depth is None else depth

    def prepare(architecture: Architecture) -> Candidate:
        """Look up what a table lacks before anything is built; a network that cannot be built is a problem too."""
        try:
            described = space.describe(architecture)
            if not hasattr(described, "network"):
                return looked_up(Candidate(decisions_key(architecture)), architecture)
            found = None if isinstance(described, Network) else looked_up(Candidate(described.key()), architecture)
            if found is not None and found.problem:
                return found
            sized = at_width(described)
        except (GraphError, Infeasible) as error:
            return Candidate(decisions_key(architecture), problem=str(error))
        found = found or looked_up(Candidate(graph_key(sized.graph)), architecture)
        trained = sized.graph
        if recipe is not None and isinstance(described, Cells):
            asked = support_of(described.skeleton).asked(bool(recipe.aux_weight), recipe.drop_path or 0.0)
            headless = {name: value for name, value in asked.items() if name != "aux"}
            for extras in filter(None, (asked, headless)):
                with suppress(GraphError, Infeasible):  # small images leave no room for the head
                    with_extras = Cells(described.cells, partial(described.skeleton, **extras))
                    trained = with_extras.network(task, sized.width, deep)
                    break
        width = sized.width if budget else None
        key = found.key if isinstance(described, Network) else sized_key(found.key, width)
        return replace(found, key=key, graph=trained, params=sized.params, macs=sized.macs, width=width)

    def at_width(described: Any) -> Fitted:
        """Build the network at the width asked for, or at the one that the budget leaves."""
        if not budget:
            graph = described.network(task, wide, deep)
            total = cost(graph)
            return Fitted(graph, wide, total.params, total.macs)
        widths = getattr(described, "widths", None)
        if widths is None:
            raise GraphError(f"space '{space.name}' describes networks without a width that a budget could choose")
        return fit(lambda width: described.network(task, width, deep), budget, widths, wide)

    def looked_up(prepared: Candidate, architecture: Architecture) -> Candidate:
        return prepared if known is None else known.complete(prepared, architecture)

    return lru_cache(PREPARED)(prepare)


def cached(prepare: Prepare) -> Prepare:
    """Return ``prepare`` without the networks, remembering what it found: searchers look at some candidates often."""
    return lru_cache(REMEMBERED)(lambda architecture: replace(prepare(architecture), graph=None))
