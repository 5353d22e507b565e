"""Rebuilt for another task: skeletons by image size, the solver against brute force, the published mobile networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli.main import main
from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.engine.config import RunConfig
from nas.errors import ConfigError
from nas.graph import Graph, GraphBuilder, Linear, cost, shapes_of
from nas.models.load import load
from nas.models.resolve import SizeOptions, resolve
from nas.runs.journal import Journal
from nas.space import SPACES
from nas.space.genotypes import GENOTYPES
from nas.space.networks import NETWORKS
from nas.space.scalable import SearchedAt, macs_of, spread
from nas.space.skeletons import reductions_for, skeleton_for
from nas.types import Architecture
from nas.workflows.train.transfer import NEAR, USUAL_DEPTH, Size, solve, solved, transferred
from search_spaces.skeletons.published import darts_cifar, darts_imagenet
from search_spaces.spaces.nb101 import Nb101Cell

IMAGENET, TINY, SMALL = (Task("images", (3, side, side), 1000) for side in (224, 64, 32))
MOBILE = 600_000_000
FOUND = str(Path(__file__).resolve().parents[3] / "benchmarks/found/nb201-fashion.json")


def _toy(width: int, depth: int) -> Graph:
    """A graph of depth * width**2 MACs and a few more, as networks have them."""
    b = GraphBuilder((width,))
    x = b.input
    for _ in range(depth):
        x = b(Linear(width), x)
    return b.build(logits=b(Linear(10), x))


@settings(max_examples=25, deadline=None)
@given(st.integers(400, 20_000), st.integers(1, 6), st.integers(1, 4), st.integers(2, 9))
def test_the_solver_finds_what_brute_force_finds(budget: int, most: int, step: int, least: int) -> None:
    every = [Size(w, n, *macs_of(_toy(w, n))) for n in range(1, most + 1) for w in range(least, 150, step)]
    fitting = [size for size in every if size.macs <= budget]
    widest = [max((s for s in fitting if s.depth == n), key=lambda s: s.width) for n in {s.depth for s in fitting}]
    top = max(size.macs for size in widest)
    best = min(
        (size for size in widest if size.macs >= (1 - NEAR) * top),
        key=lambda size: (abs(size.depth - USUAL_DEPTH), -size.macs, -size.depth),
    )
    found = solve(_toy, budget, range(1, most + 1), (least, step))
    assert sorted(found.candidates, key=lambda s: s.depth) == sorted(widest, key=lambda s: s.depth)
    assert (found.width, found.depth, found.params, found.macs) == (best.width, best.depth, best.params, best.macs)


def test_a_budget_below_the_smallest_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 10 MACs: at depth 1 the narrowest network, of width 8, has 144"):
        solve(_toy, 10, range(1, 4))


# genotype, published N and F, ours there in MACs, what 600 M allow at the published N: F
PUBLISHED = [
    ("NASNet-A_authors", 4, 44, 563_638_816, 44),
    ("AmoebaNet-A", 4, 50, 588_846_192, 50),
    ("PNASNet-5", 3, 54, 587_293_200, 54),
    ("DARTS_V2", 4, 48, 529_911_552, 50),
    ("PC_DARTS_image", 4, 48, 581_627_328, 48),
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "depth", "width", "macs", "widest"), PUBLISHED)
def test_published_cells_in_the_mobile_setting(name: str, depth: int, width: int, macs: int, widest: int) -> None:
    found = resolve(name, SizeOptions(IMAGENET.input_shape, 1000)).scalable
    assert macs_of(found.build(width, depth))[1] == macs
    best = solved(found, MOBILE, depth=depth)
    assert (best.width, best.depth) == (widest, depth)
    assert best.macs <= MOBILE < macs_of(found.build(widest + 2, depth))[1]
    free = solved(found, MOBILE)
    assert (free.width, free.depth) == (widest, depth)
    assert 0.9 * max(s.macs for s in free.candidates) <= free.macs <= MOBILE


@pytest.mark.parametrize(
    ("genotype", "network"),
    [
        ("NASNet-A_authors", "nasnet_a_mobile"),
        ("AmoebaNet-A", "amoebanet_a_mobile"),
        ("PNASNet-5", "pnasnet5_mobile"),
        ("DARTS_V2", "darts_v2_imagenet"),
    ],
)
def test_at_the_published_size_it_is_the_named_network(genotype: str, network: str) -> None:
    width, depth = next((w, d) for name, d, w, _, _ in PUBLISHED if name == genotype)
    found = transferred(genotype, IMAGENET)  # the size of the paper is its own
    assert (found.width, found.depth) == (width, depth)
    assert found.graph == NETWORKS[network].build(aux=True)


@pytest.mark.parametrize(
    ("genotype", "network"),
    [
        ("NASNet-A_authors", "nasnet_a_cifar"),
        ("AmoebaNet-A", "amoebanet_a_cifar"),
        ("DARTS_V2", "darts_v2_cifar"),
    ],
)
def test_small_images_get_the_skeleton_of_cifar(genotype: str, network: str) -> None:
    assert transferred(genotype, Task("cifar", (3, 32, 32), 10)).graph == NETWORKS[network].build(aux=True)


@pytest.mark.parametrize("name", [*sorted(GENOTYPES), FOUND])
@pytest.mark.parametrize(("task", "first"), [(SMALL, 32), (TINY, 16), (IMAGENET, 28)])
def test_the_stem_depends_on_the_image(name: str, task: Task, first: int) -> None:
    found = transferred(name, task, 16, 1)
    shapes = shapes_of(found.graph)
    assert shapes[next(n for n in reversed(shapes) if n.startswith("stage1."))][1:] == (first, first)
    assert cost(found.graph).output_shape == (1000,)
    assert found.graph.outputs[0][0] == "logits"
    assert (len(found.graph.outputs) == 2) == (name != FOUND)
    assert (found.params, found.macs) == macs_of(transferred(name, task, 16, 1, aux=False).graph)


@pytest.mark.long
@pytest.mark.parametrize("space", ["nasnet", "darts", "nb201", "nb101", "lecture"])
@pytest.mark.parametrize("task", [SMALL, TINY, IMAGENET])
def test_cells_of_every_space_are_rebuilt(space: str, task: Task, tmp_path: Path) -> None:
    import numpy as np

    load_built_in()
    path = tmp_path / "found.json"
    path.write_text(json.dumps(SPACES[space].sample(np.random.default_rng(0)).to_json()))
    found = transferred(str(path), task, 16, 2)
    assert cost(found.graph).output_shape == (1000,)
    assert (found.width, found.depth) == (16, 2)
    solution = transferred(str(path), task, max_macs=100_000_000)
    assert 0 < solution.macs <= 100_000_000


@pytest.mark.long
def test_the_best_of_a_run_is_rebuilt_for_other_images(tmp_path: Path) -> None:
    words = "search --name found --space nasnet --space-arg nodes=2 --width 4 --depth 1 --trials 1 --epochs 1"
    more = ["--dataset", "digits", "--train-images", "40", "--baseline", "none", "--final-seeds", "0", "--threads", "1"]
    assert main([*words.split(), *more, "--results-dir", str(tmp_path)]) == 0
    own = resolve("found", results=tmp_path).scalable
    assert (own.task.input_shape, own.task.classes, own.size(None, None)) == ((1, 8, 8), 10, (4, 1))
    assert own.build() == load(tmp_path / "found/best/graph.json")
    found = transferred("found", IMAGENET, max_macs=MOBILE, results=tmp_path)
    assert found.depth == USUAL_DEPTH
    assert 0.8 * MOBILE < found.macs <= MOBILE


def test_for_the_images_of_its_search_a_run_is_its_own_network(tmp_path: Path) -> None:
    load_built_in()
    found = load(FOUND)
    assert isinstance(found, Architecture)
    own = SPACES["nb201"].build(found, TINY, 8, 1)
    (tmp_path / "run/best").mkdir(parents=True)
    settings = RunConfig.from_json({"space": "nb201", "dataset": "folder", "width": 8, "depth": 1})
    Journal.create(tmp_path / "run/journal.jsonl", {"config": settings.to_json(), "time": 0.0}).close()
    for name, data in (("architecture", found), ("graph", own)):
        (tmp_path / f"run/best/{name}.json").write_text(json.dumps(data.to_json()))
    assert transferred("run", TINY, results=tmp_path).graph == own
    assert transferred("run", IMAGENET, results=tmp_path).width == 48


def test_at_the_size_of_the_search_a_found_cell_is_what_was_searched() -> None:
    found = transferred(FOUND, Task("fashion", (1, 28, 28), 10), 8, 1)
    assert (found.params, found.macs) == (68_882, 7_031_232)


def test_dropped_paths_and_heads_are_there_where_the_skeleton_has_them() -> None:
    found = transferred("DARTS_V2", IMAGENET, 16, 1, drop_path=0.2)
    assert any(node.op.kind == "drop_path" for node in found.graph.nodes)
    assert [name for name, _ in found.graph.outputs] == ["logits", "aux"]
    cramped = transferred("DARTS_V2", Task("images", (3, 48, 48), 10), 16, 1)
    assert [name for name, _ in cramped.graph.outputs] == ["logits"]


@pytest.mark.parametrize(("name", "budget"), [("resnet18", 10**9), ("mobilenet_v2", 10**8), ("efficientnet_b0", 10**8)])
def test_tables_of_stages_meet_a_budget_by_their_width(name: str, budget: int) -> None:
    written = transferred(name, TINY)
    assert written.graph == NETWORKS[name].build((3, 64, 64), 1000)
    found = transferred(name, TINY, max_macs=budget)
    assert found.width is not None
    assert found.macs <= budget < transferred(name, TINY, found.width + 4).macs


def test_a_shape_found_at_a_depth_keeps_it_within_a_budget() -> None:
    load_built_in()
    space = SPACES["macro"]
    point = next(point for point in map(space.sample, map(np.random.default_rng, range(9))) if point["stages"] == 3)
    model = space.scalable(point, SMALL, searched=SearchedAt(width=100, depth=2, input_shape=SMALL.input_shape))
    found = solved(model, 30_000_000)
    assert found.depth == 2
    assert {size.depth for size in found.candidates} == {2}


@pytest.mark.parametrize("width", [7, 9])
def test_cells_of_a_width_that_no_paper_has_meet_their_own_budget(width: int) -> None:
    load_built_in()
    found = load(FOUND)
    assert isinstance(found, Architecture)
    searched = SearchedAt(width=width, depth=1, input_shape=(3, 32, 32))
    model = SPACES["nb201"].scalable(found, SMALL, searched=searched)
    assert solved(model, macs_of(model.build())[1], depth=1).width == width


def test_other_networks_are_built_for_the_task_as_they_are() -> None:
    found = transferred("nasnet_a_mobile", IMAGENET)
    assert found.graph == NETWORKS["nasnet_a_mobile"].build(aux=True)
    assert (found.width, found.depth, found.macs) == (None, None, 563_638_816)
    assert transferred("lenet5", Task("grey", (1, 32, 32), 7)).params == macs_of(NETWORKS["lenet5"].build(None, 7))[0]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("nasnet_a_mobile", IMAGENET, None, None, 10**8), "has 563,638,816 MACs and a size of its own"),
        (("nasnet_a_mobile", IMAGENET, 44), "--width: 'nasnet_a_mobile' has a size of its own"),
        (("DARTS_V2", IMAGENET, None, None, 10**5), r"at most 100,000 MACs: at depth 1 .* of width 8, has"),
        (("DARTS_V2", IMAGENET, 48, None, 10**7), "no network of width 48 is that small"),
        (("vgg16", Task("t", (3, 16, 16), 10)), "'vgg16' cannot be built for images of 3x16x16: "),
        (("DARTS_V3", IMAGENET), "did you mean 'DARTS_V"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(arguments: tuple, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        transferred(*arguments)


def test_a_graph_keeps_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(NETWORKS["resnet20_cifar"].build().to_json()))
    assert transferred(str(path), Task("t", (3, 64, 64), 10)).graph.input_shape == (3, 64, 64)
    with pytest.raises(ConfigError, match="is a graph of 10 classes and cannot be built for 1000"):
        transferred(str(path), TINY)


def test_stems_by_size() -> None:
    sides = (8, 28, 32, 47, 48, 64, 96, 111, 112, 224, 600)
    assert [reductions_for(side) for side in sides] == [0, 0, 0, 0, 2, 2, 2, 2, 3, 3, 3]


def test_a_skeleton_of_ones_own_is_kept_for_every_size() -> None:
    def own(task: Task, width: int, depth: int) -> Graph:
        return _toy(width, depth)

    assert skeleton_for(224, {"cell": GraphBuilder().build(cell="input0")}, own) is own


@given(st.integers(0, 60), st.integers(1, 6))
def test_cells_are_spread_evenly_and_never_taken_away(cells: int, stages: int) -> None:
    now, then = spread(cells, stages), spread(cells + 1, stages)
    assert sum(now) == cells
    assert max(now) - min(now) <= 1
    assert sorted(b - a for a, b in zip(now, then, strict=True)) == [0] * (stages - 1) + [1]


def test_depths_of_stages_may_differ() -> None:
    cells = GENOTYPES["DARTS_V2"].genotype.cells()
    for skeleton, task in ((darts_cifar, SMALL), (darts_imagenet, IMAGENET)):
        assert skeleton(cells, task, 8, 2) == skeleton(cells, task, 8, 9, depths=(2, 2, 2))
        uneven = skeleton(cells, task, 8, 1, depths=(1, 3, 2))
        found = {".".join(node.name.split(".")[:2]) for node in uneven.nodes if ".cell" in node.name}
        assert found == {"stage1.cell1", *(f"stage2.cell{i}" for i in (1, 2, 3)), "stage3.cell1", "stage3.cell2"}
    cell = Nb101Cell(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("conv3x3",))
    assert cell.network(SMALL, 8, 2) == cell.network(SMALL, 8, 1, depths=(2, 2, 2))
