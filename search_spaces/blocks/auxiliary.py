"""Auxiliary heads: small classifiers on inner nodes, whose losses feed gradients to early layers."""

from __future__ import annotations

from nas.graph import AvgPool, BatchNorm, Conv, Dropout, Flatten, GlobalAvgPool, GraphBuilder, Linear, Primitive, Relu
from search_spaces.blocks.inception import NORM, ConvStep, chain


def auxiliary_v1(
    b: GraphBuilder,
    x: str,
    classes: int,
    *,
    pool: Primitive = AvgPool(5, 3),  # noqa: B008  (primitives are frozen values)
    norm: BatchNorm | None = None,
    dropout: float = 0.7,
) -> str:
    """GoogLeNet's head: average pool, 1x1 convolution of 128, FC-1024, dropout, FC (arXiv:1409.4842, section 5)."""
    x = chain(b, b(pool, x), ConvStep(128), norm=norm)
    x = b(Relu(), b(Linear(1024), b(Flatten(), x), name="fc1"))
    return b(Linear(classes), b(Dropout(dropout), x), name="fc2")


def auxiliary_v3(b: GraphBuilder, x: str, classes: int) -> str:
    """Inception v3's head with batch norm: average pool, 1x1 of 128, 5x5 of 768, FC (arXiv:1512.00567, section 4)."""
    # the 5x5 spans all that the pool leaves of the 17x17 grid
    x = chain(b, b(AvgPool(5, 3), x), ConvStep(128), ConvStep(768, 5, 1, 0), norm=NORM)
    return b(Linear(classes), b(Flatten(), b(GlobalAvgPool(), x)), name="fc")


def auxiliary_darts(b: GraphBuilder, x: str, classes: int, stride: int = 3, last_norm: bool = True) -> str:
    """The head of DARTS' networks: average pool, 1x1 of 128, 2x2 of 768, FC (the authors' code of arXiv:1806.09055)."""
    with b.scope("aux"):
        x = b(AvgPool(5, stride, count_include_pad=False), b(Relu(), x))
        x = b(Relu(), b(BatchNorm(), b(Conv(128), x)))
        x = b(Conv(768, 2), x)
        x = b(Relu(), b(BatchNorm(), x) if last_norm else x)
        return b(Linear(classes), b(Flatten(), x))
