"""DARTS and its followers: their cells on the networks of DARTS for CIFAR (20 layers) and ImageNet (14 layers)."""

from __future__ import annotations

from typing import NamedTuple

from nas.graph import Graph
from nas.types import Shape, Task
from search_spaces.genotypes import (
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
from search_spaces.large_skeleton import darts_cifar, darts_imagenet
from search_spaces.networks.registry import CIFAR, Build, network

CIFAR_WIDTH, CIFAR_DEPTH = 36, 6
IMAGENET_DEPTH = 4


class Row(NamedTuple):
    """A method: the cells for CIFAR and for ImageNet, the width on ImageNet, and its paper."""

    name: str
    cifar: Genotype
    imagenet: Genotype
    width: int
    paper: str


ROWS = (
    Row("darts_v1", DARTS_V1, DARTS_V1, 48, "arXiv:1806.09055"),
    Row("darts_v2", DARTS_V2, DARTS_V2, 48, "arXiv:1806.09055"),
    Row("pc_darts", PC_DARTS_CIFAR, PC_DARTS_IMAGE, 48, "arXiv:1907.05737"),
    Row("p_darts", P_DARTS, P_DARTS, 48, "arXiv:1904.12760"),
    Row("gdas", GDAS_V1, GDAS_V1, 50, "arXiv:1910.04465"),
    Row("setn", SETN, SETN, 48, "arXiv:1910.05733"),
    Row("enas", ENAS, ENAS, 48, "arXiv:1802.03268"),
)


def _cifar(row: Row) -> Build:
    def build(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
        task = Task(row.name, input_shape, classes)
        return darts_cifar(row.cifar.cells(), task, CIFAR_WIDTH, CIFAR_DEPTH, aux=aux, drop_path=drop_path)

    return build


def _imagenet(row: Row) -> Build:
    def build(input_shape: Shape, classes: int, aux: bool = False, drop_path: float = 0.0) -> Graph:
        task = Task(row.name, input_shape, classes)
        return darts_imagenet(row.imagenet.cells(), task, row.width, IMAGENET_DEPTH, aux=aux, drop_path=drop_path)

    return build


for _row in ROWS:
    network(f"{_row.name}_cifar", f"{_row.paper}; network of arXiv:1806.09055, appendix A.2.1", CIFAR, 10)(_cifar(_row))
    network(f"{_row.name}_imagenet", f"{_row.paper}; network of arXiv:1806.09055, appendix A.2.3")(_imagenet(_row))
