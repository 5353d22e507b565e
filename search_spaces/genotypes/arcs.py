"""Two cells as lists of numbers: the arcs of ENAS' micro search space, and NASNet's and AmoebaNet's hidden states."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.literals import shown
from nas.errors import SpaceError, unknown
from search_spaces.genotypes.cell_spellings import KINDS, MOST_NODES
from search_spaces.genotypes.published import Edge, Genotype

ENAS_OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
"""By their number in the authors' code."""
HIDDEN_OPERATIONS = {
    "none": "skip_connect",
    "separable_3x3_2": "sep_conv_3x3",
    "separable_5x5_2": "sep_conv_5x5",
    "separable_7x7_2": "sep_conv_7x7",
    "avg_pool_3x3": "avg_pool_3x3",
    "max_pool_3x3": "max_pool_3x3",
    "max_pool_5x5": "max_pool_5x5",
    "max_pool_7x7": "max_pool_7x7",
    "1x1": "conv_1x1",
    "3x3": "conv_3x3",
    "1x3_3x1": "conv_1x3_3x1",
    "1x7_7x1": "conv_1x7_7x1",
}
"""Our names of operations by those of the TensorFlow code of NASNet and AmoebaNet, where "none" passes on."""
_HIDDEN_FIELDS = ("operations", "hiddenstate_indices", "used_hiddenstates")
_NUMBERS = re.compile(r"[\d\s,\[\]]+")
_WITHOUT_COMMA = re.compile(r"\d\s+\d")
_FIXED_ARC = re.compile(r"""fixed_arc\s*=\s*["']?([^"'\n]*)""")
_COMMENT = re.compile(r"#.*")


def claims_enas(value: Any) -> bool:
    """Return whether a text is numbers alone, or assigns ``fixed_arc``, as ENAS' scripts do; or one or two lists."""
    if isinstance(value, list):
        halves = len(value) == 2 and all(isinstance(half, list) for half in value)
        numbers = [number for half in value for number in half] if halves else value
        return len(numbers) >= 8 and all(type(number) is int for number in numbers)
    if not isinstance(value, str):
        return False
    alone = _NUMBERS.fullmatch(value) and _WITHOUT_COMMA.search(value)
    return alone is not None or _FIXED_ARC.search(_COMMENT.sub("", value)) is not None


def read_enas(value: Any) -> Genotype:
    """Read an arc: four numbers a node (input, operation, input, operation), the normal cell's and the reduction's."""
    text = str(value) if isinstance(value, list) else _COMMENT.sub("", value)
    text = " ".join(_FIXED_ARC.findall(text)) or text
    numbers = [int(number) for number in re.findall(r"\d+", text)[: 8 * MOST_NODES + 1] if len(number) < 4]
    if len(numbers) % 8 or not 8 <= len(numbers) <= 8 * MOST_NODES:
        rule = "a micro arc has eight numbers a node, four for each cell"
        many = len(numbers) if len(numbers) <= 8 * MOST_NODES else f"more than {8 * MOST_NODES}"
        raise SpaceError(f"ENAS: {rule}, found {many} numbers; macro arcs, of layers instead of cells, are not read")
    cells: dict[str, Any] = {}
    for kind, half in zip(KINDS, (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]), strict=True):
        for i, op in enumerate(half[1::2]):
            if op >= len(ENAS_OPERATIONS):
                known = ", ".join(f"{number} {name}" for number, name in enumerate(ENAS_OPERATIONS))
                raise SpaceError(f"ENAS: '{kind}', edge {i}: unknown operation {op} (known: {known})")
        edges = [(ENAS_OPERATIONS[op], state) for state, op in zip(half[::2], half[1::2], strict=True)]
        cells[kind], cells[f"{kind}_concat"] = tuple(edges), _unused(edges)
    return Genotype(**cells)


def write_enas(genotype: Genotype) -> str:
    """Return the arc; cells with other operations, of different sizes or that concatenate others have none."""
    if len(genotype.normal) != len(genotype.reduce):
        raise SpaceError("ENAS: both cells have as many nodes as each other")
    numbers = []
    for kind in KINDS:
        edges = getattr(genotype, kind)
        if sorted(getattr(genotype, f"{kind}_concat")) != list(_unused(edges)):
            raise SpaceError(f"ENAS: a cell concatenates the states that no node uses; '{kind}' concatenates others")
        for op, state in edges:
            op = "skip_connect" if op == "identity" else op
            if op not in ENAS_OPERATIONS:
                raise SpaceError(f"ENAS: '{kind}': {unknown('operation', op, ENAS_OPERATIONS)}")
            numbers += [state, ENAS_OPERATIONS.index(op)]
    return " ".join(map(str, numbers))


def _unused(edges: Sequence[Edge]) -> tuple[int, ...]:
    used = {state for _, state in edges}
    return tuple(state for state in range(len(edges) // 2 + 2) if state not in used)


def claims_hidden(value: Any) -> bool:
    """Return whether an object has ``normal_cell_operations`` and the like, also one object of them for each cell."""
    return isinstance(value, Mapping) and all(_hidden_cell(value, kind) for kind in KINDS)


def _hidden_cell(value: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    """Return the fields of a cell, {} where it has none."""
    for name in ("normal",) if kind == "normal" else ("reduction", "reduce"):
        for cell in (name, f"{name}_cell"):
            held = value.get(cell)
            inner = held if isinstance(held, Mapping) else {f: value.get(f"{cell}_{f}") for f in _HIDDEN_FIELDS}
            if all(isinstance(inner.get(f), list) for f in _HIDDEN_FIELDS):
                return dict(inner)
    return {}


def read_hidden(value: Any) -> Genotype:
    """Read operations, the states they are applied to (0 is the last cell's output) and which are not concatenated."""
    cells: dict[str, Any] = {}
    for kind in KINDS:
        ops, states, used = (_hidden_cell(value, kind)[name] for name in _HIDDEN_FIELDS)
        if not len(ops) == len(states) == 2 * len(used) - 4 or not 0 < len(ops) <= 2 * MOST_NODES:
            rule = f"two operations and two states a node and a flag a state, of at most {MOST_NODES} nodes"
            found = f"{len(ops)} operations, {len(states)} states and {len(used)} flags"
            raise SpaceError(f"NASNet and AmoebaNet: '{kind}': {rule} are needed, found {found}")
        for op in ops:
            if op not in HIDDEN_OPERATIONS:
                raise SpaceError(f"NASNet and AmoebaNet: '{kind}': {unknown('operation', str(op), HIDDEN_OPERATIONS)}")
        if any(flag not in (0, 1) for flag in used):
            raise SpaceError(f"NASNet and AmoebaNet: '{kind}': flags of used states are 0 or 1, found {shown(used)}")
        edges = [(HIDDEN_OPERATIONS[op], _swapped(state)) for op, state in zip(ops, states, strict=True)]
        cells[kind] = tuple(edges)
        cells[f"{kind}_concat"] = tuple(sorted(_swapped(state) for state, flag in enumerate(used) if not flag))
    return Genotype(**cells)


def write_hidden(genotype: Genotype) -> str:
    """Return both cells as six lists, one a line; an operation that the notation has no name for is refused."""
    names = {ours: theirs for theirs, ours in HIDDEN_OPERATIONS.items()} | {"identity": "none"}
    lines = []
    for kind, cell in zip(KINDS, ("normal", "reduction"), strict=True):
        edges, concat = getattr(genotype, kind), getattr(genotype, f"{kind}_concat")
        for op, _ in edges:
            if op not in names:
                raise SpaceError(f"NASNet and AmoebaNet: '{kind}': {unknown('operation', op, names)}")
        used = [int(_swapped(state) not in concat) for state in range(len(edges) // 2 + 2)]
        lists = ([names[op] for op, _ in edges], [_swapped(state) for _, state in edges], used)
        lines += [f"{cell}_cell_{name} = {held}" for name, held in zip(_HIDDEN_FIELDS, lists, strict=True)]
    return "\n".join(lines)


def _swapped(state: Any) -> Any:
    """Return the other number of an input: that code counts the last cell's output first."""
    return {0: 1, 1: 0}.get(state, state) if type(state) is int else state
