"""AmoebaNet-A (arXiv:1802.01548): a cell found by regularized evolution, on the skeleton of NASNet."""

from __future__ import annotations

from nas.core.values import Shape, Task
from nas.graph import Graph
from nas.space.networks import CIFAR, register_network
from nas.space.skeletons import HEADS_AND_PATHS
from search_spaces.genotypes.published import AMOEBANET_A
from search_spaces.skeletons.published import NasnetSettings, nasnet_skeleton

WIDTH = 36
SETTINGS = NasnetSettings(stem=3 * WIDTH, depths=(6, 6, 6), large=False)
MOBILE = NasnetSettings(stem=32, depths=(4, 4, 4))
"""The paper names no stem; this is that of NASNet's mobile network."""


@register_network("amoebanet_a_cifar", "arXiv:1802.01548, table 1", CIFAR, 10, support=HEADS_AND_PATHS)
def amoebanet_a_cifar(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """AmoebaNet-A (N = 6, F = 36); with ``aux`` a head on the last cell before the last reduction."""
    task = Task("amoebanet", input_shape, classes)
    return nasnet_skeleton(AMOEBANET_A.cells(), task, WIDTH, SETTINGS, aux=aux, drop_path=drop_path)


@register_network("amoebanet_a_mobile", "arXiv:1802.01548, table 2 (N = 4, F = 50)", support=HEADS_AND_PATHS)
def amoebanet_a_mobile(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """AmoebaNet-A for ImageNet in the mobile setting; with ``aux`` a head as above."""
    task = Task("amoebanet", input_shape, classes)
    return nasnet_skeleton(AMOEBANET_A.cells(), task, 50, MOBILE, aux=aux, drop_path=drop_path)
