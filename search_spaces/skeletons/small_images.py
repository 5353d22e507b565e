"""Skeletons: from cells to a network for a task, at a given width and depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nas.core.values import Task
from nas.errors import GraphError, SpaceError
from nas.graph import Add, AvgPool, BatchNorm, Conv, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu
from nas.space.skeletons import Support, register_skeleton
from search_spaces.blocks.auxiliary import auxiliary_darts
from search_spaces.blocks.cell_operations import PLAIN, Style, expand, factorized_reduction, relu_conv_bn

PAIR = {"normal": 2, "reduction": 2}
"""The two cells of most skeletons, with their inputs: the outputs of the two cells before."""


def classifier(b: GraphBuilder, x: str, classes: int, **heads: str) -> Graph:
    """End the network: global average pool and one linear layer, the output ``logits``, beside those of ``heads``."""
    x = b(GlobalAvgPool(), x, name="pool")
    x = b(Flatten(), x, name="flatten")
    return b.build(logits=b(Linear(classes), x, name="classifier"), **heads)


def linear_head(b: GraphBuilder, x: str, classes: int, name: str = "classifier") -> str:
    """Return one linear layer from features (F,) to one logit a class."""
    return b(Linear(classes), x, name=name)


def check_size(width: int, depth: int) -> None:
    """Refuse a width or depth that is below one or no integer."""
    for name, value in (("width", width), ("depth", depth)):
        if value < 1 or value != int(value):
            raise SpaceError(f"{name} must be an integer of at least 1, found {value}")


def stage_depths(
    depth: int, depths: Sequence[int] | None, stages: int = 3, repeats: Sequence[int] = ()
) -> tuple[int, ...]:
    """Return the normal cells of each stage: ``depths`` where they are given, else ``depth`` in every stage.

    ``repeats``, one a stage, multiply ``depth`` and say how many stages there are.
    """
    stages = len(repeats) or stages
    if depths is None:
        return tuple(depth * repeat for repeat in repeats or (1,) * stages)
    if len(depths) != stages or min(depths) < 1:
        raise SpaceError(f"depths must be {stages} integers of at least 1, one a stage, found {list(depths)}")
    return tuple(depths)


def check_drop_path(rate: float) -> None:
    """Refuse a rate that is no probability below one."""
    if not 0 <= rate < 1:
        raise SpaceError(f"drop_path must be at least 0 and less than 1, found {rate}")


def check_cells(cells: Mapping[str, Graph]) -> None:
    """Refuse cells that are not a ``normal`` and a ``reduction`` cell of two inputs."""
    for name, inputs in PAIR.items():
        if name not in cells or len(cells[name].inputs) != inputs:
            raise SpaceError(f"the skeleton needs a cell '{name}' of two inputs, found {sorted(cells)}")


class CellStep(NamedTuple):
    """One cell of a stack: its scope, which of the two cells it is, and its channels.

    After a ``bypassed`` cell the next cell's earlier input is the one that this cell had.
    """

    name: str
    cell: str
    channels: int
    bypassed: bool = False


def stage_width(width: int, stage: int, growth: float | None = None) -> int:
    """Return the channels of a stage, counted from 0: they double, or grow ``growth`` times and are then even.

    An odd width is then a step between two even ones: it is rounded down in the first stage and up in the others.
    """
    if growth is None:
        return width << stage
    return max(2, 2 * math.floor(width * growth**stage / 2 + (0.5 if stage else 0)))


def plan(width: int, depths: Sequence[int], bypassed: bool = False, growth: float | None = None) -> list[CellStep]:
    """Return stages of normal cells with a reduction cell between two, where channels double (arXiv:1707.07012).

    With a ``growth`` they grow as :func:`stage_width` says.
    """
    steps = []
    for stage, depth in enumerate(depths):
        channels, name = stage_width(width, stage, growth), f"stage{stage + 1}"
        if stage:
            steps.append(CellStep(f"{name}.reduction", "reduction", channels, bypassed))
        steps += [CellStep(f"{name}.cell{i}", "normal", channels) for i in range(1, depth + 1)]
    return steps


def stack(
    b: GraphBuilder,
    cells: Mapping[str, Graph],
    steps: Sequence[CellStep],
    before: str | None,
    x: str,
    style: Style = PLAIN,
    drop_path: Callable[[int], float] = lambda i: 0.0,
) -> dict[str, str]:
    """Stack cells, each on the outputs of the two before it, and return every step's output node by its name.

    ``before`` is the first cell's earlier input; None is ``x`` itself, not adapted, as in the code of NASNet's
    authors. ``drop_path`` is the rate for the operations of step i.
    """
    # each cell sees the outputs of the two before it
    outputs: dict[str, str] = {}
    for i, (name, cell, channels, bypassed) in enumerate(steps):
        with b.scope(name):
            inputs = adapt(b, before, x, channels, style)
            out = outputs[name] = expand(b, cells[cell], inputs, channels, style, drop_path(i))
        before, x = (before if bypassed else x), out
    return outputs


@register_skeleton(
    "cifar", "arXiv:1707.07012, figure 2", Support(aux=True, drop_path=True, depths=True, stages=3), cells=PAIR
)
def cifar(
    cells: Mapping[str, Graph],
    task: Task,
    width: int,
    depth: int,
    stages: int = 3,
    stem: int = 3,
    *,
    depths: Sequence[int] | None = None,
    repeats: Sequence[int] = (),
    growth: float | None = None,
    reductions: int = 0,
    aux: bool = False,
    drop_path: float = 0.0,
) -> Graph:
    """Stack cells for small images: 3x3 stem, then ``stages`` of ``depth`` normal cells with reductions between.

    ``cells`` holds ``normal`` and ``reduction``, each of two inputs: the outputs of the two cells before, brought to
    the cell's channels by 1x1 convolutions (arXiv:1707.07012, figure 2 and appendix A.4). Channels double at each
    reduction; the stem has ``stem * width`` of them. ``depths`` are the normal cells of each stage, where they differ.
    ``repeats``, ``growth`` and ``reductions`` make another skeleton of it: :func:`stage_depths`, :func:`plan` and
    :func:`small_stem` say how.
    ``aux`` and ``drop_path`` are as for DARTS' networks
    (:func:`search_spaces.skeletons.published.darts_cifar`): a head on the last reduction, the rate of every operation.
    """
    check_size(width, depth)
    check_cells(cells)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    first = stage_width(width, 0, growth)
    x = small_stem(b, stem * first, first, reductions)
    steps = plan(width, stage_depths(depth, depths, stages, repeats), growth=growth)
    outputs = stack(b, cells, steps, x, x, drop_path=lambda i: drop_path)
    reduced = [node for name, node in outputs.items() if name.endswith("reduction")]
    heads = {"aux": auxiliary_darts(b, reduced[-1], task.classes)} if aux and reduced else {}
    return classifier(b, b(Relu(), list(outputs.values())[-1], name="relu"), task.classes, **heads)


def adapt(b: GraphBuilder, before: str | None, x: str, channels: int, style: Style = PLAIN) -> tuple[str, str]:
    """Bring a cell's two inputs to one size and ``channels``; the earlier one may still have twice the resolution.

    Without an earlier one, ``x`` as it is takes its place.
    """
    first, size = x, b.shape(x)[1:]
    if before is not None:
        with b.scope("adapt0"):
            if b.shape(before)[1:] == size:
                first = relu_conv_bn(b, before, channels, 1, style=style)
            else:
                first = factorized_reduction(b, before, channels, style)
        if b.shape(first)[1:] != size:
            found = f"{b.shape(before)} and {b.shape(x)}"
            raise GraphError(f"a cell's inputs must be at most one reduction apart, found {found}")
    with b.scope("adapt1"):
        return first, relu_conv_bn(b, x, channels, 1, style=style)


def strided_stem(b: GraphBuilder, width: int, reductions: int) -> str:
    """Halve the image ``reductions`` times by 3x3 convolutions: to half of ``width`` channels, then to ``width``.

    As the stem of DARTS' network for ImageNet (arXiv:1806.09055, appendix A.2.3), each with a batch norm.
    """
    with b.scope("stem.conv1"):
        x = b(BatchNorm(), b(Conv(max(1, width // 2), 3, 2, 1), b.input))
    for i in range(2, reductions + 1):
        with b.scope(f"stem.conv{i}"):
            x = relu_conv_bn(b, x, width, 3, 2)
    return x


def small_stem(b: GraphBuilder, channels: int, width: int, reductions: int) -> str:
    """Return one 3x3 convolution to ``channels``, of stride 2 for one of ``reductions``; for more a strided stem."""
    if reductions > 1:
        return strided_stem(b, width, reductions)
    return b(BatchNorm(), b(Conv(channels, 3, 1 + reductions, 1), b.input, name="stem.conv"), name="stem.bn")


@register_skeleton(
    "nb201", "arXiv:2001.00326, section 2.1", Support(drop_path=True, depths=True, reductions=True), cells={"cell": 1}
)
def nb201(
    cells: Mapping[str, Graph],
    task: Task,
    width: int,
    depth: int,
    *,
    depths: Sequence[int] | None = None,
    repeats: Sequence[int] = (),
    growth: float | None = None,
    reductions: int = 0,
    drop_path: float = 0.0,
) -> Graph:
    """NAS-Bench-201's skeleton: one cell of one input, residual blocks of stride 2 between three stages.

    arXiv:2001.00326, section 2.1; width 16 and depth 5 give the benchmark's own networks. ``drop_path`` is the rate of
    every operation but the identity; there is none in the benchmark. ``depths`` are the cells of each stage, where they
    differ; ``reductions`` halve larger images before the first cell (:func:`small_stem`). ``repeats`` and ``growth``
    are as for :func:`cifar`.
    """
    check_size(width, depth)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    first = stage_width(width, 0, growth)
    x = small_stem(b, first, first, reductions)
    for stage, count in enumerate(stage_depths(depth, depths, repeats=repeats)):
        channels = stage_width(width, stage, growth)
        if stage:
            with b.scope(f"stage{stage + 1}.reduction"):
                y = relu_conv_bn(b, relu_conv_bn(b, x, channels, 3, 2), channels, 3)
                short = b(Conv(channels, 1), b(AvgPool(2, ceil_mode=True), x, name="short.pool"), name="short.conv")
                x = b(Add(), short, y)
        for i in range(count):
            with b.scope(f"stage{stage + 1}.cell{i + 1}"):
                x = expand(b, cells["cell"], (x,), channels, drop_path=drop_path)
    x = b(BatchNorm(), x, name="last.bn")
    return classifier(b, b(Relu(), x, name="last.relu"), task.classes)
