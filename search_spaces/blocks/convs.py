"""Convolution, norm and activation in every order: what all families of blocks are made of."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import BatchNorm, Conv, GraphBuilder, Identity, Primitive, Relu, Relu6, Sigmoid, Swish, Tanh

ACTIVATIONS: dict[str, Primitive] = {
    "relu": Relu(),
    "relu6": Relu6(),
    "swish": Swish(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "none": Identity(),
}
ORDERS = ("conv-norm-act", "norm-act-conv", "act-conv-norm", "conv-act-norm")


def activate(b: GraphBuilder, x: str, activation: str) -> str:
    """Apply the named activation; ``none`` adds no node."""
    if activation not in ACTIVATIONS:
        raise GraphError(f"activation must be one of {', '.join(ACTIVATIONS)}, found '{activation}'")
    return x if activation == "none" else b(ACTIVATIONS[activation], x)


def conv_norm_act(
    b: GraphBuilder,
    x: str,
    out: int,
    kernel: int | tuple[int, int] = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    padding: int | tuple[int, int] | None = None,
    activation: str = "relu",
    norm: BatchNorm | None = BatchNorm(),  # noqa: B008  (primitives are frozen values)
    bias: bool = False,
    order: str = "conv-norm-act",
) -> str:
    """Convolution, batch norm and activation in one of :data:`ORDERS`.

    ``padding`` None keeps the size at stride 1. ``norm`` None and ``activation`` "none" leave those out.
    Orders: arXiv:1512.03385 (conv-norm-act), arXiv:1603.05027 (norm-act-conv), arXiv:1707.07012 (act-conv-norm).
    """
    if order not in ORDERS:
        raise GraphError(f"order must be one of {', '.join(ORDERS)}, found '{order}'")
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    same = (dilation * (kh - 1) // 2, dilation * (kw - 1) // 2)
    layer = Conv(out, (kh, kw), stride, same if padding is None else padding, dilation, groups, bias)
    for step in order.split("-"):
        if step == "conv":
            x = b(layer, x)
        elif step == "norm":
            x = x if norm is None else b(norm, x)
        else:
            x = activate(b, x, activation)
    return x
