"""PNASNet-5 (arXiv:1712.00559): one cell, with and without strides, on the skeleton of NASNet."""

from __future__ import annotations

from nas.graph import Graph
from nas.types import Shape, Task
from search_spaces.genotypes import PNASNET_5
from search_spaces.large_skeleton import NasnetSettings, nasnet_skeleton
from search_spaces.networks.registry import CIFAR, network

LARGE = NasnetSettings(stem=96, depths=(4, 3, 3))
MOBILE = NasnetSettings(stem=32, depths=(3, 2, 2))
SMALL = NasnetSettings(stem=144, depths=(3, 2, 2), large=False)
"""N cells a stage (N = 4 in the large one, else 3); the first of the later stages is the one with strides."""


def _pnasnet(
    input_shape: Shape, classes: int, width: int, settings: NasnetSettings, aux: bool, drop_path: float
) -> Graph:
    task = Task("pnasnet", input_shape, classes)
    return nasnet_skeleton(PNASNET_5.cells(), task, width, settings, aux=aux, drop_path=drop_path)


@network("pnasnet5large", "arXiv:1712.00559, table 5, as in timm", (3, 331, 331))
def pnasnet5large(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 4, F = 216); with ``aux`` a head on the last cell before the last reduction."""
    return _pnasnet(input_shape, classes, 216, LARGE, aux, drop_path)


@network("pnasnet5_mobile", "arXiv:1712.00559, table 4, as in the authors' code")
def pnasnet5_mobile(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 3, F = 54), for mobile devices."""
    return _pnasnet(input_shape, classes, 54, MOBILE, aux, drop_path)


@network("pnasnet5_cifar", "arXiv:1712.00559, table 3", CIFAR, 10)
def pnasnet5_cifar(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """PNASNet-5 (N = 3, F = 48); the stem has three times the channels, as in NASNet's network for CIFAR."""
    return _pnasnet(input_shape, classes, 48, SMALL, aux, drop_path)
