"""Generated source: the same function as the module, in a process that cannot import this project."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from graph_examples import equal_paths, resnet50, squeeze_excite
from small_networks import NETWORKS, sampled, used_primitives
from source_runs import run, write
from torch import nn

from nas.errors import GraphError
from nas.graph import (
    PRIMITIVES,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphBuilder,
    Linear,
    Named,
    Node,
    Relu,
)
from nas.graph.lowering.expressions import LINE
from nas.graph.lowering.python_source import DEFAULTS, source_code


def write_random(folder: Path, seeds: Iterable[int]) -> None:
    for seed in seeds:
        space = ("nasnet", "nb201", "nb101")[seed % 3]
        write(sampled(space, seed, 4, 1 + seed % 2), folder / f"{space}_{seed}.py")


@pytest.mark.long
def test_hand_built_and_random_networks_give_equal_bits_elsewhere(tmp_path: Path) -> None:
    for name, build in NETWORKS.items():
        write(build(), tmp_path / f"{name}.py")
    write(awkward_names(), tmp_path / "awkward.py")
    write(resnet50(32), tmp_path / "resnet50.py")
    write(equal_paths(40, 2), tmp_path / "equal_paths.py")
    write(squeeze_excite(), tmp_path / "two_outputs.py", ("aux", "logits"))
    write(shared_scopes(), tmp_path / "shared.py")
    write_random(tmp_path, range(8))
    assert run(tmp_path) == len(NETWORKS) + 13


@pytest.mark.long
def test_a_hundred_random_networks_give_equal_bits_elsewhere(tmp_path: Path) -> None:
    write_random(tmp_path, range(100, 200))
    assert run(tmp_path) == 100


def test_the_hand_built_networks_use_every_primitive() -> None:
    assert set(PRIMITIVES) - used_primitives() == {"named"}  # cells alone have those


def awkward_names() -> Graph:
    """Names that are numbers, begin with one, are Python's or torch's, or are those of local variables."""
    b = GraphBuilder((3, 8, 8))
    x = b.input
    names = ("0", "1x1", "x", "torch", "nn", "getattr", "super", "print", "Network", "list.0", "list.1", "mixed.0")
    for name in (*names, "mixed.b", "gap.3", "gap.1.2.3", "deep.0.0", "deep.0.1", "match", "Tensor", "t1", "append"):
        x = b(Conv(4, 3, padding=1), x, name=name)
    y = x
    for name in ("network1", "network2", "None1", "2", "3", "list.2.a", "list.3.a", "torch1", "torch2"):
        with b.scope(name):
            y = b(BatchNorm(), b(Conv(4), y, name="0"), name="1")
    total = b(Add(), x, y, name="sum")
    total = b(Concat(), total, x, b(Relu(), y, name="y"), name="torch_nn")
    for name in ("self_", "cat", "Module_"):
        total = b(Add(), total, total, name=name)
    return b.build(logits=b(Linear(3), b(Flatten(), b(GlobalAvgPool(), total, name="z")), name="out.logits"))


def shared_scopes() -> Graph:
    """Repeated scopes of several inputs and outputs, scopes that other nodes interrupt, one scope within another."""
    b = GraphBuilder((4, 8, 8))
    x = y = b.input
    for i in range(3):
        with b.scope(f"pair{i}"):
            x, y = b(Conv(4 + i, 3, padding=1), x, name="a"), b(Conv(4 + i, bias=i > 0), y, name="b")
            total = b(Add(), x, y)
        outside = b(Relu(), total)
        with b.scope(f"broken{i}"):
            first = b(BatchNorm(), outside, name="first")
        middle = b(Relu(), first, name=f"middle{i}")
        with b.scope(f"broken{i}"):
            y = b(BatchNorm(), middle, name="second")
        with b.scope(f"wrapped{i}.only"):
            y = b(Relu(), b(BatchNorm(eps=1e-3 * (i + 1)), y))
    x = b(Concat(), x, y)
    return b.build(logits=b(Linear(3), b(Flatten(), b(GlobalAvgPool(), x))))


def graphs() -> dict[str, Graph]:
    found = {name: build() for name, build in NETWORKS.items()}
    found |= {f"{s}_{i}": sampled(s, i, 8, 2) for s in ("nasnet", "nb201", "nb101") for i in range(3)}
    return found | {"awkward": awkward_names(), "shared": shared_scopes(), "paths": equal_paths(40, 2)}


@pytest.mark.parametrize(("name", "graph"), graphs().items(), ids=lambda v: v if isinstance(v, str) else "")
def test_the_file_is_deterministic_short_lined_and_imports_torch_alone(name: str, graph: Graph) -> None:
    code = source_code(graph)
    assert code == source_code(Graph.from_json(graph.to_json()))
    assert max(map(len, code.splitlines())) <= LINE
    tree = ast.parse(code)
    imported = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert imported == ["import torch", "from torch import nn"]
    assert ast.get_docstring(tree)
    assert all(ast.get_docstring(n) for n in tree.body if isinstance(n, ast.ClassDef))


def test_the_files_are_formatted_and_clean(tmp_path: Path) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    for name, graph in graphs().items():
        (tmp_path / f"{name}.py").write_text(source_code(graph))
    ruff = [sys.executable, "-m", "ruff"]
    own = ["--isolated", f"--config=line-length={LINE}"]
    subprocess.run([*ruff, "format", "--check", "--diff", *own, "."], cwd=tmp_path, check=True)
    subprocess.run([*ruff, "check", *own, "--select", "E,F,I,B,W,A,UP", "."], cwd=tmp_path, check=True)


def test_repeated_blocks_are_one_class_with_what_differs_as_arguments() -> None:
    code = source_code(NETWORKS["resnet"]())
    classes = {n.name: n for n in ast.parse(code).body if isinstance(n, ast.ClassDef)}
    assert {"Block", "Stage", "Network"} <= set(classes)
    assert code.count("nn.Conv2d(") == 6  # stem, two in each of two kinds of block, shortcut
    assert len(code.splitlines()) < 120


@pytest.mark.parametrize("layer", DEFAULTS)
def test_what_is_left_out_is_the_default_of_torch(layer: str) -> None:
    parameters = inspect.signature(getattr(nn, layer)).parameters
    for name, default in DEFAULTS[layer].items():
        if name in parameters:
            assert repr(parameters[name].default) == default, (layer, name)


def test_cells_and_bad_names_are_refused() -> None:
    b = GraphBuilder(inputs=2)
    cell = b.build(cell=b(Add(), b(Named("conv_3x3"), b.inputs[0]), b.inputs[1]))
    with pytest.raises(GraphError):
        source_code(cell, ("cell",))
    for name in ("no name", "class", "torch", "1"):
        with pytest.raises(GraphError, match="name"):
            source_code(NETWORKS["vgg"](), name=name)
    with pytest.raises(GraphError, match="output"):
        source_code(NETWORKS["vgg"](), ("aux",))


def test_the_class_has_the_name_asked_for() -> None:
    scope: dict[str, Any] = {}
    exec(source_code(NETWORKS["densenet"](), name="Dense"), scope)
    assert issubclass(scope["Dense"], nn.Module)


def test_a_network_of_one_node() -> None:
    b = GraphBuilder((3, 4, 4))
    graph = Graph((Node("image", PRIMITIVES["input"]((3, 4, 4)), ()),), (("logits", "image"),))
    assert "return image" in source_code(graph)
    assert "return x" in source_code(b.build(logits=b(Relu(), b.input)))
