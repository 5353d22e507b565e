"""The spellings of the cells of NAS-Bench-101 and NAS-Bench-201 in the public repositories of the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nas.core.literals import Call, Expression, shown
from nas.errors import SpaceError
from nas.space import SPACES
from nas.types import Architecture
from search_spaces.genotypes.formats import NB101_OPS, read_nb101, read_nb201
from search_spaces.spaces.nb101 import VERTICES
from search_spaces.spaces.nb201 import OPERATIONS as NB201_OPERATIONS

_MATRIX = ("matrix", "module_adjacency", "adjacency_matrix", "adjacency", "adj_matrix", "adj")
_OPS = ("ops", "module_operations", "operations", "labels")
_NB101_KEYS = re.compile(r"op_node_\d|(op|input)[1-6]")
"""``op_node_0`` beside ``edge_0`` of the ConfigSpace of automl's benchmarks; ``op1`` and ``input1`` of NNI's."""
_CELL = re.compile(r"(?:\|[^|\s~]{1,99}~\d){1,9}\|(?:\+(?:\|[^|\s~]{1,99}~\d){1,9}\|){0,9}")
_EDGE = re.compile(r"(?:edge_)?(\d)(_|<-)(\d)")
"""``1<-0`` of the benchmark's own code, ``0_1`` of NNI's."""
NASLIB = {
    "Identity": "skip_connect",
    "Zero": "none",
    "ReLUConvBN3x3": "nor_conv_3x3",
    "ReLUConvBN1x1": "nor_conv_1x1",
    "AvgPool1x1": "avg_pool_3x3",
}
"""The benchmark's names by NASLib's, in the order of NASLib's numbers."""
_NB201_OTHERS = NASLIB | {"conv_3x3": "nor_conv_3x3", "conv_1x1": "nor_conv_1x1", "zero": "none"}
_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The order of the benchmark's strings."""
_NUMBERINGS = {
    "nats": (NB201_OPERATIONS, _EDGES),
    "naslib": (tuple(NASLIB.values()), tuple(sorted(_EDGES))),
    "op_indices": (tuple(NASLIB.values()), tuple(sorted(_EDGES))),
}
"""What six numbers mean: the operations by their number, and the edges in their order."""


def claims_nb201(value: Any) -> bool:
    """Return whether a value, or a text, is written as a cell of NAS-Bench-201, right or wrong."""
    if isinstance(value, Call):
        return value.name == "Structure"
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        six = sum(_EDGE.fullmatch(key) is not None for key in keys) == 6
        return six or any(isinstance(value.get(name), list) for name in _NUMBERINGS)
    if isinstance(value, list):
        names = len(value) == 6 and (_all(value, int) or (_all(value, str) and {*value} & {*NB201_OPERATIONS, *NASLIB}))
        return bool(names) or (len(value) == 3 and all(map(_is_node, value)))
    return isinstance(value, str) and _CELL.search(value) is not None


def _all(values: list[Any], kind: type) -> bool:
    return all(type(value) is kind for value in values)


def _is_node(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, list) and len(e) == 2 for e in value)


def read_nb201_value(value: Any) -> Architecture:
    """Return the cell that a claimed value is: a string, edges node by node, an object of edges, six names or numbers.

    An edge that is not mentioned is "none". Six numbers mean other cells in other repositories, so they are refused
    without the name of a numbering, ``nats=[...]`` or ``naslib=[...]``.
    """
    if isinstance(value, str):
        return read_nb201(_CELL.findall(value)[-1])
    if isinstance(value, Call):
        value = value.args[0] if value.args else []
    if isinstance(value, list) and _all(value, int):
        both = "nats=[...] for the benchmark's own order or naslib=[...] for NASLib's"
        raise SpaceError(f"NAS-Bench-201: six numbers are other cells in other repositories; write {both}")
    ops: dict[tuple[int, int], Any] = {}
    numbering = next((name for name in _NUMBERINGS if isinstance(value, Mapping) and name in value), None)
    if numbering is not None:
        (operations, edges), numbers = _NUMBERINGS[numbering], value[numbering]
        if len(numbers) != 6 or any(type(n) is not int or n not in range(5) for n in numbers):
            raise SpaceError(f"NAS-Bench-201: six numbers from 0 to 4 are needed, found {shown(numbers)}")
        ops = {edge: operations[number] for edge, number in zip(edges, numbers, strict=True)}
    elif isinstance(value, Mapping):
        for key, op in value.items():
            if match := _EDGE.fullmatch(str(key)):
                ends = int(match[1]), int(match[3])
                ops[ends if match[2] == "_" else ends[::-1]] = op
    elif len(value) == 6:
        edges = tuple(sorted(_EDGES)) if {*value} & {*NASLIB} else _EDGES
        ops = dict(zip(edges, value, strict=True))
    else:
        if len(value) != 3 or not all(map(_is_node, value)):
            raise SpaceError(f"not a NAS-Bench-201 cell: it has three nodes of pairs, found {shown(value)}")
        ops = {(i, j): op for j, node in enumerate(value, 1) for op, i in node if type(i) is int}
        if len(ops) != sum(map(len, value)):
            raise SpaceError(f"NAS-Bench-201: a pair is an operation and an earlier node, found {shown(value)}")
    for i, j in ops:
        if (i, j) not in _EDGES:
            raise SpaceError(f"NAS-Bench-201: edges lead from a node to a later one of 0 to 3, found {i} to {j}")
    decisions = {f"edge_{i}_{j}": _nb201_name(ops.get((i, j), "none")) for i, j in _EDGES}
    architecture = Architecture("nb201", decisions)
    SPACES["nb201"].describe(architecture)
    return architecture


def _nb201_name(op: Any) -> Any:
    return _NB201_OTHERS.get(op, op) if isinstance(op, str) else shown(op)


def claims_nb101(value: Any) -> bool:
    """Return whether a value is written as a cell of NAS-Bench-101, right or wrong."""
    if isinstance(value, Call):
        return value.name == "ModelSpec"
    if isinstance(value, Mapping):
        keyed = sum(_NB101_KEYS.fullmatch(str(key)) is not None for key in value) >= 2
        return keyed or (any(name in value for name in _MATRIX) and any(name in value for name in _OPS))
    # a matrix and names, and nothing else
    return isinstance(value, list) and len(value) == 2 and _is_matrix(value[0]) and isinstance(value[1], list)


def _is_matrix(value: Any) -> bool:
    rows = value if isinstance(value, list) else [None]
    return all(isinstance(row, list) and row and not isinstance(row[0], list | str) for row in rows)


def read_nb101_value(value: Any) -> Architecture:
    """Return the cell that a claimed value is: a matrix and operations, or an object with a key for each decision."""
    if isinstance(value, Mapping) and not any(name in value for name in _MATRIX):
        matrix, ops = _keyed_nb101(value)
    else:
        if isinstance(value, Call):
            value = dict(zip(("matrix", "ops"), value.args, strict=False)) | dict(value.fields)
        if isinstance(value, Mapping):
            value = [next((value[n] for n in names if n in value), None) for names in (_MATRIX, _OPS)]
        matrix, ops = value if len(value) == 2 else (None, None)
    # names may be those of constants, such as CONV3X3 in the benchmark's example
    names = [_nb101_name(op) for op in ops] if isinstance(ops, list) else []
    if not isinstance(matrix, list) or not _is_matrix(matrix) or not names or None in names:
        rule = "a 'matrix', a list of rows, and 'ops', names, are read"
        raise SpaceError(f"not a NAS-Bench-101 cell: {rule}, found {shown([matrix, ops])}")
    return read_nb101(matrix, [str(name) for name in names])


def _nb101_name(op: Any) -> str | None:
    name = op.code.rpartition(".")[2] if isinstance(op, Expression) else op
    if not isinstance(name, str):
        return None
    folded = name.lower()
    return folded if folded in (*NB101_OPS, *NB101_OPS.values(), "input", "output") else name


def _keyed_nb101(value: Mapping[str, Any]) -> tuple[Any, Any]:
    if "input1" in value:
        size = 1 + sum(re.fullmatch(r"input\d", str(key)) is not None for key in value)
        matrix = [[0] * size for _ in range(size)]
        for target in range(1, size):
            sources = value.get(f"input{target}")
            if not isinstance(sources, list) or any(s not in range(target) for s in sources):
                rule = f"'input{target}' is a list of earlier vertices"
                raise SpaceError(f"NAS-Bench-101: {rule}, found {shown(sources)}")
            for source in sources:
                matrix[source][target] = 1
        return matrix, ["input", *(value.get(f"op{v}") for v in range(1, size - 1)), "output"]
    matrix = [[0] * VERTICES for _ in range(VERTICES)]
    pairs = [(i, j) for i in range(VERTICES) for j in range(i + 1, VERTICES)]
    for number, (i, j) in enumerate(pairs):
        matrix[i][j] = value.get(f"edge_{number}", 0)
    return matrix, ["input", *(value.get(f"op_node_{v}") for v in range(VERTICES - 2)), "output"]
