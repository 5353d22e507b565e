"""The benchmarks of accuracy and of ranking by short trainings: their logic, with tiny sizes."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest

from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph import cost, shapes_of
from nas.training.optimizer import learning_rate
from nas.training.published_recipes import named_recipe
from nas.training.recipe import Recipe
from nas.types import Architecture

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
CIFAR, FASHION = Task("cifar10", (3, 32, 32), 10), Task("fashion-mnist", (1, 28, 28), 10)
EDGES = ("edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/, which import one another by plain names."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in ("accuracy", "airbench", "proxy_rank", "common"):
        sys.modules.pop(name, None)


def test_the_network_for_cifar_halves_the_image_in_each_group(benchmark) -> None:
    airbench = benchmark("airbench").airbench
    graph = airbench(CIFAR)
    total = cost(graph, "logits")
    # by hand: stem 31x31, then groups of 64, 256 and 256 whose first convolution comes before the pool
    macs = 961 * 4 * 3 * 24
    for side, into, out in ((31, 24, 64), (15, 64, 256), (7, 256, 256)):
        macs += 9 * (side**2 * into * out + (side // 2) ** 2 * out * out)
    assert total.macs == macs + 2560
    assert total.output_shape == (10,)
    assert cost(airbench(FASHION, (8, 8, 8)), "logits").output_shape == (10,)
    assert (256, 3, 3) in shapes_of(graph).values()


def test_networks_are_named_matched_or_built(benchmark) -> None:
    accuracy = benchmark("accuracy")
    found = accuracy.networks(["airbench:8-8-8", "resnet", "resnet20_cifar"], CIFAR, None, None)
    assert [name for name, _ in found][::2] == ["airbench:8-8-8", "resnet20_cifar"]
    ratio = cost(found[1][1]).macs / cost(found[0][1]).macs
    assert found[1][0].startswith("ResNet-")
    assert 0.8 < ratio < 1.25
    assert cost(found[2][1], "logits").params == 269_722  # with option A, arXiv:1512.03385, table 6: 0.27 M
    with pytest.raises(ConfigError, match="name one first"):
        accuracy.networks(["resnet"], CIFAR, None, None)
    with pytest.raises(ConfigError, match="resnet20_cifar"):
        accuracy.networks(["resnet20_cifer"], CIFAR, None, None)


def test_a_recipe_is_a_name_a_file_or_the_datasets_own(benchmark, tmp_path: Path) -> None:
    recipe_of = benchmark("accuracy").recipe_of
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"epochs": 2}))
    assert recipe_of(str(file), "digits") == ("mine", Recipe(epochs=2))
    assert recipe_of("proxy", "digits") == ("proxy", named_recipe("proxy"))
    assert recipe_of(None, "digits")[1].batch_size == 32
    with pytest.raises(ConfigError, match="did you mean 'proxy'"):
        recipe_of("proxi", "digits")


def test_a_table_names_every_number_of_the_recipe(benchmark, tmp_path: Path, capsys) -> None:
    graph = tmp_path / "cell.json"
    decisions = tuple((edge, "nor_conv_1x1") for edge in EDGES)
    graph.write_text(json.dumps(Architecture("nb201", decisions).to_json()))
    arguments = ["digits", str(graph), "--width", "4", "--depth", "1", "--epochs", "1", "--threads", "1"]
    assert benchmark("accuracy").main([*arguments, "--train-images", "200", "--held-out"]) == 0
    printed = capsys.readouterr().out
    assert "| cell, width 4, depth 1 | " in printed
    assert "validation accuracy" in printed
    assert "200 training images, 1 threads" in printed
    for name, value in named_recipe("proxy").to_json().items():
        assert name in printed, value


def test_a_cell_is_connected_where_edges_lead_from_input_to_output(benchmark) -> None:
    connected = benchmark("proxy_rank").connected
    for count in range(7):
        for used in combinations(EDGES, count):
            cell = Architecture("nb201", tuple((e, "skip_connect" if e in used else "none") for e in EDGES))
            paths = ({"edge_0_3"}, {"edge_0_1", "edge_1_3"}, {"edge_0_2", "edge_2_3"})
            longest = {"edge_0_1", "edge_1_2", "edge_2_3"}
            assert connected(cell) == any(path <= set(used) for path in (*paths, longest))


def test_random_cells_are_distinct_and_the_same_for_a_seed(benchmark) -> None:
    module = benchmark("proxy_rank")
    cells = module.random_cells(12, 3)
    assert len({cost(g, "logits").output_shape for g in module.graphs(cells, FASHION, 4, 1)}) == 1
    assert len(set(cells)) == 12
    assert module.random_cells(12, 3) == cells != module.random_cells(12, 4)


def test_correlations_of_the_table_are_those_of_known_orders(benchmark) -> None:
    module = benchmark("proxy_rank")
    assert module.correlations([1, 2, 3, 4], [10, 20, 30, 40]) == (1, 1)
    assert module.correlations([1, 2, 3, 4], [4, 3, 2, 1]) == (-1, -1)
    # one neighbouring pair swapped: 1 - 6 * 2 / (4 * 15), and 5 pairs of 6 in order
    assert module.correlations([1, 2, 4, 3], [1, 2, 3, 4]) == pytest.approx((0.8, 4 / 6))
    truth = (70.0, 80.0, 90.0, 95.0)
    rows = module.rows(truth, {"short": module.Scores((1.0, 2.0, 4.0, 3.0), 5.0)}, {"free": (1, 2, 3, 4)}, 20.0)
    assert rows[0] == ("short", "0.800", "0.667", "-1.000", "1/4.0", "5", "2.50")
    assert rows[1][:5] == ("free", "1.000", "1.000", "1.000", "0")


@pytest.mark.parametrize("name", ["proxy", "fashion-short", "cifar-short"])
def test_our_short_recipes_rise_and_end_near_zero(name: str) -> None:
    recipe = named_recipe(name)
    rates = [learning_rate(recipe, step, 100) for step in range(recipe.epochs * 100)]
    top = rates.index(max(rates))
    assert rates[top] == recipe.learning_rate
    assert top == pytest.approx(len(rates) / 4, abs=1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < recipe.learning_rate / 100
