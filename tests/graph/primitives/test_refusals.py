"""Wrong attributes and wrong inputs are refused on one line that names the primitive, the rule and the value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from nas.errors import GraphError
from nas.graph import (
    PRIMITIVES,
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
    GlobalAvgPool,
    GroupNorm,
    Input,
    InstanceNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Named,
    Pad,
    TransposedConv,
    Zero,
)
from nas.graph.primitives.base import from_json

IMAGE, VECTOR = (8, 5, 5), (8,)

# what is done, and what the message must say: the primitive, the rule, the value
ATTRIBUTES: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    (lambda: Conv(0), ("conv: out", "at least 1", "found 0")),
    (lambda: Conv(8, 3.0), ("conv: kernel", "integer", "found 3.0")),
    (lambda: Conv(8, (3, 3, 3)), ("conv: kernel", "(height, width)", "found (3, 3, 3)")),
    (lambda: Conv(8, (3.0, 3)), ("conv: kernel", "integer", "found (3.0, 3)")),
    (lambda: Conv(8, [3, 3]), ("conv: kernel", "(height, width)", "found [3, 3]")),
    (lambda: Conv(8, stride=0), ("conv: stride", "at least 1", "found 0")),
    (lambda: Conv(8, padding=-1), ("conv: padding", "at least 0", "found -1")),
    (lambda: Conv(8, dilation=(1, 0)), ("conv: dilation", "at least 1", "found (1, 0)")),
    (lambda: Conv(8, groups=True), ("conv: groups", "integer", "found True")),
    (lambda: Conv(8, bias=1), ("conv: bias", "true or false", "found 1")),
    (lambda: Conv(8, padding_mode="same"), ("conv: padding_mode", "zeros, reflect", "found 'same'")),
    (lambda: TransposedConv(8, 3, 2, output_padding=2), ("transposed_conv: output_padding", "stride", "(2, 2)")),
    (lambda: Linear("ten"), ("linear: out", "integer", "found 'ten'")),
    (lambda: MaxPool(2, padding=2), ("max_pool: padding", "half the kernel", "(2, 2) for (2, 2)")),
    (lambda: AvgPool(3, ceil_mode=0), ("avg_pool: ceil_mode", "true or false", "found 0")),
    (lambda: AvgPool(3, count_include_pad=None), ("avg_pool: count_include_pad", "true or false", "found None")),
    (lambda: BatchNorm(eps=-1e-5), ("batch_norm: eps", "from 0", "found -1e-05")),
    (lambda: BatchNorm(eps=float("nan")), ("batch_norm: eps", "from 0", "found nan")),
    (lambda: BatchNorm(eps=float("inf")), ("batch_norm: eps", "finite", "found inf")),
    (lambda: BatchNorm(eps=10**400), ("batch_norm: eps", "finite", "found 1000")),
    (lambda: BatchNorm(momentum=1.5), ("batch_norm: momentum", "from 0 to 1", "found 1.5")),
    (lambda: GroupNorm(0), ("group_norm: groups", "at least 1", "found 0")),
    (lambda: Dropout(1.1), ("dropout: rate", "from 0 to 1", "found 1.1")),
    (lambda: DropPath(True), ("drop_path: rate", "number", "found True")),
    (lambda: LocalResponseNorm(alpha="1"), ("local_response_norm: alpha", "number", "found '1'")),
    (lambda: ChannelShuffle(0), ("channel_shuffle: groups", "at least 1", "found 0")),
    (lambda: ChannelSlice(4, 4), ("channel_slice: stop", "at least 5", "found 4")),
    (lambda: Pad(-1), ("pad: top", "at least 0", "found -1")),
    (lambda: Pad(1, mode="edge"), ("pad: mode", "zeros, reflect", "found 'edge'")),
    (lambda: Crop(left=0.5), ("crop: left", "integer", "found 0.5")),
    (lambda: Zero(0), ("zero: stride", "at least 1", "found 0")),
    (lambda: Input((3, 32)), ("input: size", "(C, H, W)", "found (3, 32)")),
    (lambda: Input((3, 0, 32)), ("input: size", "at least 1", "found 0")),
    (lambda: Named(""), ("named: op", "name", "found ''")),
    (lambda: Concat("yes"), ("concat: any_order", "true or false", "found 'yes'")),
    (lambda: from_json("convolution", {}), ("unknown primitive 'convolution'", "did you mean 'conv'? (32 are known)")),
    (lambda: from_json("conv", {"out": 8, "kernels": 3}), ("conv: unknown attribute 'kernels'", "'kernel'")),
    (lambda: from_json("conv", {"kernel": 3}), ("conv: attribute 'out' is missing",)),
    (lambda: from_json("relu", [1]), ("relu: 'attrs' must be an object", "found list")),
    (lambda: from_json(["relu"], {}), ("unknown primitive", "['relu']")),
]
SHAPES: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    (lambda: Conv(8).shape((VECTOR,)), ("conv: the input must be an image", "found (8,)")),
    (lambda: Conv(8, 3, groups=3).shape((IMAGE,)), ("conv: groups must divide", "3 for 8 -> 8")),
    (lambda: Conv(9, 3, groups=2).shape((IMAGE,)), ("conv: groups must divide", "2 for 8 -> 9")),
    (lambda: Conv(8, 7).shape((IMAGE,)), ("conv: the window of 7", "an input of 5", "at least 7")),
    (lambda: Conv(8, 3, dilation=3).shape((IMAGE,)), ("conv: the window of 7", "an input of 5", "at least 7")),
    (lambda: Conv(8, 3, 1, 5, padding_mode="reflect").shape((IMAGE,)), ("conv: reflected padding", "(5, 5)")),
    (lambda: TransposedConv(8, 1, 1, 3).shape((IMAGE,)), ("transposed_conv: the padding (3, 3)", "(5, 5)")),
    (lambda: TransposedConv(8, groups=3).shape((IMAGE,)), ("transposed_conv: groups must divide", "3 for 8 -> 8")),
    (lambda: Linear(10).shape((IMAGE,)), ("linear: the input must be a vector", "flatten", "(8, 5, 5)")),
    (lambda: MaxPool(9).shape((IMAGE,)), ("max_pool: the window of 9", "an input of 5", "at least 9")),
    (lambda: AvgPool(9, 3, ceil_mode=True).shape((IMAGE,)), ("avg_pool: the window of 9", "at least 7")),
    (lambda: GlobalAvgPool().shape((VECTOR,)), ("global_avg_pool: the input must be an image", "(8,)")),
    (lambda: GroupNorm(3).shape((IMAGE,)), ("group_norm: groups must divide", "3 for 8")),
    (lambda: InstanceNorm().shape(((8, 1, 1),)), ("instance_norm: ", "more than one pixel", "1x1")),
    (lambda: LocalResponseNorm().shape((VECTOR,)), ("local_response_norm: the input must be an image", "(8,)")),
    (lambda: DropPath(0.1).shape((VECTOR,)), ("drop_path: the input must be an image", "(8,)")),
    (lambda: Zero(2).shape((VECTOR,)), ("zero: the input must be an image", "(8,)")),
    (lambda: Add().shape((IMAGE, (8, 1, 1))), ("add: all inputs must have one shape", "(8, 1, 1)")),
    (lambda: Multiply().shape((IMAGE, (8, 5, 1))), ("multiply: the inputs must have one shape", "(8, 5, 1)")),
    (lambda: Multiply().shape((IMAGE, (4, 1, 1))), ("multiply: the inputs must have one shape", "(4, 1, 1)")),
    (lambda: Concat().shape((IMAGE, (8, 5, 4))), ("concat: all inputs must have one height", "(8, 5, 4)")),
    (lambda: Concat().shape((VECTOR, (8, 1, 1))), ("concat: all inputs must have one height", "(8, 1, 1)")),
    (lambda: ChannelShuffle(3).shape((IMAGE,)), ("channel_shuffle: groups must divide", "3 for 8")),
    (lambda: ChannelSlice(2, 9).shape((IMAGE,)), ("channel_slice: stop must be at most", "8, found 9")),
    (lambda: Pad(5, mode="reflect").shape((IMAGE,)), ("pad: reflected padding", "(5, 5)", "top=5")),
    (lambda: Crop(3, 2).shape((IMAGE,)), ("crop: nothing", "(5, 5)", "top=3")),
    (lambda: Input().shape(()), ("input: a cell's input has no size",)),
    (lambda: Named("sep_conv_3x3").shape((IMAGE,)), ("named: 'sep_conv_3x3'", "a cell has shapes once")),
]


@pytest.mark.parametrize(("wrong", "says"), [*ATTRIBUTES, *SHAPES], ids=lambda v: v[0] if type(v) is tuple else "")
def test_wrong_input_is_refused_on_one_line(wrong: Callable[[], object], says: tuple[str, ...]) -> None:
    with pytest.raises(GraphError) as caught:
        wrong()
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert part in message


def test_refusals_do_not_depend_on_what_was_built_before() -> None:
    Conv(8, 3, bias=True), Dropout(1.0), Conv(8, (3, 3)), Zero(1)
    for wrong in (
        lambda: Conv(8, 3.0),
        lambda: Conv(8, (3.0, 3.0)),
        lambda: Conv(8, 3, bias=1),
        lambda: Dropout(True),
        lambda: Zero(True),
    ):
        with pytest.raises(GraphError):
            wrong()


def test_equal_primitives_have_equal_labels() -> None:
    assert Dropout(-0.0).label() == Dropout(0.0).label() == Dropout(0).label()
    assert Conv(8, 3).label() == Conv(8, (3, 3), (1, 1), (0, 0)).label()
    assert Conv(8, 3) == Conv(8, (3, 3))
    assert len({Conv(8, 3), Conv(8, (3, 3)), Conv(8, 3, bias=True)}) == 2


def test_labels_tell_every_attribute() -> None:
    base = Conv(8, 3)
    changed = [
        {"out": 9}, {"kernel": 5}, {"stride": 2}, {"padding": 1}, {"dilation": 2},
        {"groups": 2}, {"bias": True}, {"padding_mode": "reflect"},
    ]  # fmt: skip
    assert {name for change in changed for name in change} == {f.name for f in fields(base)}
    assert len({base.label(), *(Conv(**{**base.attributes(), **c}).label() for c in changed)}) == 9
    assert {PRIMITIVES[kind].kind for kind in PRIMITIVES} == set(PRIMITIVES)
