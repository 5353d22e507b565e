"""Which skeleton carries given cells for images of a size: that of CIFAR, of ImageNet, or one between."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial

from nas.graph import Graph
from search_spaces.large_skeleton import darts_cifar, darts_imagenet, nasnet_sized

Build = Callable[..., Graph]
"""``build(task, width, depth)``, with ``depths``, ``aux`` and ``drop_path`` where it takes them."""

NASNET_FAMILY = {"NASNet-A": False, "NASNet-A_authors": False, "AmoebaNet-A": False, "PNASNet-5": True}
"""Genotypes that stand on the skeleton of NASNet's authors, and whether a stage's reduction is one of its N cells."""
MEDIUM, LARGE = 48, 112
"""From which side of the image on a stem reduces it, twice and three times: 64 pixels to 16, 224 to 28."""


def reductions_for(side: int) -> int:
    """Return how often the stem halves images of ``side`` pixels: 0 as for CIFAR, 3 as for ImageNet, 2 between."""
    return 0 if side < MEDIUM else 2 if side < LARGE else 3


def build_for(side: int, cells: Mapping[str, Graph], own: Build | None = None, genotype: str = "") -> Build:
    """Return the function that builds networks of ``cells`` for images of ``side`` pixels.

    The published cells of :data:`NASNET_FAMILY` stand on NASNet's skeleton. Other cells have their ``own`` for small
    images (without one: that of DARTS for CIFAR). For larger ones, two cells of two inputs each stand on DARTS' network
    for ImageNet; what takes ``reductions`` is given them; any other skeleton is taken to fit every size.
    """
    reductions = reductions_for(side)
    if genotype in NASNET_FAMILY:
        return partial(nasnet_sized, cells, reductions=reductions, strided_in=NASNET_FAMILY[genotype])
    small = own or partial(darts_cifar, cells)
    if not reductions:
        return small
    if "reductions" in inspect.signature(small).parameters:
        return partial(small, reductions=reductions)
    paired = all(name in cells and len(cells[name].inputs) == 2 for name in ("normal", "reduction"))
    return partial(darts_imagenet, cells, reductions=reductions) if paired else small
