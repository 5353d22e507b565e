"""The notations that are read and written: DARTS, NAS-Bench-201 and -101, NASNet and AmoebaNet, ENAS, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from nas.errors import SpaceError
from nas.space.genotypes import GENOTYPES, GenotypeInfo
from nas.space.notations import Notation, Noted, register_notation
from nas.types import Architecture
from search_spaces.genotypes import arcs, benchmark_cells, cell_spellings
from search_spaces.genotypes.formats import (
    FIELDS,
    THEIR_NAMES,
    from_architecture,
    write_genotype,
    write_nb101,
    write_nb201,
)
from search_spaces.genotypes.published import Genotype, points_of
from search_spaces.skeletons.published import darts_cifar


def genotype_of(noted: Noted) -> Genotype:
    """Return the two cells of a genotype, or of a point of the space ``darts`` or ``nasnet``; others are SpaceError."""
    if isinstance(noted, Architecture):
        _check_skeleton(noted)
        return from_architecture(noted)
    if not isinstance(noted.genotype, Genotype):
        raise SpaceError(f"genotype '{noted.name}' is in a notation of its own")
    return noted.genotype


def point_of(noted: Noted, space: str) -> Architecture:
    """Return the architecture where it is a point of ``space``."""
    if isinstance(noted, Architecture) and noted.space == space:
        _check_skeleton(noted)
        return noted
    found = f"one of '{noted.space}'" if isinstance(noted, Architecture) else "two cells"
    raise SpaceError(f"an architecture of space '{space}' is written so, found {found}")


def _check_skeleton(architecture: Architecture) -> None:
    if dict(architecture.args).get("macro"):
        raise SpaceError("its skeleton was chosen too (macro=true), which no notation of cells has")


def _info(read: Callable[[Any], Genotype], value: Any) -> GenotypeInfo:
    """Return the entry of a genotype: that of the published one that it is, else on the networks of DARTS."""
    genotype = read(value)
    for known in map(GENOTYPES.__getitem__, GENOTYPES):
        if known.genotype == genotype:
            return replace(known, name="")
    return GenotypeInfo("", genotype, "", darts_cifar, points=points_of(genotype))


def _write_json(noted: Noted) -> str:
    if isinstance(noted, Architecture):
        _check_skeleton(noted)
    if isinstance(noted, Architecture) and noted.space == "nb201":
        edges = {f"{j}<-{i}": noted[f"edge_{i}_{j}"] for j in range(1, 4) for i in range(j)}
        return json.dumps(edges)
    if isinstance(noted, Architecture) and noted.space == "nb101":
        return json.dumps(dict(zip(("module_adjacency", "module_operations"), write_nb101(noted), strict=True)))
    genotype = genotype_of(noted)
    cells = {name: list(getattr(genotype, name)) for name in FIELDS}
    for name in ("normal", "reduce"):
        cells[name] = [[THEIR_NAMES.get(op, op), state] for op, state in cells[name]]
    return json.dumps(cells)


def _write_nb101(noted: Noted) -> str:
    matrix, ops = write_nb101(point_of(noted, "nb101"))
    return f"ModelSpec(matrix={matrix}, ops={ops})"


def _on_genotype(write: Callable[[Genotype], str]) -> Callable[[Noted], str]:
    return lambda noted: write(genotype_of(noted))


register_notation(
    Notation(
        "darts",
        "Genotype(normal=[('sep_conv_3x3', 0), ...], ...)",
        cell_spellings.claims,
        partial(_info, cell_spellings.read),
        _on_genotype(write_genotype),
        ("darts", "nasnet"),
    )
)
register_notation(
    Notation(
        "nb201",
        "|nor_conv_3x3~0|+|...|",
        benchmark_cells.claims_nb201,
        benchmark_cells.read_nb201_value,
        lambda noted: write_nb201(point_of(noted, "nb201")),
        ("nb201",),
    )
)
register_notation(
    Notation(
        "nb101",
        "ModelSpec(matrix=[[...]], ops=[...])",
        benchmark_cells.claims_nb101,
        benchmark_cells.read_nb101_value,
        _write_nb101,
        ("nb101",),
    )
)
register_notation(
    Notation(
        "amoebanet",
        "normal_cell_operations = [...], ...",
        arcs.claims_hidden,
        partial(_info, arcs.read_hidden),
        _on_genotype(arcs.write_hidden),
    )
)
register_notation(
    Notation(
        "enas",
        "a micro arc, 0 2 0 0 ...",
        arcs.claims_enas,
        partial(_info, arcs.read_enas),
        _on_genotype(arcs.write_enas),
    )
)
register_notation(
    Notation(
        "json",
        "an object of the above",
        lambda value: False,
        lambda value: _info(cell_spellings.read, value),
        _write_json,
    )
)
