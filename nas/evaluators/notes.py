"""What a training leaves for the report besides numbers: damaged files, the device, what did not apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.graph import Graph
from nas.training.recipe import Recipe

if TYPE_CHECKING:
    from nas.training.engine import TrainResult

SHOWN = 10
"""How many damaged files are named."""


def notes_of(result: TrainResult, damaged: Sequence[str], graph: Graph, recipe: Recipe) -> dict[str, Any]:
    """Return the notes of a training as JSON: ``trained_on``, and where there are any ``damaged`` and ``not_applied``.

    ``trained_on`` holds the device and the switches that were on; ``damaged`` the count and the first ten files.
    """
    on = [name for name, value in result.switches.to_json().items() if value]
    notes: dict[str, Any] = {"trained_on": {"device": result.device, "switches": on}}
    if damaged:
        notes["damaged"] = {"count": len(damaged), "first": sorted(damaged)[:SHOWN]}
    missing = not_applied(recipe, graph)
    return {**notes, "not_applied": missing} if missing else notes


def not_applied(recipe: Recipe, graph: Graph) -> list[str]:
    """Return the fields of ``recipe`` that ``graph`` has no place for: a head, dropped paths or dropout."""
    kinds = {node.op.kind for node in graph.nodes}
    places = (
        ("aux_weight", recipe.aux_weight, any(name.startswith("aux") for name, _ in graph.outputs)),
        ("drop_path", recipe.drop_path, "drop_path" in kinds),
        ("dropout", recipe.dropout, "dropout" in kinds),
    )
    return [name for name, rate, place in places if rate and not place]


def news(notes: Mapping[str, Any], told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return those of ``notes`` that none of ``told`` holds already, so that a journal does not repeat them."""
    told = list(told)
    return {name: value for name, value in notes.items() if all(before.get(name) != value for before in told)}
