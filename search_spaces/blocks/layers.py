"""What all families of blocks are made of: convolution, norm and activation in every order, gates, stochastic depth."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import (
    BatchNorm,
    Conv,
    DropPath,
    GlobalAvgPool,
    GraphBuilder,
    Identity,
    Multiply,
    Primitive,
    Relu,
    Relu6,
    Sigmoid,
    Swish,
    Tanh,
)

ACTIVATIONS: dict[str, Primitive] = {
    "relu": Relu(),
    "relu6": Relu6(),
    "swish": Swish(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "none": Identity(),
}
STEP_ORDERS = ("conv-norm-act", "norm-act-conv", "act-conv-norm", "conv-act-norm")


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
    """Convolution, batch norm and activation in one of :data:`STEP_ORDERS`.

    ``padding`` None keeps the size at stride 1. ``norm`` None and ``activation`` "none" leave those out.
    Orders: arXiv:1512.03385 (conv-norm-act), arXiv:1603.05027 (norm-act-conv), arXiv:1707.07012 (act-conv-norm).
    """
    if order not in STEP_ORDERS:
        raise GraphError(f"order must be one of {', '.join(STEP_ORDERS)}, found '{order}'")
    # half of the kernel on each side, counted with the gaps of a dilation
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


def squeeze_excite(
    b: GraphBuilder, x: str, squeezed: int, *, activation: str = "relu", gate: str = "sigmoid", name: str = "se"
) -> str:
    """Scale the channels of ``x`` by a gate: global pool, ``squeezed`` features, ``activation``, C features, ``gate``.

    arXiv:1709.01507, section 3, equations 2 to 4 (``squeezed`` is C / r, r = 16 there). The two linear layers are 1x1
    convolutions with biases on the (C, 1, 1) average, which is the same and needs no flattening.
    """
    channels = b.channels(x)
    with b.scope(name):
        y = b(GlobalAvgPool(), x, name="squeeze")
        y = b(Conv(max(1, squeezed), bias=True), y, name="reduce")
        y = activate(b, y, activation)
        y = b(Conv(channels, bias=True), y, name="expand")
        return b(Multiply(), x, activate(b, y, gate), name="scale")


def survival(block: int, blocks: int, last: float) -> float:
    """Return the chance that block ``block`` (from 1) of ``blocks`` is kept: ``p_l = 1 - l/L (1 - p_L)``.

    arXiv:1603.09382, section 3, equation 4; ``last`` is p_L, 0.5 there.
    """
    if not 1 <= block <= blocks or not 0 < last <= 1:
        raise GraphError(
            f"stochastic depth: block 1 to {blocks} and a last survival in (0, 1] are allowed, found {block} and {last}"
        )
    return 1 - block / blocks * (1 - last)


def drop_path(b: GraphBuilder, x: str, rate: float) -> str:
    """Drop the branch ``x`` with probability ``rate`` in training; rate 0 adds no node. arXiv:1603.09382."""
    return x if rate == 0 else b(DropPath(rate), x)
