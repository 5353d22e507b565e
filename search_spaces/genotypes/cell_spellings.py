"""The spellings of two cells, a normal and a reduction cell, in the public repositories of the field.

Besides DARTS' ``Genotype(...)``, flat or nested by node, as a call, an object or a tuple, the dictionaries of NNI, of
NNI's table of NDS and of NASBench-301's ConfigSpace. Values come from :func:`nas.core.literals.named_values`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.literals import Call, Expression, shown
from nas.errors import SpaceError
from search_spaces.genotypes.formats import FIELDS, OUR_NAMES
from search_spaces.genotypes.published import Edge, Genotype

MOST_NODES = 12
"""The most nodes of a cell that are read."""
KINDS = ("normal", "reduce")
_OPERATIONS = OUR_NAMES | {
    "skipconnect": "skip_connect",
    "maxpool": "max_pool_3x3",
    "avgpool": "avg_pool_3x3",
    "sepconv3x3": "sep_conv_3x3",
    "sepconv5x5": "sep_conv_5x5",
    "dilconv3x3": "dil_conv_3x3",
    "dilconv5x5": "dil_conv_5x5",
    "dil_sep_conv_3x3": "dil_conv_3x3",
    "dil_sep_conv_5x5": "dil_conv_5x5",
}
"""Our names of operations by those of DARTS, of NNI 1.x and of NNI's table of NDS."""
_OTHER_FIELDS = {
    "normal_cell": "normal",
    "reduction": "reduce",
    "reduce_cell": "reduce",
    "reduction_cell": "reduce",
    "reduction_concat": "reduce_concat",
}
_SIDES = (re.compile(r"(normal|reduce)/(op|input)_(\d+)_(\d)"), re.compile(r"(normal|reduce)_(\d+)_(op|input)_([xy])"))
"""NNI's ``normal/op_2_0`` and ``normal/input_2_0``, and ``normal_0_op_x`` and ``normal_0_input_x`` of its NDS."""
_PREDECESSOR = re.compile(r"(normal|reduce)_n(\d+)_p(\d+)")
"""``normal_n2_p0`` of NNI 1.x: the operation on state 0 in node 2; ``normal_n2_switch`` says which are chosen."""
_SURROGATE = re.compile(r"(?:.*:)?(edge|inputs_node)_(normal|reduce)_(\d+)")
"""NASBench-301's ``NetworkSelectorDatasetInfo:darts:edge_normal_0`` and ``...:inputs_node_normal_3``."""
_KEYS = (*_SIDES, _PREDECESSOR, _SURROGATE)


def claims(value: Any) -> bool:
    """Return whether a value is written as two cells, right or wrong."""
    if isinstance(value, Call):
        return re.fullmatch(r"Genotype\d?", value.name) is not None
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        if any(pattern.fullmatch(key) for key in keys for pattern in _KEYS):
            return True
        named = {_OTHER_FIELDS.get(str(key), str(key)): held for key, held in value.items()}
        return all(isinstance(named.get(kind), list) for kind in KINDS)
    return isinstance(value, list) and len(value) in (2, 4) and _is_cell(value[0]) and _is_cell(value[len(value) // 2])


def _is_cell(value: Any) -> bool:
    edges = value if isinstance(value, list) else []
    pairs = [pair for edge in edges for pair in (edge if isinstance(edge, list) and _is_pairs(edge) else [edge])]
    return bool(pairs) and _is_pairs(pairs)


def _is_pairs(value: Sequence[Any]) -> bool:
    parts = [pair if isinstance(pair, list) and len(pair) == 2 else [None] for pair in value]
    return all(isinstance(part, str | int) for pair in parts for part in pair)


def read(value: Any) -> Genotype:
    """Return the genotype that a claimed value is; one that breaks a rule raises :class:`SpaceError`."""
    if isinstance(value, Mapping) and any(pattern.fullmatch(str(key)) for key in value for pattern in _KEYS):
        return _keyed(value)
    if isinstance(value, Call):
        if value.fields and value.args:
            raise SpaceError("genotype: give its fields by name or in order, not both")
        given = dict(value.fields) or dict(zip(FIELDS, value.args, strict=False))
        # AutoDL-Projects has two more, which no network uses
        given = {name: held for name, held in given.items() if held is not None}
        if not set(KINDS) <= set(given) <= set(FIELDS) or len(value.args) > len(FIELDS):
            raise SpaceError(f"genotype: its fields are {', '.join(FIELDS)}, found {', '.join(given) or 'none'}")
    elif isinstance(value, Mapping):
        given = {_OTHER_FIELDS.get(str(name), str(name)): held for name, held in value.items()}
    else:
        given = dict(zip(FIELDS if len(value) == 4 else KINDS, value, strict=True))
    cells: dict[str, Any] = {}
    for kind in KINDS:
        cells[kind] = edges = _edges(kind, given[kind])
        cells[f"{kind}_concat"] = _states(f"{kind}_concat", given.get(f"{kind}_concat"), len(edges) // 2)
    return Genotype(**cells)


def _edges(name: str, value: Any) -> tuple[Edge, ...]:
    """Return the edges of a cell, which are listed one by one or node by node; a number after a pair is passed over."""
    pairs = value
    if isinstance(value, list) and value and all(isinstance(n, list) and n and isinstance(n[0], list) for n in value):
        for number, node in enumerate(value):
            if len(node) != 2:
                raise SpaceError(f"genotype: '{name}', node {number + 2}: a node has two edges, found {len(node)}")
        pairs = [pair for node in value for pair in node]
    if isinstance(value, Expression | Call):
        raise SpaceError(f"genotype: '{name}' must be plain numbers and names, found {shown(value)}")
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) in (2, 3) for pair in pairs):
        raise SpaceError(f"genotype: '{name}' is a list of pairs (operation, state), found {shown(value)}")
    if len(pairs) > 2 * MOST_NODES:
        raise SpaceError(f"genotype: '{name}' has {len(pairs):,} edges; at most {MOST_NODES} nodes of two are read")
    edges = []
    for i, (op, state, *rest) in enumerate(pairs):
        if isinstance(state, str) and type(op) is int:
            op, state = state, op
        if isinstance(op, int) and isinstance(state, int):
            rule = "repositories number operations differently, so write their names"
            raise SpaceError(f"genotype: '{name}', edge {i}: {rule}, found {shown(pairs[i])}")
        if not isinstance(op, str):
            raise SpaceError(f"genotype: '{name}' is a list of pairs (operation, state), found {shown(value)}")
        # a third entry is a weight of the search, or the node that the edge leads to
        if rest and type(rest[0]) is int and rest[0] != i // 2 + 2:
            raise SpaceError(f"genotype: '{name}', edge {i}: it leads to node {i // 2 + 2}, found {rest[0]}")
        edges.append((_OPERATIONS.get(op, op), state))
    return tuple(edges)


def _states(name: str, value: Any, nodes: int) -> tuple[int, ...]:
    """Return the states that a cell concatenates: all of its nodes where nothing is said."""
    if value is None:
        return tuple(range(2, nodes + 2))
    if isinstance(value, Expression | Call):
        raise SpaceError(f"genotype: '{name}' must be plain numbers, found {shown(value)}")
    if not isinstance(value, list):
        raise SpaceError(f"genotype: '{name}' is a list of states or a range, found {shown(value)}")
    return tuple(value)


def _keyed(value: Mapping[str, Any]) -> Genotype:
    """Return the genotype of an object with a key for every operation and input."""
    cells: dict[str, Any] = {}
    for kind in KINDS:
        edges = _by_side(value, kind) or _by_predecessor(value, kind) or _by_surrogate(value, kind)
        nodes = sorted({node for node, _ in edges})
        if not nodes or nodes != list(range(nodes[0], nodes[0] + len(nodes))) or len(nodes) > MOST_NODES:
            found = f"nodes {', '.join(map(str, nodes[:MOST_NODES]))}" if nodes else "none"
            raise SpaceError(f"genotype: '{kind}' has 1 to {MOST_NODES} nodes that follow on each other, found {found}")
        by_node = [[list(edge) for number, edge in edges if number == node] for node in nodes]
        cells[kind] = _edges(kind, by_node)
        used = {state for _, state in cells[kind]}
        # NNI concatenates all nodes in its space of DARTS, which has four, and those that no node uses in the others
        loose = [state for state in range(2, len(nodes) + 2) if len(nodes) == 4 or state not in used]
        cells[f"{kind}_concat"] = tuple(value.get(f"{kind}_concat", loose))
    return Genotype(**cells)


def _by_side(value: Mapping[str, Any], kind: str) -> list[tuple[int, tuple[Any, Any]]]:
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for key, held in value.items():
        if match := _SIDES[0].fullmatch(str(key)):
            cell, what, node, side = match.groups()
        elif match := _SIDES[1].fullmatch(str(key)):
            cell, node, what, side = match.groups()
        if match and cell == kind:
            found.setdefault((int(node), side), {})[what] = held[0] if isinstance(held, list) and held else held
    for (node, side), edge in found.items():
        if len(edge) < 2:
            raise SpaceError(f"genotype: '{kind}', node {node}, {side}: an operation and an input are needed")
    return [(node, (edge["op"], edge["input"])) for (node, _), edge in sorted(found.items())]


def _by_predecessor(value: Mapping[str, Any], kind: str) -> list[tuple[int, tuple[Any, Any]]]:
    edges = []
    for key, op in value.items():
        match = _PREDECESSOR.fullmatch(str(key))
        if match and match[1] == kind and op and key in value.get(f"{kind}_n{match[2]}_switch", [key]):
            edges.append((int(match[2]), (op[0] if isinstance(op, list) else op, int(match[3]))))
    return sorted(edges, key=lambda edge: (edge[0], edge[1][1]))


def _by_surrogate(value: Mapping[str, Any], kind: str) -> list[tuple[int, tuple[Any, Any]]]:
    given = {match.groups(): held for key, held in value.items() if (match := _SURROGATE.fullmatch(str(key)))}
    edges, first = [], 0
    for node in range(2, 6) if any(cell == kind for _, cell, _ in given) else ():
        # edges are numbered node by node; the first node has both inputs
        states = str(given.get(("inputs_node", kind, str(node)), "0_1" if node == 2 else "")).split("_")
        for state in states:
            number = first + int(state) if re.fullmatch(r"[0-4]", state) else -1
            if ("edge", kind, str(number)) not in given or int(state) >= node:
                rule = f"'inputs_node_{kind}_{node}' names two earlier states whose edges have an operation"
                raise SpaceError(f"genotype: {rule}, found {shown('_'.join(states))}")
            edges.append((node, (given["edge", kind, str(number)], int(state))))
        first += node
    return edges
