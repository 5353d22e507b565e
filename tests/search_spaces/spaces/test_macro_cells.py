"""Spaces of cells that choose their skeleton too: ``macro=true``."""

from __future__ import annotations

import csv
import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.cli.main import main
from nas.core.plugins import load_built_in
from nas.core.values import Budget, Task
from nas.errors import GraphError, SpaceError
from nas.graph import Graph, cost
from nas.graph.analysis.cost import shapes_of
from nas.models.resolve import SizeOptions, resolve
from nas.space import SPACES, Space
from nas.space.budget import fit
from nas.space.scalable import ScalableCells, SearchedAt
from nas.types import Architecture
from search_spaces.skeletons.small_images import stage_width

load_built_in()
NAMES = ["nasnet", "darts", "nb201", "lecture"]
CIFAR = Task("cifar", (3, 32, 32), 10)
BUDGET = 3_000_000
LEAST_FIT = {"nasnet": 0.5, "darts": 0.6, "nb201": 0.7, "lecture": 0.3}
"""The share of samples that must come to within 82 to 100 % of the budget; other shapes are too large for it."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def macro(name: str) -> Space:
    return SPACES[name].with_args({"macro": True})


def changed(space: Space, architecture: Architecture, **decisions: Any) -> Architecture:
    """Return the architecture with macro decisions replaced."""
    new = {f"macro.{name.replace('_cells', '.cells')}": value for name, value in decisions.items()}
    return Architecture(space.name, {**architecture.decisions, **new}, architecture.args)


def uniform(space: Space, **decisions: Any) -> Architecture:
    """Return the first sample of four stages, with macro decisions replaced."""
    drawn = rng()
    found = next(a for a in iter(lambda: space.sample(drawn), None) if a["macro.stages"] == 4)
    return changed(space, found, **decisions)


def cost_by_cell(graph: Graph) -> dict[str, tuple[int, int, int]]:
    """Return of each stage the channels and the side of its cells, and how many there are."""
    cells: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes_of(graph).items():
        stage, _, rest = name.partition(".")
        if rest.startswith("cell"):
            place = rest.partition(".")[0]
            # the first convolution of a cell, or what brings its input to its channels, has them
            if "adapt1" in rest or "adapt" not in rest:
                cells.setdefault(stage, {}).setdefault(place, shape)
    return {stage: (*each["cell1"][:2], len(each)) for stage, each in cells.items()}


@pytest.mark.parametrize("name", NAMES)
def test_without_macro_a_space_is_what_it_was(name: str) -> None:
    """Architectures on disk say nothing of the argument; they have to be the same points as those of today."""
    space = SPACES[name]
    architecture = space.sample(rng())
    assert "macro" not in dict(architecture.args)
    assert space.with_args({"macro": False}).sample(rng()) == architecture
    written = Architecture(name, architecture.decisions, {**dict(architecture.args), "macro": False})
    assert space.key(written) == space.key(architecture)
    assert (macro(name).depth, macro(name).with_args({"macro": False}).depth) == (1, space.depth)
    with pytest.raises(SpaceError, match="macro must be true or false, found 1"):
        space.with_args({"macro": 1}).sample(rng())
    with pytest.raises(SpaceError, match="the architecture is of space"):
        space.describe(macro(name).sample(rng()))


def test_keys_of_earlier_versions() -> None:
    """Measured before the argument came."""
    keys = {
        "nasnet": "baf99d0a9a51e83bb322ba4023820f57",
        "darts": "5df7f408644e6ab2e3181bd3e39214e0",
        "nb201": "0db18cc891a42752b1989f89a93fb461",
        "lecture": "701754ff6b00740b8f3f323202610602",
    }
    assert {name: SPACES[name].key(SPACES[name].sample(rng(7))) for name in NAMES} == keys


@pytest.mark.parametrize("name", NAMES)
def test_the_decisions(name: str) -> None:
    space, drawn = macro(name), rng(1)
    samples = [space.sample(drawn) for _ in range(50)]
    assert {a["macro.stages"] for a in samples} == {2, 3, 4}
    for a in samples:
        found = [d for d in a.decisions if d.startswith("macro.")]
        stages = [f"macro.stage{i}.cells" for i in range(1, a["macro.stages"] + 1)]
        assert found == ["macro.stem_stride", "macro.stages", "macro.growth", *stages]
    assert space.options("macro.stem_stride") == (1, 2, 4)
    assert space.options("macro.growth") == (1.0, 1.4, 2.0, 2.8)
    assert space.options("macro.stage4.cells") == (1, 2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_samples_mutants_and_children_are_points(name: str) -> None:
    space, drawn = macro(name), rng(2)
    for _ in range(20):
        one, other = space.sample(drawn), space.sample(drawn)
        for a in (one, space.mutate(one, drawn), space.crossover(one, other, drawn)):
            again = Architecture.from_json(json.loads(json.dumps(a.to_json())))
            assert again == a
            assert space.key(again) == space.key(a)
            assert space.crossover(a, a, drawn) == a


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_samples_build(name: str, shape: tuple[int, int, int]) -> None:
    """Also on images that the deepest stages shrink to one pixel."""
    space, drawn = macro(name), rng(3)
    for _ in range(25):
        graph = space.build(space.sample(drawn), Task("t", shape, 7), width=8)
        assert cost(graph).output_shape == (7,)


def test_the_skeleton_is_what_was_chosen() -> None:
    space = macro("nb201")
    repeats = {f"stage{i}_cells": n for i, n in enumerate((2, 1, 3, 1), 1)}
    chosen = uniform(space, stem_stride=4, growth=1.4, **repeats)
    layers = cost_by_cell(space.build(chosen, CIFAR, width=10))
    assert [layers[f"stage{i}"] for i in (1, 2, 3, 4)] == [(10, 8, 2), (14, 4, 1), (20, 2, 3), (28, 1, 1)]
    # depth multiplies
    deep = cost_by_cell(space.build(chosen, CIFAR, width=10, depth=2))
    assert [deep[f"stage{i}"][2] for i in (1, 2, 3, 4)] == [4, 2, 6, 2]


def test_every_macro_decision_makes_another_network() -> None:
    space = macro("darts")
    base = uniform(space, stem_stride=1, growth=2.0, **{f"stage{i}_cells": 1 for i in (1, 2, 3, 4)})
    others = [{"stem_stride": 2}, {"stem_stride": 4}, {"growth": 1.0}, {"stage1_cells": 2}, {"stage4_cells": 2}]
    points = [base, *(changed(space, base, **other) for other in others)]
    assert len({space.key(a) for a in points}) == len(points)
    macs = [cost(space.build(a, CIFAR)).macs for a in points]
    assert len(set(macs)) == len(macs)
    assert macs[0] > 3 * macs[1] > 9 * macs[2]


def test_widths_are_even_and_odd_ones_lie_between() -> None:
    """So a budget has finer steps than two channels in every stage at once."""
    for growth in (1.0, 1.4, 2.0, 2.8):
        sizes = [tuple(stage_width(width, stage, growth) for stage in range(4)) for width in range(2, 40)]
        assert all(channels % 2 == 0 for size in sizes for channels in size)
        assert len(set(sizes)) == len(sizes)
        assert all(a <= b for one, other in pairwise(sizes) for a, b in zip(one, other, strict=True))
    assert [stage_width(5, stage) for stage in range(3)] == [5, 10, 20]


@pytest.mark.parametrize("name", NAMES)
def test_a_found_cell_transfers_with_its_skeleton(name: str) -> None:
    """The stem halves larger images as often as one for such images does, or as was found, if that is more."""
    space = macro(name)
    repeats = {f"stage{i}_cells": n for i, n in enumerate((1, 2, 1, 1), 1)}
    for stride, sides in ((1, (16, 28)), (2, (16, 28)), (4, (16, 28))):
        found = uniform(space, stem_stride=stride, growth=1.4, **repeats)
        own = space.scalable(found, CIFAR, searched=SearchedAt(12, 1, CIFAR.input_shape))
        assert isinstance(own, ScalableCells)
        assert own.build() == space.build(found, CIFAR, width=12)
        for side, first in zip((64, 224), sides, strict=True):
            task = Task("large", (3, side, side), 5)
            model = space.scalable(found, task, searched=SearchedAt(12, 1, CIFAR.input_shape))
            assert model.size(None, None) == (12, 1)
            layers = cost_by_cell(model.build())
            assert layers["stage1"] == (12, first, 1)
            assert [layers[f"stage{i}"][2] for i in (1, 2, 3, 4)] == [1, 2, 1, 1]


def test_scaling_keeps_the_proportions_of_stages() -> None:
    space = macro("nasnet")
    found = uniform(space, stem_stride=2, growth=1.4, **{f"stage{i}_cells": n for i, n in enumerate((1, 3, 2, 2), 1)})
    model = space.scalable(found, CIFAR, searched=SearchedAt(8, 1, CIFAR.input_shape))
    assert model.rounded(1, 1) == (8, (1, 3, 2, 2))
    assert model.rounded(1.5, 1.5) == (12, (2, 4, 3, 3))
    scaled = model.scaled(1.5, 1.5, 32)
    assert [cost_by_cell(scaled.graph)[f"stage{i}"][2] for i in (1, 2, 3, 4)] == [2, 4, 3, 3]
    same = uniform(space, stem_stride=2, growth=1.4, **{f"stage{i}_cells": 2 for i in (1, 2, 3, 4)})
    model = space.scalable(same, CIFAR, searched=SearchedAt(8, 1, CIFAR.input_shape))
    assert model.scaled(1, 1, 32).graph == model.build()
    assert list(model.depths) == [1, 2, 3, 4, 5, 6]


def test_a_file_of_a_found_cell_is_a_model(tmp_path: Path) -> None:
    found = uniform(macro("nb201"), stem_stride=2)
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found.to_json()))
    model = resolve(str(path), SizeOptions((3, 64, 64), 10))
    assert cost(model.graph).output_shape == (10,)
    assert model.cells.keys() == {"cell"}
    assert model.scalable.size(None, None) == (16, 1)


@pytest.mark.parametrize("name", NAMES)
def test_many_samples_fit_a_budget(name: str) -> None:
    """Those that do not are too large for it at their narrowest, so few channels that one more of them is too many."""
    space, drawn = macro(name), rng(4)
    sizes, problems = [], []
    for described in [space.describe(space.sample(drawn)) for _ in range(20)]:
        try:
            build = partial(lambda shape, width: shape.network(CIFAR, width, 1), described)
            sizes.append(fit(build, Budget(BUDGET), described.widths, space.width).macs)
        except GraphError as error:
            problems.append(str(error))
    assert all(0.82 * BUDGET <= macs <= BUDGET for macs in sizes)
    assert all("is over the budget" in problem for problem in problems)
    fitting = len(sizes)
    assert fitting >= 20 * LEAST_FIT[name]


@pytest.mark.long
def test_a_search_within_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["search", "--space=nb201", "--space-arg=macro=true", "--budget-macs=300000", "--dataset=digits"]
    quick = ["--trials=2", "--epochs=1", "--searcher=random", "--baseline=none", "--final-seeds=0"]
    monkeypatch.chdir(tmp_path)
    assert main([*words, *quick, "--train-images=300", "--name=r"]) == 0
    with (tmp_path / "results/r/trials.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "done"]
    assert len(rows) == 2
    assert all(246_000 <= int(row["macs"]) <= 300_000 for row in rows)
    model = resolve(str(tmp_path / "results/r"))
    assert model.fixed is not None
    assert model.graph == model.fixed
    assert model.scalable.size(None, None) == (int(max(rows, key=lambda row: float(row["reward"]))["width"]), 1)
    for side in (64, 224):
        larger = resolve(str(tmp_path / "results/r"), SizeOptions((3, side, side), 10))
        assert cost(larger.graph).output_shape == (10,)
    assert main(["scale", "r", "--phi=0..1", "--input=3,32,32"]) == 0
