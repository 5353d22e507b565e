"""Who is compared: runs, their random searches, networks and genotypes, each as the recipes train them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nas.cli.main import main
from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph import cost
from nas.models.latency import REPEATS, measure_latency
from nas.models.resolve import SizeOptions, resolve
from nas.space.networks import NETWORKS
from nas.training.recipe import Recipe
from nas.workflows.compare.candidates import Candidate, candidates_of, twin_key
from nas.workflows.compare.settings import CompareSettings, settings_from
from nas.workflows.train.transfer import transferred

CIFAR = Task("cifar10", (3, 32, 32), 10)
PLAIN = (Recipe(),)
SEARCH = "--space nb201 --width 4 --depth 1 --dataset digits --trials 3 --epochs 1 --train-images 100 --final-seeds 0"


def settings(*candidates, task=CIFAR, recipes=PLAIN, against_random=False, **shared):
    """Settings without a dataset's files."""
    return SimpleNamespace(
        candidates=candidates,
        task=task,
        plugins=(),
        width=shared.get("width"),
        depth=shared.get("depth"),
        recipes=[{"name": str(i)} for i in range(len(recipes))],
        actual_recipes=list(recipes),
        against_random=against_random,
        ensemble=None,
        seeds=3,
    )


def found(*candidates, **given):
    return candidates_of(settings(*candidates, **given), Path("nowhere"), lambda progress: None)


def test_a_network_is_built_for_the_dataset_and_as_the_recipe_asks():
    asking = Recipe(aux_weight=0.4, drop_path=0.2)
    candidates = found("resnet20_cifar", "darts_v2_cifar", recipes=(Recipe(), asking))
    plain, headed = candidates
    assert plain.graph == NETWORKS["resnet20_cifar"].build((3, 32, 32), 10)
    assert plain.trained == (plain.graph, plain.graph)  # it has no place for either
    assert headed.trained[0] is headed.graph
    assert [name for name, _ in headed.trained[1].outputs] == ["logits", "aux"]
    assert any(node.op.kind == "drop_path" for node in headed.trained[1].nodes)
    assert (headed.params, headed.macs) == (3_349_342, 528_359_040)
    assert twin_key(headed.trained[0]) != twin_key(headed.trained[1])


def test_a_genotype_has_the_published_size_or_the_users():
    (usual, _) = found("DARTS_V2", "resnet20_cifar")
    assert (usual.kind, usual.params) == ("genotype", 3_349_342)
    (small, named) = found("DARTS_V2", "resnet20_cifar", width=8, depth=1)
    assert small.params < usual.params / 20
    assert named.params == cost(NETWORKS["resnet20_cifar"].build((3, 32, 32), 10)).params


@pytest.mark.parametrize(("name", "side"), [("NASNet-A", 32), ("PNASNet-5", 32), ("DARTS_V2", 224)])
def test_cells_are_compared_as_they_are_transferred_and_inspected(name, side):
    task = Task("images", (3, side, side), 10)
    (own, _) = found(name, "resnet18", task=task)
    wanted = transferred(name, task, aux=False).graph
    assert own.graph == wanted == resolve(name, SizeOptions(task.input_shape, 10)).graph


def test_an_architecture_is_built_for_larger_images_and_takes_heads():
    path = str(Path(__file__).parents[3] / "benchmarks" / "found" / "nb201-fashion.json")
    task, asking = Task("images", (3, 224, 224), 100), Recipe(aux_weight=0.4)
    (own, _) = found(path, "resnet18", task=task, recipes=(asking,))
    assert own.trained[0] == transferred(path, task).graph


def test_candidates_of_one_name_are_called_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, network in (("a", "resnet20_cifar"), ("b", "resnet32_cifar")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph.json").write_text(json.dumps(NETWORKS[network].build((3, 32, 32), 10).to_json()))
    both = found("a/graph.json", "./b/graph.json", "resnet20_cifar")
    assert [candidate.name for candidate in both] == ["a/graph.json", "b/graph.json", "resnet20_cifar"]
    with pytest.raises(ConfigError, match=r"candidate 'a/graph\.json' is given twice"):
        found("a/graph.json", "./a/graph.json")


def test_a_candidate_is_read_as_it_was_written():
    asking = Recipe(aux_weight=0.4)
    for candidate in found("resnet20_cifar", "DARTS_V2", recipes=(Recipe(), asking), width=4, depth=1):
        again = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
        assert again == candidate
        assert again.trained[0] is again.graph


def test_an_architecture_file_is_built_by_its_space():
    path = Path(__file__).parents[3] / "benchmarks" / "found" / "nb201-fashion.json"
    (own, _) = found(str(path), "resnet20_cifar", width=4, depth=1)
    assert (own.name, own.kind) == ("nb201-fashion", "architecture")
    assert own.graph.input_shape == (3, 32, 32)
    (wider, _) = found(str(path), "resnet20_cifar", width=8, depth=1)
    assert wider.params > 2 * own.params


def test_what_is_no_candidate_is_said():
    with pytest.raises(ConfigError, match="did you mean 'DARTS_V"):
        found("resnet20_cifar", "DARTS-V4")
    with pytest.raises(ConfigError, match="no candidate is a run"):
        found("resnet20_cifar", "DARTS_V2", against_random=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs, of which one has a random search of its own."""
    folder = tmp_path_factory.mktemp("results")
    for name, rest in (("with", "--baseline random"), ("without", "--baseline none --seed 1")):
        assert main(["search", *SEARCH.split(), *rest.split(), "--name", name, "--results-dir", str(folder)]) == 0
    return folder


@pytest.mark.long
def test_a_run_is_compared_with_its_random_search_which_is_run_where_there_is_none(results, monkeypatch):
    monkeypatch.chdir(results.parent)
    options = [
        "--against-random",
        "--epochs",
        "1",
        "--seeds",
        "2",
        "--train-images",
        "100",
        "--dataset",
        "digits",
        "--results-dir",
        str(results),
    ]
    assert main(["compare", str(results / "with"), "without", *options, "--name", "c"]) == 0
    data = json.loads((results / "c" / "compare.json").read_text())
    assert {(r["name"], r["kind"]) for r in data["rows"]} == {
        ("with", "run"),
        ("with/random", "random"),
        ("without", "run"),
        ("without/random", "random"),
    }
    assert all(r["queries"] == 3 for r in data["rows"])
    by_name = {r["name"]: r for r in data["rows"]}
    for entry in data["against_random"]:
        run, random = by_name[entry["run"]], by_name[f"{entry['run']}/random"]
        assert entry["difference"]["first"] == entry["run"]
        assert entry["difference"]["mean"] == pytest.approx(run["mean"] - random["mean"])
    assert "## Against random search at equal cost" in (results / "c" / "report.md").read_text()
    assert (results / "without" / "random" / "journal.jsonl").is_file()
    best = json.loads((results / "with" / "best" / "graph.json").read_text())
    header = json.loads((results / "c" / "journal.jsonl").read_text().splitlines()[0])
    assert header["candidates"][0]["graph"] == best


@pytest.mark.long
def test_a_search_that_was_random_has_nothing_to_be_compared_with(results, capsys):
    arguments = [*SEARCH.split(), "--searcher", "random", "--name", "chance", "--results-dir", str(results)]
    assert main(["search", *arguments]) == 0
    assert main(["compare", "with", f"{results}/with/", "--results-dir", str(results)]) == 2
    assert "candidate 'with' is given twice" in capsys.readouterr().err
    assert main(["compare", "with", "chance", "--against-random", "--results-dir", str(results)]) == 2
    assert "run 'chance' is a random search itself" in capsys.readouterr().err


@pytest.mark.long
def test_latency_is_a_median_and_leaves_no_trace():
    graph = NETWORKS["resnet20_cifar"].build((3, 32, 32), 10)
    before = torch.random.get_rng_state(), torch.get_num_threads()
    one, many = (measure_latency(graph, batch, 1, "cpu") for batch in (1, 8))
    assert 0 < one.milliseconds < many.milliseconds
    assert (one.device, one.threads, one.batch) == ("CPU", 1, 1)
    assert REPEATS[0] <= one.repeats <= REPEATS[1]
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_the_epochs_are_the_recipes_where_they_agree():
    assert settings_from(("a", "b"), {}).epochs == 10
    assert settings_from(("a", "b"), {"recipes": ["nb201-12"]}).epochs == 12
    assert settings_from(("a", "b"), {"recipes": ["nb201-12"], "epochs": 3}).epochs == 3
    assert isinstance(settings_from(("a", "b"), {"recipes": ["nb201-12", "nb201-200"], "epochs": 3}), CompareSettings)
