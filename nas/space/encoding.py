"""Encodings: an architecture as vectors of fixed length, for models that predict its reward.

Every encoding is a bag of texts, counted and hashed into a fixed number of columns (the hashing trick,
arXiv:0902.2206): no vocabulary has to be known, so conditional decisions and a user's own space need nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from zlib import crc32

import numpy as np
import numpy.typing as npt

from nas.graph import Graph, normal_form
from nas.graph.analysis.canonical import NormalForm
from nas.space.space import Space
from nas.types import Architecture

Vector = npt.NDArray[np.float64]

WIDTHS = {"decisions": 1024, "numbers": 64, "paths": 512, "neighbourhoods": 1024, "operations": 64}
"""Columns of every encoding."""
MOST_PATHS = 256
"""Of more different paths at one vertex the shortest are kept: long ones are the least likely (BANANAS, section 4)."""
_SILENT = ("input", "add", "concat", "zero")


def encode(space: Space, architecture: Architecture) -> dict[str, Vector]:
    """Return the encodings of ``architecture`` by name, each a vector of :data:`WIDTHS` columns.

    ``decisions`` is the one-hot encoding, ``numbers`` the values of decisions that are numbers. The others are of the
    cells that the space describes (a mapping ``cells`` of graphs, as :class:`nas.space.Cells` has), zeros where it has
    none: ``paths`` and ``neighbourhoods`` as logarithms of 1 + count, ``operations`` as counts with the depth in the
    last column.
    """
    decisions = architecture.decisions.items()
    values = ((f"{name}={value!r}", 1.0) for name, value in decisions)
    numbers = ((n, float(v)) for n, v in decisions if isinstance(v, int | float) and not isinstance(v, bool))
    # normal forms of the cells, so that isomorphic ones have one encoding
    cells: Mapping[str, Graph] = getattr(space.describe(architecture), "cells", {})
    forms = [(name, normal_form(graph)) for name, graph in sorted(cells.items())]
    ways = ((f"{n} {path}", c) for n, form in forms for path, c in paths(form).items())
    looks = ((f"{n} {look}", c) for n, form in forms for look, c in neighbourhoods(form).items())
    operations = _hashed("operations", ((f"{n} {op}", 1.0) for n, form in forms for op in form.labels))
    operations[-1] = sum(longest_path(form) for _, form in forms)
    return {
        "decisions": _hashed("decisions", values),
        "numbers": _hashed("numbers", numbers),
        "paths": np.log1p(_hashed("paths", ways)),
        "neighbourhoods": np.log1p(_hashed("neighbourhoods", looks)),
        "operations": operations,
    }


def _hashed(encoding: str, parts: Iterable[tuple[str, float]]) -> Vector:
    vector = np.zeros(WIDTHS[encoding])
    for text, amount in parts:
        vector[_column(text, WIDTHS[encoding])] += amount
    return vector


@lru_cache(maxsize=100_000)
def _column(text: str, width: int) -> int:
    return crc32(text.encode()) % width


def paths(form: NormalForm) -> Counter[str]:
    """Count the sequences of operations on the ways from an input to the output.

    The path encoding of BANANAS (arXiv:1910.11858, section 4), with numbers of ways instead of their presence. Sums and
    concatenations are no operations of their own; every input of the graph has a name.
    """
    found: list[Counter[str]] = []
    for label, inputs in zip(form.labels, form.inputs, strict=True):
        if label == "zero":
            found.append(Counter())
            continue
        step = "" if label.startswith(_SILENT[1:]) else f">{label}"
        ways: Counter[str] = Counter() if inputs else Counter({step: 1})
        for vertex in inputs:
            for path, count in found[vertex].items():
                ways[path + step] += count
        # the paths of a deep cell are exponentially many
        if len(ways) > MOST_PATHS:
            kept = sorted(ways, key=lambda path: (path.count(">"), path))[:MOST_PATHS]
            ways = Counter({path: ways[path] for path in kept})
        found.append(ways)
    return found[-1]


def neighbourhoods(form: NormalForm, radius: int = 2) -> Counter[str]:
    """Count what vertices are like with their inputs, their inputs' inputs, ... up to ``radius`` steps back.

    The features of the Weisfeiler-Lehman kernel (Shervashidze et al. 2011), with which NAS-BOWL (arXiv:2006.07556,
    section 3.1) compares architectures. Of radius 0 are the operations themselves.
    """
    texts = list(form.labels)
    found = Counter(f"0 {text}" for text in texts)
    for step in range(1, radius + 1):
        wider = []
        for label, inputs, unordered in zip(form.labels, form.inputs, form.unordered, strict=True):
            seen = [texts[i] for i in inputs]
            wider.append(f"{label}({','.join(sorted(seen) if unordered else seen)})")
        texts = wider
        found.update(f"{step} {text}" for text in texts)
    return found


def longest_path(form: NormalForm) -> int:
    """Return the number of operations on the longest way from an input to the output."""
    length: list[int] = []
    for label, inputs in zip(form.labels, form.inputs, strict=True):
        length.append(max((length[i] for i in inputs), default=0) + (not label.startswith(_SILENT)))
    return length[-1]
