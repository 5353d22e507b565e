"""A network for fast training on CIFAR-10: few layers see the image at its full size.

Three groups of two 3x3 convolutions, each halved by a max pool right after its first convolution, before norm and
activation, so that these touch a quarter of the numbers (arXiv:2404.00498, section 3.1). A learned 2x2 convolution
stands in for the frozen whitening layer there, ReLU for GELU. Images of 28x28 and of 32x32 end as 3x3, of which the
last pool takes the greatest numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from common import ROOT  # noqa: F401  (makes the toolkit importable)

from nas.core.values import Task
from nas.graph import BatchNorm, Conv, Flatten, Graph, GraphBuilder, Linear, MaxPool, Relu

WIDTHS = (64, 256, 256)
STEM = 24


def airbench(task: Task, widths: Sequence[int] = WIDTHS) -> Graph:
    """Return the network for ``task`` with ``widths`` channels in its groups and output ``logits``."""
    b = GraphBuilder(task.input_shape)
    x = b(Relu(), b(BatchNorm(), b(Conv(STEM, 2), b.input)))
    for width in widths:
        x = b(MaxPool(2), b(Conv(width, 3, padding=1), x))
        x = b(Relu(), b(BatchNorm(), x))
        x = b(Relu(), b(BatchNorm(), b(Conv(width, 3, padding=1), x)))
    x = b(Flatten(), b(MaxPool(3), x))
    return b.build(logits=b(Linear(task.classes), x))
