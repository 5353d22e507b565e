"""Graph JSON: round trips, and damage that is refused or read as what it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from graph_examples import alexnet, equal_paths, resnet50, squeeze_excite, vgg16
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    Graph,
    GraphBuilder,
    MaxPool,
    Named,
    Pad,
    TransposedConv,
    cost,
    key,
    layers,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["image", "conv", "a", "nas/graph/1", "relu", "", "zeros", "input"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kernel", "x", "op"]), inner),
    max_leaves=4,
)


def mixed() -> Graph:
    """A small network with attributes of every kind."""
    b = GraphBuilder((3, 9, 9))
    x = b(BatchNorm(1e-3), b(Conv(8, (3, 1), 2, (1, 0), 1, 1, True, "reflect"), b.input, name="stem.conv"))
    x = b(ChannelShuffle(4), b(MaxPool(3, 1, 1, True), x))
    x = b(Concat(), b(ChannelSlice(0, 4), x), b(ChannelSlice(4, 8), b(AvgPool(3, 1, 1), x)))
    x = b(Add(), x, b(Crop(1, 1), b(Pad(1, 1, mode="reflect"), x)))
    return b.build(logits=b(TransposedConv(4, 2, 2), x, name="up"), aux=x)


def cell() -> Graph:
    b = GraphBuilder(inputs=2)
    x = b(Add(), b(Named("sep_conv_3x3", 2), b.inputs[0]), b(Named("identity"), b.inputs[1]))
    return b.build(cell=b(Concat(any_order=True), x, b.inputs[1]))


GRAPHS = [vgg16, alexnet, resnet50, squeeze_excite, mixed, cell, lambda: equal_paths(3, 2)]


@pytest.mark.parametrize("make", GRAPHS)
def test_json_round_trip(make: Any) -> None:
    graph = make()
    text = json.dumps(graph.to_json(), allow_nan=False)
    again = Graph.from_json(json.loads(text))
    assert again == graph
    assert json.dumps(again.to_json()) == text
    assert key(again) == key(graph)


def test_json_says_its_version_and_what_it_found_instead() -> None:
    data = mixed().to_json()
    assert data["format"] == "nas/graph/1"
    for wrong in ({**data, "format": "nas/graph/2"}, {}, [], None, "graph", 3):
        with pytest.raises(GraphError, match="not a graph: format must be 'nas/graph/1', found"):
            Graph.from_json(wrong)


def test_attributes_left_out_take_their_defaults() -> None:
    data = mixed().to_json()
    row = next(r for r in data["nodes"] if r["op"] == "transposed_conv")
    row["attrs"] = {"out": 4}
    assert Graph.from_json(data) == mixed()


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in entries:
        yield from places(value, (*path, name))


BASES = [json.loads(json.dumps(make().to_json())) for make in (mixed, cell, squeeze_excite)]
PLACES = [(base, path) for base in BASES for path in places(base)]


def damaged(base: Any, path: tuple[Any, ...], value: Any, delete: bool) -> Any:
    data = copy.deepcopy(base)
    owner = data
    for step in path[:-1]:
        owner = owner[step]
    if delete:
        del owner[path[-1]]
    else:
        owner[path[-1]] = value
    return data


def same(written: Any, read: Any) -> bool:
    """Whether the value that was read is what was written: a number for both sides of a pair is the same."""
    if isinstance(read, tuple | list) and not isinstance(written, list):
        return all(same(written, part) for part in read)
    if isinstance(read, tuple | list):
        return len(written) == len(read) and all(map(same, written, read))
    # a pool without a stride takes its kernel
    return written is None or (written == read and isinstance(written, bool) == isinstance(read, bool))


def check(data: Any) -> None:
    try:
        graph = Graph.from_json(data)
    except GraphError:
        return
    again = graph.to_json()
    assert Graph.from_json(again) == graph
    assert again["outputs"] == data["outputs"]
    assert len(again["nodes"]) == len(data["nodes"])
    for read, written in zip(again["nodes"], data["nodes"], strict=True):
        assert (read["name"], read["op"], read["inputs"]) == (written["name"], written["op"], written["inputs"])
        for name, value in written.get("attrs", {}).items():
            assert same(value, read["attrs"][name])
    key(graph)
    for ask in (cost, layers):
        with suppress(GraphError):
            ask(graph)


@given(place=st.sampled_from(PLACES), value=VALUES, delete=st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_is_refused_or_read_as_what_it_says(place: Any, value: Any, delete: bool) -> None:
    check(damaged(*place, value, delete))


@pytest.mark.parametrize("base", BASES, ids=["mixed", "cell", "squeeze_excite"])
@pytest.mark.parametrize(
    "value", [None, True, -1, 0, 1.0, 1e400, 10**400, "", "a", [], [[]], ["a"], {}, {"a": 1}, [3, 3.0]]
)
def test_every_part_replaced(base: Any, value: Any) -> None:
    for path in places(base):
        check(damaged(base, path, value, delete=False))


@pytest.mark.parametrize("base", BASES, ids=["mixed", "cell", "squeeze_excite"])
def test_every_part_deleted_or_doubled(base: Any) -> None:
    for path in places(base):
        check(damaged(base, path, None, delete=True))
    for i in range(len(base["nodes"])):
        data = copy.deepcopy(base)
        data["nodes"].insert(i, data["nodes"][i])
        with pytest.raises(GraphError, match=r"taken|not an earlier node"):
            Graph.from_json(data)


def test_all_kinds_are_read_back() -> None:
    required = {"out": 8, "start": 0, "stop": 4, "op": "conv"}
    for kind in PRIMITIVES:
        cls = PRIMITIVES[kind]
        attrs = {name: value for name, value in required.items() if name in cls.__dataclass_fields__}
        op = cls(**attrs)
        row = {
            "name": "x",
            "op": kind,
            "inputs": ["image"] * cls.arity[0],
            "attrs": json.loads(json.dumps(op.attributes())),
        }
        image = {"name": "image", "op": "input", "inputs": [], "attrs": {"size": [8, 4, 4]}}
        graph = Graph.from_json({"format": "nas/graph/1", "nodes": [image, row], "outputs": {"logits": "x"}})
        assert graph.nodes[1].op == op
