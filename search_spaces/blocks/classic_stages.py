"""Stages of the classics: convolutions one after the other, local response norm, pools, and the big linear layers."""

from __future__ import annotations

from nas.graph import BatchNorm, Dropout, Flatten, GraphBuilder, Linear, LocalResponseNorm, MaxPool, Primitive
from search_spaces.blocks.layers import activate, conv_norm_act

KRIZHEVSKY_LRN = LocalResponseNorm(5, 5 * 1e-4, 0.75, 2.0)
"""n = 5, alpha = 1e-4, beta = 0.75, k = 2 (Krizhevsky et al. 2012, section 3.3), which VGG's A-LRN and ZFNet take over.

torch, and Caffe, divide alpha by n; the paper does not, so that its alpha is five times as large here.
"""


def conv_stage(
    b: GraphBuilder,
    x: str,
    out: int,
    repeats: int = 1,
    *,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = None,
    activation: str = "relu",
    norm: BatchNorm | None = None,
    lrn: LocalResponseNorm | None = None,
    pool: Primitive | None = None,
) -> str:
    """``repeats`` convolutions with biases to ``out`` channels, then a pool: the stages of LeNet to VGG.

    LeNet-5 (LeCun et al. 1998; tanh, average pools), AlexNet (Krizhevsky et al. 2012; ``groups=2`` for its two GPUs,
    local response norm after the activation, overlapping pools), VGG (arXiv:1409.1556, table 1). ``stride`` is that of
    the first convolution; the batch norm of ``vgg16_bn`` comes before the activation.
    """
    # a stage halves the image at most once, so the stride is that of its first convolution
    for i in range(repeats):
        with b.scope(f"conv{i + 1}"):
            x = conv_norm_act(
                b,
                x,
                out,
                kernel,
                1 if i else stride,
                groups=groups,
                padding=padding,
                activation=activation,
                norm=norm,
                bias=True,
            )
            x = x if lrn is None else b(lrn, x)
    return x if pool is None else b(pool, x)


def vgg_stage(b: GraphBuilder, x: str, out: int, repeats: int, *, norm: BatchNorm | None = None) -> str:
    """``repeats`` 3x3 convolutions and a 2x2 max pool: arXiv:1409.1556, section 2.1."""
    return conv_stage(b, x, out, repeats, norm=norm, pool=MaxPool(2))


def linear_stage(b: GraphBuilder, x: str, features: int, dropout: float = 0.5, activation: str = "relu") -> str:
    """A hidden linear layer with activation and dropout; images are flattened first."""
    if len(b.shape(x)) == 3:
        x = b(Flatten(), x)
    x = activate(b, b(Linear(features), x), activation)
    return b(Dropout(dropout), x) if dropout else x
