"""The skeletons of published cells: whose stem, whose order of inputs, whose heads, for CIFAR and for ImageNet.

NASNet, PNASNet and AmoebaNet stand on the one of NASNet's authors, all others on that of DARTS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.core.values import Task
from nas.errors import GraphError, SpaceError
from nas.graph import AvgPool, BatchNorm, Conv, Flatten, Graph, GraphBuilder, Linear, Relu
from nas.space.skeletons import Support, register_skeleton
from search_spaces.blocks.auxiliary import auxiliary_darts
from search_spaces.blocks.cell_operations import TENSORFLOW, Style, relu_conv_bn
from search_spaces.skeletons.small_images import (
    PAIR,
    CellStep,
    check_cells,
    check_drop_path,
    check_size,
    classifier,
    plan,
    small_stem,
    stack,
    stage_depths,
    stage_width,
)

CellGraphs = Mapping[str, Graph]
_PUBLISHED = Support(aux=True, drop_path=True, depths=True)


@register_skeleton("darts_cifar", "arXiv:1806.09055, appendix A.2.1", _PUBLISHED, cells=PAIR)
def darts_cifar(
    cells: CellGraphs,
    task: Task,
    width: int,
    depth: int,
    *,
    depths: Sequence[int] | None = None,
    repeats: Sequence[int] = (),
    growth: float | None = None,
    reductions: int = 0,
    aux: bool = False,
    drop_path: float = 0.0,
) -> Graph:
    """The evaluation network of DARTS for CIFAR: arXiv:1806.09055, appendix A.2.1 and the authors' code.

    3 * ``depth`` + 2 layers: reductions at 1/3 and 2/3 of them; a 3x3 stem of 3 * ``width`` channels; no ReLU before
    the pool. Width 36 and depth 6 are the paper's 20 layers, 16 and 2 its search network. With ``aux`` the output
    ``aux`` is a head on the second reduction; ``drop_path`` is the rate for every operation but the identity;
    ``depths`` are the normal cells of each stage, where they differ. ``repeats``, ``growth`` and ``reductions`` make
    another skeleton of it, as for :func:`search_spaces.skeletons.small_images.cifar`; the head is then on its last
    reduction.
    """
    check_size(width, depth)
    check_cells(cells)
    check_drop_path(drop_path)
    b = GraphBuilder(task.input_shape)
    first = stage_width(width, 0, growth)
    x = small_stem(b, 3 * first, first, reductions)
    counts = stage_depths(depth, depths, repeats=repeats)
    outputs = stack(b, cells, plan(width, counts, growth=growth), x, x, drop_path=lambda i: drop_path)
    last = outputs[f"stage{len(counts)}.reduction"]
    heads = {"aux": auxiliary_darts(b, last, task.classes, 3, True)} if aux else {}
    return classifier(b, list(outputs.values())[-1], task.classes, **heads)


@register_skeleton(
    "darts_imagenet", "arXiv:1806.09055, appendix A.2.3", replace(_PUBLISHED, reductions=True), cells=PAIR, large=True
)
def darts_imagenet(
    cells: CellGraphs,
    task: Task,
    width: int,
    depth: int,
    *,
    depths: Sequence[int] | None = None,
    reductions: int = 3,
    aux: bool = False,
    drop_path: float = 0.0,
) -> Graph:
    """The network of DARTS for ImageNet: arXiv:1806.09055, appendix A.2.3 and the authors' code.

    Three 3x3 convolutions of stride 2 (the second and third are the first cell's two inputs), then as
    :func:`darts_cifar`. Width 48 and depth 4 are the paper's 14 layers. Its head has no norm after the last
    convolution, which the authors left out by mistake and then kept.

    With 2 ``reductions``, for smaller images, the first convolution has stride 1 and the head is on the last cell
    before the last reduction, as there is no room for it behind that.
    """
    check_size(width, depth)
    check_cells(cells)
    check_drop_path(drop_path)
    _check_reductions(reductions)
    b = GraphBuilder(task.input_shape)
    with b.scope("stem.first"):
        before = b(BatchNorm(), b(Conv(max(1, width // 2), 3, reductions - 1, 1), b.input))
        before = b(BatchNorm(), b(Conv(width, 3, 2, 1), b(Relu(), before)))
    with b.scope("stem.second"):
        x = relu_conv_bn(b, before, width, 3, 2)
    steps = plan(width, stage_depths(depth, depths))
    outputs = stack(b, cells, steps, before, x, drop_path=lambda i: drop_path)
    heads = {}
    if aux:
        place, stride = (outputs["stage3.reduction"], 2) if reductions == 3 else (_before_last(outputs), 3)
        heads["aux"] = auxiliary_darts(b, place, task.classes, stride, False)
    return classifier(b, list(outputs.values())[-1], task.classes, **heads)


def _check_reductions(reductions: int) -> None:
    if reductions not in (2, 3):
        raise SpaceError(f"the stem for large images has 2 or 3 reductions, found {reductions}")


def _before_last(outputs: Mapping[str, str]) -> str:
    """Return the last cell's output before the last reduction."""
    names = list(outputs)
    last = max(i for i, name in enumerate(names) if name.endswith("reduction"))
    return outputs[names[last - 1]]


@dataclass(frozen=True)
class NasnetSettings:
    """Settings of the skeleton of NASNet's authors: arXiv:1707.07012, figure 2 and appendix A, and their code.

    ``stem`` is the channels of the first 3x3 convolution. For ImageNet (``large``) it has stride 2 and no padding, and
    two reduction cells of a quarter and half of the width follow. ``depths`` are the normal cells of each stage. With
    ``bypass`` the cell after a reduction takes its earlier input from before the reduction's own. ``stride`` 1, for
    images between those of CIFAR and ImageNet, keeps the size in the first convolution of a ``large`` network.
    """

    stem: int
    depths: tuple[int, ...]
    large: bool = True
    bypass: bool = False
    style: Style = TENSORFLOW
    stride: int = 2


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
    stem = Conv(settings.stem, 3, 2) if settings.large and settings.stride == 2 else Conv(settings.stem, 3, padding=1)
    x = b(settings.style.norm, b(stem, b.input, name="stem.conv"), name="stem.bn")
    steps = plan(width, settings.depths, settings.bypass)
    if settings.large:
        if width < 8:
            raise GraphError(
                f"width must be at least 8, since the stem's first cell has a quarter of it, found {width}"
            )
        steps = [CellStep(f"stem.cell{i}", "reduction", width * i // 4) for i in (1, 2)] + steps
    outputs = stack(b, cells, steps, None, x, settings.style, lambda i: drop_path * (i + 1) / len(steps))
    heads, norm = {}, settings.style.norm
    if aux:
        with b.scope("aux"):
            y = b(AvgPool(5, 3), b(Relu(), _before_last(outputs)))
            y = b(Relu(), b(norm, b(Conv(128), y)))
            y = b(Relu(), b(norm, b(Conv(768, b.shape(y)[1:]), y)))  # type: ignore[arg-type]
            heads["aux"] = b(Linear(task.classes), b(Flatten(), y))
    return classifier(b, b(Relu(), list(outputs.values())[-1], name="relu"), task.classes, **heads)


@register_skeleton(
    "nasnet", "arXiv:1707.07012, appendix A, as in the authors' code", replace(_PUBLISHED, reductions=True), cells=PAIR
)
def nasnet_sized(
    cells: CellGraphs,
    task: Task,
    width: int,
    depth: int,
    *,
    depths: Sequence[int] | None = None,
    reductions: int = 3,
    strided_in: bool = False,
    aux: bool = False,
    drop_path: float = 0.0,
) -> Graph:
    """The networks of NASNet's authors by width F and depth N: mobile for ImageNet, or for CIFAR (no ``reductions``).

    Width 44 and depth 4 are NASNet-A (4 @ 1056). ``strided_in``: the reduction is one of the N cells of its stage, as
    PNASNet's authors count (arXiv:1712.00559, figure 1). The stem has 32 channels, for CIFAR three times the width.
    """
    if reductions:
        _check_reductions(reductions)
    inner = max(1, depth - 1) if strided_in else depth
    counts = (depth, inner, inner) if depths is None else stage_depths(depth, depths)
    settings = NasnetSettings(32 if reductions else 3 * width, counts, bool(reductions), stride=max(1, reductions - 1))
    return nasnet_skeleton(cells, task, width, settings, aux=aux, drop_path=drop_path)
