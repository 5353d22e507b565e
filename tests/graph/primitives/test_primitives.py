"""Every primitive against torch: shape, parameters, MACs and values, or refusal where torch refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import GraphError
from nas.graph import (
    PRIMITIVES,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Crop,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Pad,
    Primitive,
    Relu,
    Relu6,
    Scale,
    Sigmoid,
    Swish,
    Tanh,
    TransposedConv,
    Zero,
)

BATCH = 2
Draw = Callable[[Any], Any]


class Case(NamedTuple):
    """A primitive to make, the torch module or function that it must equal, and the shapes of its inputs."""

    make: Callable[[], Primitive]
    reference: Callable[[], Callable[..., torch.Tensor]]
    shapes: tuple[tuple[int, ...], ...]


def image(draw: Draw, channels: int | None = None) -> tuple[int, int, int]:
    sizes = st.integers(1, 11)
    return channels or draw(st.integers(1, 6)), draw(sizes), draw(sizes)


def vector(draw: Draw) -> tuple[int]:
    return (draw(st.integers(1, 12)),)


def pair(draw: Draw, least: int, most: int) -> Any:
    number = st.integers(least, most)
    return draw(st.one_of(number, st.tuples(number, number)))


def conv(draw: Draw) -> Case:
    groups = draw(st.integers(1, 3))
    shape = image(draw, groups * draw(st.integers(1, 3)) if draw(st.booleans()) else None)
    out = groups * draw(st.integers(1, 3))
    keys = {
        "stride": pair(draw, 1, 3),
        "padding": pair(draw, 0, 3),
        "dilation": pair(draw, 1, 2),
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(["zeros", "reflect"])),
    }
    kernel = pair(draw, 1, 4)
    return Case(lambda: Conv(out, kernel, **keys), lambda: nn.Conv2d(shape[0], out, kernel, **keys), (shape,))


def transposed_conv(draw: Draw) -> Case:
    groups = draw(st.integers(1, 3))
    shape = image(draw, groups * draw(st.integers(1, 2)) if draw(st.booleans()) else None)
    out = groups * draw(st.integers(1, 3))
    keys = {
        "stride": pair(draw, 1, 3),
        "padding": pair(draw, 0, 2),
        "output_padding": pair(draw, 0, 2),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    kernel = pair(draw, 1, 4)

    def reference() -> nn.Module:
        return nn.ConvTranspose2d(shape[0], out, kernel, **keys)

    return Case(lambda: TransposedConv(out, kernel, **keys), reference, (shape,))


def linear(draw: Draw) -> Case:
    shape, out, bias = vector(draw), draw(st.integers(1, 9)), draw(st.booleans())
    return Case(lambda: Linear(out, bias), lambda: nn.Linear(shape[0], out, bias), (shape,))


def pool(draw: Draw) -> tuple[tuple[int, ...], Any, dict[str, Any]]:
    keys = {
        "stride": draw(st.none() | st.just(pair(draw, 1, 3))),
        "padding": pair(draw, 0, 2),
        "ceil_mode": draw(st.booleans()),
    }
    return image(draw), pair(draw, 1, 4), keys


def max_pool(draw: Draw) -> Case:
    shape, kernel, keys = pool(draw)
    return Case(lambda: MaxPool(kernel, **keys), lambda: nn.MaxPool2d(kernel, **keys), (shape,))


def avg_pool(draw: Draw) -> Case:
    shape, kernel, keys = pool(draw)
    keys["count_include_pad"] = draw(st.booleans())
    return Case(lambda: AvgPool(kernel, **keys), lambda: nn.AvgPool2d(kernel, **keys), (shape,))


def global_avg_pool(draw: Draw) -> Case:
    return Case(GlobalAvgPool, lambda: lambda x: x.mean((2, 3), keepdim=True), (image(draw),))


def adaptive_avg_pool(draw: Draw) -> Case:
    size = pair(draw, 1, 7)
    return Case(lambda: AdaptiveAvgPool(size), lambda: nn.AdaptiveAvgPool2d(size), (image(draw),))


def batch_norm(draw: Draw) -> Case:
    shape = draw(st.sampled_from([image(draw), vector(draw)]))
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    keys = {"eps": draw(st.sampled_from([1e-5, 1e-3])), "momentum": 0.3, "affine": draw(st.booleans())}
    return Case(lambda: BatchNorm(**keys), lambda: kind(shape[0], **keys), (shape,))


def layer_norm(draw: Draw) -> Case:
    shape, affine = draw(st.sampled_from([image(draw), vector(draw)])), draw(st.booleans())
    return Case(
        lambda: LayerNorm(1e-3, affine),
        lambda: nn.LayerNorm(shape, eps=1e-3, elementwise_affine=affine),
        (shape,),
    )


def group_norm(draw: Draw) -> Case:
    groups, affine = draw(st.integers(1, 4)), draw(st.booleans())
    shape = image(draw)
    return Case(lambda: GroupNorm(groups, 1e-3, affine), lambda: nn.GroupNorm(groups, shape[0], 1e-3, affine), (shape,))


def instance_norm(draw: Draw) -> Case:
    shape, affine = image(draw), draw(st.booleans())
    return Case(lambda: InstanceNorm(1e-3, affine), lambda: nn.InstanceNorm2d(shape[0], 1e-3, affine=affine), (shape,))


def local_response_norm(draw: Draw) -> Case:
    shape = draw(st.sampled_from([image(draw), vector(draw)]))
    size, alpha, beta, k = draw(st.integers(1, 5)), 0.5, 0.6, 2.0
    return Case(
        lambda: LocalResponseNorm(size, alpha, beta, k), lambda: nn.LocalResponseNorm(size, alpha, beta, k), (shape,)
    )


def activation(kind: type[Primitive], reference: Callable[..., torch.Tensor]) -> Callable[[Draw], Case]:
    return lambda draw: Case(kind, lambda: reference, (draw(st.sampled_from([image(draw), vector(draw)])),))


def add(draw: Draw) -> Case:
    shapes = (image(draw),) * draw(st.integers(1, 4))
    return Case(Add, lambda: lambda *xs: torch.stack(xs).sum(0), shapes)


def multiply(draw: Draw) -> Case:
    shape = image(draw)
    gate = (shape[0], 1, 1)
    shapes = draw(st.sampled_from([(shape, shape), (shape, gate), (gate, shape)]))
    return Case(Multiply, lambda: torch.mul, shapes)


def concat(draw: Draw) -> Case:
    first = draw(st.sampled_from([image(draw), vector(draw)]))
    shapes = tuple((draw(st.integers(1, 4)), *first[1:]) for _ in range(draw(st.integers(1, 4))))
    return Case(Concat, lambda: lambda *xs: torch.cat(xs, 1), shapes)


def channel_shuffle(draw: Draw) -> Case:
    groups = draw(st.integers(1, 3))
    c, h, w = image(draw, groups * draw(st.integers(1, 3)))
    return Case(
        lambda: ChannelShuffle(groups),
        lambda: lambda x: x.view(-1, groups, c // groups, h, w).transpose(1, 2).reshape(-1, c, h, w),
        ((c, h, w),),
    )


def channel_slice(draw: Draw) -> Case:
    shape = draw(st.sampled_from([image(draw), vector(draw)]))
    start = draw(st.integers(0, shape[0] - 1))
    stop = draw(st.integers(start + 1, shape[0]))
    return Case(lambda: ChannelSlice(start, stop), lambda: lambda x: x[:, start:stop], (shape,))


def pad(draw: Draw) -> Case:
    top, bottom, left, right = (draw(st.integers(0, 3)) for _ in range(4))
    mode = draw(st.sampled_from(["zeros", "reflect"]))
    torch_mode = "constant" if mode == "zeros" else "reflect"
    return Case(
        lambda: Pad(top, bottom, left, right, mode),
        lambda: lambda x: F.pad(x, (left, right, top, bottom), torch_mode),
        (image(draw),),
    )


def crop(draw: Draw) -> Case:
    c, h, w = image(draw)
    top, left = draw(st.integers(0, h - 1)), draw(st.integers(0, w - 1))
    bottom, right = draw(st.integers(0, h - 1 - top)), draw(st.integers(0, w - 1 - left))
    return Case(
        lambda: Crop(top, bottom, left, right),
        lambda: lambda x: x[:, :, top : h - bottom, left : w - right],
        ((c, h, w),),
    )


def zero(draw: Draw) -> Case:
    stride = draw(st.integers(1, 3))
    return Case(lambda: Zero(stride), lambda: lambda x: F.max_pool2d(x, 1, stride) * 0, (image(draw),))


CASES: dict[str, Callable[[Draw], Case]] = {
    "conv": conv,
    "transposed_conv": transposed_conv,
    "linear": linear,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "global_avg_pool": global_avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "local_response_norm": local_response_norm,
    "relu": activation(Relu, lambda x: x.clamp(min=0)),
    "relu6": activation(Relu6, lambda x: x.clamp(0, 6)),
    "sigmoid": activation(Sigmoid, lambda x: 1 / (1 + torch.exp(-x))),
    "tanh": activation(Tanh, lambda x: (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x))),
    "swish": activation(Swish, lambda x: x / (1 + torch.exp(-x))),
    "flatten": activation(Flatten, lambda x: x.reshape(len(x), -1)),
    "dropout": activation(lambda: Dropout(0.0), lambda x: x),
    "drop_path": lambda draw: Case(lambda: DropPath(0.0), lambda: lambda x: x, (image(draw),)),
    "identity": activation(Identity, lambda x: x),
    "scale": activation(lambda: Scale(0.17), lambda x: 0.17 * x),
    "zero": zero,
    "add": add,
    "multiply": multiply,
    "concat": concat,
    "channel_shuffle": channel_shuffle,
    "channel_slice": channel_slice,
    "pad": pad,
    "crop": crop,
}


def test_every_primitive_has_a_case_and_names_its_source() -> None:
    assert set(CASES) == set(PRIMITIVES) - {"input", "named"}
    assert all(PRIMITIVES[kind].source for kind in PRIMITIVES)


@pytest.mark.parametrize("kind", CASES)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_primitive_equals_torch(kind: str, data: st.DataObject) -> None:
    check(kind, CASES[kind](data.draw))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["conv", "transposed_conv", "max_pool", "avg_pool", "pad"])
@given(data=st.data())
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_primitive_equals_torch_at_length(kind: str, data: st.DataObject) -> None:
    check(kind, CASES[kind](data.draw))


def check(kind: str, case: Case) -> None:
    xs = [torch.randn(BATCH, *shape) for shape in case.shapes]
    try:
        reference = case.reference()
        state = random_weights(reference) if isinstance(reference, nn.Module) else {}
        with FlopCounterMode(display=False) as counter:
            expected = reference(*xs)
    except (RuntimeError, ValueError):
        expected = torch.empty(0)
    if not expected.numel():  # torch refuses, or nothing is left of the image
        with pytest.raises(GraphError):
            case.make().shape(case.shapes)
        return
    op = case.make()
    assert op.kind == kind
    layer = op.layer(case.shapes)
    module = None if layer is None else getattr(nn, layer.name)(**layer.arguments)
    if module is not None:
        module.load_state_dict(state)
    shape = op.shape(case.shapes)
    assert shape == tuple(expected.shape[1:])
    assert op.params(case.shapes) == (count(reference) if isinstance(reference, nn.Module) else 0)
    assert 2 * BATCH * op.macs(case.shapes, shape) == counter.get_total_flops()
    torch.testing.assert_close(op.apply(torch, module, *xs), expected)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def random_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Draw the weights of ``module``, so that scale and bias of norms are not one and zero; return its state."""
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()
    return {name: value.clone() for name, value in module.state_dict().items()}
