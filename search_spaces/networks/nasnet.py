"""NASNet-A (arXiv:1707.07012): the network for CIFAR-10, and mobile and large ones for ImageNet."""

from __future__ import annotations

from nas.graph import Graph
from nas.types import Shape, Task
from search_spaces.genotypes import NASNET_A_AUTHORS
from search_spaces.large_skeleton import NasnetSettings, nasnet_skeleton
from search_spaces.networks.registry import CIFAR, network

LARGE = NasnetSettings(stem=96, depths=(6, 6, 6), bypass=True)
MOBILE = NasnetSettings(stem=32, depths=(4, 4, 4))
SMALL = NasnetSettings(stem=96, depths=(6, 6, 6), large=False)


def _nasnet(
    input_shape: Shape, classes: int, width: int, settings: NasnetSettings, aux: bool, drop_path: float
) -> Graph:
    task = Task("nasnet", input_shape, classes)
    return nasnet_skeleton(NASNET_A_AUTHORS.cells(), task, width, settings, aux=aux, drop_path=drop_path)


@network("nasnetalarge", "arXiv:1707.07012, table 2, as in timm", (3, 331, 331))
def nasnetalarge(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (6 @ 4032): 168 channels at first; with ``aux`` a head on the last cell before the last reduction."""
    return _nasnet(input_shape, classes, 168, LARGE, aux, drop_path)


@network("nasnet_a_mobile", "arXiv:1707.07012, table 3, as in the authors' code")
def nasnet_a_mobile(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (4 @ 1056): 44 channels at first, for mobile devices."""
    return _nasnet(input_shape, classes, 44, MOBILE, aux, drop_path)


@network("nasnet_a_cifar", "arXiv:1707.07012, table 1, as in the authors' code", CIFAR, 10)
def nasnet_a_cifar(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (6 @ 768): 32 channels at first."""
    return _nasnet(input_shape, classes, 32, SMALL, aux, drop_path)
