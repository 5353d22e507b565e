"""Sizes of graphs are checked before anything is allocated, and no small file takes unbounded time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from command import nas, nas_within, one_error

from nas.errors import GraphError, NasError, TooLarge
from nas.graph import (
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Input,
    Linear,
    LocalResponseNorm,
    key,
    receptive_field,
)
from nas.graph.analysis.limits import check_fits, in_bytes
from nas.graph.graph import MOST_INPUTS, MOST_NODES
from nas.graph.primitives.base import LARGEST

IMAGE = {"name": "image", "op": "input", "inputs": [], "attrs": {"size": [3, 8, 8]}}
DOUBLED = {
    1: "b668f0c5be2c1b647027dfb2ef2f6072",
    3: "5f4a28d03444b03e0f43bc432c310d16",
    6: "8f782d2e078bea304fdcfddc618816d7",
    12: "9846f6dbb2c41172196d1a7044aae010",
}
"""Keys of that number of sums of a node with itself, as they were before such sums had a short form."""
RESIDUAL = {10: "5582fc4bcefeedca2f57a38a178d5075", 100: "de988ad4db6d23962d5b8756b97b80ab"}


def node(name: str, op: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "inputs": list(inputs), "attrs": attributes}


def network(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    head = [node("gap", "global_avg_pool", nodes[-1]["name"]), node("flat", "flatten", "gap")]
    nodes = [IMAGE, *nodes, *head, node("out", "linear", "flat", out=10)]
    return {"format": "nas/graph/1", "nodes": nodes, "outputs": {"logits": "out"}}


def doubled_sums(times: int) -> dict[str, Any]:
    return network([node(f"c{i}", "add", *2 * [f"c{i - 1}" if i else "image"]) for i in range(times)])


def chain(length: int, *ops: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    for i in range(length):
        last, op = (nodes[-1]["name"] if nodes else "image"), ops[i % len(ops)]
        inputs = (last, nodes[-2]["name"]) if op == "add" else (last,)
        nodes.append(node(f"c{i}", op, *inputs, **({"out": 3} if op == "conv" else {})))
    return network(nodes)


def doubled_channels(times: int) -> dict[str, Any]:
    return network([node(f"c{i}", "conv", f"c{i - 1}" if i else "image", out=6 * 2**i) for i in range(times)])


@pytest.mark.long
def test_channels_that_double_sixty_times_are_refused_by_whoever_allocates(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(doubled_channels(60)))
    shown = nas(tmp_path, "inspect", "./graph.json", "--json")
    assert json.loads(shown.stdout)["params"] > 2**120
    words = "--dataset=digits", "--epochs=1", "--name=new"
    for command in (("export", "./graph.json", "-o", "out"), ("train", "./graph.json", *words)):
        line = one_error(nas_within(tmp_path, 6, *command))
        assert "node 'c59': it has" in line
        assert "of memory are free" in line
    assert [path.name for path in tmp_path.iterdir() if path.name != "results"] == ["graph.json"]
    assert not list(tmp_path.glob("results/*"))


def test_a_sum_of_a_node_with_itself_sixty_times_has_its_key_at_once(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(doubled_sums(60)))
    found = nas_within(tmp_path, 4, "inspect", "./graph.json", "--json", timeout=60)
    assert found.returncode == 0, found.stderr[-300:]
    assert len(json.loads(found.stdout)["key"]) == 32


def test_keys_are_what_they_were() -> None:
    assert {n: key(Graph.from_json(doubled_sums(n))) for n in DOUBLED} == DOUBLED
    assert {n: key(Graph.from_json(chain(n, "conv", "relu", "add"))) for n in RESIDUAL} == RESIDUAL


def test_how_often_a_sum_has_a_term_tells_networks_apart() -> None:
    keys = {key(Graph.from_json(doubled_sums(n))) for n in range(1, 62)}
    assert len(keys) == 61
    # 2^20 terms, as a sum of sums in another order
    nodes = [node("a0", "add", "image", "image")]
    nodes += [node(f"a{i}", "add", f"a{i - 1}", f"a{i - 1}") for i in range(1, 18)]
    nodes += [node("b", "add", *["a17"] * 4)]
    assert key(Graph.from_json(network(nodes))) == key(Graph.from_json(doubled_sums(20)))


def test_a_node_of_two_hundred_thousand_inputs_is_refused_by_rule(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(network([node("s", "add", *["image"] * 200_000)])))
    line = one_error(nas(tmp_path, "inspect", "./graph.json", timeout=60))
    assert f"node 's': a node has at most {MOST_INPUTS:,} inputs, found 200,000" in line


@pytest.mark.long
def test_a_long_chain_is_refused_by_formats_that_would_take_hours(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(chain(20_000, "conv", "relu")))
    line = one_error(nas(tmp_path, "export", "./graph.json", "-o", "out", timeout=60))
    assert "takes networks of at most 6,000 nodes, found 20,004; --formats that take it: py,safetensors" in line


@pytest.mark.long
def test_source_and_drawing_of_a_long_chain_take_seconds(tmp_path: Path) -> None:
    graph = Graph.from_json(chain(20_000, "conv", "relu"))
    start = time.process_time()
    assert graph.to_source().count("nn.Conv2d") == 10_000
    assert "</svg>" in graph.to_svg()
    assert time.process_time() - start < 60


def test_a_graph_has_a_most_of_nodes_and_names_a_length() -> None:
    b = GraphBuilder((3, 8, 8))
    for _ in range(MOST_NODES - 1):
        b(Conv(1), b.input)
    with pytest.raises(GraphError, match=f"a graph has at most {MOST_NODES:,} nodes"):
        b(Conv(1), b.input)
    with pytest.raises(GraphError, match="a name has at most 500 characters, found 200,001"):
        b(Conv(1), b.input, name="a." * 100_000 + "a")


def test_a_depth_beyond_all_measure_is_refused_before_the_network_is_built(tmp_path: Path) -> None:
    assert "--depth must be at most 10,000" in one_error(nas(tmp_path, "inspect", "NASNet-A", "--depth", str(10**9)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("flag", "value", "rule"),
    [
        ("--trials", str(10**30), "--trials must be at most 9,223,372,036,854,775,807"),
        ("--threads", str(10**9), "--threads must be at most 4,096"),
        ("--depth", str(10**6), "--depth must be at most 10,000"),
        ("--image-size", str(10**6), "--image-size must be at most 16,384"),
        ("--workers", str(10**9), "--workers must be at most 100,000"),
        ("--gpus-per-trial", "nan", "--gpus-per-trial must be a finite number, found nan"),
        ("--gpus-per-trial", "inf", "--gpus-per-trial must be a finite number, found inf"),
    ],
)
def test_numbers_of_settings_have_a_greatest_value(tmp_path: Path, flag: str, value: str, rule: str) -> None:
    assert rule in one_error(nas(tmp_path, "search", flag, value))
    assert not (tmp_path / "results").exists()


def test_attributes_and_sides_count_with_64_bits() -> None:
    with pytest.raises(GraphError, match="out must be at most"):
        Conv(2**63)
    with pytest.raises(GraphError, match="its attributes must be at most"):
        Conv(10**5_000)
    with pytest.raises(GraphError, match="kernel must be at most"):
        Conv(1, kernel=(1, LARGEST + 1))
    b = GraphBuilder((3, 8, 8))
    with pytest.raises(GraphError, match="a side is at most"):
        b(Conv(1, padding=2**62), b.input)
    with pytest.raises(GraphError, match="size must be at most"):
        Input((3, 2**64, 1))


def test_a_receptive_field_beyond_64_bits_is_refused() -> None:
    b = GraphBuilder((3, 8, 8))
    x = b.input
    for _ in range(400):
        x = b(Conv(1, 3, stride=10**18, padding=1), x)
    graph = b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x))))
    with pytest.raises(GraphError, match="its receptive field is more than"):
        receptive_field(graph)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Conv(1, 3, padding=10**6), "1x2000006x2000006 and its inputs take 29.1 TiB for 2 images"),
        (Conv(2**40), "it has 3,298,534,883,328 parameters"),
        (LocalResponseNorm(size=10**10), "take"),
    ],
)
def test_what_does_not_fit_is_named_with_its_size(op: Any, words: str) -> None:
    b = GraphBuilder((3, 8, 8))
    b(op, b.input, name="large")
    with pytest.raises(TooLarge, match="node 'large': ") as found:
        check_fits(b.build(logits="large"), 2)
    assert words in str(found.value)
    assert isinstance(found.value, NasError)
    assert isinstance(found.value, MemoryError)


def test_bytes_are_told_in_their_unit() -> None:
    assert [in_bytes(n) for n in (512, 1536, 3 << 30, 10**40)] == ["512 bytes", "1.5 KiB", "3 GiB", "1.0e+40 bytes"]


def test_a_dense_drawing_is_refused_by_its_size() -> None:
    names = ["image"]
    nodes = []
    for i in range(600):
        nodes.append(node(f"d{i}", "add", *names[-500:]))
        names.append(f"d{i}")
    with pytest.raises(GraphError, match="a drawing has at most 60,000 boxes, arrows and bends, found"):
        Graph.from_json(network(nodes)).to_svg()
