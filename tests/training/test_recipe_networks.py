"""Auxiliary heads and dropped paths that a recipe asks for: in training alone, never in what is counted or kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nas
from nas.cli.main import main
from nas.core.plugins import load_built_in
from nas.engine.prepare import make_prepare
from nas.evaluators.train import not_applied
from nas.runs.journal import read
from nas.space import SPACES
from nas.training.recipe import Recipe

load_built_in()
TASK = nas.Task("photos", (3, 32, 32), 10)
BOTH = Recipe(aux_weight=0.4, drop_path=0.2)


def sampled(space, seed=0):
    return SPACES[space].sample(np.random.default_rng(seed))


@pytest.mark.parametrize("space", ["darts", "nasnet", "nb101", "nb201", "stages"])
def test_key_and_cost_are_those_of_the_plain_network(space):
    plain, asked = (make_prepare(SPACES[space], TASK, 4, 1, recipe=recipe) for recipe in (None, BOTH))
    for seed in range(4):
        first, second = plain(sampled(space, seed)), asked(sampled(space, seed))
        assert (first.key, first.params, first.macs) == (second.key, second.params, second.macs)
        assert first.graph.outputs[0] == second.graph.outputs[0]


@pytest.mark.parametrize(
    ("recipe", "aux", "drops"),
    [(Recipe(), False, False), (Recipe(aux_weight=0.4), True, False), (Recipe(drop_path=0.2), False, True)],
)
def test_darts_cells_get_what_the_recipe_asks_for(recipe, aux, drops):
    graph = make_prepare(SPACES["darts"], TASK, 4, 1, recipe=recipe)(sampled("darts")).graph
    assert ("aux" in dict(graph.outputs)) == aux
    assert any(node.op.kind == "drop_path" for node in graph.nodes) == drops
    assert not_applied(recipe, graph) == []


def test_weights_have_the_same_names_with_and_without():
    module = pytest.importorskip("nas.graph.lowering.torch_module")
    graphs = [make_prepare(SPACES["darts"], TASK, 4, 1, recipe=r)(sampled("darts")).graph for r in (None, BOTH)]
    first, second = (module.build_module(graph).state_dict() for graph in graphs)
    assert list(first) == list(second)


def test_a_head_that_does_not_fit_small_images_is_left_out_and_told():
    small = nas.Task("digits", (1, 8, 8), 10)
    graph = make_prepare(SPACES["darts"], small, 4, 1, recipe=BOTH)(sampled("darts")).graph
    assert dict(graph.outputs).keys() == {"logits"}
    assert not_applied(BOTH, graph) == ["aux_weight"]


def test_a_skeleton_without_either_is_told():
    graph = make_prepare(SPACES["nb101"], TASK, 4, 1, recipe=BOTH)(sampled("nb101")).graph
    assert not_applied(BOTH, graph) == ["aux_weight", "drop_path"]


@pytest.mark.long
def test_a_search_trains_with_heads_and_keeps_the_plain_network(tmp_path):
    rng = np.random.default_rng(0)
    data = {}
    for split, count in (("train", 60), ("test", 20)):
        labels = np.arange(count) % 2
        noise = rng.integers(0, 100, (count, 32, 32, 3))
        data |= {f"{split}_images": (noise + 150 * labels[:, None, None, None]).astype(np.uint8)}
        data |= {f"{split}_labels": labels}
    np.savez(tmp_path / "data.npz", **data)
    recipe = {"base": "darts-cifar", "batch_size": 16, "learning_rate": 0.1, "cutout": 8}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    command = (
        f"search --results-dir {tmp_path} --name a --dataset arrays --data-dir {tmp_path / 'data.npz'} --space darts "
        f"--width 2 --depth 1 --trials 1 --baseline none --final-seeds 1 --epochs 1 --final-epochs 1 --threads 1 "
        f"--recipe {tmp_path / 'recipe.json'}"
    )
    assert main(command.split()) == 0
    graph = nas.load(tmp_path / "a" / "best" / "graph.json")
    assert dict(graph.outputs).keys() == {"logits"}
    assert not any(node.op.kind == "drop_path" for node in graph.nodes)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["best"]["params"] == nas.cost(graph).params
    winner = next(row for row in summary["finals"] if row["role"] == "search")
    assert (winner["params"], winner["macs"]) == (nas.cost(graph).params, nas.cost(graph).macs)
    from nas.training.weights import load_weights

    load_weights(nas.build_module(graph), tmp_path / "a" / "best" / "weights.safetensors")
    finals = {e["role"]: e.get("notes", {}) for e in read(tmp_path / "a" / "journal.jsonl") if e["event"] == "final"}
    assert "not_applied" not in finals["search"]
    assert finals["handcrafted"]["not_applied"] == ["aux_weight", "drop_path"]
    report = (tmp_path / "a" / "report.md").read_text()
    assert "no place for it: aux_weight (ResNet" in report
