"""The spaces on which searchers are tried: small enough to be searched to the end, one of each kind, and one large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.errors import Infeasible
from nas.graph import Add, Graph, GraphBuilder, Named
from nas.space import SPACES, Cells, Choose, Space
from nas.space.space import decisions_key
from nas.types import Architecture, Candidate

TASK = Task("test", (3, 8, 8), 10)


@dataclass(frozen=True)
class Case:
    """A space to search."""

    name: str
    function: Callable[..., object]
    trials: int
    """Evaluations of a short search: few enough that others are always left."""

    def space(self) -> Space:
        """Return a new space, as a fresh process has it: it remembers nothing of other searches."""
        return Space(self.name, self.function)

    @cached_property
    def points(self) -> tuple[Architecture, ...]:
        """All architectures, in order."""
        return tuple(self.space().enumerate())

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of all architectures: one for those that are the same network."""
        return frozenset(map(self.space().key, self.points))

    @cached_property
    def costs(self) -> tuple[int, ...]:
        """The parameters of all architectures, ascending."""
        return tuple(sorted(map(params, self.points)))


def prepared(space: Space, architecture: Architecture) -> Candidate:
    """Return the key of an architecture and a cost that is made up from its decisions; nothing is built."""
    count = params(architecture)
    return Candidate(space.key(architecture), params=count, macs=100 * (count % 997))


def params(architecture: Architecture) -> int:
    """Return a made-up number of parameters, 1 to 65,536, that depends on the decisions alone."""
    return 1 + int(decisions_key(architecture)[:4], 16)


def _flat(choose: Choose) -> None:
    choose("operation", ("conv", "pool", "skip"))
    choose("activation", ("relu", "swish", "tanh", "none"))
    choose("norm", ("batch", "layer", "none"))


def _conditional(choose: Choose) -> None:
    kind = choose("kind", ("conv", "pool", "skip"))
    if kind == "conv":
        choose("conv.kernel", (1, 3, 5))
        choose("conv.groups", (1, 2))
    elif kind == "pool":
        choose("pool.size", (2, 3, 4))
    choose("activation", ("relu", "swish"))


def _infeasible(choose: Choose) -> None:
    low, high = choose("low", (1, 2, 3, 4)), choose("high", (1, 2, 3, 4))
    if low >= high:
        raise Infeasible("low must be below high")
    choose("order", ("up", "down"))


def _one_decision(choose: Choose) -> None:
    choose("only", ("a", "b", "c", "d", "e"))


def _one_point(choose: Choose) -> None:
    choose("only", ("this",))


def _values(choose: Choose) -> None:
    choose("rate", (0.5, 1, 2.5))
    choose("window", ((1, 3), (3, 1), (3, 3)))
    choose("limit", (None, -1, True))


def _branches(graph: GraphBuilder, choose: Choose) -> Graph:
    names = [choose(f"branch{i}", ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")) for i in range(3)]
    outputs = [graph(Named(name), graph.input, name=f"branch{i}") for i, name in enumerate(names)]
    return graph.build(cell=graph(Add(), *outputs, name="sum"))


def _twins(choose: Choose) -> Cells:
    """Three branches that are summed: 27 ways to write 10 cells."""
    return Cells({"cell": _branches(GraphBuilder(), choose)}, _no_network)


def _no_network(*_: object) -> Graph:
    raise AssertionError("no network is built of these cells")


def _nb201(choose: Choose) -> Cells:
    # the function alone: the registered space would remember options of other searches
    load_built_in()
    cells: Cells = SPACES["nb201"].function(choose)
    return cells


ONE_POINT = Case("one-point", _one_point, 1)
CONDITIONAL = Case("conditional", _conditional, 9)
TWINS = Case("twins", _twins, 5)
FLAT = Case("flat", _flat, 16)
LARGE = Case("nb201", _nb201, 30)
SMALL = (
    FLAT,
    CONDITIONAL,
    Case("infeasible", _infeasible, 6),
    Case("one-decision", _one_decision, 3),
    ONE_POINT,
    Case("values", _values, 13),
    TWINS,
)
