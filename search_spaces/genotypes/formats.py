"""Genotypes and cells of the benchmarks as points of their spaces, and as their authors write them.

DARTS' ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=..., reduce_concat=...)``,
NAS-Bench-201's ``|nor_conv_3x3~0|+|...|`` and NAS-Bench-101's matrix and operations. What breaks a rule of them raises
:class:`SpaceError` with that rule. Other spellings are read by the modules beside this one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from nas.core.literals import shown
from nas.core.values import Value
from nas.errors import Infeasible, SpaceError
from nas.space import SPACES
from nas.types import Architecture
from search_spaces.genotypes.published import Edge, Genotype
from search_spaces.spaces import darts as darts_space
from search_spaces.spaces import nb101 as nb101_space

FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
THEIR_NAMES = {"conv_1x7_7x1": "conv_7x1_1x7", "conv_1x3_3x1": "conv_3x1_1x3"}
"""Our names of operations to those in DARTS' genotypes, which list the two convolutions the other way round."""
OUR_NAMES = {theirs: ours for ours, theirs in THEIR_NAMES.items()}
NB101_OPS = {"conv3x3": "conv3x3-bn-relu", "conv1x1": "conv1x1-bn-relu", "maxpool3x3": "maxpool3x3"}
"""Our names of operations to those of NAS-Bench-101's code."""
_NB201_EXAMPLE = "'|op~0|+|op~0|op~1|+|op~0|op~1|op~2|'"
_NB101_OURS = {theirs: ours for ours, theirs in NB101_OPS.items()}


def write_genotype(genotype: Genotype) -> str:
    """Return the genotype as DARTS writes it."""
    fields = []
    for name in FIELDS:
        value = getattr(genotype, name)
        if not name.endswith("concat"):
            value = [(THEIR_NAMES.get(op, op), state) for op, state in value]
        fields.append(f"{name}={list(value)}")
    return f"Genotype({', '.join(fields)})"


def to_architecture(genotype: Genotype, space: str = "darts") -> Architecture:
    """Return the genotype as a point of the space ``darts`` or ``nasnet``; one that is none raises SpaceError."""
    if space not in _WRITERS:
        raise SpaceError(f"genotypes are points of the spaces {' and '.join(_WRITERS)}, found '{space}'")
    architecture = _WRITERS[space](genotype)
    SPACES[space].with_args(dict(architecture.args)).describe(architecture)
    expected = genotype.ordered() if space == "darts" else genotype
    if from_architecture(architecture) != expected:
        raise SpaceError(f"the genotype is no point of space '{space}': its cells concatenate other states there")
    return architecture


def from_architecture(architecture: Architecture) -> Genotype:
    """Return the genotype of a point of the space ``darts`` or ``nasnet``."""
    if architecture.space not in _READERS:
        raise SpaceError(f"points of the spaces {' and '.join(_READERS)} have genotypes, found '{architecture.space}'")
    cells = [_READERS[architecture.space](architecture, kind) for kind in ("normal", "reduction")]
    return Genotype(cells[0][0], cells[0][1], cells[1][0], cells[1][1])


_Cell = tuple[tuple[Edge, ...], tuple[int, ...]]


def _to_darts(genotype: Genotype) -> Architecture:
    ordered = genotype.ordered()
    decisions: dict[str, Value] = {}
    for kind, edges in (("normal", ordered.normal), ("reduction", ordered.reduce)):
        if len(edges) != 2 * darts_space.NODES:
            raise SpaceError(f"space 'darts': a cell has {darts_space.NODES} nodes, found {len(edges) / 2:g}")
        for node in range(darts_space.NODES):
            (left, first), (right, second) = edges[2 * node : 2 * node + 2]
            decisions[f"{kind}.{node}.inputs"] = (first, second)
            decisions[f"{kind}.{node}.left.op"], decisions[f"{kind}.{node}.right.op"] = left, right
    return Architecture("darts", decisions)


def _from_darts(architecture: Architecture, kind: str) -> _Cell:
    edges: list[Edge] = []
    for node in range(darts_space.NODES):
        states = architecture[f"{kind}.{node}.inputs"]
        edges += [(architecture[f"{kind}.{node}.{s}.op"], i) for s, i in zip(("left", "right"), states, strict=True)]
    return tuple(edges), tuple(range(2, darts_space.NODES + 2))


def _to_nasnet(genotype: Genotype) -> Architecture:
    if len(genotype.normal) != len(genotype.reduce):
        raise SpaceError("space 'nasnet': both cells have as many nodes as each other")
    decisions: dict[str, Value] = {}
    for kind, edges in (("normal", genotype.normal), ("reduction", genotype.reduce)):
        for i, (op, state) in enumerate(edges):
            name = f"{kind}.{i // 2}.{('left', 'right')[i % 2]}"
            decisions[f"{name}.input"] = state
            decisions[f"{name}.op"] = "identity" if op == "skip_connect" else op
    return Architecture("nasnet", decisions, (("nodes", len(genotype.normal) // 2),))


def _from_nasnet(architecture: Architecture, kind: str) -> _Cell:
    edges: list[Edge] = []
    nodes = dict(architecture.args).get("nodes", 5)
    for name in (f"{kind}.{node}.{side}" for node in range(nodes) for side in ("left", "right")):
        op = architecture[f"{name}.op"]
        edges.append(("skip_connect" if op == "identity" else op, architecture[f"{name}.input"]))
    used = {state for _, state in edges}
    return tuple(edges), tuple(state for state in range(2, nodes + 2) if state not in used)


_WRITERS: Mapping[str, Callable[[Genotype], Architecture]] = {"darts": _to_darts, "nasnet": _to_nasnet}
_READERS: Mapping[str, Callable[[Architecture, str], _Cell]] = {"darts": _from_darts, "nasnet": _from_nasnet}


def read_nb201(text: str) -> Architecture:
    """Read NAS-Bench-201's ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` as a point of the space ``nb201``."""
    architecture = Architecture(
        "nb201", {f"edge_{i}_{j}": op for j, edges in enumerate(_nb201_nodes(text), 1) for op, i in edges}
    )
    SPACES["nb201"].describe(architecture)
    return architecture


def write_nb201(architecture: Architecture) -> str:
    """Return a point of the space ``nb201`` as the benchmark writes it."""
    if architecture.space != "nb201":
        raise SpaceError(f"an architecture of space 'nb201' has such a string, found one of '{architecture.space}'")
    nodes = ("".join(f"|{architecture[f'edge_{i}_{j}']}~{i}" for i in range(j)) + "|" for j in range(1, 4))
    return "+".join(nodes)


def _nb201_nodes(text: str) -> list[list[tuple[str, int]]]:
    nodes = []
    for j, part in enumerate(text.strip().split("+"), 1):
        edges = re.fullmatch(r"\|((?:[a-z0-9_]+~\d\|)+)", part)
        found = [edge.split("~") for edge in edges[1].strip("|").split("|")] if edges else []
        if [int(i) for _, i in found] != list(range(j)):
            raise SpaceError(f"not a NAS-Bench-201 cell: {_NB201_EXAMPLE} is read, found {shown(text)}")
        nodes.append([(op, int(i)) for op, i in found])
    if len(nodes) != 3:
        raise SpaceError(f"not a NAS-Bench-201 cell: it has three nodes, found {len(nodes)}")
    return nodes


def unique_str(text: str, zeros: bool = False) -> str:
    """Return NAS-Bench-201's own string of a cell (``to_unique_str``): skips are folded, with ``zeros`` zeros too.

    It is not the canonical key: it writes shared nodes twice, keeps nested sums and a zero beside other terms, so the
    15,625 cells have 12,751 strings (6,466 with ``zeros``) where 11,870 (5,425) are different. arXiv:2001.00326.
    """
    strings = ["0"]
    for edges in _nb201_nodes(text):
        terms = []
        for op, i in edges:
            vanishes = zeros and (op == "none" or strings[i] == "#")
            plain = strings[i] if op == "skip_connect" else f"({strings[i]})@{op}"
            terms.append("#" if vanishes else plain)
        strings.append("+".join(sorted(terms)))
    return strings[-1]


def read_nb101(matrix: Sequence[Sequence[int]], ops: Sequence[str]) -> Architecture:
    """Read NAS-Bench-101's V x V ``matrix`` and V ``ops``, "input" first and "output" last, as a point of ``nb101``."""
    size, vertices = len(matrix), nb101_space.VERTICES
    if not 2 <= size <= vertices or any(len(row) != size for row in matrix):
        raise SpaceError(f"NAS-Bench-101: the matrix must be square, of 2 to {vertices} vertices")
    entries = {(i, j): matrix[i][j] for i in range(size) for j in range(size)}
    if any(value not in (0, 1) or (value and i >= j) for (i, j), value in entries.items()):
        raise SpaceError("NAS-Bench-101: the matrix must be of 0 and 1, and 0 on and below its diagonal")
    if len(ops) != size or ops[0] != "input" or ops[-1] != "output":
        raise SpaceError(f"NAS-Bench-101: 'input', an operation a vertex and 'output' are needed, found {list(ops)}")
    # a smaller cell leaves the vertices before the output without edges
    place = [*range(size - 1), vertices - 1]
    edges = {(place[i], place[j]): int(value) for (i, j), value in entries.items()}
    inner = [_NB101_OURS.get(op, op) for op in ops[1:-1]] + [nb101_space.OPERATIONS[0]] * (vertices - size)
    names = [(i, j) for i in range(vertices) for j in range(i + 1, vertices)]
    decisions: dict[str, Value] = {f"edge_{i}_{j}": edges.get((i, j), 0) for i, j in names}
    decisions |= {f"op_{v}": op for v, op in enumerate(inner, 1)}
    architecture = Architecture("nb101", decisions)
    _describe_nb101(architecture)
    return architecture


def write_nb101(architecture: Architecture) -> tuple[list[list[int]], list[str]]:
    """Return a point of ``nb101`` as the benchmark's matrix and operations, without vertices that lie on no path."""
    if architecture.space != "nb101":
        raise SpaceError(f"an architecture of space 'nb101' has such a matrix, found one of '{architecture.space}'")
    cell = _describe_nb101(architecture)
    return [list(row) for row in cell.matrix], ["input", *(NB101_OPS[op] for op in cell.ops), "output"]


def _describe_nb101(architecture: Architecture) -> nb101_space.Nb101Cell:
    try:
        cell: nb101_space.Nb101Cell = SPACES["nb101"].describe(architecture)
    except Infeasible as error:
        raise SpaceError(f"NAS-Bench-101: {error}") from None
    return cell
