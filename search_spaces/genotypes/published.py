"""Published cells, as facts: what NASNet, AmoebaNet, PNASNet, ENAS, DARTS and its followers found.

A cell is written node by node: ``sep_conv_3x3~0 + skip_connect~1`` sums two operations, the first on state 0. States 0
and 1 are the outputs of the cell before the last and of the last, the first node makes state 2. Names of operations are
those of :data:`nas.space.operations.OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from nas.errors import SpaceError, unknown
from nas.graph import Add, Concat, Graph, GraphBuilder, Named
from nas.space.genotypes import GenotypeInfo, register_genotype
from nas.space.operations import OPERATIONS
from nas.space.scalable import PUBLISHED_SIZES, Sizes
from nas.types import Architecture
from search_spaces.skeletons.published import darts_cifar, nasnet_sized

Edge = tuple[str, int]
"""An operation and the state that it is applied to."""
CELLS = {"normal": 1, "reduction": 2}
"""The two cells, with the stride of operations on a cell's inputs."""


@dataclass(frozen=True)
class Genotype:
    """Two cells: the ``edges`` of each, two a node, and the states that its output concatenates.

    Raises :class:`SpaceError` for an unknown operation, a state that does not come before its node, an odd number of
    edges, or a concatenation of none.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_cell("normal", self.normal, self.normal_concat)
        _check_cell("reduce", self.reduce, self.reduce_concat)

    def cells(self) -> dict[str, Graph]:
        """Return the cells ``normal`` and ``reduction`` as graphs of named operations."""
        return {
            "normal": cell_graph(self.normal, self.normal_concat, CELLS["normal"]),
            "reduction": cell_graph(self.reduce, self.reduce_concat, CELLS["reduction"]),
        }

    def ordered(self) -> Genotype:
        """Return the same cells with the two edges of each node in the order of their states."""
        return Genotype(_ordered(self.normal), self.normal_concat, _ordered(self.reduce), self.reduce_concat)


def _check_cell(name: str, edges: Sequence[Edge], concat: Sequence[int]) -> None:
    if len(edges) % 2 or not edges:
        raise SpaceError(f"genotype: '{name}' needs two edges for every node, found {len(edges)}")
    for i, (op, state) in enumerate(edges):
        if op not in OPERATIONS:
            raise SpaceError(f"genotype: '{name}', edge {i}: {unknown('operation', str(op), OPERATIONS)}")
        _check_state(f"'{name}', edge {i}", state, i // 2 + 1)
    for state in concat:
        _check_state(f"'{name}_concat'", state, len(edges) // 2 + 1)
    if not concat or len(set(concat)) < len(concat):
        raise SpaceError(f"genotype: '{name}_concat' must be distinct states, at least one, found {list(concat)}")


def _check_state(where: str, state: object, last: int) -> None:
    if type(state) is not int or not 0 <= state <= last:
        raise SpaceError(f"genotype: {where}: a state from 0 to {last} is allowed here, found {state!r}")


def _ordered(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    nodes = (sorted(edges[i : i + 2], key=lambda edge: edge[1]) for i in range(0, len(edges), 2))
    return tuple(edge for node in nodes for edge in node)


def cell_graph(edges: Sequence[Edge], concat: Sequence[int], stride: int) -> Graph:
    """Return a cell of two inputs: nodes that sum two operations, those on the inputs with ``stride``."""
    b = GraphBuilder(inputs=2)
    states = list(b.inputs)
    for node in range(len(edges) // 2):
        terms = []
        for side, (op, state) in zip(("left", "right"), edges[2 * node : 2 * node + 2], strict=True):
            named = Named(op, stride if state < 2 else 1)
            terms.append(b(named, states[state], name=f"block{node}.{side}"))
        states.append(b(Add(), *terms, name=f"block{node}.sum"))
    return b.build(cell=b(Concat(any_order=True), *[states[i] for i in concat], name="concat"))


def _edges(text: str) -> tuple[Edge, ...]:
    pairs = (edge.split("~") for line in text.split("\n") if line.strip() for edge in line.split("+"))
    return tuple((op.strip(), int(state)) for op, state in pairs)


def _publish(
    name: str,
    source: str,
    normal: str,
    reduce: str,
    normal_concat: Sequence[int] = range(2, 6),
    reduce_concat: Sequence[int] = range(2, 6),
    *,
    skeleton: Callable[..., Graph] = darts_cifar,
    sizes: Sizes = PUBLISHED_SIZES,
) -> Genotype:
    """Register a genotype, by default on the networks of DARTS and at their sizes."""
    genotype = Genotype(_edges(normal), tuple(normal_concat), _edges(reduce), tuple(reduce_concat))
    register_genotype(GenotypeInfo(name, genotype, source, skeleton, sizes, points_of(genotype)))
    return genotype


def points_of(genotype: Genotype) -> dict[str, Callable[[], Architecture]]:
    """Return the spaces of which a genotype may be a point, and what tells the point or raises SpaceError."""
    return {space: partial(_as_point, genotype, space) for space in ("darts", "nasnet")}


def _as_point(genotype: Genotype, space: str) -> Architecture:
    # the notations are read with the spaces, which import the genotypes
    from search_spaces.genotypes.formats import to_architecture

    return to_architecture(genotype, space)


_NASNET = partial(nasnet_sized, reductions=0)
"""The skeleton of NASNet's authors for small images; for larger ones it is given ``reductions``."""
_NASNET_A = (
    """
    sep_conv_5x5~1 + sep_conv_3x3~0
    sep_conv_5x5~0 + sep_conv_3x3~0
    avg_pool_3x3~1 + skip_connect~0
    avg_pool_3x3~0 + avg_pool_3x3~0
    sep_conv_3x3~1 + skip_connect~1
    """,
    """
    sep_conv_5x5~1 + sep_conv_7x7~0
    max_pool_3x3~1 + sep_conv_7x7~0
    avg_pool_3x3~1 + sep_conv_5x5~0
    skip_connect~3 + avg_pool_3x3~2
    sep_conv_3x3~2 + max_pool_3x3~1
    """,
)
NASNET_A = _publish(
    "NASNet-A",
    "arXiv:1707.07012, figure 4; unused nodes are concatenated",
    *_NASNET_A,
    range(2, 7),
    range(4, 7),
    skeleton=_NASNET,
    sizes=((32, 6), (44, 4)),
)
NASNET_A_AUTHORS = _publish(
    "NASNet-A_authors",
    "arXiv:1707.07012; the authors' code concatenates the earlier input and a used node, too",
    *_NASNET_A,
    (0, 2, 3, 4, 5, 6),
    (3, 4, 5, 6),
    skeleton=_NASNET,
    sizes=((32, 6), (44, 4)),
)
AMOEBANET_A = _publish(
    "AmoebaNet-A",
    "arXiv:1802.01548",
    """
    avg_pool_3x3~0 + max_pool_3x3~1
    sep_conv_3x3~0 + sep_conv_5x5~2
    sep_conv_3x3~0 + avg_pool_3x3~3
    sep_conv_3x3~1 + skip_connect~1
    skip_connect~0 + avg_pool_3x3~1
    """,
    """
    avg_pool_3x3~0 + sep_conv_3x3~1
    max_pool_3x3~0 + sep_conv_7x7~2
    sep_conv_7x7~0 + avg_pool_3x3~1
    max_pool_3x3~0 + max_pool_3x3~1
    conv_1x7_7x1~0 + sep_conv_3x3~5
    """,
    (4, 5, 6),
    (3, 4, 6),
    skeleton=_NASNET,
    sizes=((36, 6), (50, 4)),
)
_PNASNET_5 = """
    sep_conv_5x5~0 + max_pool_3x3~0
    sep_conv_7x7~1 + max_pool_3x3~1
    sep_conv_5x5~1 + sep_conv_3x3~1
    sep_conv_3x3~4 + max_pool_3x3~1
    sep_conv_3x3~0 + skip_connect~1
    """
PNASNET_5 = _publish(
    "PNASNet-5",
    "arXiv:1712.00559, figure 1: one cell for both; all nodes are concatenated",
    _PNASNET_5,
    _PNASNET_5,
    range(2, 7),
    range(2, 7),
    skeleton=partial(_NASNET, strided_in=True),
    sizes=((48, 3), (54, 3)),
)
ENAS = _publish(
    "ENAS",
    "arXiv:1802.03268 (micro search space)",
    """
    avg_pool_3x3~0 + sep_conv_3x3~0
    skip_connect~0 + sep_conv_5x5~0
    skip_connect~0 + sep_conv_5x5~1
    sep_conv_3x3~1 + sep_conv_5x5~0
    avg_pool_3x3~0 + sep_conv_5x5~1
    """,
    """
    sep_conv_3x3~1 + sep_conv_3x3~1
    max_pool_3x3~0 + avg_pool_3x3~0
    sep_conv_5x5~1 + sep_conv_5x5~3
    sep_conv_3x3~1 + skip_connect~0
    max_pool_3x3~0 + sep_conv_5x5~1
    """,
    range(2, 7),
    (2, 4, 5, 6),
)
DARTS_V1 = _publish(
    "DARTS_V1",
    "arXiv:1806.09055, first order",
    """
    sep_conv_3x3~1 + sep_conv_3x3~0
    skip_connect~0 + sep_conv_3x3~1
    skip_connect~0 + sep_conv_3x3~1
    sep_conv_3x3~0 + skip_connect~2
    """,
    """
    max_pool_3x3~0 + max_pool_3x3~1
    skip_connect~2 + max_pool_3x3~0
    max_pool_3x3~0 + skip_connect~2
    skip_connect~2 + avg_pool_3x3~0
    """,
)
DARTS_V2 = _publish(
    "DARTS_V2",
    "arXiv:1806.09055, figures 4 and 5 (second order)",
    """
    sep_conv_3x3~0 + sep_conv_3x3~1
    sep_conv_3x3~0 + sep_conv_3x3~1
    sep_conv_3x3~1 + skip_connect~0
    skip_connect~0 + dil_conv_3x3~2
    """,
    """
    max_pool_3x3~0 + max_pool_3x3~1
    skip_connect~2 + max_pool_3x3~1
    max_pool_3x3~0 + skip_connect~2
    skip_connect~2 + max_pool_3x3~1
    """,
)
PC_DARTS_CIFAR = _publish(
    "PC_DARTS_cifar",
    "arXiv:1907.05737 (searched on CIFAR-10)",
    """
    sep_conv_3x3~1 + skip_connect~0
    sep_conv_3x3~0 + dil_conv_3x3~1
    sep_conv_5x5~0 + sep_conv_3x3~1
    avg_pool_3x3~0 + dil_conv_3x3~1
    """,
    """
    sep_conv_5x5~1 + max_pool_3x3~0
    sep_conv_5x5~1 + sep_conv_5x5~2
    sep_conv_3x3~0 + sep_conv_3x3~3
    sep_conv_3x3~1 + sep_conv_3x3~2
    """,
)
PC_DARTS_IMAGE = _publish(
    "PC_DARTS_image",
    "arXiv:1907.05737 (searched on ImageNet)",
    """
    skip_connect~1 + sep_conv_3x3~0
    sep_conv_3x3~0 + skip_connect~1
    sep_conv_3x3~1 + sep_conv_3x3~3
    sep_conv_3x3~1 + dil_conv_5x5~4
    """,
    """
    sep_conv_3x3~0 + skip_connect~1
    dil_conv_5x5~2 + max_pool_3x3~1
    sep_conv_3x3~2 + sep_conv_3x3~1
    sep_conv_5x5~0 + sep_conv_3x3~3
    """,
)
P_DARTS = _publish(
    "PDARTS",
    "arXiv:1904.12760 (searched on CIFAR-10)",
    """
    skip_connect~0 + dil_conv_3x3~1
    skip_connect~0 + sep_conv_3x3~1
    sep_conv_3x3~1 + sep_conv_3x3~3
    sep_conv_3x3~0 + dil_conv_5x5~4
    """,
    """
    avg_pool_3x3~0 + sep_conv_5x5~1
    sep_conv_3x3~0 + dil_conv_5x5~2
    max_pool_3x3~0 + dil_conv_3x3~1
    dil_conv_3x3~1 + dil_conv_5x5~3
    """,
)
GDAS_V1 = _publish(
    "GDAS_V1",
    "arXiv:1910.04465",
    """
    skip_connect~0 + skip_connect~1
    skip_connect~0 + sep_conv_5x5~2
    sep_conv_3x3~3 + skip_connect~0
    sep_conv_5x5~4 + sep_conv_3x3~3
    """,
    """
    sep_conv_5x5~0 + sep_conv_3x3~1
    sep_conv_5x5~2 + sep_conv_5x5~1
    dil_conv_5x5~2 + sep_conv_3x3~1
    sep_conv_5x5~0 + sep_conv_5x5~1
    """,
)
SETN = _publish(
    "SETN",
    "arXiv:1910.05733",
    """
    skip_connect~0 + sep_conv_5x5~1
    sep_conv_5x5~0 + sep_conv_3x3~1
    sep_conv_5x5~1 + sep_conv_5x5~3
    max_pool_3x3~1 + conv_1x3_3x1~4
    """,
    """
    sep_conv_3x3~0 + sep_conv_5x5~1
    avg_pool_3x3~0 + sep_conv_5x5~1
    avg_pool_3x3~0 + sep_conv_5x5~1
    avg_pool_3x3~0 + skip_connect~1
    """,
)
