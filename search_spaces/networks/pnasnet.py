"""PNASNet-5 (arXiv:1712.00559): one cell, with and without strides, on the skeleton of NASNet."""

from __future__ import annotations

from nas.core.values import Shape, Task
from nas.graph import Graph
from nas.space.networks import CIFAR, register_network
from nas.space.skeletons import HEADS_AND_PATHS
from search_spaces.genotypes.published import PNASNET_5
from search_spaces.skeletons.published import NasnetSettings, nasnet_skeleton

LARGE = NasnetSettings(stem=96, depths=(4, 3, 3))
MOBILE = NasnetSettings(stem=32, depths=(3, 2, 2))
SMALL = NasnetSettings(stem=144, depths=(3, 2, 2), large=False)
"""N cells a stage (N = 4 in the large one, else 3); the first of the later stages is the one with strides."""


def _pnasnet(task: Task, width: int, settings: NasnetSettings, aux: bool, drop_path: float) -> Graph:
    return nasnet_skeleton(PNASNET_5.cells(), task, width, settings, aux=aux, drop_path=drop_path)


@register_network("pnasnet5large", "arXiv:1712.00559, table 5, as in timm", (3, 331, 331), support=HEADS_AND_PATHS)
def pnasnet5large(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 4, F = 216); with ``aux`` a head on the last cell before the last reduction."""
    return _pnasnet(Task("pnasnet", input_shape, classes), 216, LARGE, aux, drop_path)


@register_network("pnasnet5_mobile", "arXiv:1712.00559, table 4, as in the authors' code", support=HEADS_AND_PATHS)
def pnasnet5_mobile(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 3, F = 54), for mobile devices."""
    return _pnasnet(Task("pnasnet", input_shape, classes), 54, MOBILE, aux, drop_path)


@register_network("pnasnet5_cifar", "arXiv:1712.00559, table 3", CIFAR, 10, support=HEADS_AND_PATHS)
def pnasnet5_cifar(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 3, F = 48); the stem has three times the channels, as in NASNet's network for CIFAR."""
    return _pnasnet(Task("pnasnet", input_shape, classes), 48, SMALL, aux, drop_path)
