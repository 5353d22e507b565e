"""Encodings: an architecture as vectors of fixed length, for models that predict its reward.

Every encoding is a bag of texts, counted and hashed into a fixed number of columns (the hashing trick,
arXiv:0902.2206): no vocabulary has to be known, so conditional decisions and a user's own space need nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from nas.graph import Graph, normal_form
from nas.graph.encoding import longest_path, neighbourhoods, paths
from nas.space.space import Space
from nas.types import Architecture, Value

Vector = np.ndarray[Any, np.dtype[np.float64]]

WIDTHS = {"decisions": 1024, "numbers": 64, "paths": 512, "neighbourhoods": 1024, "operations": 64}
"""Columns of every encoding."""


def encode(space: Space, architecture: Architecture) -> dict[str, Vector]:
    """Return the encodings of ``architecture`` by name, each a vector of :data:`WIDTHS` columns.

    ``decisions`` is the one-hot encoding, ``numbers`` the values of decisions that are numbers. The others are of the
    cells that the space describes (a mapping ``cells`` of graphs, as :class:`nas.space.Cells` has), zeros where it has
    none: ``paths`` and ``neighbourhoods`` as logarithms of 1 + count, ``operations`` as counts with the depth in the
    last column.
    """
    found = {
        "decisions": _hashed("decisions", ((f"{name}={value!r}", 1.0) for name, value in architecture.decisions)),
        "numbers": _hashed("numbers", ((name, float(v)) for name, v in architecture.decisions if _is_number(v))),
    }
    return {**found, **_of_cells(getattr(space.describe(architecture), "cells", {}))}


def _of_cells(cells: Mapping[str, Graph]) -> dict[str, Vector]:
    forms = [(name, normal_form(graph)) for name, graph in sorted(cells.items())]
    ways = _hashed("paths", ((f"{n} {path}", c) for n, form in forms for path, c in paths(form).items()))
    looks = _hashed("neighbourhoods", ((f"{n} {look}", c) for n, f in forms for look, c in neighbourhoods(f).items()))
    operations = _hashed("operations", ((f"{name} {op}", 1.0) for name, form in forms for op in form.labels))
    operations[-1] = sum(longest_path(form) for _, form in forms)
    return {"paths": np.log1p(ways), "neighbourhoods": np.log1p(looks), "operations": operations}


def _hashed(encoding: str, parts: Iterable[tuple[str, float]]) -> Vector:
    vector = np.zeros(WIDTHS[encoding])
    for text, amount in parts:
        vector[_column(text, WIDTHS[encoding])] += amount
    return vector


@lru_cache(maxsize=100_000)
def _column(text: str, width: int) -> int:
    return crc32(text.encode()) % width


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
