"""The skeletons of published cells: whose stem, whose order of inputs, whose heads, for CIFAR and for ImageNet.

NASNet, PNASNet and AmoebaNet stand on the one of NASNet's authors, all others on that of DARTS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nas.errors import SpaceError
from nas.graph import AvgPool, BatchNorm, Conv, Flatten, Graph, GraphBuilder, Linear, Relu
from nas.types import Task
from search_spaces.blocks.auxiliary import auxiliary_darts
from search_spaces.blocks.operations import TENSORFLOW, Style, relu_conv_bn
from search_spaces.skeleton import Step, check_cells, check_drop_path, check_size, classifier, plan, stack

CellGraphs = Mapping[str, Graph]


def darts_cifar(
    cells: CellGraphs, task: Task, width: int, depth: int, *, aux: bool = False, drop_path: float = 0.0
) -> Graph:
    """The evaluation network of DARTS for CIFAR: arXiv:1806.09055, appendix A.2.1 and the authors' code.

    3 * ``depth`` + 2 layers: reductions at 1/3 and 2/3 of them; a 3x3 stem of 3 * ``width`` channels; no ReLU before
    the pool. Width 36 and depth 6 are the paper's 20 layers, 16 and 2 its search network. With ``aux`` the output
    ``aux`` is a head on the second reduction; ``drop_path`` is the rate for every operation but the identity.
    """
    check_size(width, depth)
    check_cells(cells)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    x = b(Conv(3 * width, 3, padding=1), b.input, name="stem.conv")
    x = b(BatchNorm(), x, name="stem.bn")
    outputs = stack(b, cells, plan(width, [depth] * 3), x, x, drop_path=lambda i: drop_path)
    heads = {"aux": auxiliary_darts(b, outputs["stage3.reduction"], task.classes, 3, True)} if aux else {}
    return classifier(b, list(outputs.values())[-1], task.classes, **heads)


def darts_imagenet(
    cells: CellGraphs, task: Task, width: int, depth: int, *, aux: bool = False, drop_path: float = 0.0
) -> Graph:
    """The network of DARTS for ImageNet: arXiv:1806.09055, appendix A.2.3 and the authors' code.

    Three 3x3 convolutions of stride 2 (the second and third are the first cell's two inputs), then as
    :func:`darts_cifar`. Width 48 and depth 4 are the paper's 14 layers. Its head has no norm after the last
    convolution, which the authors left out by mistake and then kept.
    """
    check_size(width, depth)
    check_cells(cells)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    with b.scope("stem.first"):
        before = b(BatchNorm(), b(Conv(max(1, width // 2), 3, 2, 1), b.input))
        before = b(BatchNorm(), b(Conv(width, 3, 2, 1), b(Relu(), before)))
    with b.scope("stem.second"):
        x = relu_conv_bn(b, before, width, 3, 2)
    outputs = stack(b, cells, plan(width, [depth] * 3), before, x, drop_path=lambda i: drop_path)
    heads = {"aux": auxiliary_darts(b, outputs["stage3.reduction"], task.classes, 2, False)} if aux else {}
    return classifier(b, list(outputs.values())[-1], task.classes, **heads)


@dataclass(frozen=True)
class NasnetSettings:
    """Settings of the skeleton of NASNet's authors: arXiv:1707.07012, figure 2 and appendix A, and their code.

    ``stem`` is the channels of the first 3x3 convolution. For ImageNet (``large``) it has stride 2 and no padding, and
    two reduction cells of a quarter and half of the width follow. ``depths`` are the normal cells of each stage. With
    ``bypass`` the cell after a reduction takes its earlier input from before the reduction's own.
    """

    stem: int
    depths: tuple[int, ...]
    large: bool = True
    bypass: bool = False
    style: Style = TENSORFLOW


def nasnet_skeleton(
    cells: CellGraphs, task: Task, width: int, settings: NasnetSettings, *, aux: bool = False, drop_path: float = 0.0
) -> Graph:
    """Stack ``cells`` at ``width`` channels by ``settings``: as NASNet's and PNASNet's authors and timm do.

    With ``aux`` the output ``aux`` is a head on the last cell before the last reduction. ``drop_path`` is the rate of
    the last cell; earlier cells have a share of it by their depth, as in their code.
    """
    check_size(width, min(settings.depths))
    check_cells(cells)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    stem = Conv(settings.stem, 3, 2) if settings.large else Conv(settings.stem, 3, padding=1)
    x = b(settings.style.norm, b(stem, b.input, name="stem.conv"), name="stem.bn")
    steps = plan(width, settings.depths, settings.bypass)
    if settings.large:
        if width < 8:
            raise SpaceError(
                f"width must be at least 8, since the stem's first cell has a quarter of it, found {width}"
            )
        steps = [Step(f"stem.cell{i}", "reduction", width * i // 4) for i in (1, 2)] + steps
    rate = _scheduled(drop_path, len(steps))
    outputs = stack(b, cells, steps, None, x, settings.style, rate)
    heads = {}
    if aux:
        last = max(i for i, step in enumerate(steps) if step.name.endswith("reduction"))
        heads["aux"] = _nasnet_aux(b, outputs[steps[last - 1].name], task.classes, settings.style.norm)
    return classifier(b, b(Relu(), list(outputs.values())[-1], name="relu"), task.classes, **heads)


def _scheduled(rate: float, cells: int) -> Callable[[int], float]:
    return lambda i: rate * (i + 1) / cells


def _nasnet_aux(b: GraphBuilder, x: str, classes: int, norm: BatchNorm) -> str:
    with b.scope("aux"):
        x = b(AvgPool(5, 3), b(Relu(), x))
        x = b(Relu(), b(norm, b(Conv(128), x)))
        x = b(Relu(), b(norm, b(Conv(768, b.shape(x)[1:]), x)))  # type: ignore[arg-type]
        return b(Linear(classes), b(Flatten(), x))
