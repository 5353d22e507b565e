"""NASNet-A (arXiv:1707.07012): the network for CIFAR-10, and mobile and large ones for ImageNet."""

from __future__ import annotations

from nas.core.values import Shape, Task
from nas.graph import Graph
from nas.space.networks import CIFAR, register_network
from nas.space.skeletons import HEADS_AND_PATHS
from search_spaces.genotypes.published import NASNET_A_AUTHORS
from search_spaces.skeletons.published import NasnetSettings, nasnet_skeleton

LARGE = NasnetSettings(stem=96, depths=(6, 6, 6), bypass=True)
MOBILE = NasnetSettings(stem=32, depths=(4, 4, 4))
SMALL = NasnetSettings(stem=96, depths=(6, 6, 6), large=False)


def _nasnet(task: Task, width: int, settings: NasnetSettings, aux: bool, drop_path: float) -> Graph:
    return nasnet_skeleton(NASNET_A_AUTHORS.cells(), task, width, settings, aux=aux, drop_path=drop_path)


@register_network("nasnetalarge", "arXiv:1707.07012, table 2, as in timm", (3, 331, 331), support=HEADS_AND_PATHS)
def nasnetalarge(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (6 @ 4032): 168 channels at first; with ``aux`` a head on the last cell before the last reduction."""
    return _nasnet(Task("nasnet", input_shape, classes), 168, LARGE, aux, drop_path)


@register_network("nasnet_a_mobile", "arXiv:1707.07012, table 3, as in the authors' code", support=HEADS_AND_PATHS)
def nasnet_a_mobile(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (4 @ 1056): 44 channels at first, for mobile devices."""
    return _nasnet(Task("nasnet", input_shape, classes), 44, MOBILE, aux, drop_path)


@register_network(
    "nasnet_a_cifar", "arXiv:1707.07012, table 1, as in the authors' code", CIFAR, 10, support=HEADS_AND_PATHS
)
def nasnet_a_cifar(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
    """NASNet-A (6 @ 768): 32 channels at first."""
    return _nasnet(Task("nasnet", input_shape, classes), 32, SMALL, aux, drop_path)
