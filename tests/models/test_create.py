"""Any model at any size by one line of Python: names, files, runs and architectures, with and without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nas.errors import ConfigError, GraphError
from nas.graph import cost
from nas.graph.lowering.torch_module import build_module
from nas.models.create import create_graph, create_model, list_models
from nas.models.load import load
from nas.models.resolve import resolve
from nas.runs.journal import Journal
from nas.space.networks import NETWORKS
from nas.training.weights import save_weights
from nas.types import Architecture

CELL = Path(__file__).resolve().parents[2] / "benchmarks/found/nb201-fashion.json"


def write_run(folder: Path, kind: str, network: str, weights: bool = True) -> None:
    """Write what a search or a training leaves, with the weights of a network of 8x8 images in 4 classes."""
    place = folder if kind == "train" else folder / "best"
    place.mkdir(parents=True)
    settings = {"dataset": "digits", "width": 4, "depth": 1}
    if kind == "train":
        graph = NETWORKS[network].build((1, 8, 8), 4)
        header = {"kind": "train", "settings": settings}
    else:
        graph = create_graph(load(CELL), 4, (1, 8, 8), 4, 1)
        (place / "architecture.json").write_text(CELL.read_text())
        header = {"config": {"space": "nb201", **settings}}
    Journal.create(folder / "journal.jsonl", header).close()
    (place / "graph.json").write_text(json.dumps(graph.to_json()))
    if weights:
        save_weights(build_module(graph), place / "weights.safetensors")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_run(tmp_path / "search", "search", "")
    write_run(tmp_path / "training", "train", "resnet20_cifar")
    write_run(tmp_path / "resnet18", "train", "resnet20_cifar", weights=False)
    return tmp_path


def test_models_are_listed_by_a_pattern() -> None:
    assert list_models("resnet18*") == ["resnet18"]
    assert set(list_models("*DARTS*")) == {"DARTS_V1", "DARTS_V2", "PC_DARTS_cifar", "PC_DARTS_image", "PDARTS"}
    assert {"lenet5", "ENAS"} <= set(list_models())
    assert list_models("nothing*") == []


def test_a_network_has_its_own_size_or_the_one_asked_for() -> None:
    assert create_graph("resnet18") == NETWORKS["resnet18"].build()
    small = create_graph("resnet18", 10, (3, 64, 64), width=8)
    assert (small.input_shape, cost(small).output_shape) == ((3, 64, 64), (10,))
    assert cost(small).params < cost(create_graph("resnet18", 10)).params / 3
    with pytest.raises(ConfigError, match="--width: 'lenet5' has a size of its own"):
        create_graph("lenet5", width=8)


def test_a_genotype_may_be_written_in_any_case_and_has_heads() -> None:
    assert create_graph("darts-v2", width=8, depth=1) == create_graph("DARTS_V2", width=8, depth=1)
    assert [name for name, _ in create_graph("DARTS_V2", width=8, depth=1, aux=True).outputs] == ["logits", "aux"]
    with pytest.raises(GraphError, match="network 'resnet18' has no auxiliary heads"):
        create_graph("resnet18", aux=True)


def test_an_architecture_is_a_file_or_an_object() -> None:
    found = load(CELL)
    assert isinstance(found, Architecture)
    assert create_graph(CELL, width=4) == create_graph(str(CELL), width=4) == create_graph(found, width=4)
    assert cost(create_graph(found, 7, (3, 224, 224))).output_shape == (7,)


def test_a_graph_gets_another_classifier(tmp_path: Path) -> None:
    graph = NETWORKS["resnet20_cifar"].build()
    (tmp_path / "net.json").write_text(json.dumps(graph.to_json()))
    assert create_graph(tmp_path / "net.json") == graph
    assert create_graph(tmp_path / "net.json", 7, (3, 64, 64)) == NETWORKS["resnet20_cifar"].build((3, 64, 64), 7)


@pytest.mark.parametrize("name", ["search", "training"])
def test_a_run_is_its_network_with_its_weights(name: str, results: Path) -> None:
    place = results / name / ("best" if name == "search" else "")
    for text in (name, str(results / name), f"{results / name}/"):
        assert create_graph(text, results=results) == load(place / "graph.json")
    module = create_model(results / name, weights=True, results=results).eval()
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    again = create_model(name, 9, weights=place / "weights.safetensors", results=results)
    kept = [n for n, t in again.state_dict().items() if torch.equal(t, module.state_dict().get(n, torch.empty(0)))]
    assert {n.split(".")[-2] for n in again.state_dict() if n not in kept} == {"classifier"}


def test_a_run_is_built_again_at_another_size(results: Path) -> None:
    found = resolve("search", results=results)
    assert (found.kind, found.scalable.task.input_shape, found.scalable.size(None, None)) == ("run", (1, 8, 8), (4, 1))
    assert found.graph == found.fixed
    assert cost(create_graph("search", width=8, results=results)).params > 2 * cost(found.graph).params
    with pytest.raises(ConfigError, match="--width: 'training' has a size of its own"):
        create_graph("training", width=8, results=results)


def test_the_order_of_looking_up(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet5").write_text(json.dumps(NETWORKS["resnet20_cifar"].build().to_json()))
    (tmp_path / "mine").write_text((tmp_path / "lenet5").read_text())
    assert resolve("resnet18", results=results).kind == "training"
    assert resolve("resnet18", results=results / "nowhere").kind == "network"
    assert [resolve(text, results=results).kind for text in ("lenet5", "./lenet5", "mine")] == [
        "network",
        *["graph"] * 2,
    ]
    with pytest.raises(ConfigError, match="unknown run, network, genotype or file 'serch'; did you mean 'search'"):
        resolve("serch", results=results)


def test_what_has_no_weights_or_no_network_is_said(results: Path) -> None:
    with pytest.raises(ConfigError, match=r"run 'resnet18' has no weights: .* is written at the end of a training"):
        create_model("resnet18", weights=True, results=results)
    with pytest.raises(ConfigError, match="weights 'ENAS': neither a run in"):
        create_model("ENAS", weights=True, results=results)
    (results / "empty").mkdir()
    Journal.create(results / "empty/journal.jsonl", {"config": {"space": "nb201"}}).close()
    with pytest.raises(ConfigError, match="run 'empty' has no network yet"):
        resolve("empty", results=results)
