"""DARTS and its followers: their cells on the networks of DARTS for CIFAR (20 layers) and ImageNet (14 layers)."""

from __future__ import annotations

from nas.core.values import Shape, Task
from nas.graph import Graph
from nas.space.networks import CIFAR, BuildNetwork, register_network
from nas.space.skeletons import HEADS_AND_PATHS
from search_spaces.genotypes.published import (
    DARTS_V1,
    DARTS_V2,
    ENAS,
    GDAS_V1,
    P_DARTS,
    PC_DARTS_CIFAR,
    PC_DARTS_IMAGE,
    SETN,
    Genotype,
)
from search_spaces.skeletons.published import darts_cifar, darts_imagenet

CIFAR_WIDTH, CIFAR_DEPTH = 36, 6
IMAGENET_DEPTH = 4


def _cifar(genotype: Genotype) -> BuildNetwork:
    def build(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
        task = Task("darts", input_shape, classes)
        return darts_cifar(genotype.cells(), task, CIFAR_WIDTH, CIFAR_DEPTH, aux=aux, drop_path=drop_path)

    return build


def _imagenet(genotype: Genotype, width: int = 48) -> BuildNetwork:
    def build(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
        task = Task("darts", input_shape, classes)
        return darts_imagenet(genotype.cells(), task, width, IMAGENET_DEPTH, aux=aux, drop_path=drop_path)

    return build


CIFAR_NETWORKS: dict[str, tuple[BuildNetwork, str]] = {
    "darts_v1_cifar": (_cifar(DARTS_V1), "arXiv:1806.09055"),
    "darts_v2_cifar": (_cifar(DARTS_V2), "arXiv:1806.09055"),
    "pc_darts_cifar": (_cifar(PC_DARTS_CIFAR), "arXiv:1907.05737"),
    "p_darts_cifar": (_cifar(P_DARTS), "arXiv:1904.12760"),
    "gdas_cifar": (_cifar(GDAS_V1), "arXiv:1910.04465"),
    "setn_cifar": (_cifar(SETN), "arXiv:1910.05733"),
    "enas_cifar": (_cifar(ENAS), "arXiv:1802.03268"),
}
IMAGENET_NETWORKS: dict[str, tuple[BuildNetwork, str]] = {
    "darts_v1_imagenet": (_imagenet(DARTS_V1), "arXiv:1806.09055"),
    "darts_v2_imagenet": (_imagenet(DARTS_V2), "arXiv:1806.09055"),
    "pc_darts_imagenet": (_imagenet(PC_DARTS_IMAGE), "arXiv:1907.05737"),
    "p_darts_imagenet": (_imagenet(P_DARTS), "arXiv:1904.12760"),
    "gdas_imagenet": (_imagenet(GDAS_V1, 50), "arXiv:1910.04465"),
    "setn_imagenet": (_imagenet(SETN), "arXiv:1910.05733"),
    "enas_imagenet": (_imagenet(ENAS), "arXiv:1802.03268"),
}
"""The network with the cells of each method, and the paper of the cells."""

for _name, (_build, _paper) in CIFAR_NETWORKS.items():
    register_network(
        _name, f"{_paper}; network of arXiv:1806.09055, appendix A.2.1", CIFAR, 10, support=HEADS_AND_PATHS
    )(_build)
for _name, (_build, _paper) in IMAGENET_NETWORKS.items():
    _source = f"{_paper}; network of arXiv:1806.09055, appendix A.2.3"
    register_network(_name, _source, support=HEADS_AND_PATHS)(_build)
