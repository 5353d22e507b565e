"""NAS-Bench-101's search space: a cell of at most 7 vertices and 9 edges with an operation on each inner vertex."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.core.values import Task
from nas.errors import Infeasible, SpaceError, unknown
from nas.graph import Add, BatchNorm, ChannelSlice, Concat, Conv, Graph, GraphBuilder, MaxPool, Named, Relu, cells_key
from nas.space import Choose, register_space
from nas.space.skeletons import Support, supports
from search_spaces.skeletons.small_images import check_size, classifier, stage_depths

OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")
VERTICES = 7
EDGES = 9
Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Nb101Cell:
    """A cell: an upper triangular adjacency ``matrix`` of V vertices and the ``ops`` of the V - 2 inner ones.

    The first vertex is the input and the last the output; every vertex lies on a path between them.
    """

    matrix: Matrix
    ops: tuple[str, ...]

    @property
    def cells(self) -> dict[str, Graph]:
        """The cell's graph by name, as cell-based spaces have them."""
        return {"cell": self.graph()}

    def key(self) -> str:
        """Return the canonical key; the order of the output's concatenation does not count, as in the benchmark."""
        return cells_key(self.cells)

    def graph(self) -> Graph:
        """Return the cell of named operations; an edge from the input is a projection of its own."""
        b = GraphBuilder()
        last = len(self.matrix) - 1
        states = [b.input]
        for v in range(1, last):
            total = b(Add(), *self._terms(b, states, v), name=f"sum{v}")
            states.append(b(Named(self.ops[v - 1]), total, name=f"vertex{v}"))
        loose = [states[v] for v in range(1, last) if self.matrix[v][last]]
        terms = [b(Concat(any_order=True), *loose, name="concat")] if loose else []
        if self.matrix[0][last]:
            terms.append(b(Named("projection"), states[0], name="projection"))
        return b.build(cell=b(Add(), *terms, name="output"))

    def _terms(self, b: GraphBuilder, states: list[str], v: int) -> list[str]:
        terms = [states[u] for u in range(1, v) if self.matrix[u][v]]
        if self.matrix[0][v]:
            terms.append(b(Named("projection"), states[0], name=f"projection{v}"))
        return terms

    @supports(Support(depths=True, reductions=True))
    def network(
        self, task: Task, width: int, depth: int, *, depths: Sequence[int] | None = None, reductions: int = 0
    ) -> Graph:
        """Return the benchmark's network: 3 stages of ``depth`` cells, ``width`` channels doubled at each max pool.

        arXiv:1902.09635, section 2; width 128 and depth 3 give the benchmark's own networks. ``depths`` are the
        cells of each stage, where they differ; with ``reductions`` as many convolutions of stride 2 are the stem.
        """
        check_size(width, depth)
        b = GraphBuilder(task.input_shape)
        x = b.input
        for i in range(max(1, reductions)):
            with b.scope(f"stem{i + 1}" if i else "stem"):
                x = _conv_bn_relu(b, x, width, 3, 2 if reductions else 1)
        for stage, count in enumerate(stage_depths(depth, depths)):
            if stage:
                x = b(MaxPool(2), x, name=f"stage{stage + 1}.pool")
            for i in range(count):
                with b.scope(f"stage{stage + 1}.cell{i + 1}"):
                    x = self._expand(b, x, width * 2**stage)
        return classifier(b, x, task.classes)

    def _expand(self, b: GraphBuilder, x: str, channels: int) -> str:
        last = len(self.matrix) - 1
        widths = vertex_channels(channels, self.matrix)
        states = [x]
        for v in range(1, last):
            with b.scope(f"vertex{v}"):
                terms = [_truncate(b, states[u], widths[v]) for u in range(1, v) if self.matrix[u][v]]
                if self.matrix[0][v]:
                    with b.scope("projection"):
                        terms.append(_conv_bn_relu(b, x, widths[v], 1))
                total = terms[0] if len(terms) == 1 else b(Add(), *terms)
                states.append(_operation(b, self.ops[v - 1], total, widths[v]))
        loose = [states[v] for v in range(1, last) if self.matrix[v][last]]
        out = b(Concat(), *loose, name="concat") if len(loose) > 1 else (loose or [""])[0]
        if not self.matrix[0][last]:
            return out
        with b.scope("projection"):
            projected = _conv_bn_relu(b, x, channels, 1)
        return b(Add(), out, projected, name="output") if out else projected


def _conv_bn_relu(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int = 1) -> str:
    x = b(Conv(channels, kernel, stride, kernel // 2), x)
    return b(Relu(), b(BatchNorm(), x))


def _operation(b: GraphBuilder, op: str, x: str, channels: int) -> str:
    if op not in OPERATIONS:
        raise SpaceError(unknown("operation", op, OPERATIONS))
    if op == "maxpool3x3":
        return b(MaxPool(3, 1, 1), x)
    return _conv_bn_relu(b, x, channels, 3 if op == "conv3x3" else 1)


def _truncate(b: GraphBuilder, x: str, channels: int) -> str:
    return x if b.channels(x) == channels else b(ChannelSlice(0, channels), x)


def vertex_channels(channels: int, matrix: Matrix) -> list[int]:
    """Return every vertex's channels: those before the output share ``channels``, others take their users' largest.

    arXiv:1902.09635, section 2.2; the remainder of the division goes to the first vertices.
    """
    last = len(matrix) - 1
    widths = [channels] + [0] * (last - 1) + [channels]
    before_output = [v for v in range(1, last) if matrix[v][last]]
    for rank, v in enumerate(before_output):
        widths[v] = channels // len(before_output) + (rank < channels % len(before_output))
    for v in range(last - 2, 0, -1):
        if not matrix[v][last]:
            widths[v] = max(widths[u] for u in range(v + 1, last) if matrix[v][u])
    return widths


def prune(matrix: Matrix, ops: tuple[str, ...]) -> Nb101Cell | None:
    """Return the cell without vertices that lie on no path from input to output; None when no path is left."""
    size = len(matrix)
    forward, backward = {0}, {size - 1}
    for v in range(1, size):
        if any(matrix[u][v] for u in forward if u < v):
            forward.add(v)
    for v in range(size - 2, -1, -1):
        if any(matrix[v][u] for u in backward if u > v):
            backward.add(v)
    kept = sorted(forward & backward)
    if 0 not in kept or size - 1 not in kept:
        return None
    return Nb101Cell(
        tuple(tuple(matrix[u][v] for v in kept) for u in kept), tuple(ops[v - 1] for v in kept if 0 < v < size - 1)
    )


@register_space("nb101", source="arXiv:1902.09635, section 2", width=128, depth=3)
def nb101(choose: Choose) -> Nb101Cell:
    """Every edge of the triangle and every inner vertex's operation is a choice."""
    rows = [[0] * VERTICES for _ in range(VERTICES)]
    for i in range(VERTICES):
        for j in range(i + 1, VERTICES):
            rows[i][j] = choose(f"edge_{i}_{j}", (0, 1))
    ops = tuple(choose(f"op_{v}", OPERATIONS) for v in range(1, VERTICES - 1))
    cell = prune(tuple(map(tuple, rows)), ops)
    if cell is None:
        raise Infeasible("a path must lead from the input to the output")
    if sum(map(sum, cell.matrix)) > EDGES:
        raise Infeasible(f"at most {EDGES} edges")
    return cell
