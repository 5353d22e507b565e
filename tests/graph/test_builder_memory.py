"""What a builder repeats from memory is what the operation itself would add, names included."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from nas.graph import Add, Conv, Graph, GraphBuilder, Relu
from nas.graph.graph import Operation
from nas.space.operations import OPERATIONS

# those of the lecture's blocks name their nodes and are once in a scope
NAMES = [name for name in OPERATIONS if OPERATIONS[name].__module__ == "search_spaces.blocks.cell_operations"]
Apply = Callable[[GraphBuilder, Operation, str, int, int], str]


def remembered(b: GraphBuilder, op: Operation, x: str, channels: int, stride: int) -> str:
    return b.apply(op, x, channels, stride)


def direct(b: GraphBuilder, op: Operation, x: str, channels: int, stride: int) -> str:
    return op(b, x, channels, stride)


def two_cells(apply: Apply, op: Operation, channels: int, stride: int) -> Graph:
    """The operation in two scopes, twice in a third, and on an input that the scope holds already."""
    b = GraphBuilder((4, 9, 9))
    ends = []
    for scope in ("cell1", "cell2"):
        with b.scope(scope), b.scope("left"):
            ends.append(apply(b, op, b.input, channels, stride))
    with b.scope("cell3"):
        ends += [apply(b, op, b.input, channels, stride) for _ in range(2)]
    with b.scope("cell4"):
        x = b(Relu(), b(Conv(4, 3, padding=1), b.input))
        ends.append(apply(b, op, x, channels, stride))
        ends.append(b(Relu(), ends[-1]))
    return b.build(logits=b(Add(), *ends))


@pytest.mark.parametrize("name", NAMES)
def test_scopes(name: str) -> None:
    for channels, stride in itertools.product((4, 6), (1, 2)):
        for _ in range(2):
            ours = two_cells(remembered, OPERATIONS[name], channels, stride)
            theirs = two_cells(direct, OPERATIONS[name], channels, stride)
            assert ours == theirs
            assert Graph(ours.nodes, ours.outputs) == ours


@pytest.mark.parametrize("name", ["conv_3x3", "sep_conv_5x5", "skip_connect"])
def test_outside_of_scopes_and_whatever_was_built_before(name: str) -> None:
    def top(apply: Apply) -> Graph:
        b = GraphBuilder((5, 7, 7))
        x = b(Relu(), b.input)
        for _ in range(3):
            x = apply(b, OPERATIONS[name], x, 5, 1)
        return b.build(logits=b(Relu(), x))

    def scoped(apply: Apply) -> Graph:
        b = GraphBuilder((5, 7, 7))
        with b.scope("cell"):
            return b.build(logits=apply(b, OPERATIONS[name], b.input, 5, 1))

    for build in (top, scoped, top):
        assert build(remembered) == build(direct)
