"""From an architecture to what is evaluated: its key, its network, and what that costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from nas.errors import GraphError
from nas.evaluators.table import Known
from nas.graph import Graph, cost
from nas.graph import key as graph_key
from nas.space import Cells, Network, Space
from nas.space.space import decisions_key
from nas.training.recipe import Recipe
from nas.types import Architecture, Prepared, Task

REMEMBERED = 16_384
PREPARED = 64
"""How many architectures are remembered as prepared: the loop asks again for what a searcher has just looked at."""

Prepare = Callable[[Architecture], Prepared]


def preparer(
    space: Space,
    task: Task,
    width: int | None,
    depth: int | None,
    known: Known | None = None,
    recipe: Recipe | None = None,
) -> Prepare:
    """Return the function that turns an architecture into its key, network and cost for ``task``.

    What the table of ``known`` lacks cannot be evaluated: its problem says so, and no network is built for it. With a
    ``recipe`` the network is the one that it trains: with an auxiliary head and dropped paths where the recipe asks for
    them and the cells' skeleton takes ``aux`` or ``drop_path``. Key, parameters and MACs are the plain network's.
    """
    wide = space.width if width is None else width
    deep = space.depth if depth is None else depth

    def prepare(architecture: Architecture) -> Prepared:
        """Look up what a table lacks before anything is built; a network that cannot be built is a problem too."""
        described = space.describe(architecture)
        if not hasattr(described, "network"):
            return looked_up(Prepared(decisions_key(architecture)), architecture)
        found = None if isinstance(described, Network) else looked_up(Prepared(described.key()), architecture)
        if found is not None and found.problem:
            return found
        try:
            graph = described.network(task, wide, deep)
            total = cost(graph)
        except GraphError as error:
            return Prepared(decisions_key(architecture), problem=str(error))
        found = found or looked_up(Prepared(graph_key(graph)), architecture)
        trained = None if recipe is None else as_trained(described, task, wide, deep, recipe)
        return replace(found, graph=trained or graph, params=total.params, macs=total.macs)

    def looked_up(prepared: Prepared, architecture: Architecture) -> Prepared:
        return prepared if known is None else known.complete(prepared, architecture)

    return lru_cache(PREPARED)(prepare)


def remembered(prepare: Prepare) -> Prepare:
    """Return ``prepare`` without the networks, remembering what it found: searchers look at some candidates often."""
    return lru_cache(REMEMBERED)(lambda architecture: replace(prepare(architecture), graph=None))


def as_trained(described: Any, task: Task, width: int, depth: int, recipe: Recipe) -> Graph | None:
    """Return the network with what ``recipe`` asks for; None where it asks for nothing or the skeleton has none."""
    if not isinstance(described, Cells):
        return None
    asked: dict[str, Any] = {"aux": True} if recipe.aux_weight else {}
    asked |= {"drop_path": recipe.drop_path} if recipe.drop_path else {}
    taken = inspect.signature(described.skeleton).parameters
    asked = {name: value for name, value in asked.items() if name in taken}
    headless = {name: value for name, value in asked.items() if name != "aux"}
    for extras in (asked, headless):
        with suppress(GraphError):  # small images leave no room for the head
            if extras:
                return Cells(described.cells, partial(described.skeleton, **extras)).network(task, width, depth)
    return None
